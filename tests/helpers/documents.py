"""Documents that are run: their commands, one shell that they are typed into, and what they say that it prints."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from tests.helpers.daemons import environment

NEEDS_MORE: Final = ("make ", "docker ")
"""Commands that CI runs itself, or that need an engine."""

LOOKING: Final = frozenset({"status", "history", "round", "members", "ledger", "rewards", "applications", "motions", "alliance"})
"""Commands of `bflc-cli` that change nothing: a reader types them again until they show what is waited for."""

_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ID: Final = re.compile(r"\b[0-9a-f]{8}\b(?:\.\.\.)?")
_DIGITS: Final = 8
_PIECE: Final = re.compile(rf"(?P<id>{_ID.pattern})|(?P<gap>\.\.\.)|(?P<blank>\s+)|(?P<text>.)")
_MOST_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Step:
    """What is typed, and what the document says that it prints; "" where it says nothing."""

    typed: str
    shown: str

    @property
    def looks(self) -> bool:
        """Whether it may be typed again: all of its lines only look."""
        return all(_verb(line) in LOOKING for line in self.typed.splitlines())


def steps_of(text: str) -> list[Step]:
    """The `sh` blocks of a document or a part of one, each with the `text` block that follows it, if one does before the next."""
    steps: list[Step] = []
    for kind, block in _BLOCK.findall(text):
        if kind == "sh":
            lines = [line.split("   #")[0].rstrip() for line in block.splitlines()]
            typed = "\n".join(line for line in lines if line and not line.startswith(NEEDS_MORE))
            steps += [Step(typed, "")] if typed else []
        elif kind == "text" and steps and not steps[-1].shown:
            steps[-1] = Step(steps[-1].typed, block)
    return steps


def typed_environment() -> dict[str, str]:
    """The installed commands on the path."""
    return environment(PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin")


class Reader:
    """What the ids of a document are called here: those that it shows were drawn when it was written.

    An id stands in a document as its first eight digits, with `...` behind them for the rest. The first output that shows it says what
    it is here; from then on it is that in outputs and commands. `known`: what else is called otherwise here.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = dict(known)
        self._ids: dict[str, str] = {}

    def command(self, typed: str) -> str:
        """What to type here."""
        own = self._renamed(typed)
        return _ID.sub(lambda found: self._id(found[0]), own)

    def matches(self, shown: str, printed: str) -> bool:
        """Whether that was printed: line for line, where `...` is anything in a line, or any lines if it stands alone. Learns ids."""
        lines = [line.rstrip() for line in self._renamed(shown).splitlines() if line.strip()]
        names: set[str] = set()
        pattern = "".join(r"(?:.*\n)*?" if line == "..." else self._pattern(line, names) + r"[ \t]*\n" for line in lines)
        found = re.fullmatch(pattern, "".join(f"{line}\n" for line in printed.splitlines() if line.strip()))
        if found is None:
            return False
        groups = found.groupdict()
        for name in {name.removeprefix("rest_") for name in names}:
            begins, rest = groups.get(f"id_{name}") or self._ids[name][:_DIGITS], groups.get(f"rest_{name}") or ""
            self._ids[name] = max(self._ids.get(name, ""), begins + rest, key=len)
        return True

    def _renamed(self, text: str) -> str:
        for theirs, ours in self._known.items():
            text = re.sub(rf"\b{re.escape(theirs)}\b", ours, text)
        return text

    def _id(self, found: str) -> str:
        name = found.removesuffix("...")
        full = self._ids.get(name, name)
        return full if found.endswith("...") else full[:_DIGITS]

    def _pattern(self, line: str, names: set[str]) -> str:
        """Of one line; `names` are those of the lines before, and get this one's."""
        parts = []
        for piece in _PIECE.finditer(line):
            if piece["id"]:
                name, whole = piece["id"][:_DIGITS], piece["id"].endswith("...")
                known, group = self._ids.get(name, ""), f"rest_{name}"
                if known:
                    parts.append(known[:_DIGITS])
                else:
                    parts.append(f"(?P=id_{name})" if name in names else f"(?P<id_{name}>[0-9a-f]{{{_DIGITS}}})")
                if whole:
                    seen = group in names
                    parts.append(known[_DIGITS:] or (f"(?P={group})" if seen else f"(?P<{group}>[0-9a-f]*)"))
                    names.add(group)
                names.add(name)
            else:
                parts.append(".*?" if piece["gap"] else r"\s+" if piece["blank"] else re.escape(piece["text"]))
        return "".join(parts)


@dataclass(slots=True)
class Typed:
    """One shell in a directory, into which blocks are typed: what they set, define and start in the background stays."""

    directory: Path
    process: "subprocess.Popen[bytes]" = field(init=False)
    _typing: int = field(init=False)
    _output: int = field(init=False)

    def __post_init__(self) -> None:
        ours, self._typing = os.pipe()
        self._output, theirs = os.pipe()
        loop = (
            f"trap 'failed=\"${{failed:-$BASH_COMMAND}}\"' ERR; while IFS= read -r -d '' block <&{ours}; do failed=; "
            f'eval "$block" {ours}<&-; printf "\\0%s\\0" "$failed"; done'
        )
        self.process = subprocess.Popen(
            ["bash", "--norc", "-c", loop],
            cwd=self.directory,
            env=typed_environment(),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            pass_fds=(ours,),
            start_new_session=True,
        )
        os.close(ours)
        os.close(theirs)

    def run(self, block: str) -> tuple[str, str]:
        """What a block printed, and the command of it that failed, if one did."""
        os.write(self._typing, block.encode() + b"\0")
        printed = b""
        while printed.count(b"\0") < 2:
            more = os.read(self._output, _MOST_BYTES)
            assert more, f"the shell has ended:\n{printed.decode(errors='replace')}"
            printed += more
        text, failed, _ = printed.split(b"\0")
        return text.decode(), failed.decode()

    def close(self) -> None:
        """End it, and all that was started in it."""
        os.close(self._typing)
        started = [one for one in psutil.process_iter() if _session(one) == self.process.pid]
        for process in started:
            if process.pid != self.process.pid:
                process.send_signal(signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(started, timeout=20)
        os.close(self._output)


def follow(step: Step, reader: Reader, shell: Typed, seconds: float) -> None:
    """Type what a step says; looking is repeated until it shows what the document says, for so long."""
    typed, end = reader.command(step.typed), time.monotonic() + seconds
    while True:
        printed, failed = shell.run(typed)
        good = not failed and (not step.shown or reader.matches(step.shown, printed))
        if good:
            return
        if not step.looks or time.monotonic() > end:
            raise AssertionError(f"{typed}\nfailed: {failed or '-'}\nshould print\n{step.shown}\nprinted\n{printed}")


def _verb(line: str) -> str:
    """The command of `bflc-cli` in a line; "" where it is none."""
    words = shlex.split(line)
    if words[:2] != ["bflc-cli", "--datadir"]:
        return ""
    rest = words[3:]
    while rest and rest[0].startswith("-"):
        rest = rest[2:] if rest[0] in {"--wait", "--timeout"} else rest[1:]
    return rest[0] if rest and not {"|", ">"} & set(rest) else ""


def _session(process: psutil.Process) -> int:
    """The session of a living process, or 0."""
    try:
        return 0 if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
        return 0
