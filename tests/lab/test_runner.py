"""Runs one after the other: what was done is not done again, what was interrupted goes on, and somebody is told how far it is."""

import pytest

from bflcd.errors import MachineError, OperatorError, UsageError
from bflcd.lab.config import SimulationConfig
from bflcd.lab.runs import runner
from bflcd.lab.runs.batch import run_all
from bflcd.lab.runs.records import Run
from bflcd.lab.runs.runner import run
from bflcd.lab.simulation import Machine
from tests.helpers.lab import tiny

MACHINE = Machine("cpu", threads=1)
SETTING = tiny(rounds=5, every=2, attack="sleeper", liars=0.5)


class KilledError(Exception):
    """Stands for a kill: nothing is tidied up."""


class Watcher:
    """An observer that remembers, and kills after so many steps."""

    def __init__(self, last: int = 10**9) -> None:
        self.planned: list[int] = []
        self.steps: list[tuple[str, int, float | None]] = []
        self._last = last

    def plan(self, rounds: int) -> None:
        self.planned.append(rounds)

    def step(self, config: SimulationConfig, round_: int, accuracy: float | None) -> None:
        self.steps.append((config.id, round_, accuracy))
        if len(self.steps) == self._last:
            raise KilledError


def facts(found: Run):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in found.rounds]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(SETTING, MACHINE, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("interval", [0.0, 1e9], ids=["a checkpoint a round", "no checkpoint"])
def test_killed_again_and_again_it_ends_with_the_same_records(tmp_path, monkeypatch, whole, interval):
    """Given a run that is killed after its first, its third and its fourth round,
    When it is begun again each time, Then it goes on from its last checkpoint, and ends as one that nobody killed.
    """
    monkeypatch.setattr(runner, "CHECKPOINT_SECONDS", interval)
    for last in (1, 3, 4):
        watcher = Watcher(last)
        with pytest.raises(KilledError):
            run(SETTING, MACHINE, tmp_path, watcher)
    watcher = Watcher()
    found = run(SETTING, MACHINE, tmp_path, watcher)
    assert facts(found) == facts(whole)
    curve = dict(whole.curve())
    assert watcher.steps[3:] == [(SETTING.id, 4, curve[4]), (SETTING.id, 5, curve[5])]
    assert (tmp_path / f"{SETTING.id}.npz").exists() is False


def test_rounds_before_a_checkpoint_are_not_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KilledError):
        run(SETTING, MACHINE, tmp_path, Watcher(4))
    done, genuine = [], runner.Simulation.advance

    def advance(simulation):
        record = genuine(simulation)
        done.append(record["round"])
        return record

    monkeypatch.setattr(runner.Simulation, "advance", advance)
    run(SETTING, MACHINE, tmp_path)
    assert done == [4, 5], "killed before the fourth was kept"


def test_what_has_ended_is_not_run_again(tmp_path, monkeypatch, whole):
    """Given two finished runs and a new one, when all are asked for, then only the new one is simulated, and they come in order."""
    others = [tiny(rounds=2), tiny(rounds=2, seed=1)]
    first = run_all(others, MACHINE, tmp_path)
    begun = []
    genuine = runner.Simulation

    def simulation(config, machine):
        begun.append(config)
        return genuine(config, machine)

    monkeypatch.setattr(runner, "Simulation", simulation)
    watcher = Watcher()
    found = run_all([others[1], SETTING, others[0]], MACHINE, tmp_path, watcher)
    assert begun == [SETTING]
    assert [one.config for one in found] == [others[1], SETTING, others[0]]
    assert (found[0], found[2]) == (first[1], first[0])
    assert facts(found[1]) == facts(whole)
    assert watcher.planned == [SETTING.rounds]
    assert [step[1] for step in watcher.steps] == [1, 2, 3, 4, 5]
    assert watcher.steps[0][2] is None
    assert watcher.steps[2][2] == watcher.steps[1][2] == whole.curve()[0][1]


def test_what_other_rules_decided_is_run_anew_and_left_alone(tmp_path, monkeypatch):
    """Given one run that has ended and one that was interrupted, when a rule has changed, then both begin anew beside the old."""
    ended, interrupted = tiny(rounds=2), tiny(rounds=2, seed=1)
    run(ended, MACHINE, tmp_path)
    monkeypatch.setattr(runner, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KilledError):
        run(interrupted, MACHINE, tmp_path, Watcher(2))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 3
    monkeypatch.setattr("bflcd.lab.config.rules_version", lambda _: "other rules")
    watcher = Watcher()
    run_all([ended, interrupted], MACHINE, tmp_path, watcher)
    assert [round_ for _, round_, _ in watcher.steps] == [1, 2, 1, 2]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before} == before
    assert len(list(tmp_path.iterdir())) == 5


def test_nothing_is_begun_before_all_configs_make_sense(tmp_path):
    with pytest.raises(UsageError):
        run_all([tiny(rounds=2), tiny(liars=0.5)], MACHINE, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_machine_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(OperatorError, match="GPU"):
        run_all([tiny(rounds=2)], Machine("cuda"), tmp_path)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_made(tmp_path, place):
    (tmp_path / "file").write_text("here")
    with pytest.raises(MachineError, match="cannot be made") as caught:
        run_all([tiny(rounds=2)], MACHINE, tmp_path / place)
    assert "--output" in caught.value.hint
