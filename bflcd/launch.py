"""How a program of ours begins and ends: its streams, the loading of its parts, its last output."""

from collections.abc import Callable
from typing import Final

from bflcd.faults import fault_of
from bflcd.streams import open_streams, settle_completion, settle_output, settle_size, settle_threads, tell

_FAILED: Final = 1
"""EXIT_FAILED of `bflcd.exit_codes`, which is not loaded yet where it is needed here."""


def launch(program: str, load: Callable[[], Callable[[], int]]) -> int:
    """Load a program's command and run it to its exit code; a machine that is too small to load it is told as that.

    `load`: imports what the command takes, and gives it. What is a bug while loading is raised.
    """
    try:
        open_streams()
        settle_size()
        settle_completion()
        settle_threads()
        command = load()
    except KeyboardInterrupt:
        tell(f"{program}: interrupted\n")
        return _FAILED
    except Exception as error:
        fault = fault_of(error)
        if fault is None:
            raise
        tell(f"{program}: cannot start: {fault}\n  hint: {fault.hint}\n")
        return _FAILED
    code = command()
    lost = settle_output()
    if lost is None or code:
        return code
    if not isinstance(lost, BrokenPipeError):
        fault = fault_of(lost)
        tell(f"{program}: {fault}\n" + (f"  hint: {fault.hint}\n" if fault is not None else ""))
    return _FAILED
