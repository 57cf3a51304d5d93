"""Logging: a line for people or a JSON object a record, with node, round and view; a bounded file for `bflc-cli logs`."""

import errno
import json
import logging
import os
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, Literal, TextIO

from bflcd.faults import refused
from bflcd.limits import visible
from bflcd.streams import tell

LOG_DIR: Final = "log"
LOG_FILE: Final = "bflcd.log"

FILE_BYTES: Final = 4 * 1024 * 1024
"""Size at which the log file is rotated."""

FILE_BACKUPS: Final = 3
"""Rotated files kept: 16 MiB of log in all."""

MAX_MESSAGE: Final = 8 * 1024
"""Characters of one message or traceback; what a peer makes us log must not fill the file."""

PEERS_LINES: Final = 60
"""Lines of one kind within a minute that peers may bring about: what they do a thousand times must not fill the file either."""

_PEERS: Final = ("bflcd.net.", "bflcd.node.following", "bflcd.node.history", "bflcd.node.joining")
"""Loggers whose lines peers bring about. Others say so of a single line: `extra=by_peers(kind)`."""

_MINUTE: Final = 60.0

_COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
"""SGR codes of the ANSI terminal."""

_NOISY: Final = ("libp2p", "multiaddr", "aiohttp.access", "asyncio")
"""Libraries whose warnings say nothing that our own lines don't: errors only."""

_HANDLER_NAME: Final = "bflcd"

_MARK: Final = "brought_about_by_peers"
_VERDICT: Final = "is_written"

LogFormat = Literal["auto", "text", "json"]


@dataclass(slots=True)
class LogContext:
    """Where the node stands; the runtime updates it, every line carries it. None: not known yet."""

    node: str = ""
    round: int | None = None
    view: int | None = None

    def update(self, *, round_: int, view: int) -> None:
        """Set both."""
        self.round, self.view = round_, view


def by_peers(kind: str) -> dict[str, str]:
    """The `extra` of a line that peers may bring about as often as they like; `kind`: what is counted together."""
    return {_MARK: kind}


class PeersLines(logging.Filter):
    """Passes `PEERS_LINES` lines of a kind a minute; the first of the next minute says how many were left out.

    A kind is the place in the code that logs, unless the line itself names it. All handlers share one, and decide alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._counted: dict[object, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; counts it once, whatever number of handlers ask."""
        kind = getattr(record, _MARK, None) or ((record.name, record.lineno) if record.name.startswith(_PEERS) else None)
        if kind is None:
            return True
        if not hasattr(record, _VERDICT):
            with self._lock:
                setattr(record, _VERDICT, self._counts(kind, record))
        return bool(getattr(record, _VERDICT))

    def _counts(self, kind: object, record: logging.LogRecord) -> bool:
        since, count = self._counted.get(kind, (record.created, 0))
        if record.created - since >= _MINUTE:
            left_out = count - PEERS_LINES
            if left_out > 0:
                record.msg, record.args = f"{record.getMessage()} (and {left_out} lines like it were left out)", None
            since, count = record.created, 0
        self._counted[kind] = since, count + 1
        return count < PEERS_LINES


class TextFormatter(logging.Formatter):
    """`14:03:07.512 INFO  1a2b3c4d r12 v0 runtime: message`."""

    def __init__(self, context: LogContext, *, colour: bool) -> None:
        super().__init__()
        self._context, self._colour = context, colour

    def format(self, record: logging.LogRecord) -> str:
        """The line; a traceback follows on lines of its own."""
        when = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = f"{record.levelname:<7}"
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        context = self._context
        place = [context.node] if context.node else []
        place += [f"r{context.round}"] if context.round is not None else []
        place += [f"v{context.view}"] if context.view is not None else []
        message = visible(_shortened(record.getMessage()))
        line = " ".join((when, level, *place, f"{record.name.removeprefix('bflcd.')}: {message}"))
        return (
            line
            if record.exc_info is None
            else f"{line}\n{visible(_shortened(self.formatException(record.exc_info)), lines=True)}"
        )


class JsonFormatter(logging.Formatter):
    """One JSON object: time (UTC, ISO 8601), level, node, round, view, logger, message, and exception where there is one."""

    def __init__(self, context: LogContext) -> None:
        super().__init__()
        self._context = context

    def format(self, record: logging.LogRecord) -> str:
        """The object, on one line."""
        context = self._context
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "node": context.node,
            "round": context.round,
            "view": context.view,
            "logger": record.name,
            "message": _shortened(record.getMessage()),
        }
        if record.exc_info is not None:
            fields["exception"] = _shortened(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=True)


class _BoundedFile(RotatingFileHandler):
    """The log file: whatever its name leads to. Who moves or removes the file from outside finds the next line in a new one.

    A full disk costs log lines, never the node: the first failure is told on stderr, later ones are not.
    """

    _told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, into a new file if the old one is gone."""
        try:
            if self.stream is not None and self._is_gone(self.stream.fileno()):
                stream, self.stream = self.stream, None  # should no new one be had, the next line asks for it again
                stream.close()
                self.stream = self._open()
                text = "the log goes on in a new file: the old one was moved or removed from outside"
                super().emit(logging.LogRecord(__name__, logging.INFO, __file__, 0, text, None, None))
        except OSError:
            self.handleError(record)
        else:
            super().emit(record)

    def _is_gone(self, descriptor: int) -> bool:
        found = os.fstat(descriptor)
        try:
            named = os.stat(self.baseFilename)  # noqa: PTH116 - logging keeps the name as text
        except FileNotFoundError:
            return True
        return (named.st_dev, named.st_ino) != (found.st_dev, found.st_ino)

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(mode=0o700, exist_ok=True)
        return super()._open()

    def close(self) -> None:
        """Close the file; what a full disk did not take is lost, as its lines were."""
        with suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Say once that the file can't be written."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and not self._told:
            self._told = True
            todo = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check its folder's owner and mode"
            tell(visible(f"{self.baseFilename}: log lines are lost: {error.strerror}; {todo}\n", lines=True))
        elif not isinstance(error, OSError):
            super().handleError(record)


def set_up_logging(
    level: str, log_format: LogFormat, datadir: Path | None, context: LogContext, *, stream: TextIO | None = None
) -> None:
    """Send records from `level` on to `stream` (default stderr), and from info (or lower) on to the file under `datadir`.

    Replaces what an earlier call set up. Raises MachineError if the file can't be opened.
    """
    shut_down_logging()
    chosen = logging.getLevelNamesMapping()[level.upper()]
    out = sys.stderr if stream is None else stream
    terminal = logging.StreamHandler(out)
    terminal.setFormatter(JsonFormatter(context) if log_format == "json" else TextFormatter(context, colour=out.isatty()))
    terminal.setLevel(chosen)
    handlers: list[logging.Handler] = [terminal]
    lowest = chosen
    if datadir is not None:
        lowest = min(chosen, logging.INFO)
        handlers.append(_open_file(datadir / LOG_DIR, context, lowest))
    root = logging.getLogger()
    bounded = PeersLines()
    for handler in handlers:
        handler.addFilter(bounded)
        handler.set_name(_HANDLER_NAME)
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in ("bflcd", "bflc_cli"):
        logging.getLogger(name).setLevel(lowest)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)


def shut_down_logging() -> None:
    """Remove and close what `set_up_logging` set up; harmless if nothing was."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if handler.get_name() == _HANDLER_NAME]:
        root.removeHandler(handler)
        handler.close()


def _open_file(directory: Path, context: LogContext, level: int) -> logging.Handler:
    path = directory / LOG_FILE
    try:
        handler = _BoundedFile(path, maxBytes=FILE_BYTES, backupCount=FILE_BACKUPS, encoding="utf-8")
    except OSError as error:
        raise refused(f"{path}: the log can't be opened", error) from error
    handler.setFormatter(JsonFormatter(context))
    handler.setLevel(level)
    return handler


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}... ({len(text)} characters)"
