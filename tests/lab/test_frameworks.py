"""A round of each framework: who trains, what is refused, how updates become a step; then whole rounds with a real engine."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import InvariantError
from bflcd.lab.chain import LAST_STEP, LabChain
from bflcd.lab.config import Framework, SimulationConfig
from bflcd.lab.devices import load_devices
from bflcd.lab.engine.base import Engine, Pace, Scores, Trainee
from bflcd.lab.frameworks import FRAMEWORKS, ROOT_ROWS, Bflc, acceptable, fixed_norms, make_framework
from bflcd.lab.mixing import MIXINGS
from bflcd.lab.rng import Draw, generator, number
from bflcd.lab.rules import RULES, AggregationInput
from bflcd.lab.simulation import Machine, Simulation
from bflcd.learn.aggregate import WeightedUpdate
from bflcd.learn.aggregate import aggregate as daemons_aggregate
from bflcd.learn.checks.moves import fixed_norm
from bflcd.learn.task import find_task
from bflcd.ledger.quorum import faults
from bflcd.params import TensorSpec
from bflcd.wire.tensors import split_payload
from tests.helpers.lab import CPU, tiny
from tests.helpers.tensors import encode_tensors

WIDTH = 3
PACE = Pace(0.1, 0.9, 16, 1)
MACHINE = Machine("cpu", threads=1)


class Pretended(Engine):
    """Trains nobody: `update` says what a trainee's rows give. Every update gains what its first weight says."""

    device, weights = CPU, WIDTH

    def __init__(self, update: Callable[[Trainee], Sequence[float]]) -> None:
        self.update = update
        self.trained: list[Trainee] = []
        self.scored: list[tuple[torch.Tensor, list[np.ndarray], int]] = []
        self.held: list[tuple[int | None, int | None]] = []
        self.cost: Callable[[int], int] = lambda line: 0
        self.right = 400_000

    @property
    def pool(self):
        raise AssertionError("nobody looks at rows here")

    def train(self, model, trainees, pace):
        assert pace == PACE
        self.trained += trainees
        return torch.tensor([self.update(trainee) for trainee in trainees], dtype=torch.float32).reshape(len(trainees), WIDTH)

    def losses(self, models, rows):
        raise AssertionError("scored as a whole")

    def score(self, model, updates, members, damping, *, limit=None, row_limit=None, gain_limit=None, step=None, balanced=False):
        self.scored.append((updates, list(members), damping))
        self.held.append((limit, row_limit))
        gains = np.rint(updates[:, 0].numpy() * 1000).astype(np.int64)
        shape = (len(members), len(updates))
        return Scores(
            np.broadcast_to(gains, shape),
            np.full(shape, 500_000),
            np.full(len(members), 2_000_000),
            np.full(len(members), self.right),
            np.broadcast_to(np.array([self.cost(line) for line in range(len(updates))], dtype=np.int64), shape),
        )


def begin(config: SimulationConfig, update: Callable[[Trainee], Sequence[float]]):
    """A framework before its first round, with a pretended engine, and its devices."""
    devices = load_devices(config, find_task(config.task, dict(config.options)), CPU)
    engine = Pretended(update)
    return make_framework(config, devices, engine), engine, devices


def by_rows(trainee: Trainee) -> list[float]:
    """An update that tells whose it is."""
    return [len(trainee.rows) / 100, float(trainee.rows[0]) / 1000, (trainee.seed % 97) / 97]


def closed_rounds(framework: Bflc, monkeypatch: pytest.MonkeyPatch):
    """What the ledger is asked and answers, round by round."""
    found, genuine = [], LabChain.close

    def close(chain, offering, samples, cards):
        decision = genuine(chain, offering, samples, cards)
        found.append((list(offering), list(samples), list(cards), decision))
        return decision

    monkeypatch.setattr(LabChain, "close", close)
    return found


def test_every_framework_is_there_and_any_other_is_our_bug():
    assert set(FRAMEWORKS) == set(Framework.__args__)
    with pytest.raises(InvariantError, match="'swarm' is no framework"):
        begin(tiny(framework="swarm"), by_rows)


# -- servers ------------------------------------------------------------------------------------------------------------------


def drawn_in(config: SimulationConfig, round_: int) -> list[int]:
    return sorted(generator(config.seed, Draw.SERVER, round_).permutation(config.devices)[: config.at_work].tolist())


@pytest.mark.parametrize("mixing", ["none", "nnm", "bucketing"])
@pytest.mark.parametrize("name", RULES)
def test_a_server_applies_its_rule_to_those_it_drew(name, mixing):
    """Given a server, when it goes two rounds, then each time the devices of its draw train on all of their rows, and the step is
    the rule's over their updates and claims, mixed before as it is set, and beside the step before.
    """
    config = tiny(
        framework=name, mixing=mixing, bucket=3, clip_radius=0.2, active=0.4, partition="dirichlet", attack="zero", liars=0.25
    )
    framework, engine, devices = begin(config, by_rows)
    model, roots = torch.zeros(WIDTH), []
    for round_ in range(2):
        engine.trained.clear()
        before = framework.moved
        step = framework.step(model, PACE)
        offering = drawn_in(config, round_)
        trainees = engine.trained[: len(offering)]
        assert [trainee.seed for trainee in trainees] == [number(0, Draw.TRAINING, round_, device) for device in offering]
        assert all(np.array_equal(t.rows, devices.all_rows[d]) for t, d in zip(trainees, offering, strict=True))
        honest = [device not in devices.adversaries for device in offering]
        updates = torch.tensor([by_rows(trainee) for trainee in trainees]) * torch.tensor(honest)[:, None]
        claims = torch.tensor([float(len(trainee.rows)) for trainee in trainees])
        trusted = None
        if name == "fltrust":
            (root,) = engine.trained[len(offering) :]
            assert len(np.unique(root.rows)) == ROOT_ROWS
            assert set(root.rows) <= set(np.concatenate(devices.all_rows))
            roots.append(root.rows.tolist())
            assert roots == [roots[0]] * len(roots)
            trusted = torch.tensor(by_rows(root))
        order = tuple(generator(config.seed, Draw.BUCKETS, round_).permutation(len(offering)).tolist())
        given = AggregationInput(updates, claims, honest.count(False), trusted, before, 0.2, order, 3)
        expected = model + RULES[name](MIXINGS[mixing](given))
        torch.testing.assert_close(step.model, expected)
        torch.testing.assert_close(framework.moved, expected - model)
        assert step.facts == {"trainers": 8, "liars": honest.count(False), "packed": 8}
        model = step.model
    assert framework.round == 2


BROKEN = [[float("nan"), 0.0, 0.0], [float("inf"), 0.0, 0.0], [0.0, -1024.5, 0.0]]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_server_leaves_out_what_may_not_travel(broken):
    config = tiny(framework="fedavg", active=0.4)
    out = number(0, Draw.TRAINING, 0, drawn_in(config, 0)[3])
    framework, _, _ = begin(config, lambda trainee: broken if trainee.seed == out else [0.5, 0.0, 0.0])
    step = framework.step(torch.zeros(WIDTH), PACE)
    torch.testing.assert_close(step.model, torch.tensor([0.5, 0.0, 0.0]))
    assert step.facts == {"trainers": 8, "liars": 0, "packed": 7}


def test_one_machine_with_everybodys_rows():
    framework, engine, devices = begin(tiny(framework="stand-alone"), by_rows)
    framework.step(torch.zeros(WIDTH), PACE)
    framework.step(torch.zeros(WIDTH), PACE)
    everything = np.sort(np.concatenate(devices.all_rows))
    assert [np.array_equal(trainee.rows, everything) for trainee in engine.trained] == [True, True]
    assert [trainee.seed for trainee in engine.trained] == [number(0, Draw.CENTRAL, 0), number(0, Draw.CENTRAL, 1)]


# -- BFLC ---------------------------------------------------------------------------------------------------------------------


def test_a_round_of_bflc_is_the_ledgers(monkeypatch):
    """Given two rounds of a young model and one that knows half, then the ledger's trainers train on their training rows, the members of its committee judge on their
    validation rows and write cards, and the next model is the daemons' aggregate of what was packed, by the ledger's weights.
    """
    config = tiny({"norm_clip": 0.25, "card_share": 0.0}, partition="dirichlet")
    framework, engine, devices = begin(config, by_rows)
    assert isinstance(framework, Bflc)
    engine.right = 800_000
    rounds = closed_rounds(framework, monkeypatch)
    model = torch.linspace(-1, 1, WIDTH)
    for round_ in range(3):
        engine.trained.clear()
        committee, trainers = framework.chain.committee, framework.chain.trainers
        usual = framework.chain.state.usual_norm
        step = framework.step(model, PACE)
        offering, samples, cards, decision = rounds[-1]
        assert offering == list(trainers)
        assert [trainee.seed for trainee in engine.trained] == [number(0, Draw.TRAINING, round_, device) for device in trainers]
        assert all(np.array_equal(t.rows, devices.training[d]) for t, d in zip(engine.trained, trainers, strict=True))
        assert samples == [len(devices.training[device]) for device in trainers]
        updates, members, damping = engine.scored[-1]
        assert damping == 4
        assert engine.held[-1] == (usual // 4 or None, 2_400_000), "judges hold an offer to what was usual before"
        assert [member.tolist() for member in members] == [devices.validation[device].tolist() for device in committee]
        assert len(cards) == 3
        assert {member for member, _ in cards} < set(committee)
        assert all(np.array_equal(card.norms, fixed_norms(updates)) for _, card in cards)
        spec = (TensorSpec("w", (WIDTH,), "F32"),)
        packed = [
            WeightedUpdate(weight, "u", encode_tensors({"w": updates[offering.index(device)].numpy()}, spec, label="u"))
            for device, weight in zip(decision.packed, decision.weights, strict=True)
        ]
        limit = decision.outcome.step_limit
        assert limit is not None
        assert (limit < 0) == (round_ < 2)
        if limit < 0:
            held = min(-limit / 2**12, float(model.norm()) / 2)
            assert float((step.model - model).norm()) <= held * (1 + 1e-4)
            assert max(float(updates[offering.index(device)].norm()) for device in decision.packed) > -limit / 2**12, (
                "some are cut"
            )
        else:
            assert float((step.model - model).norm()) == pytest.approx(limit / 2**12, rel=1e-4), "held to it"
        expected = daemons_aggregate("fedavg", encode_tensors({"w": model.numpy()}, spec, label=None), packed, spec, limit)
        assert step.model.numpy().tobytes() == split_payload(expected, spec, label=None)[1].tobytes()
        assert step.facts == {
            "trainers": 16,
            "liars": 0,
            "packed": len(decision.packed),
            "packed_liars": 0,
            "refused_honest": 16 - len(decision.packed),
            "copies": 0,
            "copies_honest": 0,
            "resting_honest": 0,
            "resting_liars": 0,
            "step": pytest.approx(float((step.model - model).norm())),
            "step_limit": abs(limit) / 2**12,
            "seats": 4,
            "seats_liars": 0,
            "cards_liars": 0,
            "degraded": False,
            "base_loss": 2.0,
            "base_accuracy": 0.75,
            "paid": 1_000_000 * (999 / 1000) ** round_ // 1,
            "paid_liars": 0,
            "doubted_honest": 0,
            "doubted_liars": 0,
        }
        model = step.model


def test_what_is_odd_is_refused_by_every_honest_judge(monkeypatch):
    """Given one offer of sixteen that costs a class a fifth of its confidence, then no card has a gain for it and it is not packed; a
    community without the rule packs it.
    """
    for limit, refused in ((2.0, True), (0.0, False)):
        framework, engine, _ = begin(tiny({"odd_limit": limit}), lambda trainee: [0.5, 0.0, 0.0])
        engine.cost = lambda line: 200_000 if line == 3 else line
        rounds = closed_rounds(framework, monkeypatch)
        framework.step(torch.zeros(WIDTH), PACE)
        offering, _, cards, decision = rounds[-1]
        assert all((card.gains < 0).tolist() == [refused and line == 3 for line in range(16)] for _, card in cards)
        assert (offering[3] in decision.packed) is not refused
        assert len(decision.packed) == 16 - refused


@pytest.mark.parametrize("broken", BROKEN)
def test_what_may_not_travel_is_refused_before_it_is_scored(monkeypatch, broken):
    """Given an update that is not finite or beyond +-2^10, when the round is judged, then no member scores it and no card names it."""
    config = tiny()
    chain = LabChain.simulated(config.params(), config.devices, config.seed)
    out = chain.trainers[5]
    seed = number(0, Draw.TRAINING, 0, out)
    framework, engine, _ = begin(config, lambda trainee: broken if trainee.seed == seed else [0.5, 0.1, 0.0])
    rounds = closed_rounds(framework, monkeypatch)
    step = framework.step(torch.zeros(WIDTH), PACE)
    updates, _, _ = engine.scored[0]
    torch.testing.assert_close(updates, torch.tensor([[0.5, 0.1, 0.0]]).expand(15, WIDTH))
    offering, samples, _, decision = rounds[0]
    assert offering == [device for device in chain.trainers if device != out]
    assert len(samples) == 15
    assert set(decision.packed) == set(offering)
    torch.testing.assert_close(step.model, torch.tensor([0.5, 0.1, 0.0]))


@pytest.mark.parametrize("name", ["bflc", "fedavg", "fltrust", "multi-krum"])
def test_where_everybody_diverged_the_model_stays(name):
    framework, _, _ = begin(tiny(framework=name), lambda _: [float("nan")] * WIDTH)
    model = torch.ones(WIDTH)
    for _ in range(2):
        step = framework.step(model, PACE)
        assert torch.equal(step.model, model)
        assert step.facts["packed"] == 0
    assert torch.equal(framework.moved, torch.zeros(WIDTH))
    assert framework.round == 2


def test_members_judge_on_as_many_rows_as_they_may_drawn_anew_each_round():
    framework, engine, devices = begin(tiny({"score_rows": 5, "validation": 0.5}), by_rows)
    committees = []
    for _ in range(8):
        committees.append(framework.chain.committee)
        framework.step(torch.zeros(WIDTH), PACE)
    again, same, _ = begin(tiny({"score_rows": 5, "validation": 0.5}), by_rows)
    again.step(torch.zeros(WIDTH), PACE)
    for committee, (_, members, _) in zip(committees, engine.scored, strict=True):
        for device, rows in zip(committee, members, strict=True):
            assert len(rows) == 5
            assert np.all(np.diff(rows) > 0)
            assert set(rows) < set(devices.validation[device])
    assert [rows.tolist() for rows in same.scored[0][1]] == [rows.tolist() for rows in engine.scored[0][1]]
    seated = [device for committee in committees for device in committee]
    device = next(device for device in seated if seated.count(device) > 1)
    first, again = [engine.scored[i][1][c.index(device)].tolist() for i, c in enumerate(committees) if device in c][:2]
    assert first != again


@pytest.mark.parametrize(("band", "packed"), [(True, 14), (False, 16)])
def test_norms_are_looked_at_unless_the_rules_say_otherwise(band, packed):
    """Given two honest gains of a hundredth and of a thousandfold norm, then the band refuses both, and without it they count."""
    config = tiny({"norm_band": band})
    chain = LabChain.simulated(config.params(), config.devices, config.seed)
    odd = {number(0, Draw.TRAINING, 0, chain.trainers[i]): scale for i, scale in ((2, 0.001), (9, 900.0))}
    framework, _, _ = begin(
        config, lambda trainee: [5.0, odd.get(trainee.seed, 1.0), 0.0] if odd.get(trainee.seed, 1) >= 1 else [0.001] * 3
    )
    assert framework.step(torch.zeros(WIDTH), PACE).facts["packed"] == packed


def test_copies_are_named_on_cards_of_honest_members_and_have_no_place(monkeypatch):
    """Given copycats, when a round closes, then honest members name each as a copy of the honest update that it took, liars in the
    committee name none, and none has a place, unless the rules want no copies found."""
    for likeness in (0.99, 0.0):
        config = tiny({"copy_likeness": likeness}, attack="copycat", liars=0.25)
        simulation = Simulation(config, MACHINE)
        closed = closed_rounds(simulation._framework, monkeypatch)
        records = [simulation.advance() for _ in range(3)]
        lying = frozenset(simulation.devices.adversaries)
        for (offering, _, cards, decision), record in zip(closed, records, strict=True):
            copiers = [line for line, device in enumerate(offering) if device in lying]
            for member, said in cards:
                named = [line for line, like in enumerate(said.likes) if like is not None]
                assert named == (copiers if likeness and member not in lying else [])
                assert all(offering[said.likes[line]] not in lying for line in named)
            told = likeness and sum(member not in lying for member, _ in cards) > faults(len(simulation.chain.committee))
            assert record["copies_honest"] == 0
            assert record["copies"] <= len(copiers), "some are refused for their gain"
            assert not told or not lying & set(decision.packed)
        assert any(set(offering) & lying for offering, *_ in closed)
        assert any(record["copies"] for record in records) is bool(likeness)


def test_replayers_are_named_as_the_last_step(monkeypatch):
    simulation = Simulation(tiny(attack="replay", liars=0.25), MACHINE)
    closed = closed_rounds(simulation._framework, monkeypatch)
    for _ in range(3):
        simulation.advance()
    lying = frozenset(simulation.devices.adversaries)
    for offering, _, cards, _ in closed[1:]:
        honest = [said.likes for member, said in cards if member not in lying]
        assert all([like == LAST_STEP for like in likes] == [device in lying for device in offering] for likes in honest)


def test_adversaries_facts_are_told(monkeypatch):
    config = tiny(attack="sign-flip", liars=0.3, lies=None)
    framework, _, devices = begin(config, lambda _: [0.5, 0.0, 0.0])
    rounds = closed_rounds(framework, monkeypatch)
    committee, trainers = framework.chain.committee, framework.chain.trainers
    step = framework.step(torch.zeros(WIDTH), PACE)
    lying = set(devices.adversaries)
    decision = rounds[0][3]
    paid = framework.chain.rewards(decision)
    assert {key: step.facts[key] for key in ("liars", "packed_liars", "seats_liars", "refused_honest", "paid_liars")} == {
        "liars": len(lying & set(trainers)),
        "packed_liars": len(lying & set(decision.packed)),
        "seats_liars": len(lying & set(committee)),
        "refused_honest": len(set(trainers) - lying - set(decision.packed)),
        "paid_liars": sum(amount for device, amount in paid.items() if device in lying),
    }


@given(st.lists(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=3, max_size=3), max_size=5))
def test_only_finite_weights_within_the_limit_may_travel(rows):
    found = acceptable(torch.tensor(rows, dtype=torch.float32).reshape(len(rows), 3))
    assert found == [all(abs(value) <= 1024 for value in row) for row in rows]


@given(st.lists(st.floats(-1024, 1024, width=32), min_size=1, max_size=8))
def test_norms_are_the_workers(weights):
    array = np.array(weights, dtype=np.float32)
    assert fixed_norms(torch.from_numpy(np.stack([array, array * 0]))).tolist() == [fixed_norm(array), 0]


# -- with a real engine -------------------------------------------------------------------------------------------------------


def ran(config: SimulationConfig, machine: Machine = MACHINE):
    """A whole simulation, and its records."""
    simulation = Simulation(config, machine)
    records = []
    while not simulation.done:
        records.append(simulation.advance())
    return simulation, records


@pytest.mark.parametrize("name", Framework.__args__)
def test_every_framework_goes_two_rounds_under_attack_and_learns_something(name):
    simulation, records = ran(tiny(framework=name, rounds=2, attack="label-flip", liars=0.1, local_epochs=2))
    assert simulation.round == 2
    assert [record["round"] for record in records] == [1, 2]
    assert records[1]["accuracy"] > 0.3, "guessing is right in a tenth"
    assert bool(torch.isfinite(simulation.model).all())


BY_ROWS = {"calibration": 0.0, "balanced_gains": False}
"""What the margin does by itself, without ADR 36."""


def test_bflc_packs_no_sign_flipper_after_the_first_rounds_and_learns():
    """Given three of ten devices that offer four times the opposite, and seats by score, when twelve rounds have gone, then adversaries have
    lost their seats and their places after the first rounds, and the model is nearly as good as without them.
    """
    config = tiny(
        {"score_margin": 0.05, "odd_limit": 0.0, "reputation_rounds": 0, "score_noise": 0, "election": "score"} | BY_ROWS,
        rounds=12,
        every=12,
        attack="sign-flip",
        liars=0.3,
        seed=9,
    )
    _, records = ran(config)
    assert records[0]["liars"] >= 4
    assert [record["packed_liars"] for record in records[3:]] == [0] * 9
    assert [record["seats_liars"] for record in records[3:]] == [0] * 9
    assert all(record["packed"] >= 8 for record in records[3:])
    clean = ran(tiny({"score_margin": 0.05} | BY_ROWS, rounds=12, every=12, seed=9))[1][-1]["accuracy"]
    assert records[-1]["accuracy"] > clean - 0.06 > 0.85


def test_noise_stops_a_plain_mean_and_not_bflc():
    config = {"rounds": 6, "every": 6, "attack": "noise", "liars": 0.3, "seed": 8}
    assert ran(tiny(framework="fedavg", **config))[1][-1]["accuracy"] < 0.5
    assert ran(tiny(**config))[1][-1]["accuracy"] > 0.85


def test_sleepers_strike_once_they_hold_more_than_half_of_the_seats():
    _, records = ran(tiny(rounds=8, every=1, attack="sleeper", liars=0.5))
    woken = next(line for line, record in enumerate(records) if 2 * record["seats_liars"] > record["seats"])
    assert woken > 0
    best = max(record["accuracy"] for record in records[:woken])
    assert best > 0.4
    assert records[-1]["accuracy"] < best - 0.2
    assert any(record["packed"] == record["packed_liars"] > 0 for record in records[woken:])


def test_the_result_does_not_hang_on_threads_or_on_the_size_of_a_stack():
    """Given adversaries that add noise, when the same is computed by one thread, by two, and in stacks of 1 and of 7, then it is the same:
    bit for bit in a loop, and in stacks as far as an engine of another kind can be.
    """
    config = tiny(rounds=3, attack="noise", liars=0.2)
    one, two = (ran(config, Machine("cpu", threads=n)) for n in (1, 2))
    assert torch.equal(one[0].model, two[0].model)
    assert facts_of(one[1]) == facts_of(two[1])
    small, large = (ran(config, Machine("cpu", "bf16", stack=n)) for n in (1, 7))
    torch.testing.assert_close(small[0].model, large[0].model, atol=2e-3, rtol=0)


def facts_of(records):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]
