"""The three standard streams, and what variables say that libraries read as they are loaded.

The streams are open whatever the caller did to them, fit for every name, and never a second failure.
"""

import errno
import os
import re
import sys
from io import BufferedWriter, FileIO, StringIO, TextIOWrapper
from typing import Any, Final

_SPELLING: Final = "backslashreplace"
"""For what a terminal's encoding can't write, and for names that are no UTF-8."""


_COMPLETION: Final = "_BFLC_CLI_COMPLETE"
"""The variable by which a shell asks the control command for completions."""

_COMPLETED: Final = re.compile(r"(source|complete)_(bash|zsh|fish|powershell|pwsh)")

_SIZES: Final = ("COLUMNS", "LINES")

_SIZE_DIGITS: Final = 4
"""A wider terminal is no terminal: a table is padded to it with blanks."""


class _Output(FileIO):
    """Stdout, whose errors say what they are of, as those of files do; once given up, it takes what is held nowhere."""

    given_up = False

    def write(self, data: Any, /) -> int:
        """Write some of `data`. Raises OSError naming the output."""
        if self.given_up:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "the output"
            raise


def open_streams() -> None:
    """Open on nothing what the caller has closed, before a file of ours gets that number; spell out what can't be written.

    Raises OSError if there is nothing to open.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one
    # Python has none for a descriptor that was closed when it began.
    sys.stdin = sys.stdin or open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - for the process's life
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
    before = sys.stdout
    if before is None or before is sys.__stdout__:  # else whoever calls us has its own
        raw, encoding = _Output(1, "wb", closefd=False), "utf-8" if before is None else before.encoding
        sys.stdout = TextIOWrapper(BufferedWriter(raw), encoding, line_buffering=raw.isatty())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_SPELLING)


def settle_size() -> None:
    """Drop what variables say of the terminal's size unless it can be one: libraries take digits of any script and number."""
    for name in _SIZES:
        said = os.environ.get(name, "")
        if said and not (said.isascii() and said.isdigit() and len(said) <= _SIZE_DIGITS and int(said)):
            del os.environ[name]


def settle_completion() -> None:
    """Drop what asks for a completion in a shell that there is none for: it would be answered before the command is looked at."""
    if _COMPLETION not in os.environ or _COMPLETED.fullmatch(os.environ[_COMPLETION]):
        return
    del os.environ[_COMPLETION]


def settle_threads() -> None:
    """Have numpy's algebra start no thread a core as it is loaded: nothing here needs them, and where the system refuses one, the
    library interrupts the process (SIGINT). The compute worker gets counts of its own."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def tell(text: str) -> None:
    """Write to stderr. Where that fails nobody can be told; the exit code still says that something went wrong."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # ValueError: it was closed
        sys.stderr = StringIO()


def settle_output() -> OSError | None:
    """Write out what stdout still holds; why it can't be, if so. What is lost then must not be tried again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
        if isinstance(raw, _Output):
            raw.given_up = True
        sys.stdout = StringIO()
        return error
    except ValueError:  # closed: nothing is held
        return None
    return None
