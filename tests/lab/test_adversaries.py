"""What adversaries do, and when: nothing before they are awake, nothing for anybody else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import UsageError
from bflcd.lab.adversaries import Adversaries
from bflcd.learn.attacks import ATTACKS
from bflcd.learn.lies.cards import DEFAMED_GAIN, LIED_ACCURACY, Lies, Measurements
from tests.helpers.lab import tiny

OFFERING = (3, 5, 6, 8, 11, 15)
MEMBERS = (5, 8, 9, 15)
MINE = [1, 3, 5]
THEIRS = [0, 2, 4]
WIDTH = 40

PLAYED = [name for name, named in ATTACKS.items() if not named.attack.asks]
"""Attacks of the laboratory: daemons alone ask."""


def adversaries(attack, members=MEMBERS, **changes):
    return Adversaries(tiny(attack=attack, liars=0.2, **changes), members)


def updates(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(len(OFFERING), WIDTH)).astype(np.float32))


def forged(attack, *, round_=2, offering=OFFERING, moved=None, **changes):
    found = updates()[: len(offering)]
    adversaries(attack, **changes).forge(offering, found, torch.ones(WIDTH) if moved is None else moved, round_)
    return found


@pytest.mark.parametrize("attack", [name for name in PLAYED if name != "sleeper"])
def test_an_attack_changes_what_adversaries_offer_and_nothing_else(attack):
    found, before = forged(attack), updates()
    assert torch.equal(found[THEIRS], before[THEIRS])
    poisons_only = attack in ("label-flip", "edge-backdoor", "lazy-judge", "copying-judge")
    assert torch.equal(found[MINE], before[MINE]) is poisons_only
    assert torch.equal(forged(attack), found), "drawn by seed and round"


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        ("sign-flip", lambda u, moved: u[MINE] * -4),
        ("zero", lambda u, moved: u[MINE] * 0),
        ("shrunken", lambda u, moved: u[MINE] * 0.01),
        ("replay", lambda u, moved: moved.expand(3, WIDTH)),
        ("ipm", lambda u, moved: -u[MINE].mean(0).expand(3, WIDTH)),
        ("backdoor", lambda u, moved: u[MINE] * 3),
        ("replacement", lambda u, moved: u[MINE] * 10),
    ],
)
def test_what_is_offered_by_its_formula(attack, expected):
    moved = torch.linspace(-1, 1, WIDTH)
    torch.testing.assert_close(forged(attack, moved=moved)[MINE], expected(updates(), moved))


def test_a_copycat_takes_from_the_honest():
    found = forged("copycat", strength=0.0)
    assert torch.equal(found[MINE], updates()[THEIRS])


def test_noise_is_as_large_as_said_and_each_adversaries_own():
    """Given noise of 300 honest deviations, then an adversary's is of that size, the same in whatever company and place it offers, other
    in another round and for another adversary, and one for all if it is shared.
    """
    found, before = forged("noise"), updates()
    size = (found - before).square().mean(1).sqrt() / before.square().mean(1).sqrt()
    assert all(180 < float(size[line]) < 420 for line in MINE)
    alone = updates()[3:4]
    adversaries("noise").forge(OFFERING[3:4], alone, torch.zeros(WIDTH), 2)
    assert torch.equal(alone[0], found[3])
    direction = torch.nn.functional.normalize((found - before)[MINE])
    assert float((direction @ direction.T).fill_diagonal_(0).abs().max()) < 0.6
    assert not torch.equal(forged("noise", round_=3)[MINE], found[MINE])
    assert not torch.equal(forged("noise", seed=9)[MINE], found[MINE])
    shared = torch.nn.functional.normalize((forged("shared-noise") - before)[MINE])
    assert float((shared @ shared.T).min()) > 0.999


def test_nobody_forges_where_nobody_lies():
    for made, offering in ((adversaries("", members=()), OFFERING), (adversaries("sign-flip"), OFFERING[::2])):
        found = updates()[: len(offering)]
        made.forge(offering, found, torch.zeros(WIDTH), 0)
        assert torch.equal(found, updates()[: len(offering)])


# -- sleepers -----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=8))
def test_sleepers_wake_at_more_than_half_of_the_seats_and_stay_awake(rounds):
    made = Adversaries(tiny(attack="sleeper", liars=0.4), range(100, 120))
    assert not made.awake
    expected = False
    for lying, honest in rounds:
        committee = [*range(100, 100 + lying), *range(honest)]
        made.watch(committee, 0)
        expected = expected or lying > honest
        assert made.awake is expected


@pytest.mark.parametrize("awake", [False, True])
def test_sleepers_are_honest_until_then(awake):
    made = adversaries("sleeper")
    made.watch([5, 8, 1] if awake else [5, 8, 1, 2], 0)
    found, measured = updates(), measured_of()
    made.forge(OFFERING, found, torch.zeros(WIDTH), 0)
    assert torch.equal(found[MINE], updates()[MINE]) is not awake
    assert (made.report(9, measured, OFFERING, 0) is measured) is not awake


def test_liars_who_come_late_are_honest_before():
    """Given liars from round 7 on / Then before it they offer and say what they found, and sleepers do not wake."""
    made, measured = adversaries("sign-flip", onset=7), measured_of()
    for round_, honest in ((6, True), (7, False)):
        found = updates()
        made.forge(OFFERING, found, torch.zeros(WIDTH), round_)
        assert torch.equal(found[MINE], updates()[MINE]) is honest
        assert (made.report(9, measured, OFFERING, round_) is measured) is honest
        assert (made.hide(9, [None, 0, 1, None, None, None], OFFERING, round_)[1] == 0) is honest
        assert made.lie_in(round_) is not honest
    sleepers = adversaries("sleeper", onset=7)
    for round_, awake in ((6, False), (7, True)):
        sleepers.watch([5, 8, 1], round_)
        assert sleepers.awake is awake


@pytest.mark.parametrize("attack", [name for name in PLAYED if name != "sleeper"])
def test_everybody_else_begins_at_once(attack):
    assert adversaries(attack).awake


# -- cards --------------------------------------------------------------------------------------------------------------------


def measured_of():
    rng = np.random.default_rng(1)
    n = len(OFFERING)
    return Measurements(rng.integers(-(10**5), 10**5, n), rng.integers(10**5, 8 * 10**5, n), rng.integers(1, 10**5, n), 2_000_000)


def test_honest_members_write_what_they_measured():
    measured = measured_of()
    assert adversaries("noise").report(3, measured, OFFERING, 0) is measured
    assert adversaries("noise", members=()).report(5, measured, OFFERING, 0) is measured
    assert adversaries("noise", lies=Lies.NONE).report(5, measured, OFFERING, 0) is measured


@pytest.mark.parametrize("lies", [Lies.PROMOTE, Lies.DEFAME])
def test_lying_members_praise_each_other(lies):
    measured = measured_of()
    said = adversaries("noise", lies=lies).report(9, measured, OFFERING, 4)
    low, high = LIED_ACCURACY
    assert np.all((said.accuracies[MINE] >= low) & (said.accuracies[MINE] <= high))
    assert np.array_equal(said.gains[MINE], said.accuracies[MINE] * 2)
    assert set(said.norms[MINE]) == {np.sort(measured.norms[THEIRS])[1]}
    assert np.array_equal(said.norms[THEIRS], measured.norms[THEIRS])
    if lies is Lies.PROMOTE:
        assert np.array_equal(said.gains[THEIRS], measured.gains[THEIRS])
        assert np.array_equal(said.accuracies[THEIRS], measured.accuracies[THEIRS])
    else:
        assert set(said.gains[THEIRS]) == {DEFAMED_GAIN}
        assert set(said.accuracies[THEIRS]) == {0}
    again = adversaries("noise", lies=lies).report(9, measured, OFFERING, 4)
    assert np.array_equal(again.accuracies, said.accuracies)
    other = adversaries("noise", lies=lies).report(15, measured, OFFERING, 4)
    assert not np.array_equal(other.accuracies[MINE], said.accuracies[MINE])


def test_an_attack_that_there_is_not():
    with pytest.raises(UsageError, match="no attack"):
        adversaries("nonsense")
