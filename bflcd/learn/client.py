"""The daemon's side of the compute worker: `learn.protocol.Compute` over a child process, without torch."""

import asyncio
import logging
import os
import signal
import subprocess
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from bflcd.errors import OperatorError
from bflcd.learn.attacks import AttackConfig
from bflcd.learn.checks.results import check_result
from bflcd.learn.data import DataConfig
from bflcd.learn.environment import worker_environment
from bflcd.learn.frames import LENGTH_BYTES, Frame, FrameError, decode_head, frame_parts, head_length, read_frame
from bflcd.learn.health import Work, WorkHealth, fault_of
from bflcd.learn.messages import DescribeRequest, Job, Ready, Setup, TaskDescription, frame_of, read_as
from bflcd.learn.protocol import (
    EvaluateJob,
    EvaluateResult,
    PayloadError,
    ScoreJob,
    ScoreResult,
    TrainJob,
    TrainResult,
    WatchJob,
    WatchResult,
    WorkerError,
)
from bflcd.learn.spawning import command, spawn, standing, unstartable
from bflcd.params import TaskSpec

logger = logging.getLogger(__name__)

START_SECONDS: Final = 180.0
"""Longest start of a worker: importing torch takes a second, ten at once on a small machine far more, a large data set too."""

CANCEL_SECONDS: Final = 1.0
"""What a cancelled job may take to reach the end of its batch before the worker is killed."""

HANG_SECONDS: Final = 30.0
"""A job that ran for so long, and did not obey when it was cancelled, has failed; that a round ended early is no fault."""

WATCH_SECONDS: Final = 20.0
"""Longest look at a model, of a small pass: a round may wait for the worker that long, should its task hang."""

CLOSE_SECONDS: Final = 2.0
"""What a worker may take to end once its input is closed."""

_WORK: Final = {TrainJob: Work.TRAIN, ScoreJob: Work.SCORE, EvaluateJob: Work.MEASURE, WatchJob: Work.WATCH}

T = TypeVar("T")
R = TypeVar("R", TrainResult, ScoreResult, EvaluateResult, WatchResult)


class WorkerClient:
    """Implements `learn.protocol.Compute`: one worker, one job at a time, replaced when it died or a job of it failed.

    A process may be past help though it answers: a GPU that was lost, data that is no longer what it read. So the next job gets a
    new one; what goes on failing is tried less and less often (`learn.health`).

    Cancelling an awaiting call cancels the job at its next batch; a worker that does not obey within a second is killed.
    """

    def __init__(
        self,
        task: TaskSpec,
        data: DataConfig,
        *,
        validation_fraction: int,
        split_seed: int,
        device: str = "auto",
        threads: int = 1,
        attack: AttackConfig | None = None,
        private: bool = False,
        environment: tuple[str, ...] = (),
        memory: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`validation_fraction` in millionths; `split_seed`: below 2^63, private to the node and the same at each start, else
        validation rows would have been trained on before the restart. `attack`: what the worker lies by, if it shall.
        `private`: no job trains without noise.
        `environment`: names of variables that it gets beside the usual ones. `memory`: bytes that it may use, 0 for no limit.
        `now`: the seconds by which pauses are counted.
        """
        self._setup = Setup(task, data, validation_fraction, split_seed, device, threads, attack, private)
        self._environment = worker_environment(threads, os.environ, environment)
        self._memory = memory
        self._now = now
        self._lock = asyncio.Lock()
        self._process: Process | None = None
        self._starting: asyncio.Task[Process] | None = None
        self._ready: Ready | None = None
        self._killed = False
        self._closed = False
        self.starts = 0
        """Processes started so far; each above the first took the place of one that died or failed."""
        self.health = WorkHealth(now)
        """What of the work fails."""

    @property
    def ready(self) -> Ready | None:
        """Device and numbers of rows, once started."""
        return self._ready

    @property
    def pid(self) -> int | None:
        """The running worker's process id."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start the process, load task and data. Raises OperatorError when they are at fault, WorkerError if the process dies."""
        async with self._lock:
            await self._ensure_started()

    async def train(self, job: TrainJob) -> TrainResult:
        """Raises WorkerError."""
        return await self._call(job, TrainResult)

    async def score(self, job: ScoreJob) -> ScoreResult:
        """Raises WorkerError."""
        return await self._call(job, ScoreResult)

    async def evaluate(self, job: EvaluateJob) -> EvaluateResult:
        """Raises WorkerError."""
        return await self._call(job, EvaluateResult)

    async def watch(self, job: WatchJob) -> WatchResult:
        """Raises WorkerError; the process goes on, since no other job waits for this one's sake."""
        return await self._call(job, WatchResult, WATCH_SECONDS)

    async def close(self) -> None:
        """End the process within 3 seconds; a job that runs fails with WorkerError. Idempotent."""
        self._closed = True
        await self._give_up_start()
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await process.wait()
        except TimeoutError:
            self._kill(process)
            await process.wait()

    async def _call(self, job: Job, result: type[R], seconds: float | None = None) -> R:
        """Do a job, once those before it are done. `seconds`: what it may take. Raises WorkerError."""
        work = _WORK[type(job)]
        async with self._lock:
            refusal = self.health.refusal(work)
            if refusal:
                raise WorkerError(refusal)
            try:
                process = await self._ensure_started()
            except OperatorError as error:  # the data was fine at the start: it changed under us
                raise WorkerError(f"the compute worker cannot start: {_in_full(error)}", fault_of(error)) from error
            try:
                async with asyncio.timeout(seconds):
                    frame = await self._exchange(process, frame_of(job), work)
                found = self._read(process, result, frame)
                check_result(job, found)
            except TimeoutError as error:
                text = f"{work} took more than {seconds} s, and was given up: nobody waits for it"
                self.health.failed(work, text)
                raise WorkerError(text) from error
            except WorkerError as error:
                self.health.failed(work, str(error), error.fault)
                if work is not Work.WATCH and not isinstance(error, PayloadError):
                    self._kill(process)
                raise
            self.health.succeeded(work)
            return found

    async def _ensure_started(self) -> Process:
        """The running worker, or a new one that has loaded task and data.

        A start outlives the job that it was begun for: where rounds are shorter than it takes, it would be begun for ever.
        """
        if self._closed:
            raise WorkerError("the compute worker was closed")
        if self._starting is None:
            process = self._process
            if process is not None and self._killed:
                await process.wait()
            if process is not None and process.returncode is None:
                return process
            refusal = self.health.refusal(Work.START)
            if refusal:
                raise WorkerError(refusal)
            # Not bare: every later call awaits it, and so does `close`.
            self._starting = asyncio.create_task(self._start(), name="start of the compute worker")  # noqa: TID251
        starting = self._starting
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if starting.cancelled() and not _is_being_cancelled():
                raise WorkerError("the compute worker was closed while it started") from None
            raise
        finally:
            if starting.done():
                self._starting = None

    async def _give_up_start(self) -> None:
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)

    async def _start(self) -> Process:
        try:
            process = await self._load()
        except OperatorError as error:
            self.health.failed(Work.START, _in_full(error), fault_of(error))
            raise
        except WorkerError as error:
            self.health.failed(Work.START, str(error), error.fault)
            raise
        self.health.succeeded(Work.START)
        return process

    async def _load(self) -> Process:
        """A new process that has loaded task and data."""
        process = await spawn(self._environment, self._memory)
        self.starts += 1
        self._process, self._killed = process, False
        try:
            async with asyncio.timeout(START_SECONDS):
                self._ready = self._read(process, Ready, await self._ask(process, frame_of(self._setup)))
        except TimeoutError as error:
            self._kill(process)
            raise WorkerError(f"the compute worker did not start within {START_SECONDS:.0f} s") from error
        except BaseException:
            self._kill(process)
            raise
        ready = self._ready
        logger.info(
            "compute worker %d runs on %s: %d rows to train on, %d to judge on, %d to test on",
            process.pid, ready.device, ready.training_rows, ready.validation_rows, ready.test_rows,
        )  # fmt: skip
        return process

    def _read(self, process: Process, expected: type[T], frame: Frame) -> T:
        """What a frame says. Raises what it says failed; WorkerError, and ends the worker, if it says nothing that it may."""
        try:
            return read_as(frame, expected)
        except FrameError as error:
            self._kill(process)
            raise WorkerError(f"the compute worker broke the frame protocol: {error}") from error

    async def _exchange(self, process: Process, frame: Frame, work: Work) -> Frame:
        """Send a job and await its answer; when cancelled, see that the worker is idle or dead before anyone else uses it."""
        begun = self._now()
        try:
            return await self._ask(process, frame)
        except asyncio.CancelledError:
            ran = self._now() - begun
            if not await self._cancel_job(process) and ran >= HANG_SECONDS:
                self.health.failed(
                    work,
                    f"it hung: after {ran:.0f} s it was not done, nor at the end of a batch, and was given up; "
                    "the data, the task or the device do not answer, or a batch takes too long",
                )
            raise

    async def _ask(self, process: Process, frame: Frame) -> Frame:
        assert process.stdin is not None
        try:
            process.stdin.writelines(frame_parts(frame))  # whole at once: a cancellation never leaves half a frame behind
            await process.stdin.drain()
            return await _answer(process)
        except FrameError as error:
            self._kill(process)
            raise WorkerError(f"the compute worker broke the frame protocol: {error}") from error
        except (asyncio.IncompleteReadError, ConnectionError, RuntimeError) as error:
            raise WorkerError(
                f"the compute worker {await self._death(process)} in mid-job; it is started again for the next"
            ) from error

    async def _cancel_job(self, process: Process) -> bool:
        """Whether the worker obeyed; else it is killed."""
        assert process.stdin is not None
        idle = False
        try:
            process.stdin.writelines(frame_parts(Frame("cancel")))
            async with asyncio.timeout(CANCEL_SECONDS):
                await _answer(process)
            idle = True
        except (TimeoutError, FrameError, asyncio.IncompleteReadError, ConnectionError, RuntimeError):
            logger.warning("compute worker %d did not give up a cancelled job and is killed", process.pid)
        finally:
            if not idle:
                self._kill(process)
        return idle

    async def _death(self, process: Process) -> str:
        """How a worker that has closed its pipe ended, in words; it is killed unless it soon ends by itself.

        Not killed at once: asyncio's kill looks whether it has ended, and then takes the exit code from who waits for it.
        """
        self._killed = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await process.wait()
        except TimeoutError:
            logger.warning("compute worker %d closed its pipe, goes on and is killed", process.pid)
        finally:
            self._kill(process)
        code = await process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _kill(self, process: Process) -> None:
        """Without waiting, so that it can be done while being cancelled; whoever uses the worker next awaits its end."""
        self._killed = True
        if process.returncode is None:
            try:
                process.kill()
            except ProcessLookupError:
                logger.debug("compute worker %d was gone already", process.pid)


def _in_full(error: OperatorError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def describe_task(
    factory: str, options: Mapping[str, str], *, seed: int, data: DataConfig | None = None, trial: bool = False
) -> TaskDescription:
    """What a genesis fixes of a task: options, tensor specification and model 0, made by a worker of its own. Blocks for seconds.

    `trial`: with a step of training and judging first. Raises OperatorError when task, options or data are at fault, WorkerError
    if the worker dies.
    """
    request = b"".join(frame_parts(frame_of(DescribeRequest(factory, dict(options), seed, data, trial))))
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            env=worker_environment(1, os.environ),
            cwd=standing(),
        )
    except OSError as error:
        raise unstartable(error) from error
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdout = process.stdout

        def read_exactly(size: int) -> bytes:
            data = stdout.read(size)
            if len(data) != size:
                raise EOFError
            return data

        try:
            process.stdin.write(request)
            process.stdin.flush()
            return read_as(read_frame(read_exactly), TaskDescription)
        except (EOFError, FrameError, BrokenPipeError) as error:
            raise WorkerError(
                f"the compute worker ended without describing the task {factory!r}; see its message above"
            ) from error


async def _answer(process: Process) -> Frame:
    assert process.stdout is not None
    prefix = await process.stdout.readexactly(LENGTH_BYTES)
    kind, fields, sizes = decode_head(await process.stdout.readexactly(head_length(prefix)))
    return Frame(kind, fields, tuple([await process.stdout.readexactly(size) for size in sizes]))
