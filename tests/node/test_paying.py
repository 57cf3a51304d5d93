"""Access follows payment: what who owes is given, what its operator reads, how it pays, and what a node pays by itself."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bflcd.api.schema.alliance import OperationRequest, OperationView
from bflcd.core.records import Head
from bflcd.core.round.context import RoundContext
from bflcd.errors import OperatorError, PeerError, Rejection, UsageError
from bflcd.ledger.state import State, genesis_header, genesis_state
from bflcd.net.blobs.server import BlobServer
from bflcd.node.alliance.bodies import body_of
from bflcd.node.alliance.paying import Payer, wants_to_pay
from bflcd.node.following import Follower
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.node.services import ChainService
from bflcd.node.views.money import dues_warnings, ledger_view
from bflcd.store.memory import MemoryStore
from bflcd.types import Amount, Digest, NodeId, Round
from bflcd.wire.blocks import header_hash
from bflcd.wire.money import Pay
from bflcd.wire.requests import GetChunk, GetManifest
from tests.helpers.ledger import BALANCE, make_genesis
from tests.helpers.money import PERIOD, TERMS, after, all_units, at, changed, pays, with_terms

GENESIS, IDENTITIES = make_genesis()
HEADER = genesis_header(GENESIS)
MEMBER, OTHER = IDENTITIES[9], IDENTITIES[8]
ROOT = Digest(bytes([1]) * 32)
PAID = with_terms(genesis_state(GENESIS))
OWING = changed(at(PAID, PERIOD - 1), MEMBER, paid_round=3)
"""One member's period has ended, nobody else's."""
SOON = at(PAID, PERIOD - 2)
"""The last tenth of the first period."""


def context_of(state: State, me: NodeId = MEMBER.node_id) -> RoundContext:
    return RoundContext(GENESIS, Head(HEADER, header_hash(HEADER), state), me)


def core_of(state: State, me: NodeId = MEMBER.node_id) -> Any:
    return SimpleNamespace(context=context_of(state, me))


# -- what peers give ----------------------------------------------------------------------------------------------------------


async def test_who_owes_gets_no_payload_and_hears_why_until_it_has_paid() -> None:
    """Given a member that owes, when it asks for any payload, then it is refused and told what it owes; when it has paid it is
    treated as any other."""
    core = core_of(OWING, IDENTITIES[0].node_id)
    service = ChainService(core, MemoryStore(), Unpublished((), Round(0)), None, lambda: None)  # type: ignore[arg-type]
    chain = OWING.chain
    server = BlobServer(MemoryStore(), chain=lambda: chain, may_serve=service.may_serve, on_damage=lambda *_: None)
    for request in (GetManifest(chain, ROOT), GetChunk(chain, ROOT, 0)):
        with pytest.raises(PeerError, match=r"you owe 10 units \(period's fee 10\), paid through round 3") as caught:
            await server.handlers()[type(request)](MEMBER.node_id, request)
        assert caught.value.rejection is Rejection.REFUSED
    assert service.may_serve(OTHER.node_id, ROOT, ())
    core.context = context_of(after(OWING, pays(OWING, MEMBER)), IDENTITIES[0].node_id)
    assert service.may_serve(MEMBER.node_id, ROOT, ())


async def test_who_owes_asks_nobody_for_payloads_while_it_catches_up() -> None:
    asked: list[object] = []

    async def fetch(ref: object, _holders: object, **_: object) -> None:
        asked.append(ref)

    follower = object.__new__(Follower)
    follower._fetch_blob = fetch
    for state in (OWING, PAID):
        follower._core = core_of(state)
        await follower._fetch(GENESIS.model, tuple)
    assert asked == [GENESIS.model]


# -- what the operator reads --------------------------------------------------------------------------------------------------


def warned(state: State, limit: int = 0) -> str:
    return "".join(dues_warnings(context_of(state), limit))


def test_who_owes_reads_how_much_and_how_it_is_paid() -> None:
    ways = f"`bflc-cli pay`, or a member pays for it: `bflc-cli pay --for {MEMBER.node_id.hex()}`"
    assert warned(OWING) == (f"this node owes 10 units (period's fee 10); until then it takes no part and gets no model: {ways}")
    poor = changed(OWING, MEMBER, balance=Amount(9), deposit=Amount(30))
    assert "owes 30 units (period's fee 10, deposit 20); its balance is 9; until then" in warned(poor)
    late = at(PAID, PERIOD)
    assert "it takes part meanwhile, since too few members have paid" in warned(late)


def test_who_owes_nothing_reads_nothing_until_its_period_is_about_to_end() -> None:
    assert warned(at(PAID, PERIOD - 3)) == ""
    assert f"has paid through round {PERIOD - 1}, and its next period costs 10 units" in warned(SOON)
    assert warned(SOON, limit=10) == "", "the node pays that by itself"
    assert "its balance is 9" in warned(changed(SOON, MEMBER, balance=Amount(9)), limit=10)
    assert warned(changed(OWING, MEMBER, punished_round=2)) == "", "nobody can pay for a proven liar"
    assert warned(at(genesis_state(GENESIS), 10**6)) == ""


def test_the_ledger_shows_every_unit_once() -> None:
    view = ledger_view(context_of(OWING))
    assert view.balances + view.deposits + view.pool + view.burnt == view.supply == all_units(OWING)
    (mine,) = [one for one in view.members if one.me]
    assert (mine.owes, mine.price, mine.left_out, mine.paid_round, mine.deposit) == (10, 10, True, 3, 50)
    assert mine.owes_text == "10 units (period's fee 10), paid through round 3"
    assert [one.node_id for one in view.members if one.left_out] == [mine.node_id]


# -- paying -------------------------------------------------------------------------------------------------------------------


def test_what_is_signed_is_the_price_of_the_moment() -> None:
    kind, body = body_of(OWING, OperationRequest(kind="pay"), 1, MEMBER.node_id)
    assert (kind, body) == ("pay", Pay(OWING.chain, OWING.round, 1, MEMBER.node_id, 3, Amount(10), Amount(0)))
    for_other = OperationRequest(kind="pay", node=OTHER.node_id.hex()[:8], amount=10)
    assert body_of(PAID, for_other, 1, MEMBER.node_id)[1].node == OTHER.node_id


def test_what_costs_more_than_was_agreed_to_is_not_signed() -> None:
    with pytest.raises(UsageError, match=r"pay: it costs 10 units \(period's fee 10\), more than 9") as caught:
        body_of(OWING, OperationRequest(kind="pay", amount=9), 1, MEMBER.node_id)
    assert caught.value.code == "too_dear"
    gone = changed(PAID, OTHER, left_round=Round(0))
    with pytest.raises(UsageError, match="is no member"):
        body_of(gone, OperationRequest(kind="pay", node=OTHER.node_id.hex()), 1, MEMBER.node_id)


@pytest.mark.parametrize(
    ("state", "limit", "wants"),
    [
        (OWING, 10, True),
        (OWING, 9, False),
        (OWING, 0, False),
        (SOON, 10, True),
        (at(PAID, PERIOD - 3), 10, False),
        (changed(OWING, MEMBER, balance=Amount(9)), 10, False),
        (changed(OWING, MEMBER, punished_round=2), 10, False),
        (replace(OWING, terms=replace(TERMS, period_fee=Amount(0))), BALANCE, False),
    ],
)
def test_a_node_pays_by_itself_what_is_due_within_its_operators_limit(state: State, limit: int, wants: bool) -> None:
    assert wants_to_pay(state, MEMBER.node_id, limit) is wants


class Signs:
    """Refuses as often as it is told to, then signs."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.asked: list[OperationRequest] = []
        self.event = asyncio.Event()

    async def sign(self, request: OperationRequest) -> OperationView:
        self.asked.append(request)
        self.event.set()
        if len(self.asked) <= self.refusals:
            raise OperatorError("another operation of this node waits", code="busy")
        return OperationView(id="", kind="pay", author="", number=1, text="it pays", mine=True, expires=107)


async def test_it_tries_once_a_round_and_goes_on_after_a_refusal() -> None:
    """Given a payment that is refused, then the node neither ends nor tries again before the next round has closed."""
    signs = Signs(refusals=1)
    payer = Payer(core_of(OWING), signs, 10)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(payer.run())
        await signs.event.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert signs.asked == [OperationRequest(kind="pay", amount=10)]
        signs.event.clear()
        payer.closed()
        await signs.event.wait()
        assert len(signs.asked) == 2
        task.cancel()


async def test_without_a_limit_nothing_is_paid() -> None:
    signs = Signs()
    async with asyncio.timeout(10):
        await Payer(core_of(OWING), signs, 0).run()
    assert signs.asked == []
