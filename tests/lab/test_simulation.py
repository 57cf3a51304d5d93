"""A simulation that is interrupted goes on as if it had not been: the same records, the same model, bit for bit."""

import msgspec
import pytest
import torch

from bflcd.errors import InvariantError, OperatorError, UsageError
from bflcd.lab.config import SimulationConfig
from bflcd.lab.engine.base import PRECISIONS, Precision
from bflcd.lab.engine.loop import LoopEngine
from bflcd.lab.engine.stacked import StackedEngine
from bflcd.lab.runs.records import RunFiles
from bflcd.lab.simulation import Machine, Simulation
from bflcd.learn.device import DEVICES
from bflcd.learn.flat import FlatModel
from bflcd.learn.scoring import evaluate
from bflcd.learn.task import find_task
from bflcd.learn.training import DeviceRows, initial_model, never
from bflcd.wire.tensors import join_payload
from tests.helpers.lab import CPU, tiny

MACHINE = Machine("cpu", threads=1)

SETTINGS = {
    "bflc with sleepers that wake": tiny(rounds=6, every=2, attack="sleeper", liars=0.5),
    "bflc that repeats steps": tiny({"election": "multi-factor", "score_rows": 5}, rounds=4, every=3, attack="replay", liars=0.3),
    "fedavg under noise": tiny(framework="fedavg", active=0.5, rounds=4, every=2, attack="noise", liars=0.2),
    "fltrust against replay": tiny(framework="fltrust", active=0.5, rounds=4, every=1, attack="replay", liars=0.3),
    "centred clipping in buckets": tiny(
        framework="centered-clipping", mixing="bucketing", active=0.5, rounds=4, every=2, attack="noise", liars=0.2
    ),
    "bflc with privacy": tiny(rounds=5, every=2, dp_epsilon=50.0, dp_clip=0.5),
    "fedavg with privacy": tiny(framework="fedavg", active=0.5, rounds=4, every=2, dp_epsilon=4.0, dp_lot=1000),
    "stand-alone": tiny(framework="stand-alone", rounds=3, every=2),
}


def facts(record):
    """All of a record but how long it took."""
    return {key: value for key, value in record.items() if key != "seconds"}


def finish(simulation: Simulation):
    """The records of all rounds that are left."""
    records = []
    while not simulation.done:
        records.append(facts(simulation.advance()))
    return records


@pytest.fixture(scope="module")
def uninterrupted():
    """Each setting's simulation at its end, and its records."""
    found = {}
    for name, config in SETTINGS.items():
        simulation = Simulation(config, MACHINE)
        found[name] = (finish(simulation), simulation)
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_an_interruption_after_any_round_changes_nothing(tmp_path, uninterrupted, name):
    """Given a simulation that is kept after any round, goes on for one more, and is then killed,
    When another process takes it up, Then its records but their seconds, its model, its last step and its ledger are those of one
    that nobody interrupted.
    """
    config, (records, whole) = SETTINGS[name], uninterrupted[name]
    for last in range(config.rounds):
        folder = tmp_path / str(last)
        folder.mkdir()
        first, files = Simulation(config, MACHINE), RunFiles(folder, config)
        assert files.begin(first, MACHINE) == []
        for round_ in range(last + 1):
            if round_ == last:
                files.checkpoint(first)
            files.append(first.advance())
        second = Simulation(config, MACHINE)
        done = RunFiles(folder, config).begin(second, MACHINE)
        assert second.round == last
        assert [facts(record) for record in done] == records[:last]
        assert finish(second) == records[last:]
        for key, vector in second.vectors().items():
            assert torch.equal(vector, whole.vectors()[key]), key
        assert second.memory() == whole.memory()


def test_the_sleepers_of_this_suite_do_wake(uninterrupted):
    records, _ = uninterrupted["bflc with sleepers that wake"]
    held = [2 * record["seats_liars"] > record["seats"] for record in records]
    assert held[0] is False
    assert any(held)


def test_the_same_again(uninterrupted):
    name = "bflc with sleepers that wake"
    again = Simulation(SETTINGS[name], MACHINE)
    assert finish(again) == uninterrupted[name][0]
    other = Simulation(msgspec.structs.replace(SETTINGS[name], seed=1), MACHINE)
    assert finish(other) != uninterrupted[name][0]


def test_memory_is_json_and_nothing_else_is_taken_for_it():
    simulation = Simulation(SETTINGS["bflc that repeats steps"], MACHINE)
    simulation.advance()
    kept = msgspec.json.decode(simulation.memory())
    assert (kept["round"], kept["awake"], kept["chain"]["round"]) == (1, True, 1)
    for memory in (b"", b"{}", b"[]", b"\x80\x03", b'{"round": "one", "awake": true, "chain": null, "trained": {}}'):
        with pytest.raises(msgspec.MsgspecError):
            simulation.restore(simulation.vectors(), memory)
    assert Simulation(SETTINGS["stand-alone"], MACHINE).memory() == b'{"round":0,"awake":true,"chain":null,"trained":{}}'


# -- the first model, the rates, the measurements -----------------------------------------------------------------------------


def test_it_begins_with_the_model_of_a_genesis():
    config = tiny(seed=3)
    spec, payload = initial_model(find_task("digits", {}), 3)
    flat = FlatModel(find_task("digits", {}).build_model(), spec, CPU)
    flat.load(payload)
    assert torch.equal(Simulation(config, MACHINE).model, flat.weights)


def test_it_measures_what_a_daemon_would():
    """On the common test rows, every so many rounds and at the end."""
    config = tiny(rounds=5, every=2)
    simulation = Simulation(config, MACHINE)
    records = []
    while not simulation.done:
        records.append(simulation.advance())
    assert [record["round"] for record in records if "accuracy" in record] == [2, 4, 5]
    assert [record["round"] for record in records] == [1, 2, 3, 4, 5]
    assert all(record["seconds"] >= 0 for record in records)
    task = find_task("digits", {})
    spec, _ = initial_model(task, 0)
    flat = FlatModel(task.build_model(), spec, CPU)
    payload = join_payload(flat.counters.numpy(), simulation.model.numpy(), spec, label=None)
    test = DeviceRows.of(task.load_all(config.data_config()).test, CPU)
    expected = evaluate(flat, task, test, payload, never)
    assert records[-1]["accuracy"] == pytest.approx(expected.accuracy / 1e6, abs=2e-6)
    assert records[-1]["loss"] == pytest.approx(expected.loss / 1e6, abs=2e-6)


def test_the_rate_falls_by_round():
    """A second round at a millionth of the rate moves the model a millionth as far, or little more by its momentum."""
    steep = Simulation(tiny(framework="fedavg", rounds=2, rate_decay=1e-6), MACHINE)
    steep.advance()
    first = steep.vectors()["moved"].abs().max()
    steep.advance()
    assert 0 < float(steep.vectors()["moved"].abs().max()) < 1e-4 * float(first)


def test_a_backdoor_is_measured_where_it_aims():
    simulation = Simulation(tiny(framework="fedavg", rounds=6, every=6, attack="backdoor", strength=3.0, liars=0.3), MACHINE)
    before = simulation.measure()
    while not simulation.done:
        record = simulation.advance()
    assert record["attack_success"] > 0.6
    assert record["attack_success"] > before["attack_success"] + 0.3
    assert "attack_success" not in Simulation(tiny(attack="noise", liars=0.3), MACHINE).measure()


# -- machines -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "kind"), [("float32", LoopEngine), ("bf16", StackedEngine)])
def test_the_engine_fits_the_machine(precision, kind):
    assert type(Simulation(tiny(), Machine("cpu", precision)).engine) is kind


@pytest.mark.parametrize(
    ("machine", "gpu", "found"),
    [
        (Machine("auto"), True, "cuda"),
        (Machine("auto"), False, "cpu"),
        (Machine("cpu"), True, "cpu"),
        (Machine("cuda"), True, "cuda"),
        (Machine("cuda", "tf32"), True, "cuda"),
        (Machine("auto", "bf16"), False, "cpu"),
        (Machine("cuda"), False, "no usable GPU"),
        (Machine("cpu", "tf32"), True, "tf32"),
        (Machine("auto", "tf32"), False, "tf32"),
        (Machine("mps"), True, "'mps' is unknown"),
    ],
)
def test_a_machine_computes_where_it_is_told_to_or_says_why_not(monkeypatch, machine, gpu, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    if found in DEVICES:
        assert machine.torch_device().type == found
        return
    with pytest.raises(OperatorError, match=found) as caught:
        machine.torch_device()
    assert caught.value.code == "bad_device"
    assert caught.value.hint


def test_any_other_precision_is_our_bug():
    assert set(PRECISIONS) == set(Precision.__args__)
    with pytest.raises(InvariantError, match="'fp8' is no precision"):
        Simulation(tiny(), Machine("cpu", "fp8"))


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (tiny(liars=0.2), "bad_setting"),
        (tiny(task="nonsense"), "unknown_task"),
        (tiny(options=(("nonsense", "1"),)), "bad_option"),
        (tiny(task="femnist"), "missing_data"),
        (tiny(task="tests.helpers.worker_tasks:LineTask", devices=6), "bad_model"),
    ],
    ids=["no attack", "no task", "no option", "no data", "a model that counts"],
)
def test_what_cannot_be_simulated_is_refused_before_it_begins(config: SimulationConfig, code):
    with pytest.raises((OperatorError, UsageError)) as caught:
        Simulation(config, MACHINE)
    assert caught.value.code == code
    assert caught.value.hint
