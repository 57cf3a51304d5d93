"""Commands that follow the node: `logs` from its log file, `events` from its API."""

import os
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import msgspec
import typer
from rich.text import Text

from bflc_cli.client import connect
from bflc_cli.session import CommandError, Session, emit_json
from bflc_cli.text import clock
from bflcd.api.schema.envelope import ok_envelope
from bflcd.api.schema.events import Event
from bflcd.core.node_events import EventKind, Severity
from bflcd.faults import refused
from bflcd.files import open_regular
from bflcd.limits import LARGEST_NUMBER, visible
from bflcd.log import LOG_DIR, LOG_FILE

MAX_LINES: Final = 100_000

POLL_SECONDS: Final = 0.2
"""Between two looks at a log file that is followed."""

_YELLOW: Final = frozenset({Severity.WARNING, Severity.ALARM})
"""Events that should catch the eye."""

_STYLES: Final = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}


def logs(
    ctx: typer.Context,
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=MAX_LINES, help="How many of the newest lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
) -> None:
    """The node's log, running or stopped. With --json and -f one document a line."""
    session: Session = ctx.obj
    path = session.need_datadir() / LOG_DIR / LOG_FILE
    with _open(path) as file:
        newest = _tail(path, file, lines)
        if lines and not newest:
            session.err.print(f"{path} is empty: it was rotated or emptied from outside; older lines are where that put them")
        if session.json and not follow:
            session.emit({"lines": [_record(line) for line in newest]}, lambda: None)
            return
        for line in newest:
            _print_line(session, line)
        try:
            if follow:
                for line in _follow(path, file):
                    _print_line(session, line)
        except KeyboardInterrupt:
            return


def _open(path: Path) -> BinaryIO:
    try:
        return os.fdopen(open_regular(path), "rb")
    except FileNotFoundError as error:
        raise CommandError(
            f"{path}: there is no log",
            code="no_log",
            hint="start the node; one that runs makes it anew with its next line",
        ) from error
    except OSError as error:
        raise refused(f"{path}", error) from error


def _tail(path: Path, file: BinaryIO, count: int) -> list[str]:
    """The last `count` lines, older ones from the rotated file; `file` stands behind the last whole line afterwards."""
    newest: deque[str] = deque(maxlen=count)
    older = path.with_name(path.name + ".1")
    if older.is_file():
        newest.extend(older.read_text(encoding="utf-8", errors="replace").splitlines())
    data = file.read()
    whole = data.rfind(b"\n") + 1
    newest.extend(data[:whole].decode(errors="replace").splitlines())
    file.seek(whole)
    return list(newest)


def _follow(path: Path, file: BinaryIO) -> Iterator[str]:
    """New whole lines of whatever `path` leads to, for ever.

    A file that was moved away or removed is read to its end, then the new one from its start; one that was emptied, from there.
    """
    rest = b""
    while True:
        newer = _newer(path, file)  # asked before the old one is read: nobody writes to that any more
        data = file.read()
        if data:
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")
        if newer is not None:
            with newer:
                os.dup2(newer.fileno(), file.fileno())
            file.seek(0)
            rest = b""
        elif not data and os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)
            rest = b""
        elif not data:
            time.sleep(POLL_SECONDS)


def _newer(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The file that stands under the name now, if it is another one."""
    try:
        newer = os.fdopen(open_regular(path), "rb")
    except FileNotFoundError:
        return None
    if os.path.sameopenfile(newer.fileno(), file.fileno()):
        newer.close()
        return None
    return newer


def _record(line: str) -> dict[str, Any]:
    """The object that a line holds; a file that something else wrote to may hold whatever it likes."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (ValueError, RecursionError):
        return {"message": line}


def _print_line(session: Session, line: str) -> None:
    record = _record(line)
    if session.json:
        emit_json(ok_envelope(record))
        return
    place = [str(record["node"])] if record.get("node") else []
    place += [f"r{record['round']}"] if record.get("round") is not None else []
    place += [f"v{record['view']}"] if record.get("view") is not None else []
    level = str(record.get("level", "info"))
    text = Text(f"{_clock(record.get('time'))} ")
    text.append(f"{level:<8}", style=_STYLES.get(level, "green"))
    text.append(
        " ".join([*place, f"{str(record.get('logger', '')).removeprefix('bflcd.')}:", visible(str(record.get("message", line)))])
    )
    if record.get("exception"):
        text.append(f"\n{record['exception']}", style="dim")
    session.out.print(text)


def _clock(value: object) -> str:
    try:
        return clock(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):  # OverflowError: no such time here, by its zone
        return str(value or "")


def events(
    ctx: typer.Context,
    *,
    after: Annotated[
        int | None, typer.Option("--after", min=0, max=LARGEST_NUMBER, help="Begin behind this event; 0: all that are held.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=0, max=LARGEST_NUMBER, help="End after so many; 0: never.")] = 0,
) -> None:
    """What happens in the node, as it happens, until Ctrl-C. With --json one document a line."""
    session: Session = ctx.obj
    seen = 0
    with connect(session) as api:
        try:
            for event in api.events(after):
                _print_event(session, event)
                seen += 1
                if count and seen >= count:
                    return
        except KeyboardInterrupt:
            return
    session.err.print("the daemon has ended the stream")


def _print_event(session: Session, event: Event) -> None:
    if session.json:
        emit_json(ok_envelope(event))
        return
    when = clock(datetime.fromtimestamp(event.time / 1000, UTC))
    style = "yellow" if event.type is EventKind.GAP or event.type.severity in _YELLOW else "none"
    line = f"{when} {event.seq:>6} r{event.round} {event.type:<10} {event.text}"
    session.out.print(Text(visible(line), style=style))


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("logs")(logs)
    app.command("events")(events)
