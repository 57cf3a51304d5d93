"""What a process asks of the kernel for itself: no dump of its memory, no new rights, limits; on Linux, elsewhere less.

prctl(2) has no name in Python, so it is called by its numbers. A process that can't be dumped can't be traced by others of its
user either, nor is its memory to be read under /proc: a compute worker that runs strange code can't look into its daemon so.
"""

import ctypes
import errno
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

WANTED_FILES: Final = 4096
"""Open files that a daemon asks for, if the hard limit gives as many."""

NEEDED_FILES: Final = 1024
"""Below this a large community's connections (some 700), the API's and the store's files may run into the limit."""

WORKER_FILE_BYTES: Final = 2**30
"""Largest file that a worker may write: caches of compiled kernels are far smaller, models travel by pipe."""

OWNER_ONLY: Final = 0o077
"""The umask of all that makes or runs a node."""

_DESCRIPTORS: Final = Path("/dev/fd")

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38


def keep_to_owner() -> None:
    """From now on files are made for their owner alone."""
    os.umask(OWNER_ONLY)


def harden_daemon() -> str:
    """Keep the key in memory from others of this user, and have files to open, for itself; returns a warning, or nothing."""
    keep_to_owner()
    _keep_memory()
    _keep_descriptors()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < NEEDED_FILES:
        return f"only {wanted} files may be open at once: callers may be turned away; raise the limit (ulimit -n {NEEDED_FILES})"
    return ""


def confine_worker(memory: int = 0) -> None:
    """Give up what computing does not need, and end with the daemon. `memory`: bytes of data, 0 for no limit.

    No limit on processes: the kernel counts all threads of the user, those of other nodes too.
    """
    _keep_memory()
    _lower(resource.RLIMIT_FSIZE, WORKER_FILE_BYTES)
    if memory:
        _lower(resource.RLIMIT_DATA, memory)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # A daemon that died before this line has closed our input, which ends us as well.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _keep_descriptors() -> None:
    """What whoever started us has left open is not for our worker: libuv hands on what does not say otherwise."""
    if not _DESCRIPTORS.is_dir():
        return
    for descriptor in sorted(int(path.name) for path in _DESCRIPTORS.iterdir()):
        try:
            if descriptor > 2:
                os.set_inheritable(descriptor, False)
        except OSError as error:
            if error.errno != errno.EBADF:  # the listing's own, which is closed by now
                raise


def _keep_memory() -> None:
    _lower(resource.RLIMIT_CORE, 0)
    _prctl(_PR_SET_DUMPABLE, 0)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (lowered, lowered))


def _prctl(option: int, value: int) -> None:
    """Raises OSError. Other systems have no such call: nothing is done there (docs/threat-model.md)."""
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(ctypes.c_int(option), *(ctypes.c_ulong(number) for number in (value, 0, 0, 0))) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
