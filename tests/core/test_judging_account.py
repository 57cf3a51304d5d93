"""What a node's cards told of its rows: counted once a round and epoch, never above the budget; and what a spent one says."""

from dataclasses import replace

import pytest

from bflcd.core.core import Core
from bflcd.core.effects import Effect, Notice, Persist, Send
from bflcd.core.events import BlobFetched, MessageReceived, Scored
from bflcd.core.node_events import EventKind
from bflcd.core.trust.judging_account import JudgingAccount, Tally, Told, cost_of_round
from bflcd.learn.protocol import ScoreResult, UpdateScore
from bflcd.ledger.disclosure import REFUSED
from bflcd.ledger.trust.accounting import NOTHING, Answers, added, cost, epsilon
from bflcd.params import NOISE_UNIT
from bflcd.types import ZERO_DIGEST, Epoch, MicroNats, PartsPerMillion, Round
from bflcd.wire.envelope import Envelope, open_envelope
from bflcd.wire.messages import ScoreCard
from tests.helpers.inside import round_of
from tests.helpers.one_core import T0, a_judge, a_world, is_card, later, offer_of

NOISE = 4 * NOISE_UNIT
ANSWERS = Answers(NOISE, 12, 100, 400)
OTHER = replace(ANSWERS, count=5)


def told(round_: int, answers: Answers = ANSWERS, epoch: int = 0) -> Told:
    return Told(Round(round_), Epoch(epoch), answers)


def tally(*cards: Told) -> Tally:
    found = Tally()
    for card in cards:
        found = found.after(card)
    return found


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ((), NOTHING),
        ((told(3),), cost(ANSWERS)),
        ((told(3), told(3)), cost(ANSWERS)),
        ((told(3), told(4)), added(cost(ANSWERS), cost(ANSWERS))),
        ((told(3), told(3, OTHER, epoch=1)), cost(replace(ANSWERS, count=17))),
        ((told(3), told(9, OTHER)), added(cost(ANSWERS), cost(OTHER))),
        ((told(3), told(3, replace(ANSWERS, count=0), epoch=1)), cost(ANSWERS)),
    ],
    ids=["none", "one", "the same again", "two rounds", "two epochs of one draw", "rounds between", "one that says nothing"],
)
def test_rounds_add_up_and_a_round_has_one_draw(cards: tuple[Told, ...], expected: tuple[float, ...]) -> None:
    assert tally(*cards).total == pytest.approx(expected)


def test_where_the_rows_changed_within_a_round_their_drawing_helps_nothing() -> None:
    moved = replace(ANSWERS, held=500)
    whole = cost(replace(ANSWERS, held=100))
    assert cost_of_round((ANSWERS, moved)) == pytest.approx(added(whole, whole))


def test_cards_and_answers_are_counted() -> None:
    found = tally(told(3), told(3, OTHER, epoch=1), told(4))
    assert (found.all_cards, found.all_answers, found.round) == (3, 29, 4)


def test_a_budget_is_spent_to_the_last_card_and_never_exceeded() -> None:
    account = JudgingAccount(budget=20.0)
    rounds = 0
    while account.affords(told(rounds)):
        account.count(account.tally.after(told(rounds)))
        rounds += 1
    assert 1 < rounds < 200
    assert account.epsilon <= 20.0 < epsilon(account.tally.after(told(rounds)).total, account.delta)
    assert not account.affords(told(rounds, OTHER)) or OTHER.count < ANSWERS.count
    assert JudgingAccount(account.tally).affords(told(rounds))  # without a budget any may


def test_what_is_told_without_noise_no_budget_bears() -> None:
    exact = told(1, replace(ANSWERS, noise=0))
    assert not JudgingAccount(budget=1e6).affords(exact)
    account = JudgingAccount(tally(exact), budget=5.0)
    assert "no bound so far" in account.refusal


def judging(account: JudgingAccount, noise: int = NOISE) -> tuple[list[Effect], Core]:
    """A judge with one scored offer, and what it does when its card is due."""
    world = a_world(score_noise=noise, sealed_cards=False)
    core, _ = a_judge(world)
    core._node.account.tally, core._node.account.budget = account.tally, account.budget
    trainer = world.identities[list(world.identities)[-1]]
    core.handle(BlobFetched(core.context.head_blob.root), world.instant())
    core.handle(MessageReceived(offer_of(core, trainer), trainer.node_id), world.instant())
    (slot,) = round_of(core).collection.slots.values()
    core.handle(BlobFetched(slot.offer.body.blob.root, 5), world.instant())
    core.tick(later(world, T0))
    score = UpdateScore(slot.offer.digest, MicroNats(-(10**9)), PartsPerMillion(6), 7)
    result = ScoreResult(MicroNats(1_300_001), PartsPerMillion(830_001), (score,), (), 0.0, 100, 400)
    effects = core.handle(Scored(Round(0), result), world.instant())
    return effects + core.tick(later(world, core.context.params.collect_deadline)), core


def card_of(effects: list[Effect]) -> ScoreCard:
    (card,) = {effect.message for effect in effects if isinstance(effect, Send) and is_card(effect.message)}
    assert isinstance(card, Envelope)
    return open_envelope(card, (ScoreCard,)).body


def test_a_card_names_what_it_tells_before_it_is_said() -> None:
    effects, _ = judging(JudgingAccount())
    (kept,) = [effect for effect in effects if isinstance(effect, Persist) and effect.tells is not None]
    said = next(effect for effect in effects if isinstance(effect, Send) and is_card(effect.message))
    assert effects.index(kept) < effects.index(said)
    assert kept.tells is not None
    assert replace(kept.tells, chain=ZERO_DIGEST) == Told(Round(0), Epoch(0), Answers(NOISE, 3, 100, 400))
    assert kept.tells.chain != ZERO_DIGEST
    assert [entry.gain for entry in card_of(effects).entries] == [REFUSED]


def test_a_card_that_is_made_again_says_the_same() -> None:
    """Given a card that was lost before it was durable, when it is made again, then its noise is the same."""
    one, other = (card_of(judging(JudgingAccount(), 1_000_000)[0]) for _ in range(2))
    assert (one.entries, one.base_loss, one.base_accuracy) == (other.entries, other.base_loss, other.base_accuracy)


@pytest.mark.parametrize(("budget", "noise"), [(1e-3, NOISE), (1e6, 0)], ids=["spent", "no noise, so no bound"])
def test_a_judge_whose_budget_is_spent_sends_a_card_without_entries_and_says_so(budget: float, noise: int) -> None:
    effects, _ = judging(JudgingAccount(budget=budget), noise)
    card = card_of(effects)
    assert (card.entries, card.base_loss, card.base_accuracy) == ((), None, None)
    assert all(not effect.tells.answers.count for effect in effects if isinstance(effect, Persist) and effect.tells)
    (said,) = [effect for effect in effects if isinstance(effect, Notice) and effect.type is EventKind.BUDGET_SPENT]
    assert "Raise privacy.judging_epsilon" in said.text


@pytest.mark.parametrize(("spent", "packs"), [(0, True), (1, True), (3, False)])
def test_rounds_go_on_whosever_budget_is_spent(spent: int, packs: bool) -> None:
    """Given four seats of which some say nothing of their rows, when rounds are played, then all close, none waits for the collect
    deadline, and updates are packed if at most f of them do."""
    world = a_world()
    world.start_all()
    for node in world.genesis.committee[:spent]:
        world.cores[node]._node.account.budget = 1e-9
    began = world.now
    assert world.run_until(lambda: min(world.rounds()) >= 1, 30_000)
    assert world.now - began < world.genesis.params.collect_deadline / 4
    first = next(iter(world.disks.values())).segments[Round(1)].segment
    assert any(update.offer is not None for update in first.updates) is packs
    said = [open_envelope(card, (ScoreCard,)).body.entries for card in first.model.cards]
    assert max(0, spent - 1) <= sum(not entries for entries in said) <= spent  # three of the four cards
