"""How a compute worker's process is started, and where its streams lead."""

import asyncio
import logging
import os
import subprocess
import sys
from asyncio.subprocess import Process, SubprocessStreamProtocol
from typing import Final

from bflcd.faults import is_homeless, refused
from bflcd.learn.health import fault_of
from bflcd.learn.protocol import WorkerError

logger = logging.getLogger(__name__)

_STDERR_LINE_BYTES: Final = 8192
"""A longer line of the worker's standard error is logged in pieces."""

_PIPE_BYTES: Final = 2**20
"""Bytes of the worker's answer that may wait unread."""


def command(memory: int = 0) -> tuple[str, ...]:
    """What starts a worker. `memory`: bytes that the worker may use, 0 for no limit."""
    return sys.executable, "-P", "-m", "bflcd.learn.worker", *([str(memory)] if memory else [])


class _Streams(SubprocessStreamProtocol):
    """Standard output as a stream; standard error line by line to the log, so that no task has to wait for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_PIPE_BYTES, loop=loop)
        self._line = b""

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        """Standard error is logged and not kept."""
        assert isinstance(data, bytes)
        if fd != 2:
            super().pipe_data_received(fd, data)
            return
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > _STDERR_LINE_BYTES:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            logger.warning("compute worker: %s", line[:_STDERR_LINE_BYTES].decode(errors="replace"))


async def spawn(environment: dict[str, str], memory: int) -> Process:
    """A worker with these variables that may use so many bytes, 0 for no limit. Raises WorkerError."""
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: _Streams(loop),
            *command(memory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=standing(),
        )
    except OSError as error:
        raise unstartable(error) from error
    return Process(transport, protocol, loop)


def standing() -> str | None:
    """Where a worker starts: where we stand. Torch's libraries end a process whose working directory was removed."""
    return os.sep if is_homeless() else None


def unstartable(error: OSError) -> WorkerError:
    """The system starts no worker: why, and what to do."""
    fault = refused("the compute worker can't be started", error)
    return WorkerError(f"{fault}; {fault.hint}", fault_of(fault))
