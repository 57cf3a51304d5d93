"""Faults that only real learning shows: free riders, colluders, noise at the start; digits, dealt unevenly, real scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bflcd.ledger.judgement import Reason
from bflcd.ledger.oversight import unexplained
from bflcd.types import NodeId
from tests.helpers.learners import Learners, noise, praise
from tests.helpers.scenes import Figure, mostly_slow


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


def alarms(learners: Learners, members: set[NodeId]) -> int:
    """How many of `members` say in the round just played that they can't explain it."""
    assert learners.judgement is not None
    return sum(
        unexplained(learners.judgement, card.body, learners.known) is not None
        for member, card in learners.cards.items()
        if member in members
    )


@pytest.mark.parametrize(
    ("seed", "alpha"), [(5, 0.3), *(pytest.param(s, a, marks=pytest.mark.slow) for s in (4, 6, 7) for a in (0.1, 1.0))]
)
def test_row_43_honest_members_never_raise_the_alarm(seed: int, alpha: float, figure: Figure) -> None:
    """Given data as uneven as Dirichlet(0.1) deals it, when all are honest, then nobody's own scores contradict the decision."""
    learners = Learners(seed=seed, alpha=alpha)
    false = 0
    for _ in range(10):
        learners.play()
        false += alarms(learners, set(learners.cards))
    figure(43, false, 0, "false alarms of honest members")


@pytest.mark.parametrize("captured", mostly_slow(0, 3))
def test_row_43_a_colluding_majority_is_noticed_within_the_round(captured: int, figure: Figure) -> None:
    """Given two of the three cards that decide praise noise and damn all else, then an honest member says so in that round."""
    learners = Learners(14, seed=5, alpha=0.3)
    for _ in range(captured):
        learners.play()
    committee = learners.community.state.committee
    liars = set(committee[:2])
    friends = frozenset(learners.community.outsiders[:3])
    learners.attacks = {node: noise(1.0) for node in friends}
    learners.lies = {node: praise(friends) for node in liars}
    judgement = learners.play()
    assert {offer.uploader for offer in judgement.packed} == friends, "a majority decides: that can't be prevented"
    figure(43, alarms(learners, set(committee) - liars) == 0, 0, "rounds of a captured committee without an alarm")


@pytest.mark.parametrize("said", [1, 64, 2**22])
def test_row_43_a_captured_round_does_not_ruin_the_model(said: int, figure: Figure) -> None:
    """Given a trained model, when a colluding majority packs its friends' noise, a thousand times as long as any update, and says of
    its norm what it likes, then the model stays nearly as good as it was (without the limit of the step it would be back at chance).
    """
    learners = Learners(14, seed=5, alpha=1.0)
    for _ in range(6):
        learners.play()
    before, model = learners.accuracy(), learners.model
    liars = set(learners.community.state.committee[:2])
    friends = frozenset(learners.community.outsiders[:3])
    learners.attacks = {node: noise(1000.0) for node in friends}
    learners.lies = {node: lambda entry, who: replace(praise(friends)(entry, who), norm=said) for node in liars}
    judgement = learners.play()
    assert {offer.uploader for offer in judgement.packed} == friends, "a majority decides: that can't be prevented"
    assert learners.model != model
    figure(43, before - learners.accuracy(), 5, f"points lost by a captured round (norms said to be {said})")


def test_row_50_free_riders_earn_nothing_and_get_no_seat(figure: Figure) -> None:
    """Given three of fourteen whose updates are zero, shrunken to a 64th or noise of that size, then no seat and no reward is theirs."""
    learners = Learners(14, places=10, seed=5, alpha=1.0)
    zero, shrunken, faint = riders = learners.community.outsiders[:3]
    learners.attacks = {
        zero: lambda update, _: np.zeros_like(update),
        shrunken: lambda update, _: update / 64,
        faint: noise(1 / 64),
    }
    before = {account.node: account.balance for account in learners.community.state.accounts}
    seats = 0
    for _ in range(5):
        judgement = learners.play()
        seats += len(set(riders) & set(learners.community.state.committee))
        refused = {offer.uploader: offer.reason for offer in judgement.offers}
        assert refused[zero] == Reason.ZERO_NORM
        assert refused[shrunken] == Reason.NORM_TOO_SMALL
        # Noise costs a little, by chance: at the start, when the margin is next to nothing, that alone is enough.
        assert refused[faint] in {Reason.NORM_TOO_SMALL, Reason.BELOW_MARGIN}
    after = {account.node: account.balance for account in learners.community.state.accounts}
    figure(50, seats, 0, "seats of free riders")
    figure(50, sum(after[node] - before[node] for node in riders), 0, "units paid to free riders")


def after_twenty_rounds(noisy: int) -> tuple[float, int]:
    """Accuracy after 20 rounds in which `noisy` of ten offer noise in round 0, and the most seats that they ever hold."""
    learners = Learners(seed=5, alpha=1.0)
    loud = learners.community.outsiders[:noisy]
    learners.attacks = {node: lambda update, round_: noise(2.0)(update, round_) if round_ == 0 else update for node in loud}
    most = 0
    for round_ in range(20):
        learners.play()
        if round_ == 0:
            most = len(set(loud) & set(learners.community.state.committee))
    return learners.accuracy(), most


@pytest.mark.slow
def test_row_55_noise_in_round_0_is_survived(figure: Figure) -> None:
    """Given three of ten that offer noise while the base is near chance, then the committee isn't theirs and nothing is lost."""
    without, _ = after_twenty_rounds(0)
    accuracy, most = after_twenty_rounds(3)
    figure(55, most, 1, "seats of noise-makers after round 0, of 4 (f = 1)")
    figure(55, without - accuracy, 2, "points of accuracy lost after 20 rounds")
