"""docs/incentives.md: every number of its example follows from the ledger's own functions."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Final

from bflcd.ledger.alliance.fees import dues_of, in_arrears, owing, price_of
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.rewards import rewards
from bflcd.ledger.state import NEVER, State, members_of, with_accounts
from bflcd.ledger.transition import check_conservation
from bflcd.params import Terms
from bflcd.types import Amount, Digest, NodeId, PartsPerMillion, Round, View
from bflcd.wire.alliance import Admit, Leave, Transfer
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Prepare
from bflcd.wire.operation import Operation
from tests.helpers.ledger import make_community, make_identities, place_of
from tests.helpers.money import account, after, pays, says, with_terms

DOCUMENT = (Path(__file__).parents[2] / "docs" / "incentives.md").read_text()

TERMS: Final = Terms(entry_fee=Amount(50), period_fee=Amount(30), period_rounds=100, deposit=Amount(200), deposit_rounds=20)
POOL: Final = Amount(100_000)
SHARE: Final = PartsPerMillion(1_000)
LAST: Final = 150
"""The round at which the example stops: in the middle of the second period."""

START = make_community(10, 4, 6)
KEYS = [START.keys[node] for node in START.members]
NEW = next(one for one in make_identities(11) if one.node_id not in START.keys)
CAST = dict(
    zip(("first", "second", "third", "fourth", "strong", "sponsor", "leaver", "friend", "rider", "liar"), KEYS, strict=True)
) | {"newcomer": NEW}
NAMES = {key.node_id: name for name, key in CAST.items()}
GAINS = Counter({key.node_id: 2 for key in CAST.values()}) | {CAST["strong"].node_id: 6, CAST["rider"].node_id: 0}


@dataclass
class Story:
    """What happened: pay, fees and deposits by name, and the ledger at the end."""

    state: State
    pay: Counter[str] = field(default_factory=Counter)
    fees: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    trained: Counter[str] = field(default_factory=Counter)


def first_ledger() -> State:
    supply = POOL + 10 * 1_000
    return with_terms(replace(START.state, pool=POOL, supply=Amount(supply)), TERMS)


def lie() -> Operation:
    bodies = (
        Prepare(**place_of(START) | {"view": View(1)}, digest=Digest(bytes([n]) * 32), proposal=START.state.chain) for n in (1, 2)
    )
    return evidence_of(*(seal(body, CAST["liar"]).envelope for body in bodies))


def what_is_signed(state: State) -> Iterator[Operation]:
    """The operations of one round."""
    happens: dict[int, Callable[[], Operation]] = {
        10: lambda: says(state, CAST["first"], Admit, node=NEW.node_id),
        11: lambda: pays(state, CAST["sponsor"], NEW),
        60: lambda: says(state, CAST["liar"], Transfer, to=CAST["friend"].node_id, amount=account(state, CAST["liar"]).balance),
        61: lie,
        120: lambda: says(state, CAST["leaver"], Leave),
    }
    if state.round in happens:
        yield happens[state.round]()
    for name, key in CAST.items():
        known = key.node_id in {one.node for one in members_of(state)}
        if not known or name in ("rider", "liar"):
            continue
        one = account(state, key)
        if one.paid_round == state.round and price_of(TERMS, one).total:
            yield pays(state, key)


def judges(state: State) -> frozenset[NodeId]:
    """Four of those that take part, by turns."""
    able = [one.node for one in members_of(state) if one.punished_round == NEVER and one.node not in owing(state)]
    return frozenset(able[(4 * state.round + place) % len(able)] for place in range(4))


def learn(story: Story) -> None:
    """One round's updates, and their pay."""
    state, seats = story.state, judges(story.state)
    gains = {
        one.node: GAINS[one.node]
        for one in members_of(state)
        if one.node not in seats and one.punished_round == NEVER and one.node not in owing(state)
    }
    paid = dict(rewards(state.pool, SHARE, gains))
    story.trained.update(NAMES[node] for node in gains)
    story.pay.update({NAMES[node]: amount for node, amount in paid.items()})
    state = with_accounts(
        replace(state, pool=Amount(state.pool - sum(paid.values()))),
        *(replace(one, balance=Amount(one.balance + paid[one.node])) for one in state.accounts if one.node in paid),
    )
    story.state = state


@cache
def told() -> Story:
    """150 rounds of the community of docs/incentives.md."""
    story = Story(replace(first_ledger(), committee=()))
    while story.state.round < LAST:
        learn(story)
        signed = list(what_is_signed(story.state))
        for one in signed:
            if one.kind == "pay":
                story.fees[NAMES[one.author]] += kind_of(one).body(one).fee  # type: ignore[attr-defined]
        story.state = after(story.state, *signed)
        check_conservation(story.state)
    return story


def row(name: str) -> str:
    """A member's line of the document's table."""
    story = told()
    one = account(story.state, CAST[name])
    cells = (story.trained[name], story.pay[name], story.fees[name], one.balance, one.deposit)
    return f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |"


def test_every_line_of_the_table_is_what_the_ledger_gives() -> None:
    missing = [row(name) for name in CAST if row(name) not in DOCUMENT]
    assert missing == []


def test_the_sums_are_those_of_the_ledger() -> None:
    state = told().state
    balances, deposits = sum(one.balance for one in state.accounts), sum(one.deposit for one in state.accounts)
    line = (
        f"{balances:,} in balances, {deposits:,} in deposits, {state.pool:,} in the pool, {state.burnt:,} burnt: {state.supply:,}"
    )
    assert line in DOCUMENT.replace("\n", " "), line


def test_what_the_terms_ask_for_is_what_the_document_says() -> None:
    said = (
        f"entry_fee={TERMS.entry_fee} period_fee={TERMS.period_fee} period_rounds={TERMS.period_rounds} deposit={TERMS.deposit}"
    )
    assert all(f"--param {part}" in DOCUMENT for part in said.split())
    newcomer = dues_of(TERMS, replace(account(told().state, NEW), paid_round=NEVER, deposit=Amount(0)), Round(11))
    assert f"`{newcomer}`" in DOCUMENT


def test_who_rides_free_is_left_out_and_the_liar_has_lost_what_it_could_not_move() -> None:
    state = told().state
    assert in_arrears(state, state.round) >= {CAST["rider"].node_id}
    assert (told().pay["rider"], account(state, CAST["rider"]).balance) == (0, 800)
    assert (account(state, CAST["liar"]).balance, account(state, CAST["liar"]).deposit, state.burnt) == (0, 0, 215)
