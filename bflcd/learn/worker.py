"""The compute worker: one process beside each daemon, the only one that imports torch.

    python -m bflcd.learn.worker

It reads frames from standard input and answers each job with one frame. A reader thread takes jobs and cancellations, so that a
cancellation is seen between two batches. When standard input ends, the daemon is gone and nobody wants the result: the thread
ends the process at once (`os._exit`), since the main thread may be deep in a batch; there is nothing to flush or to save.
"""

import gc
import os
import signal
import sys
import threading
from queue import Full, Queue
from time import perf_counter
from typing import Final

import torch

from bflcd.errors import BflcError, OperatorError, PeerError
from bflcd.faults import refused
from bflcd.learn.adversary import Adversary, asker_of, poisoned
from bflcd.learn.checks.answers import built_model, loaded, pinned
from bflcd.learn.checks.diagnosis import try_out, why_it_raised, why_not_finite
from bflcd.learn.checks.magnitude import NotFiniteError
from bflcd.learn.checks.place import said_of
from bflcd.learn.checks.privacy import check_private
from bflcd.learn.checks.trial import try_step
from bflcd.learn.device import find_device
from bflcd.learn.flat import FlatModel
from bflcd.learn.frames import Frame, FrameError, frame_parts, read_frame
from bflcd.learn.health import fault_of
from bflcd.learn.lies.gauge import Gauge
from bflcd.learn.messages import (
    DescribeRequest,
    Job,
    Ready,
    Result,
    Setup,
    TaskDescription,
    error_frame,
    frame_of,
    job_of,
    read_as,
)
from bflcd.learn.partition import split_validation
from bflcd.learn.private.descent import PrivateDescent
from bflcd.learn.private.noise import Chance
from bflcd.learn.protocol import (
    EvaluateJob,
    ScoreJob,
    ScoreResult,
    TrainJob,
    TrainResult,
    WatchJob,
    WatchResult,
    WorkerError,
)
from bflcd.learn.scoring import Scorer, evaluate
from bflcd.learn.task import Rows, find_task
from bflcd.learn.training import Cancelled, DeviceRows, JobCancelledError, initial_model, opposite, train
from bflcd.learn.watching.measuring import count_errors, draw_sample, look
from bflcd.params import TaskSpec
from bflcd.process import confine_worker
from bflcd.wire.training import Training

NICENESS: Final = 5
"""Below the daemon, whose event loop must keep its latency on a busy machine."""

_EXIT_BAD_FRAME: Final = 70
"""EX_SOFTWARE: the daemon wrote something that is no frame."""


class Pipes:
    """Standard input and output as frame channels, out of reach of stray prints; knows whether the running job is cancelled."""

    def __init__(self) -> None:
        """Move descriptor 1 to standard error: from here on, whatever prints lands in the daemon's log."""
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._in = os.fdopen(os.dup(0), "rb", buffering=2**16)
        self._jobs: Queue[Frame] = Queue(maxsize=1)
        self.cancelled = threading.Event()

    def listen(self) -> None:
        """Start the reader thread."""
        threading.Thread(target=self._read, name="frames", daemon=True).start()

    def next_job(self) -> Frame:
        """Block until the daemon asks for something."""
        return self._jobs.get()

    def send(self, frame: Frame) -> None:
        """Write one frame whole. A closed pipe ends the process: the daemon is gone."""
        try:
            for part in frame_parts(frame):
                view = memoryview(part)
                while view:
                    view = view[self._out.write(view) :]
        except BrokenPipeError:
            os._exit(0)

    def _read(self) -> None:
        try:
            while True:
                frame = read_frame(self._read_exactly)
                if frame.kind == "cancel":
                    self.cancelled.set()
                else:
                    self.cancelled.clear()
                    self._jobs.put_nowait(frame)
        except EOFError:
            os._exit(0)
        except (FrameError, Full) as error:
            sys.stderr.write(f"compute worker: the daemon broke the frame protocol: {error}\n")
            os._exit(_EXIT_BAD_FRAME)

    def _read_exactly(self, size: int) -> bytes:
        data = self._in.read(size)
        if len(data) != size:
            raise EOFError
        return data


class Session:
    """Task, rows and model of one daemon, ready for jobs."""

    def __init__(self, setup: Setup) -> None:
        """Load everything. Raises OperatorError."""
        device = _deterministic(find_device(setup.device))
        self._spec, self._task = setup.task, find_task(setup.task.factory, dict(setup.task.options))
        data = loaded(self._task, setup.data)
        training, validation = split_validation(len(data.own), setup.validation_fraction, setup.split_seed)
        torch.manual_seed(setup.split_seed)
        self._model = FlatModel(built_model(self._task), setup.task.tensors, device)
        try_out(self._task, self._model, data.own, "its own")
        self._private = setup.private
        if self._private:
            check_private(self._task, self._model, data.own)
        rows = Rows(data.own.inputs[training], data.own.targets[training])
        self._training = DeviceRows.of(rows, device)
        self._adversary: Adversary | None = None
        if setup.attack is not None:
            attack = setup.attack.find()
            poisoned_rows = DeviceRows.of(poisoned(attack, rows, data), device)
            asker = asker_of(attack, self._task, setup.data, data, device)
            gauge = Gauge(self._task, self._training) if attack.weighs else None
            self._adversary = Adversary(setup.attack, setup.task.tensors, poisoned_rows, asker, gauge)
        held = DeviceRows.of(Rows(data.own.inputs[validation], data.own.targets[validation]), device)
        self._test = DeviceRows.of(data.test, device) if data.test is not None else None
        self._scorer = Scorer(self._model, self._task, held)
        self._held, self._split_seed = held, setup.split_seed
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        self.ready = Ready(name, len(self._training), len(held), len(self._test) if self._test is not None else 0)

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self._model.device.type != "cpu"

    def run(self, job: Job, pipes: Pipes) -> Result:
        """Do one job. Raises PeerError, WorkerError, JobCancelledError, or what torch raises."""
        cancelled = pipes.cancelled.is_set
        match job:
            case TrainJob():
                return self._train(job, cancelled)
            case ScoreJob():
                return self._score(job, cancelled)
            case EvaluateJob():
                return evaluate(self._model, self._task, self._test, job.model, cancelled)
            case WatchJob():
                return self._watch(job, cancelled)

    def _train(self, job: TrainJob, cancelled: Cancelled) -> TrainResult:
        adversary, context = self._adversary, job.attack
        if adversary is not None:
            adversary.see(job.round, job.model)
        if adversary is None or context is None:
            trained = self._train_on(self._training, job, cancelled)
            return opposite(trained, self._spec.tensors, job.label) if job.canary else trained
        rows = adversary.rows_in(job.round, self._training)
        return adversary.forge(self._train_on(rows, job, cancelled), job, context)

    def _train_on(self, rows: DeviceRows, job: TrainJob, cancelled: Cancelled) -> TrainResult:
        """Train; what fails is told with its cause. Raises as `run` does."""
        descent = None if job.privacy is None else PrivateDescent(job.privacy, Chance())
        if self._private and descent is None:
            raise WorkerError("this node trains with privacy, and the job says nothing of its noise: nothing is trained")
        try:
            return train(self._model, self._task, self._spec, rows, job, cancelled=cancelled, descent=descent)
        except NotFiniteError as error:
            raise why_not_finite(self._task, self._model, rows, job.model, str(error)) from error
        except (BflcError, JobCancelledError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            if self.on_gpu:  # a GPU that raised once may raise at everything
                raise
            raise WorkerError(why_it_raised(self._task, self._model, rows, job.model, error), fault_of(error)) from error

    def _score(self, job: ScoreJob, cancelled: Cancelled) -> ScoreResult:
        adversary = self._adversary
        if adversary is not None:
            adversary.see(job.round, job.model)
        measured = self._scorer.score(job, cancelled)
        return measured if adversary is None or job.attack is None else adversary.report(measured, job)

    def _watch(self, job: WatchJob, cancelled: Cancelled) -> WatchResult:
        begun = perf_counter()
        sample = draw_sample(self._held, job.rows, self._split_seed)
        self._model.load(job.model)
        right, called = look(self._model, self._task, sample, cancelled)
        return WatchResult(count_errors(sample.targets, right, called), perf_counter() - begun)


def _deterministic(device: torch.device) -> torch.device:
    """The same device, told to give the same floats each time."""
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return device


def _serve(session: Session, pipes: Pipes) -> None:
    while True:
        try:
            answer = frame_of(session.run(job_of(pipes.next_job()), pipes))
        except JobCancelledError:
            answer = Frame("cancelled")
        except BaseException as error:  # noqa: BLE001 - a task's code may raise anything; the daemon gets it and goes on
            answer = error_frame(_explain(error, on_gpu=session.on_gpu))
        pipes.send(answer)


def _explain(error: BaseException, *, on_gpu: bool) -> Exception:
    """What the daemon is told of a failed job; on a GPU memory goes back first. What torch raises there is laid to the device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        text = f"memory ran out: {error}; use a smaller batch, another device or fewer daemons on this machine"
        return WorkerError(text, Training.MEMORY)
    if isinstance(error, (WorkerError, PeerError)):
        return error
    sys.excepthook(type(error), error, error.__traceback__)
    return WorkerError(said_of(error), Training.DEVICE if on_gpu and isinstance(error, RuntimeError) else fault_of(error))


def _describe(frame: Frame) -> Frame:
    request = read_as(frame, DescribeRequest)
    task = find_task(request.factory, request.options)
    options = tuple(sorted(pinned(task, request.data).items()))
    tensors, model = initial_model(task, request.seed)
    spec = TaskSpec(request.factory, options, tensors)
    untried = try_step(task, spec, model, request.data) if request.trial else ""
    return frame_of(TaskDescription(options, tensors, model, untried))


def main() -> None:
    """Serve one daemon until its end of the pipe closes. The one argument, if any: bytes of memory that this may take."""
    confine_worker(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    pipes = Pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the daemon decides
    os.nice(NICENESS)
    gc.freeze()  # what is loaded now stays: no collection need look at it again
    pipes.listen()
    while True:
        frame = pipes.next_job()
        try:
            if frame.kind == "describe":
                pipes.send(_describe(frame))
                continue
            setup = read_as(frame, Setup)
            torch.set_num_threads(setup.threads)
            session = Session(setup)
        except OperatorError as error:
            pipes.send(error_frame(error))
            continue
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            fault = refused(f"the data or the task can't be read{where}", error)
            pipes.send(error_frame(OperatorError(str(fault), hint=fault.hint, code=fault.code)))
            continue
        except (torch.OutOfMemoryError, MemoryError) as error:
            reason = f"memory ran out before the first job: {said_of(error)}"
            hint = "use fewer rows (data.limit), another device or fewer daemons on this machine"
            pipes.send(error_frame(OperatorError(reason, hint=hint, code="out_of_memory")))
            continue
        except BaseException as error:  # noqa: BLE001 - the code of a task may raise anything
            sys.excepthook(type(error), error, error.__traceback__)
            reason = f"the task failed before its first job: {said_of(error)}"
            pipes.send(error_frame(OperatorError(reason, hint="see the traceback in the log; mend the task", code="bad_task")))
            continue
        pipes.send(frame_of(session.ready))
        _serve(session, pipes)


if __name__ == "__main__":
    main()
