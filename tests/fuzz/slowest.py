"""Fuzzing by time: which input took longest to handle, in processor time of the whole process, and how much work an input is."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.fuzz.target import Target

MARK: Final = "slowest::"
"""How a line of a harness's log begins that names a new slowest input."""


class Slowest:
    """Wraps a harness: `seconds`, `kind` and `data` are of the input that took most processor time, of all threads together."""

    def __init__(self, found: Target, keep: Path | None = None) -> None:
        self._found = found
        self._keep = keep
        self.seconds = 0.0
        self.kind = ""
        self.data = b""

    def __call__(self, data: bytes) -> None:
        """Handle one input; a new slowest one is printed, and kept where that was asked for."""
        began = time.process_time()
        self._found.one(data)
        seconds = time.process_time() - began
        if seconds > self.seconds:
            self.seconds, self.kind, self.data = seconds, self._found.kind(data), data
            sys.stdout.write(f"\n{MARK} {seconds * 1000:.3f} {len(data)} {self.kind}\n")
            sys.stdout.flush()
            if self._keep is not None:
                self._keep.write_bytes(data)


def last_of(log: str) -> tuple[float, str]:
    """Milliseconds and kind of the slowest input that a log names; nothing was handled if it names none."""
    lines = [line.split(maxsplit=3) for line in log.splitlines() if line.startswith(MARK)]
    return (float(lines[-1][1]), lines[-1][3]) if lines else (0.0, "none")


class Calls:
    """How many functions were called, Python's and the interpreter's own: work that no busy machine changes."""

    def __init__(self) -> None:
        self.count = 0

    def _profile(self, _frame: Any, event: str, _argument: object) -> None:
        if event in ("call", "c_call"):
            self.count += 1


@contextmanager
def counting() -> Iterator[Calls]:
    """Count the calls of this thread, and of those that start meanwhile, until the block ends."""
    calls, before = Calls(), sys.getprofile()
    threading.setprofile(calls._profile)
    sys.setprofile(calls._profile)
    try:
        yield calls
    finally:
        sys.setprofile(before)
        threading.setprofile(None)  # type: ignore[arg-type]
