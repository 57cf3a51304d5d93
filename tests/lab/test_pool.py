"""Simulations side by side: the same records as one after the other, whatever ends in between."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bflcd.errors import MachineError, OperatorError
from bflcd.lab.runs import batch
from bflcd.lab.runs.batch import run_all
from bflcd.lab.runs.pool import check_same_rules, split
from bflcd.lab.runs.runner import run
from bflcd.lab.simulation import Machine
from bflcd.learn.protocol import WorkerError
from tests.helpers.lab import tiny

ROOT = Path(__file__).parents[2]
ONE, TWO = Machine("cpu", threads=1), Machine("cpu", threads=2)
CONFIGS = [tiny(rounds=3, seed=seed, attack="sleeper", liars=0.3) for seed in range(3)]


def facts_of(found):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in found.rounds]


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.planned: list[int] = []
        self.steps: list[tuple[str, int, float | None]] = []

    def plan(self, rounds):
        self.planned.append(rounds)

    def step(self, config, round_, accuracy):
        self.steps.append((config.id, round_, accuracy))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What each comes to when it is run by itself."""
    folder = tmp_path_factory.mktemp("alone")
    return [run(config, ONE, folder) for config in CONFIGS]


@pytest.fixture
def asked(monkeypatch):
    """How many were run side by side, with how many threads each; nothing is run."""
    found = []

    def run_side_by_side(configs, machine, folder, observer, *, beside, threads):
        found.append(([config.seed for config in configs], beside, threads))
        for config in configs:
            run(config, ONE, folder, observer)

    monkeypatch.setattr(batch, "run_side_by_side", run_side_by_side)
    return found


@pytest.mark.parametrize(
    ("threads", "jobs", "simulations", "expected"),
    [
        (2, 0, 100, (2, 1)),
        (16, 0, 100, (16, 1)),
        (16, 0, 3, (3, 5)),
        (16, 4, 100, (4, 4)),
        (16, 1, 100, (1, 16)),
        (16, 64, 100, (64, 1)),
        (1, 0, 100, (1, 1)),
        (2, 0, 1, (1, 2)),
        (2, 0, 0, (1, 2)),
    ],
)
def test_all_threads_are_used_and_no_more(threads, jobs, simulations, expected):
    assert split(Machine("cpu", threads=threads), jobs, simulations) == expected


def test_without_a_number_there_is_a_thread_for_each_core(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 6)
    assert split(Machine("cpu"), 0, 100) == (6, 1)


def test_a_gpu_computes_one_after_the_other_unless_it_is_told_otherwise(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    assert split(Machine("cuda"), 0, 100) == (1, 8)
    assert split(Machine("cuda"), 2, 100) == (2, 4)


def test_side_by_side_they_come_to_the_same(tmp_path, alone):
    """Given three simulations and two processes, then each has the records that it has by itself, and every round was told once."""
    heard = Heard()
    found = run_all(CONFIGS, TWO, tmp_path, heard)
    assert [one.config for one in found] == CONFIGS
    assert [facts_of(one) for one in found] == [facts_of(one) for one in alone]
    assert heard.planned == [9]
    for one in alone:
        told = [(round_, accuracy) for name, round_, accuracy in heard.steps if name == one.config.id]
        curve = dict(one.curve())
        assert told == [(1, None), (2, curve[2]), (3, curve[3])]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{config.id}.jsonl" for config in CONFIGS)


def test_what_is_done_is_not_handed_out_and_what_is_equal_only_once(tmp_path, asked):
    """Servers follow no rules, so two settings that differ in those only are one simulation."""
    run(CONFIGS[1], ONE, tmp_path)
    equal = [tiny({"places": places}, framework="fedavg", rounds=1, seed=7) for places in (0.5, 1.0)]
    found = run_all([*CONFIGS, *equal], Machine("cpu", threads=3), tmp_path)
    assert asked == [([0, 2, 7], 3, 1)]
    assert [one.config for one in found] == [*CONFIGS, *equal]
    assert found[3].rounds == found[4].rounds


def test_one_alone_is_run_in_this_process_on_all_threads(tmp_path, asked):
    run_all(CONFIGS[:1], Machine("cpu", threads=8), tmp_path)
    run_all(CONFIGS, Machine("cpu", threads=8), tmp_path, jobs=1)
    assert asked == []


def test_who_fails_is_told_with_a_hint_and_what_was_done_is_kept(tmp_path, alone):
    """Given one whose data is missing, when the sweep ends with what it said, then the others' files are there to go on with."""
    with pytest.raises(OperatorError, match=r"absent\.npz") as caught:
        run_all([CONFIGS[0], tiny(task="femnist", data=str(tmp_path / "absent.npz")), *CONFIGS[1:]], TWO, tmp_path)
    assert (caught.value.code, bool(caught.value.hint)) == ("missing_data", True)
    found = run_all(CONFIGS, TWO, tmp_path)
    assert [facts_of(one) for one in found] == [facts_of(one) for one in alone]


@pytest.mark.parametrize(
    ("task", "error", "words"),
    [("Killed", MachineError, "was killed"), ("Lossless", WorkerError, "row_loss returned")],
)
def test_a_process_that_dies_and_a_task_that_is_wrong_are_told(tmp_path, task, error, words):
    broken = [tiny(task=f"tests.helpers.lab_tasks:{task}", seed=seed) for seed in range(2)]
    with pytest.raises(error, match=words):
        run_all(broken, TWO, tmp_path)


def test_other_code_than_the_one_that_hands_out_is_refused():
    check_same_rules(CONFIGS[0], CONFIGS[0].id, "here")
    with pytest.raises(MachineError, match=f"a machine has version {CONFIGS[0].rules_version} of the rules") as caught:
        check_same_rules(CONFIGS[0], "0" * 12, "a machine")
    assert "same bflcd" in caught.value.hint


SWEEP = """
import sys
from pathlib import Path
from bflcd.lab.runs import runner
from bflcd.lab.runs.batch import run_all
from tests.lab.test_pool import LONG, TWO

runner.CHECKPOINT_SECONDS = 0.0  # in every process: each imports this file
if __name__ == "__main__":
    run_all(LONG, TWO, Path(sys.argv[1]))
"""
LONG = [tiny(rounds=15, every=5, seed=seed) for seed in range(2)]


@pytest.mark.slow
def test_killed_it_leaves_no_process_and_goes_on(tmp_path):
    """Given a sweep in two processes that is killed after its first checkpoints, when it is begun again, then no process of the
    first is left, and every simulation ends as one that nobody killed.
    """
    program, folder, whole = tmp_path / "sweep.py", tmp_path / "runs", tmp_path / "whole"
    program.write_text(SWEEP)
    command, paths = [sys.executable, str(program), str(folder)], f"{ROOT}:{ROOT / 'cli'}"
    started = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.DEVNULL)
    children = []
    try:
        assert until(lambda: len(list(folder.glob("*.npz"))) == 2 or started.poll() is not None)
        children = psutil.Process(started.pid).children(recursive=True)
    finally:
        started.kill()
        started.wait(10)
    assert len(children) >= 2
    assert len(list(folder.glob("*.npz"))) == 2, "killed in the middle"
    left = psutil.wait_procs(children, timeout=60)[1]
    for child in left:
        child.kill()
    assert left == []
    heard = Heard()
    found = run_all(LONG, TWO, folder, heard)
    whole.mkdir()
    assert [facts_of(one) for one in found] == [facts_of(run(config, ONE, whole)) for config in LONG]


def until(true, seconds=60.0):
    """Whether it becomes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
