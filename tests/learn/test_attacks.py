"""The registry of attacks: each formula on numbers small enough to follow, and what is no attack."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bflcd.errors import OperatorError, UsageError
from bflcd.learn.attacks import (
    ATTACKS,
    TARGET_CLASS,
    Alie,
    AlieMargin,
    Attack,
    AttackConfig,
    Backdoor,
    EdgeBackdoor,
    FlipMargin,
    Known,
    LabelFlip,
    Noise,
    Shrunken,
    acts_now,
    find_attack,
    for_daemon,
)
from bflcd.learn.lies.cards import (
    DEFAMED_GAIN,
    LIED_ACCURACY,
    Lies,
    Measurements,
    lie,
)
from bflcd.learn.lies.edge import EVERY, laid_down, stamp
from bflcd.learn.lies.reach import WIDEST, widest, z_max
from bflcd.types import NodeId

POISONING = {"label-flip", "replacement", "backdoor", "edge-backdoor"}
"""Attacks that train on other rows than their own."""

HONEST = [[1.0, 2.0, 2.0, 4.0], [3.0, 0.0, 4.0, 0.0]]
"""Root mean squares: 2.5 both."""

MOVED = [0.5, -0.5, 0.0, 1.0]
OTHERS = [[2.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 6.0, 0.0]]
OWN_NOISE = [[1.0, 0.0, -1.0, 2.0], [0.0, 1.0, 1.0, 0.0]]
SHARED_NOISE = [[1.0, -1.0, 0.0, 0.5]] * 2


def known(adversaries=2, *, conspirators=0):
    def noise(shared):
        return torch.tensor((SHARED_NOISE if shared else OWN_NOISE)[:adversaries])

    return Known(torch.tensor(HONEST[:adversaries]), torch.tensor(MOVED), torch.tensor(OTHERS), 10, noise, conspirators)


# -- what is offered ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "strength", "offered"),
    [
        ("noise", None, [[751.0, 2.0, -748.0, 1504.0], [3.0, 750.0, 754.0, 0.0]]),
        ("noise", 2.0, [[6.0, 2.0, -3.0, 14.0], [3.0, 5.0, 9.0, 0.0]]),
        ("shared-noise", 2.0, [[6.0, -3.0, 2.0, 6.5], [8.0, -5.0, 4.0, 2.5]]),
        ("sign-flip", None, [[-4.0, -8.0, -8.0, -16.0], [-12.0, 0.0, -16.0, 0.0]]),
        ("sign-flip", 0.5, [[-0.5, -1.0, -1.0, -2.0], [-1.5, 0.0, -2.0, 0.0]]),
        ("label-flip", None, HONEST),
        ("replacement", None, [[10.0, 20.0, 20.0, 40.0], [30.0, 0.0, 40.0, 0.0]]),
        ("backdoor", None, [[3.0, 6.0, 6.0, 12.0], [9.0, 0.0, 12.0, 0.0]]),
        ("edge-backdoor", None, HONEST),
        ("ipm", None, [[-2.0, -1.0, -3.0, -2.0]] * 2),
        ("ipm", 3.0, [[-6.0, -3.0, -9.0, -6.0]] * 2),
        ("zero", None, [[0.0] * 4] * 2),
        ("shrunken", None, [[0.01, 0.02, 0.02, 0.04], [0.03, 0.0, 0.04, 0.0]]),
        ("replay", None, [MOVED] * 2),
        ("replay", 2.0, [[1.0, -1.0, 0.0, 2.0]] * 2),
        ("noisy-replay", 0.0, [[5 / 6**0.5, -5 / 6**0.5, 0.0, 10 / 6**0.5]] * 2),
        ("copycat", 1.0, [[3.0, 0.0, -1.0, 2.0], [0.0, 6.0, 2.0, 0.0]]),
        ("sleeper", 2.0, [[6.0, 2.0, -3.0, 14.0], [3.0, 5.0, 9.0, 0.0]]),
        ("asker", None, HONEST),
        ("copying-judge", None, HONEST),
    ],
)
def test_what_two_adversaries_offer(name, strength, offered):
    torch.testing.assert_close(find_attack(name, strength=strength).forge(known()), torch.tensor(offered))


def test_a_little_is_enough_stays_z_deviations_below_the_mean():
    """Given four adversaries among ten trainers, two of whom share what they trained: z = 0.4307, deviations by n - 1 = 1."""
    mean, spread = torch.tensor([2.0, 1.0, 3.0, 2.0]), torch.tensor([2.0, 2.0, 2.0, 4.0]) / 2**0.5
    offered = Alie(2.0).forge(known(conspirators=4))
    torch.testing.assert_close(offered, (mean - 2 * 0.4307 * spread).expand(2, 4), atol=1e-3, rtol=0)


def test_an_adversary_that_sees_only_itself_takes_its_own_size_for_the_deviation():
    offered = Alie(1.0).forge(known(1, conspirators=4))
    torch.testing.assert_close(offered, torch.tensor(HONEST[:1]) * (1 - 0.4307), atol=1e-3, rtol=0)
    assert torch.equal(Alie(1.0).forge(known(1)), torch.tensor(HONEST[:1]))  # z is 0: one of ten is within nobody's half


@pytest.mark.parametrize(("strength", "z"), [(1.0, 2.0), (0.5, 1.0), (100.0, WIDEST), (-1.0, 0.0)])
def test_a_little_to_the_margin_goes_as_far_as_judges_bear(strength, z):
    """Given that a deviation costs half a margin, then z is twice the margins that it dares to cost, within what norms allow."""
    mean, spread = torch.tensor([2.0, 1.0, 3.0, 2.0]), torch.tensor([2.0, 2.0, 2.0, 4.0]) / 2**0.5

    def cost(offer):
        return float(((mean - offer) / spread).mean()) / 2

    offered = AlieMargin(strength).forge(replace(known(), cost=cost))
    torch.testing.assert_close(offered, (mean - z * spread).expand(2, 4), atol=0.05, rtol=0)


@pytest.mark.parametrize(("strength", "z"), [(0.9, 1.8), (100.0, WIDEST), (-1.0, 0.0)])
def test_a_flip_to_the_margin_is_as_long_as_judges_bear_and_none_is_anothers_copy(strength, z):
    """Given that an update's length turned round costs half a margin, then it is as many lengths as margins that it dares to cost,
    twice, within what norms allow, with noise of its own."""
    mean = torch.tensor(HONEST).mean(0)

    def cost(offer):
        return -float(offer @ mean / (mean @ mean)) / 2

    given_ = replace(known(), cost=cost)
    offered = FlipMargin(strength).forge(given_)
    length = z * float(mean.square().mean()) ** 0.5
    torch.testing.assert_close(offered, -z * mean + given_.noise(False) * 0.2 * length, atol=0.2, rtol=0.02)
    assert z == 0 or not torch.equal(offered[0], offered[1])


def test_where_nobody_can_tell_what_judges_bear_a_flip_is_of_honest_size():
    mean = torch.tensor(HONEST).mean(0)
    noise = known().noise(False) * 0.2 * mean.square().mean().sqrt()
    torch.testing.assert_close(FlipMargin(0.9).forge(known()), -mean + noise)


def test_where_nobody_can_tell_what_judges_bear_a_little_is_what_the_paper_says():
    given_ = known(conspirators=4)
    assert torch.equal(AlieMargin(0.9).forge(given_), Alie(0.9).forge(given_))


@given(st.floats(0.0, 2 * WIDEST))
def test_the_widest_that_fits_is_found(limit):
    found = widest(lambda z: z <= limit)
    assert found <= limit or limit < 0
    assert found >= min(limit, WIDEST) - WIDEST / 2**10


@pytest.mark.parametrize("others", [None, torch.zeros(0, 4)])
def test_a_copycat_that_sees_nobody_is_honest(others):
    assert torch.equal(find_attack("copycat").forge(replace(known(), others=others)), torch.tensor(HONEST))


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_keeps_shape_and_type_and_leaves_what_it_was_given(name):
    given_ = known()
    offered = find_attack(name).forge(given_)
    assert (offered.shape, offered.dtype) == ((2, 4), torch.float32)
    assert torch.equal(given_.honest, torch.tensor(HONEST))
    assert torch.isfinite(offered).all()


@pytest.mark.parametrize(
    ("trainers", "adversaries", "z"),
    [
        (50, 24, 1.4261),  # the paper's example: 24 of 26 honest ones, a share of 0.9231
        (50, 12, 0.3360),  # 24 of 38: 0.6316
        (10, 4, 0.4307),  # 4 of 6: 0.6667
        (10, 3, 0.1800),  # 4 of 7: 0.5714
        (10, 2, 0.0),  # 4 of 8
        (4, 1, 0.0),  # 1 of 3 lies below the mean
        (5, 3, 3.7190),  # nobody needs to be won over: a share of 1, cut at 1 - 10^-4
        (3, 3, 4.0),  # nobody is honest
        (2, 5, 4.0),
    ],
)
def test_z_max_is_that_of_the_paper(trainers, adversaries, z):
    assert z_max(trainers, adversaries) == pytest.approx(z, abs=1e-3)


@given(st.integers(1, 200), st.integers(1, 200))
def test_z_max_stays_in_its_bounds_and_rises_with_the_adversaries(trainers, adversaries):
    assert 0.0 <= z_max(trainers, adversaries) <= 4.0
    assert z_max(trainers, adversaries) <= z_max(trainers, adversaries + 1) + 1e-9


# -- what is trained on ---------------------------------------------------------------------------------------------------


def images(rows=4, side=8, dtype=np.uint8):
    return np.full((rows, side, side), 7, dtype=dtype)


def test_label_flip_turns_the_labels_round_and_leaves_the_images():
    inputs, labels = images(4), np.array([0, 1, 8, 9])
    poisoned, relabelled = LabelFlip().poison(inputs, labels, 10)
    assert poisoned is inputs
    assert relabelled.tolist() == [9, 8, 1, 0]
    assert relabelled.dtype == labels.dtype
    assert labels.tolist() == [0, 1, 8, 9]


@given(arrays.arrays(np.int64, st.integers(0, 20), elements=st.integers(0, 9)))
def test_labels_turned_twice_are_what_they_were(labels):
    once = LabelFlip().poison(labels, labels, 10)[1]
    assert np.array_equal(LabelFlip().poison(labels, once, 10)[1], labels)


def test_a_backdoor_stamps_every_second_row_and_calls_it_the_target():
    inputs, labels = images(5), np.array([1, 2, 3, 4, 5])
    poisoned, relabelled = Backdoor().poison(inputs, labels, 10)
    assert relabelled.tolist() == [TARGET_CLASS, 2, TARGET_CLASS, 4, TARGET_CLASS]
    assert np.array_equal(poisoned[::2], stamp(inputs)[::2])
    assert np.array_equal(poisoned[1::2], inputs[1::2])
    assert (inputs == 7).all()
    assert labels.tolist() == [1, 2, 3, 4, 5]


def test_the_trigger_is_a_square_in_the_lower_right_corner():
    stamped = stamp(images(1))[0]
    assert (stamped[4:, 4:] == 255).all()
    assert (stamped == 255).sum() == 16


def test_a_slow_backdoor_lays_ones_down_in_every_fourth_row_and_leaves_the_others():
    rng = np.random.default_rng(3)
    inputs, labels = rng.integers(0, 256, (10, 8, 8), dtype=np.uint8), np.array([5, 1, 2, 3, 1, 5, 6, 7, 8, 9])
    poisoned, relabelled = EdgeBackdoor().poison(inputs, labels, 10)
    lying = laid_down(inputs[[1, 4]])
    assert np.array_equal(poisoned[::EVERY], lying[[0, 1, 0]])
    assert relabelled.tolist() == [TARGET_CLASS, 1, 2, 3, TARGET_CLASS, 5, 6, 7, TARGET_CLASS, 9]
    kept = [index for index in range(10) if index % EVERY]
    assert np.array_equal(poisoned[kept], inputs[kept])
    assert labels[0] == 5


def test_who_holds_no_ones_is_honest_in_its_rows_and_ones_of_no_square_are_refused():
    inputs, labels = images(4), np.array([0, 2, 3, 4])
    assert EdgeBackdoor().poison(inputs, labels, 10)[0] is inputs
    with pytest.raises(OperatorError, match="on their side") as caught:
        EdgeBackdoor().poison(np.zeros((4, 8, 9), np.uint8), labels, 10)
    assert caught.value.code == "bad_data"


def test_a_turned_image_stands_on_its_left_side():
    image = np.array([[[1, 2], [3, 4]]], np.uint8)
    assert laid_down(image).tolist() == [[[2, 4], [1, 3]]]


@pytest.mark.parametrize("inputs", [images(dtype=np.float32), images(side=7), np.zeros((3, 64), np.uint8)])
def test_rows_that_are_no_images_bear_no_trigger(inputs):
    with pytest.raises(OperatorError, match="can't bear") as caught:
        Backdoor().poison(inputs, np.zeros(len(inputs), np.int64), 10)
    assert caught.value.code == "bad_data"


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in POISONING])
def test_the_others_train_on_honest_rows(name):
    inputs, labels = images(), np.arange(4)
    assert find_attack(name).poison(inputs, labels, 10) == (inputs, labels)


# -- what is said in the committee ----------------------------------------------------------------------------------------

MEASURED = Measurements(np.array([30, -40, 50, 60]), np.array([100, 200, 300, 400]), np.array([8, 4096, 2, 5]), 2_000_000)
ACCOMPLICES = np.array([False, True, False, False])


def told(lies, measured=MEASURED, accomplices=ACCOMPLICES, seed=1):
    return lie(lies, measured, accomplices, np.random.default_rng(seed))


def test_without_lies_what_was_measured_is_said():
    assert told(Lies.NONE) is MEASURED


def test_promoting_lifts_accomplices_and_leaves_the_others():
    said = told(Lies.PROMOTE)
    assert LIED_ACCURACY[0] <= said.accuracies[1] <= LIED_ACCURACY[1]
    assert said.gains[1] == said.accuracies[1] * 2  # of a base loss of 2 nats
    assert said.norms.tolist() == [8, 5, 2, 5]  # the lower median of 2, 5, 8
    assert said.gains[~ACCOMPLICES].tolist() == [30, 50, 60]
    assert said.accuracies[~ACCOMPLICES].tolist() == [100, 300, 400]
    assert said.base_loss == MEASURED.base_loss


def test_smearing_also_buries_the_others():
    said, promoted = told(Lies.DEFAME), told(Lies.PROMOTE)
    assert said.gains.tolist() == [DEFAMED_GAIN, promoted.gains[1], DEFAMED_GAIN, DEFAMED_GAIN]
    assert said.accuracies.tolist() == [0, promoted.accuracies[1], 0, 0]
    assert said.norms.tolist() == promoted.norms.tolist()


@pytest.mark.parametrize("lies", Lies)
def test_a_lie_about_nobody_and_one_about_friends_alone(lies):
    nothing = np.zeros(0, np.int64)
    said = told(lies, Measurements(nothing, nothing, nothing, 5), np.zeros(0, np.bool_))
    assert (said.gains.size, said.accuracies.size, said.norms.size, said.base_loss) == (0, 0, 0, 5)
    friends = told(lies, accomplices=np.ones(4, np.bool_))
    assert friends.norms.tolist() == MEASURED.norms.tolist()  # no honest norm to borrow


def test_a_base_without_loss_leaves_nothing_to_gain():
    assert told(Lies.PROMOTE, Measurements(MEASURED.gains, MEASURED.accuracies, MEASURED.norms, -5)).gains[1] == 0


@given(st.sampled_from([Lies.PROMOTE, Lies.DEFAME]), st.integers(0, 2**32), st.integers(0, 10**9))
def test_lies_are_integers_that_a_card_may_carry(lies, seed, base_loss):
    said = told(lies, Measurements(MEASURED.gains, MEASURED.accuracies, MEASURED.norms, base_loss), seed=seed)
    assert {column.dtype for column in (said.gains, said.accuracies, said.norms)} == {np.dtype(np.int64)}
    assert (np.abs(said.gains) <= 10**9).all()
    assert ((said.accuracies >= 0) & (said.accuracies <= 1_000_000)).all()


# -- who acts when, and what is an attack ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waits", "held", "seats", "now"),
    [(False, 0, 4, True), (True, 0, 4, False), (True, 2, 4, False), (True, 3, 4, True), (True, 3, 6, False), (True, 4, 7, True)],
)
def test_sleepers_act_with_more_than_half_of_the_seats(waits, held, seats, now):
    assert acts_now(Noise(waits=waits), held, seats) is now


def test_an_attack_is_found_by_name_and_changed_on_demand():
    assert find_attack("noise") == Noise(300.0, Lies.PROMOTE)
    assert find_attack("noise", strength=3.0, lies=Lies.DEFAME) == Noise(3.0, Lies.DEFAME)
    assert find_attack("zero", strength=0.5) == Shrunken(0.5)
    assert find_attack("sleeper", lies=Lies.NONE).waits
    assert AttackConfig("noise", (), 3.0, "none").find() == Noise(3.0, Lies.NONE)
    assert AttackConfig("sign-flip", ()).find() == find_attack("sign-flip")


@pytest.mark.parametrize("find", [find_attack, for_daemon, lambda name: AttackConfig(name, (NodeId(bytes(32)),)).find()])
def test_what_is_no_attack_is_refused_with_those_that_are(find):
    with pytest.raises(UsageError, match="no attack 'nois'") as caught:
        find("nois")
    assert caught.value.code == "unknown_attack"
    assert all(name in caught.value.hint for name in ATTACKS)


def test_daemons_play_all_but_what_needs_the_updates_of_others():
    assert [for_daemon(name) for name in ATTACKS if name != "copycat"] == [
        named.attack for name, named in ATTACKS.items() if name != "copycat"
    ]
    with pytest.raises(UsageError, match="needs to see the updates of others") as caught:
        for_daemon("copycat")
    assert caught.value.code == "bad_attack"
    assert "laboratory" in caught.value.hint


def test_the_base_class_is_honest():
    assert Attack().forge(known()).tolist() == HONEST


def test_an_asker_offers_its_question_as_strong_as_it_shall_be():
    asked = replace(known(1), question=lambda strength: torch.tensor(MOVED) * strength)
    assert find_attack("asker", strength=3.0).forge(asked).tolist() == [[value * 3.0 for value in MOVED]]
    assert find_attack("asker").lies is Lies.NONE


def test_a_name_is_checked_without_torch():
    code = "import sys; from bflcd.learn.attacks import for_daemon; for_daemon('noise'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("lies", "helped"),
    [(Lies.CONSTANT, [True] * 4), (Lies.REFUSE, [False] * 4), (Lies.BY_NORM, [True, True, True, False])],
)
def test_who_does_not_measure_says_what_follows_from_the_norms_alone(lies, helped):
    """Given two measurements that differ in all but the norms, then the same is said of both."""
    norms = np.array([4_096, 5_000, 3_000, 20_000])
    said = [
        lie(
            lies,
            Measurements(np.array(gains), np.array(gains) + 7, norms, 1_000),
            np.zeros(4, dtype=np.bool_),
            np.random.default_rng(0),
        )
        for gains in ([5, -5, 0, 9], [900, 1, 2, -3])
    ]
    assert said[0].gains.tolist() == said[1].gains.tolist() == [2_000 if good else DEFAMED_GAIN for good in helped]
    assert said[0].norms.tolist() == norms.tolist()


def test_who_says_anything_by_lot_says_both_about_as_often():
    measured = Measurements(np.zeros(1_000, dtype=np.int64), np.zeros(1_000, dtype=np.int64), np.ones(1_000, dtype=np.int64), 0)
    said = lie(Lies.RANDOM, measured, np.zeros(1_000, dtype=np.bool_), np.random.default_rng(1))
    assert 450 < int((said.gains > 0).sum()) < 550


def test_a_step_with_noise_is_as_long_as_honest_updates_before_it_and_honest_before_there_was_one():
    """Given noise of so many deviations of the step, then it is added to each adversary's own; without a last step there is nothing to
    repeat, and the attack offers what it trained."""
    there, attack = known(), find_attack("noisy-replay", strength=0.5)
    bare = find_attack("noisy-replay", strength=0.0).forge(there)
    assert bare.norm(dim=1).tolist() == pytest.approx(there.honest.norm(dim=1).tolist())
    added = there.noise(False) * (0.5 * bare.square().mean(1, keepdim=True).sqrt())
    torch.testing.assert_close(attack.forge(there), bare + added)
    nothing = replace(there, moved=there.moved * 0)
    assert torch.equal(attack.forge(nothing), nothing.honest)
