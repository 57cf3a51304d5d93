"""The three standard streams: open whatever the caller did to them, fit for every name, never a second failure."""

import errno
import os
import sys
from io import StringIO, TextIOWrapper
from typing import Final

from bflcd.errors import MachineError, OperatorError
from bflcd.faults import fault_of

_SPELLING: Final = "backslashreplace"
"""For what a terminal's encoding can't write, and for names that are no UTF-8."""


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
    sys.stdout = sys.stdout or _writer(1)
    sys.stderr = sys.stderr or _writer(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_SPELLING)


def _writer(descriptor: int) -> TextIOWrapper:
    return open(descriptor, "w", encoding="utf-8", errors=_SPELLING, closefd=False)


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
        sys.stdout = StringIO()
        return error
    except ValueError:  # closed: nothing is held
        return None
    return None


def output_fault(error: BaseException) -> OperatorError | MachineError | None:
    """The fault if `error` came from writing to stdout, which then is given up; None if it came from elsewhere."""
    if not isinstance(error, OSError) or error.filename is not None or settle_output() is None:
        return None
    return fault_of(error, "the output can't be written")
