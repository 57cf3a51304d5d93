"""The compute worker as the daemon sees it: real processes, real crashes."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from bflcd.errors import OperatorError
from bflcd.learn.client import HANG_SECONDS, WorkerClient, describe_task
from bflcd.learn.data import DataConfig
from bflcd.learn.health import Work
from bflcd.learn.private.mechanism import Mechanism
from bflcd.learn.protocol import EvaluateJob, ScoreJob, TrainJob, UpdateToScore, WatchJob, WorkerError
from bflcd.types import Digest, Round
from bflcd.wire.training import Training
from tests.helpers.learning import task_spec

LINE = "tests.helpers.worker_tasks:LineTask"


@pytest.fixture(scope="module")
def described():
    return describe_task(LINE, {}, seed=1)


def make_client(described, tmp_path, mode="", **fields):
    options = (("flag", str(tmp_path / "flag")), ("mode", mode))
    spec = task_spec(LINE, described.tensors)
    spec = type(spec)(LINE, options, described.tensors, local_epochs=50)
    return WorkerClient(spec, DataConfig(), **{"validation_fraction": 250_000, "split_seed": 9, "device": "cpu", **fields})


@pytest.fixture
async def open_client(described, tmp_path):
    clients = []

    def make(mode="", **fields):
        clients.append(make_client(described, tmp_path, mode, **fields))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


def train_job(described):
    return TrainJob(Round(0), described.model, 3, "mine")


def go_wrong(tmp_path):
    (tmp_path / "flag").touch()


def behave(tmp_path):
    (tmp_path / "flag").unlink()


async def test_trains_scores_and_evaluates(described, open_client):
    client = open_client()
    await client.start()
    assert (client.ready.training_rows, client.ready.validation_rows, client.ready.test_rows) == (48, 16, 32)
    trained = await client.train(train_job(described))
    assert trained.samples == 48
    assert (await client.train(train_job(described))).update == trained.update
    good = UpdateToScore(Digest(b"\1" * 32), trained.update, "mine")
    stolen = UpdateToScore(Digest(b"\2" * 32), trained.update, "other")
    scored = await client.score(ScoreJob(Round(0), described.model, (good, stolen), 1, 256, 4))
    assert [score.key for score in scored.scores] == [good.key]
    assert scored.scores[0].gain > 0
    assert [key for key, _ in scored.invalid] == [stolen.key]
    evaluated = await client.evaluate(EvaluateJob(described.model))
    assert evaluated.rows == 32


async def test_a_look_at_a_model_counts_errors_on_the_rows_that_it_judges_on(described, open_client):
    """Given sixteen rows to judge on / Then all of them are counted by class, of a smaller sample always the same, and no model alike."""
    client = open_client()
    found = (await client.watch(WatchJob(described.model, 256))).errors
    assert (found.total, found.labels) == (16, (0, 1))
    scored = await client.score(ScoreJob(Round(0), described.model, (), 1, 256, 4))
    assert scored.base_accuracy == (16 - found.wrong) * 1_000_000 // 16
    few = await client.watch(WatchJob(described.model, 9))
    await client.train(train_job(described))
    again = await client.watch(WatchJob(described.model, 9))
    assert few.errors == again.errors
    assert few.errors.total == 9


async def test_a_look_that_fails_leaves_the_worker_alone(described, open_client, tmp_path):
    """Given a task that raises / When a model is looked at / Then that fails, and the same process does the next job."""
    client = open_client("no words")
    await client.start()
    first = client.pid
    go_wrong(tmp_path)
    with pytest.raises(WorkerError, match="WordlessError"):
        await client.watch(WatchJob(described.model, 256))
    behave(tmp_path)
    assert client.health.fails(Work.WATCH)
    assert client.health.training is Training.TRAINS, "peers are told nothing of it"
    assert (await client.train(train_job(described))).samples == 48
    assert client.pid == first


async def test_a_look_that_hangs_is_given_up(described, open_client, tmp_path, monkeypatch):
    """Given a task that hangs / When a model is looked at / Then the look ends in its time, and a round's job gets a new process."""
    monkeypatch.setattr("bflcd.learn.client.WATCH_SECONDS", 0.2)
    client = open_client("stuck")
    await client.start()
    go_wrong(tmp_path)
    with pytest.raises(WorkerError, match=r"watching the models took more than 0\.2 s"):
        await client.watch(WatchJob(described.model, 256))
    behave(tmp_path)
    assert (await client.train(train_job(described))).samples == 48
    assert client.starts == 2


async def test_a_worker_for_privacy_trains_with_noise_or_not_at_all():
    described = describe_task("digits", {}, seed=1)
    spec = task_spec("digits", described.tensors)
    client = WorkerClient(
        spec, DataConfig(count=20), validation_fraction=0, split_seed=9, device="cpu", private=True, now=lambda: 0.0
    )
    try:
        with pytest.raises(WorkerError, match="says nothing of its noise"):
            await client.train(train_job(described))
        noisy = replace(train_job(described), privacy=Mechanism(noise=1000, clip=1.0, lots=2, steps=4))
        first, second = await client.train(noisy), await client.train(noisy)
        assert first.update != second.update, "no seed of a job says what the noise is"
        assert (first.samples, first.claim) == (client.ready.training_rows, None)
    finally:
        await client.close()


async def test_a_task_that_can_not_be_made_noisy_is_refused_at_the_start(open_client):
    with pytest.raises(OperatorError, match="can't be trained on with privacy") as refused:
        await open_client(private=True).start()
    assert refused.value.code == "bad_privacy"


async def test_a_worker_that_dies_in_mid_job_is_started_again(described, open_client, tmp_path):
    client = open_client("exit")
    await client.start()
    first = client.pid
    go_wrong(tmp_path)
    with pytest.raises(WorkerError, match="exit code 3"):
        await client.train(train_job(described))
    behave(tmp_path)
    assert (await client.train(train_job(described))).samples == 48
    assert client.pid != first


async def test_a_killed_idle_worker_is_started_again(described, open_client):
    client = open_client()
    await client.start()
    psutil.Process(client.pid).kill()
    deadline = time.monotonic() + 5
    while client.pid is not None and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert (await client.evaluate(EvaluateJob(described.model))).rows == 32


async def test_a_start_outlives_the_jobs_that_it_was_begun_for(described, open_client):
    """Given jobs that are cancelled sooner than a worker starts, as in short rounds, then it is started once and does a later one."""
    client = open_client()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.evaluate(EvaluateJob(described.model))
    assert (await client.evaluate(EvaluateJob(described.model))).rows == 32
    assert client.starts == 1


async def test_a_client_that_closes_while_its_worker_starts_leaves_no_process(described, open_client):
    client = open_client()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await client.start()
    pid = client.pid
    assert pid is not None
    await client.close()
    assert not psutil.pid_exists(pid)


async def test_whoever_waits_for_a_start_is_told_when_the_client_closes(described, open_client):
    """Given a job that waits for its worker, when the client is closed, then the job fails as any other does; it is not cancelled."""
    client = open_client()

    async def waits() -> None:
        with pytest.raises(WorkerError, match="was closed"):
            await client.evaluate(EvaluateJob(described.model))

    async with asyncio.TaskGroup() as group:
        job = group.create_task(waits())
        while client.pid is None:
            await asyncio.sleep(0.01)
        await client.close()
    assert not job.cancelled()


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("torch memory", "memory ran out"),
        ("poison", "past help"),
        ("sys.exit", r"SystemExit: 0 \(worker_tasks\.py line \d+, in misbehave: sys\.exit\(0\)\)"),
        ("interrupt", r"KeyboardInterrupt: .*in misbehave"),
        ("no UTF-8", r"ValueError: rows-\\udcff\.npz is damaged"),
        ("no words", "WordlessError: its own words raise RuntimeError"),
    ],
)
async def test_a_worker_whose_job_failed_is_replaced(described, open_client, tmp_path, mode, words):
    """Given a worker that answers with an error, and one that would answer so for ever, then the next job has a new process."""
    client = open_client(mode)
    await client.start()
    first = client.pid
    go_wrong(tmp_path)
    with pytest.raises(WorkerError, match=words):
        await client.train(train_job(described))
    assert client.health.training is (Training.MEMORY if mode == "torch memory" else Training.TASK)
    behave(tmp_path)
    assert (await client.train(train_job(described))).samples == 48
    assert (client.pid != first, client.starts, client.health.warnings()) == (True, 2, [])


async def test_what_goes_on_failing_is_tried_after_a_pause(described, open_client, tmp_path):
    """Given training that failed twice, then it is refused for a while, without a new process; judging is not."""
    now = [100.0]
    client = open_client("raise in training", now=lambda: now[0])
    go_wrong(tmp_path)
    for _ in range(2):
        with pytest.raises(WorkerError, match="unhappy"):
            await client.train(train_job(described))
    starts = client.starts
    with pytest.raises(WorkerError, match=r"training failed 2 times in a row and is tried again in 2 s; last: .*unhappy"):
        await client.train(train_job(described))
    assert (client.starts, client.health.failures) == (starts, 2)
    behave(tmp_path)
    await client.score(ScoreJob(Round(0), described.model, (), 1, 256, 4))
    assert client.health.failures == 2
    now[0] += 2
    assert (await client.train(train_job(described))).samples == 48
    assert client.health.failures == 0


async def test_data_that_is_mended_is_noticed_without_a_restart(described, open_client, tmp_path):
    """Given a cell that is no number, then the start says which; when it is mended, the next job finds the worker well."""
    now = [100.0]
    client = open_client("hole", now=lambda: now[0])
    go_wrong(tmp_path)
    with pytest.raises(OperatorError, match="the input of row 17 in column 1 is nan"):
        await client.start()
    (warning,) = client.health.warnings()
    assert warning.startswith("this node neither trains nor judges: starting the compute worker failed once; ")
    with pytest.raises(WorkerError, match=r"cannot start: .*row 17"):
        await client.train(train_job(described))
    starts = client.starts
    with pytest.raises(WorkerError, match="is tried again in 2 s"):
        await client.train(train_job(described))
    behave(tmp_path)
    now[0] += 2
    assert (await client.train(train_job(described))).samples == 48
    assert (client.starts, client.health.warnings()) == (starts + 1, [])


async def test_a_broken_model_is_an_error_of_the_job(described, open_client):
    client = open_client()
    with pytest.raises(WorkerError, match="bad_tensor"):
        await client.train(TrainJob(Round(0), described.model[:-1], 3, "mine"))
    assert (await client.train(train_job(described))).samples == 48
    assert client.starts == 1


async def test_cancelling_ends_the_job_at_the_next_batch(described, open_client, tmp_path):
    """Given a job of 100 slow batches, When its caller is cancelled, Then the same worker soon does the next job."""
    client = open_client("slow")
    await client.start()
    first = client.pid
    go_wrong(tmp_path)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await client.train(train_job(described))
    behave(tmp_path)
    assert (await client.train(train_job(described))).samples == 48
    assert client.pid == first


async def test_a_worker_that_ignores_cancellation_is_killed(described, open_client, tmp_path, caplog):
    client = open_client("stuck")
    await client.start()
    first = psutil.Process(client.pid)
    go_wrong(tmp_path)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await client.train(train_job(described))
    assert "did not give up" in caplog.text
    behave(tmp_path)
    assert (await client.train(train_job(described))).samples == 48
    assert client.pid != first.pid
    assert not first.is_running()


async def test_a_job_that_hangs_for_long_has_failed_and_status_and_peers_are_told(described, open_client, tmp_path):
    """Given a batch that never ends / When its round ends / Then training has failed; a round that ended early is no fault."""
    now = [100.0]
    client = open_client("stuck", now=lambda: now[0])

    async def given_up(after):
        await client.start()
        go_wrong(tmp_path)
        async with asyncio.TaskGroup() as group:
            job = group.create_task(client.train(train_job(described)))
            await asyncio.sleep(0.3)
            now[0] += after
            job.cancel()
        behave(tmp_path)

    await given_up(HANG_SECONDS - 1)
    assert (client.health.warnings(), client.health.training) == ([], Training.TRAINS)
    await given_up(HANG_SECONDS)
    (warning,) = client.health.warnings()
    assert warning.startswith("this node does not train: training failed once; ")
    assert "it hung: after 30 s" in warning
    assert client.health.training is Training.WORKER
    assert (await client.train(train_job(described))).samples == 48
    assert (client.health.warnings(), client.health.training) == ([], Training.TRAINS)


async def test_jobs_wait_for_each_other(described, open_client):
    client = open_client()
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(client.train(train_job(described))) for _ in range(3)]
    assert len({job.result().update for job in jobs}) == 1


async def test_prints_and_errors_reach_the_log_not_the_protocol(described, open_client, tmp_path, caplog):
    client = open_client("print")
    await client.start()
    go_wrong(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert (await client.train(train_job(described))).samples == 48
        deadline = time.monotonic() + 5
        while "stray words" not in caplog.text and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
    assert "stray words on standard output" in caplog.text


async def test_close_ends_a_busy_worker_and_is_idempotent(described, open_client, tmp_path):
    client = open_client("stuck")
    await client.start()
    process = psutil.Process(client.pid)
    go_wrong(tmp_path)
    async with asyncio.TaskGroup() as group:
        job = group.create_task(_fails(client.train(train_job(described))))
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        await client.close()
        assert time.monotonic() - begun < 3
    assert job.result() is WorkerError
    assert not process.is_running()
    await client.close()
    with pytest.raises(WorkerError, match="closed"):
        await client.train(train_job(described))


async def _fails(awaitable):
    try:
        await awaitable
    except WorkerError as error:
        return type(error)
    return None


def test_the_worker_ends_with_its_daemon_even_in_mid_job(described, tmp_path):
    """Given a daemon whose worker is deep in a batch, When the daemon is killed with -9, Then the worker ends."""
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, '.')\n"
        "from bflcd.learn.client import describe_task\n"
        "from tests.learn.test_client import make_client, train_job, LINE\n"
        "async def main():\n"
        "    described = describe_task(LINE, {}, seed=1)\n"
        f"    client = make_client(described, Path({str(tmp_path)!r}), 'stuck')\n"
        "    await client.start()\n"
        f"    Path({str(tmp_path)!r}, 'flag').touch()\n"
        "    print(client.pid, flush=True)\n"
        "    await client.train(train_job(described))\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as daemon:
        worker = psutil.Process(int(daemon.stdout.readline()))
        time.sleep(0.5)
        os.kill(daemon.pid, signal.SIGKILL)
        worker.wait(5)
    assert not worker.is_running()


@pytest.mark.parametrize(
    ("mode", "fields", "code"),
    [
        ("bad load", {}, "bad_task"),
        ("", {"device": "abacus"}, "bad_device"),
    ],
)
async def test_the_operators_faults_are_told_at_the_start(described, open_client, mode, fields, code):
    client = open_client(mode, **fields)
    with pytest.raises(OperatorError) as caught:
        await client.start()
    assert caught.value.code == code
    assert caught.value.hint


async def test_bad_data_is_told_at_the_start(tmp_path):
    described = describe_task("femnist", {"classes": "10"}, seed=0)
    spec = type(task_spec("femnist", described.tensors))("femnist", described.options, described.tensors)
    client = WorkerClient(spec, DataConfig(str(tmp_path / "none.npz")), validation_fraction=0, split_seed=0, device="cpu")
    with pytest.raises(OperatorError, match=r"none\.npz") as caught:
        await client.start()
    assert caught.value.code == "missing_data"
    await client.close()


def test_describing_an_unknown_task_is_the_operators_fault():
    with pytest.raises(OperatorError) as caught:
        describe_task("nothing", {}, seed=0)
    assert caught.value.code == "unknown_task"


def test_the_daemons_side_never_imports_torch():
    code = "import sys, bflcd.learn.client, bflcd.learn.aggregate, bflcd.learn.partition; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_worker_starts_where_the_working_directory_is_gone(tmp_path, monkeypatch):
    """Torch's libraries end a process that stands nowhere."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry])
    gone.rmdir()
    assert describe_task("digits", {}, seed=1).model
