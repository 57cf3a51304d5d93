"""What every chain side must do as `ChainStore`, `PayloadIndex` and `AddressBook`, whatever it is made of."""

from dataclasses import replace

import pytest

from bflcd.core.records import Head, Pin
from bflcd.errors import OperatorError
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.store.chain import Placed
from bflcd.store.protocol import MAX_ADDRESSES, ChainSide
from bflcd.store.pruning import Needs
from bflcd.types import Amount, Digest, Height, Round
from bflcd.wire.blocks import CertifiedHeader, header_hash
from tests.helpers.store import (
    Chain,
    begin_chain,
    extend_chain,
    make_genesis,
    make_proposal,
    node,
    own_card,
    own_offer,
    payload,
    ref,
    round_payloads,
)


@pytest.fixture
def store(chain_side: ChainSide) -> ChainSide:
    return chain_side


async def test_an_empty_store_has_no_genesis_and_no_head(store: ChainSide) -> None:
    assert await store.genesis() is None
    with pytest.raises(LookupError):
        await store.head()


async def test_block_0_is_the_first_head(store: ChainSide) -> None:
    chain = await begin_chain(store)
    assert await store.genesis() == chain.genesis
    assert await store.head() == Head(chain.header, header_hash(chain.header), chain.state)
    assert await store.segment(Round(0)) is None
    assert await store.certificate(Round(0)) is None
    assert await store.headers(Round(1), 10) == ()


async def test_initialise_again_is_fine_and_another_chain_is_refused(store: ChainSide) -> None:
    chain = await begin_chain(store)
    chain, _ = await extend_chain(store, chain, 1)
    await store.initialise(chain.genesis, genesis_header(chain.genesis), genesis_state(chain.genesis))
    assert (await store.head()).header == chain.header
    other = make_genesis("other")
    with pytest.raises(OperatorError) as caught:
        await store.initialise(other, genesis_header(other), genesis_state(other))
    assert caught.value.code == "wrong_chain"
    assert (await store.head()).header == chain.header


async def test_block_0_of_another_genesis_is_refused(store: ChainSide) -> None:
    mine, other = make_genesis(), make_genesis("other")
    with pytest.raises(ValueError, match="does not belong"):
        await store.initialise(mine, genesis_header(other), genesis_state(other))
    with pytest.raises(ValueError, match="commits to"):
        await store.initialise(mine, genesis_header(mine), replace(genesis_state(mine), pool=Amount(1)))
    assert await store.genesis() is None


async def test_commits_are_found_again(store: ChainSide) -> None:
    chain, committed = await extend_chain(store, await begin_chain(store), 3)
    assert await store.head() == Head(chain.header, header_hash(chain.header), chain.state)
    assert [await store.segment(Round(r)) for r in range(5)] == [None, *committed, None]
    assert [await store.certificate(Round(r)) for r in (1, 2, 3, 4)] == [*(c.certificate for c in committed), None]


async def test_headers_come_without_gaps_and_at_most_as_many_as_asked(store: ChainSide) -> None:
    _, committed = await extend_chain(store, await begin_chain(store), 4)
    expected = tuple(CertifiedHeader(c.segment.model_header, c.certificate) for c in committed)
    assert await store.headers(Round(1), 100) == expected
    assert await store.headers(Round(2), 2) == expected[1:3]
    assert await store.headers(Round(5), 10) == ()
    assert await store.headers(Round(1), 0) == ()
    with pytest.raises(ValueError, match="round 1"):
        await store.headers(Round(0), 1)


@pytest.mark.parametrize("fault", ["gap", "again", "parent", "certificate", "state"])
async def test_only_the_successor_of_the_head_is_committed(store: ChainSide, fault: str) -> None:
    chain, committed = await extend_chain(store, await begin_chain(store), 1)
    after, certified = chain.next(*round_payloads(1))
    state = after.state
    if fault == "gap":
        later, certified = after.next(*round_payloads(2))
        state = later.state
    elif fault == "again":
        state, certified = chain.state, committed[0]
    elif fault == "parent":
        other = Chain(chain.genesis, replace(chain.header, time=chain.header.time + 1), chain.state)
        later, certified = other.next(*round_payloads(1))
        state = later.state
    elif fault == "certificate":
        certified = replace(certified, certificate=replace(certified.certificate, digest=Digest(b"x" * 32)))
    else:
        state = replace(state, pool=Amount(11))
    with pytest.raises(ValueError, match=r"round|certificate"):
        await store.commit(certified, state)
    assert (await store.head()).header == chain.header
    assert await store.segment(Round(2)) is None


async def test_payloads_are_indexed_by_the_blocks_that_name_them(store: ChainSide) -> None:
    chain, committed = await extend_chain(store, await begin_chain(store), 2)
    chain, certified = chain.next(None)
    await store.commit(certified, chain.state)
    placed = [Placed(Height(0), Round(0), ref(payload("model 0")).root)]
    for segment in (*committed, certified):
        placed += [Placed(h.height, h.round, h.blob.root) for h in segment.segment.headers if h.blob is not None]
    newest_first = tuple(reversed(placed))
    assert await store.placed(Height(-1), None, 100) == newest_first
    assert await store.placed(Height(-1), newest_first[2].height, 3) == newest_first[3:6]
    assert await store.placed(newest_first[2].height, None, 100) == newest_first[:2]
    model, update = ref(round_payloads(1)[0]).root, ref(round_payloads(0)[1]).root
    assert await store.named([model, update, Digest(b"u" * 32)]) == {
        model: 3,
        update: 0,
    }  # an empty round names its parent's model
    assert await store.named([]) == {}
    assert (await store.height_before(Round(1)), await store.height_before(Round(0))) == (placed[2].height, 0)


async def test_records_pin_what_they_name_until_their_round_is_decided(store: ChainSide) -> None:
    chain, _ = await extend_chain(store, await begin_chain(store), 1)
    roots = {name: ref(payload(name)).root for name in ("pinned", "offered", "carded", "model", "proposed")}
    await store.persist([Pin(roots["pinned"], Round(1)), own_offer(1, ref(payload("offered"))), own_card(2, roots["carded"])])
    await store.persist([make_proposal(2, ref(payload("model")), ref(payload("proposed")))])
    assert await store.needs() == Needs(Round(1), frozenset((Round(1), Round(2))), frozenset(roots.values()))
    later = frozenset((roots["carded"], roots["model"], roots["proposed"]))
    assert await store.pinned(Round(2)) == later
    await extend_chain(store, chain, 1)
    assert await store.pinned(Round(0)) == later


async def test_addresses_are_newest_first_and_bounded(store: ChainSide) -> None:
    await store.remember_address(node(1), "/one")
    await store.remember_address(node(2), "/two")
    await store.remember_address(node(1), "/one")
    assert await store.addresses() == ((node(1), "/one"), (node(2), "/two"))
    await store.remember_address(node(1), "/other")
    assert (await store.addresses())[0] == (node(1), "/other")


async def test_the_address_book_forgets_the_oldest(store: ChainSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bflcd.store.memory.MAX_ADDRESSES", 3)
    monkeypatch.setattr("bflcd.store.sqlite_chain.MAX_ADDRESSES", 3)
    for number in range(5):
        await store.remember_address(node(number), "/a")
    assert await store.addresses() == tuple((node(number), "/a") for number in (4, 3, 2))
    assert MAX_ADDRESSES >= 1024
