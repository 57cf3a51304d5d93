"""What is answered to whom: unpublished updates and the cards of a running round are for its committee."""

from random import Random
from types import SimpleNamespace
from typing import get_type_hints

import pytest

from bflcd.core.events import OperationSaid
from bflcd.core.records import Head
from bflcd.core.round.context import RoundContext
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.net.blobs.server import BlobServer
from bflcd.net.memory import MemoryNetwork
from bflcd.net.peer import PeerCallbacks
from bflcd.net.peers import PeerManager
from bflcd.node.runtime.clock import instant
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.node.services import CHAIN_REQUESTS, ChainService
from bflcd.node.standing import Newcomer
from bflcd.store.memory import MemoryStore
from bflcd.types import ZERO_DIGEST, Digest, Round
from bflcd.wire.blocks import header_hash
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Beacon
from bflcd.wire.requests import REQUESTS, GetEnvelopes, GetGenesis, GetHeaders, GetOperations, GetPrepared, GetSegment
from tests.helpers.ledger import make_genesis
from tests.helpers.network import AnyAddress, build_node, real_now, status

GENESIS, IDENTITIES = make_genesis()
HEADER, STATE = genesis_header(GENESIS), genesis_state(GENESIS)
MEMBER, TRAINER = GENESIS.committee[0], IDENTITIES[-1].node_id
ROOT, OTHER, ELSEWHERE = (Digest(bytes([number]) * 32) for number in range(1, 4))
SAID = seal(Beacon(STATE.chain, STATE.round, STATE.epoch, ROOT, OTHER), IDENTITIES[0])


async def unheard(event: OperationSaid) -> None:
    """Where nothing is said."""
    raise AssertionError(event)


@pytest.fixture
async def service() -> ChainService:
    store = MemoryStore()
    await store.initialise(GENESIS, HEADER, STATE)
    context = RoundContext(GENESIS, Head(HEADER, header_hash(HEADER), STATE), IDENTITIES[0].node_id)
    core = SimpleNamespace(context=context, signed_message={SAID.digest: SAID.envelope}.get, serves_updates=lambda _: True)
    return ChainService(core, store, Unpublished((), Round(0)), unheard, instant)


async def test_an_unpublished_update_is_for_the_committee_of_its_round(service: ChainService) -> None:
    """Row 47 and design 5.2: of this round to its committee, of another round to nobody; what is published to every member."""
    service._unpublished.made(ROOT, Round(0))
    service._unpublished.offered(ELSEWHERE, Round(1))
    assert [service.may_serve(peer, ROOT, ()) for peer in (MEMBER, TRAINER)] == [True, False]
    assert [service.may_serve(peer, ELSEWHERE, ()) for peer in (MEMBER, TRAINER)] == [False, False]
    assert [service.may_serve(peer, OTHER, ()) for peer in (MEMBER, TRAINER)] == [True, True]


async def test_an_update_is_given_to_its_committee_once_offers_are_closed(service: ChainService) -> None:
    """Given that too few judges have closed, then a judge hears that it is too early, who has no seat nothing else than ever."""
    service._unpublished.made(ROOT, Round(0))
    service._core.serves_updates = bool  # type: ignore[method-assign]
    with pytest.raises(PeerError, match="takes no further offers") as caught:
        service.may_serve(MEMBER, ROOT, ())
    assert caught.value.rejection is Rejection.BUSY
    assert [service.may_serve(TRAINER, ROOT, ()), service.may_serve(MEMBER, OTHER, ())] == [False, True]
    assert service.may_serve(MEMBER, ROOT, ((MEMBER, SAID.envelope.signature),))


async def test_before_the_genesis_nothing_is_served() -> None:
    newcomer = Newcomer()
    assert not newcomer.may_serve(MEMBER, OTHER, ())
    assert not newcomer.is_member(MEMBER)
    with pytest.raises(PeerError) as caught:
        await newcomer.answer(MEMBER, GetGenesis(ZERO_DIGEST))
    assert caught.value.rejection is Rejection.UNAVAILABLE


async def test_what_is_asked_of_a_chain_has_its_handler(service: ChainService) -> None:
    assert set(service.handlers()) == set(CHAIN_REQUESTS)


async def test_cards_of_a_running_round_are_for_its_committee(service: ChainService) -> None:
    answer = service.handlers()[GetEnvelopes]
    request = GetEnvelopes(STATE.chain, Round(0), (SAID.digest,))
    assert (await answer(MEMBER, request)).envelopes == (SAID.envelope,)
    with pytest.raises(PeerError) as caught:
        await answer(TRAINER, request)
    assert caught.value.rejection is Rejection.NOT_COMMITTEE
    with pytest.raises(PeerError) as caught:
        await answer(MEMBER, GetEnvelopes(STATE.chain, Round(1), (SAID.digest,)))
    assert caught.value.rejection is Rejection.UNAVAILABLE


@pytest.mark.parametrize(
    "request_",
    [
        GetEnvelopes(ROOT, Round(0), (ROOT,)),
        GetHeaders(ROOT, Round(1), 1),
        GetSegment(ROOT, Round(1)),
        GetOperations(ROOT, (ROOT,)),
        GetPrepared(ROOT, Round(0), ROOT),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_another_chain_is_refused(service: ChainService, request_: object) -> None:
    with pytest.raises(PeerError) as caught:
        await service.handlers()[type(request_)](MEMBER, request_)
    assert caught.value.rejection is Rejection.WRONG_CHAIN


def handlers_of_a_node():
    """Every part of a node that answers requests, made as the composition root makes it."""
    store, node = MemoryStore(), build_node(MemoryNetwork(), 1, set())
    peers = PeerManager(
        node.transport,
        node.exchange,
        status=status,
        is_member=lambda _: True,
        callbacks=PeerCallbacks(up=lambda *_: None, down=lambda _: None, status=lambda *_: None),
        now=real_now,
        rng=Random(0),
        book=store,
        rule=AnyAddress(),
    )
    blobs = BlobServer(store, chain=lambda: STATE.chain, may_serve=lambda *_: True, on_damage=lambda *_: None)
    for part in (ChainService(SimpleNamespace(), store, Unpublished((), Round(0)), unheard, instant), peers, blobs):
        yield from part.handlers().items()


async def test_every_request_has_one_handler_that_takes_it_and_returns_its_reply() -> None:
    found = list(handlers_of_a_node())
    assert sorted(kind.__name__ for kind, _ in found) == sorted(kind.__name__ for kind in REQUESTS)
    for kind, handler in found:
        hints = get_type_hints(handler)
        assert (hints["request"], hints["return"]) == (kind, kind.reply)
