"""Judges that measure nothing and say what another's card says, with open and with sealed cards, as daemons play it."""

import numpy as np
import pytest
import torch

from bflcd.lab.adversaries import Adversaries
from bflcd.lab.chain import CardLines, LabChain
from bflcd.lab.config import check_config
from bflcd.lab.devices import load_devices
from bflcd.lab.engine.base import Scores
from bflcd.lab.frameworks import Bflc
from bflcd.learn.lies.cards import DEFAMED_GAIN
from bflcd.learn.task import find_task
from bflcd.ledger.disclosure import REFUSED
from bflcd.ledger.quorum import quorum
from bflcd.params import Params
from tests.helpers.lab import CPU, tiny
from tests.lab.test_frameworks import PACE, WIDTH, Pretended, by_rows, closed_rounds

ROUNDS = 12


class Disagreeing(Pretended):
    """Each judge finds another gain and another base: who has measured says what nobody else does."""

    def score(self, model, updates, members, damping, **how):
        found = super().score(model, updates, members, damping, **how)
        own = np.array([int(held[0]) % 7 + 1 for held in members])
        gains = (4 ** np.arange(len(updates)) % 50_000 * own[:, None]).astype(np.int64)
        return Scores(gains, found.accuracies, own * 500_000, own * 100_000, found.costs)


def played(monkeypatch: pytest.MonkeyPatch, *, sealed: bool, liars: float):
    """Each round's committee, liars, q cards and facts."""
    config = tiny({"sealed_cards": sealed, "card_share": 0.5}, attack="copying-judge", liars=liars, seed=3)
    check_config(config)
    devices = load_devices(config, find_task(config.task, dict(config.options)), CPU)
    framework = Bflc(config, devices, Disagreeing(by_rows))
    closed, rounds, model = closed_rounds(framework, monkeypatch), [], torch.zeros(WIDTH)
    for _ in range(ROUNDS):
        committee = framework.chain.committee
        step = framework.step(model, PACE)
        model = step.model
        _, _, cards, decision = closed[-1]
        rounds.append((committee, frozenset(devices.adversaries), dict(cards), step.facts, framework.chain.rewards(decision)))
    return rounds


def words(card: CardLines) -> tuple[object, ...]:
    lines = (tuple(column.tolist()) for column in (card.gains, card.accuracies, card.norms))
    return (*lines, card.base_loss, card.base_accuracy)


def test_where_cards_are_open_a_copier_says_what_a_judge_that_measures_says(monkeypatch) -> None:
    """Given half of the devices that copy / Then all copies of a round are one measured card, of no copies, and are packed."""
    copied = 0
    for committee, liars, cards, facts, _ in played(monkeypatch, sealed=False, liars=0.5):
        honest = {words(card) for member, card in cards.items() if member not in liars}
        copies = [card for member, card in cards.items() if member in liars]
        assert len({words(card) for card in copies}) <= 1
        assert all(card.entered is None and set(card.likes) == {None} for card in copies)
        assert facts["cards_liars"] == len(copies)
        shown = [member for member in committee if member not in liars and member in cards]
        if copies and len(shown) == sum(member not in liars for member in committee):
            assert words(copies[0]) in honest
            copied += 1
    assert copied > 0


@pytest.mark.parametrize("liars", [0.15, 0.6])
def test_where_cards_are_sealed_a_copier_is_packed_only_where_too_few_measure_and_says_nothing(monkeypatch, liars: float) -> None:
    """Given fewer and more copiers than f / Then q measured cards decide, or all there are and empty ones, which earn nothing."""
    short = []
    for committee, lying, cards, facts, paid in played(monkeypatch, sealed=True, liars=liars):
        measured = [member for member in committee if member not in lying]
        missing = max(0, quorum(len(committee)) - len(measured))
        assert len(cards) == quorum(len(committee))
        assert facts["cards_liars"] == sum(member in lying for member in cards) == missing
        for member, card in cards.items():
            assert (card.entered is not None and not card.entered.any()) is (member in lying)
        assert not {member for member in committee if member in lying} & paid.keys()
        short.append(missing > 0)
    assert not all(short) if liars < 0.5 else any(short)


def test_where_nobody_measures_nobody_has_anything_to_say(monkeypatch) -> None:
    for _, lying, cards, facts, paid in played(monkeypatch, sealed=False, liars=1.0):
        assert cards.keys() <= lying
        assert not any(card.entered.any() for card in cards.values())
        assert (facts["packed"], paid) == (0, {})


def test_late_cards_are_left_out_where_there_are_enough_others() -> None:
    chain = LabChain.simulated(Params(committee_size=7, places=20), 20, 1)
    members = chain.committee
    for late in (1, 2, 4):
        chosen = [members[position] for position in chain.chosen_cards(frozenset(), frozenset(members[:late]))]
        assert sum(member in members[:late] for member in chosen) == max(0, quorum(7) - (7 - late))


def test_what_is_overheard_is_the_card_and_no_costs() -> None:
    """Given a card that refuses one of three / Then a copier's line is that, the refusal as a liar says it; others keep theirs."""
    made = Adversaries(tiny(attack="copying-judge", liars=0.2), (5, 9))
    grid = np.arange(6).reshape(2, 3)
    scores = Scores(grid + 100, grid + 200, np.array([1, 2]), np.array([3, 4]), grid + 300)
    card = CardLines(np.array([16, REFUSED, 0]), np.array([0, 0, 7]), np.ones(3, dtype=np.int64), 250_000, 62_500)
    found = made.overheard(scores, (5, 6), card, 0)
    assert found.gains.tolist() == [[16, DEFAMED_GAIN, 0], [103, 104, 105]]
    assert found.accuracies.tolist() == [[0, 0, 7], [203, 204, 205]]
    assert found.costs.tolist() == [[0, 0, 0], [303, 304, 305]]
    assert (found.base_losses.tolist(), found.base_accuracies.tolist()) == ([250_000, 2], [62_500, 4])
    assert scores.gains.tolist() == (grid + 100).tolist(), "what went in stays"
    assert made.hide(5, [None, 0, 1], (1, 2, 3), 0) == (None, None, None)
    assert made.hide(6, [None, 0, 1], (1, 2, 3), 0) == (None, 0, 1)
