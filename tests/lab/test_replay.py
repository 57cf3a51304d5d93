"""Replaying a real chain: nothing differs in a good one, and whatever differs is named."""

from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bflcd.errors import MachineError, OperatorError, PeerError
from bflcd.lab import replay as module
from bflcd.lab.chain import LabChain
from bflcd.lab.replay import Replay, replay
from bflcd.params import ELECTIONS, PartsPerMillion
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Amount, Round
from tests.helpers.chains import Chain, begin_chain, certify, fill, next_segment, ref
from tests.helpers.ledger import by_digest, make_card, make_entry, make_offer, play

ROUNDS = 4


class Held:
    """A store in memory."""

    def __init__(self, genesis, segments, payloads) -> None:
        self._genesis, self._segments, self._payloads = genesis, list(segments), payloads

    async def genesis(self):
        return self._genesis

    async def segment(self, round_: Round):
        return self._segments[round_ - 1] if round_ <= len(self._segments) else None

    async def blob(self, root):
        return self._payloads.get(root)


@pytest.fixture
def stores(monkeypatch):
    """What stands in each data directory."""
    held: dict[str, Held] = {}

    @asynccontextmanager
    async def open_reader(directory: Path):
        yield held[directory.name]

    monkeypatch.setattr(module, "open_reader", open_reader)
    return held


@pytest.fixture
def chain() -> Chain:
    return begin_chain(reward_share=PartsPerMillion(100_000))


@pytest.fixture
def segments(chain):
    return [next_segment(chain) for _ in range(ROUNDS)]


def place(stores, chain, segments, name="node0") -> list[Path]:
    stores[name] = Held(chain.genesis, segments, chain.payloads)
    return [Path(name)]


# -- a good chain -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [{"election": election} for election in ELECTIONS]
    + [{"aggregation": "median"}]
    + [{"norm_clip": PartsPerMillion(clip)} for clip in (0, 1000, 500_000)],
)
async def test_nothing_differs_in_a_good_chain(stores, params):
    chain = begin_chain(reward_share=PartsPerMillion(100_000), **params)
    segments = [next_segment(chain) for _ in range(ROUNDS)]
    assert await replay(place(stores, chain, segments)) == Replay(ROUNDS, ROUNDS, ())


async def test_a_store_on_disk(tmp_path, chain):
    """Given a data directory that nobody writes any more, when it is replayed, then every round and model is computed again."""
    store = await SqliteStore.open(tmp_path / "node0", create=True)
    await fill(store, chain, ROUNDS)
    await store.close()
    assert await replay([tmp_path / "node0"]) == Replay(ROUNDS, ROUNDS, ())


async def test_payloads_are_looked_for_in_every_directory(stores, chain, segments):
    """Given one node that keeps the chain and no payload but the models, and another that keeps the updates, when both are
    given, then every model is computed; with the first alone, none is, and nothing differs for that.
    """
    models = {chain.genesis.model.root} | {one.segment.model_header.blob.root for one in segments}
    stores["one"] = Held(chain.genesis, segments, {root: data for root, data in chain.payloads.items() if root in models})
    stores["other"] = Held(None, [], {root: data for root, data in chain.payloads.items() if root not in models})
    assert await replay([Path("one"), Path("other")]) == Replay(ROUNDS, ROUNDS, ())
    assert await replay([Path("one")]) == Replay(ROUNDS, 0, ())


async def test_a_round_without_updates_keeps_its_model(stores, chain):
    community = chain.community
    cards = tuple(make_card(community, seat) for seat in sorted(community.state.committee[: community.q]))
    empty = play(community, cards)
    certified = certify(community, empty.segment)
    chain.community = empty.after
    segments = [certified, next_segment(chain)]
    assert await replay(place(stores, chain, segments)) == Replay(2, 2, ())


async def test_cards_that_lack_offers_rates_and_members(stores):
    """Given cards that differ in entries, gains, rates and presence, and an election that looks at all of it, when the round is
    replayed, then the same are packed, with the same scores, and elected.
    """
    chain = begin_chain(election="multi-factor")
    community, rates = chain.community, (300, 200, 100, 50, 900, 10)
    offers = [make_offer(community, node, samples=10 * (i + 1)) for i, node in enumerate(community.outsiders)]
    cards = []
    for line, seat in enumerate(sorted(community.state.committee[: community.q])):
        entries = [
            make_entry(offer, max(-1, 100 * i - 150 + 40 * line), rate=rates[i] + line, norm=4096 + i)
            for i, offer in enumerate(offers)
            if i != line
        ]
        cards.append(make_card(community, seat, entries, community.members[line:]))
    played = play(community, tuple(cards), offers)
    assert 0 < len(played.outcome.packed) <= len(offers)
    found = await replay(place(stores, chain, [certify(community, played.segment)]))
    assert found == Replay(1, 0, ())


async def test_only_a_genesis(stores, chain):
    assert await replay(place(stores, chain, [])) == Replay(0, 0, ())


# -- what is not simulated ----------------------------------------------------------------------------------------------------


async def test_it_ends_before_what_the_laboratory_does_not_know(stores, chain, segments):
    """Evidence, a recovery, two offers of one uploader: rounds before count, the round itself and all after it don't."""
    place(stores, chain, segments)
    odd = segments[2]
    body = replace(odd.segment.model, operations=("a proof",))
    for harmed in (
        replace(odd, segment=replace(odd.segment, model=body)),
        replace(odd, certificate=replace(odd.certificate, recovery="a new committee")),
    ):
        stores["node0"] = Held(chain.genesis, [*segments[:2], harmed, segments[3]], chain.payloads)
        assert await replay([Path("node0")]) == Replay(2, 2, ())


async def test_a_second_offer_of_one_uploader(stores, chain):
    community = chain.community
    uploader, other = community.outsiders[:2]
    offers = [make_offer(community, uploader), make_offer(community, uploader, salt="again"), make_offer(community, other)]
    entries = [make_entry(offer) for offer in offers]
    cards = tuple(make_card(community, seat, entries) for seat in sorted(community.state.committee[: community.q]))
    played = play(community, cards, by_digest(offers).values())
    assert await replay(place(stores, chain, [certify(community, played.segment)])) == Replay(0, 0, ())


# -- differences --------------------------------------------------------------------------------------------------------------


def tampered(monkeypatch, harm):
    """The laboratory decides something else than it should."""
    genuine = LabChain.close

    def close(chain, offering: Sequence[int], samples, cards):
        return harm(genuine(chain, offering, samples, cards))

    monkeypatch.setattr(LabChain, "close", close)


def with_outcome(decision, **changes):
    return replace(decision, outcome=replace(decision.outcome, **changes))


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda d: replace(d, packed=d.packed[::-1]), ["who is packed"]),
        (lambda d: replace(d, packed=d.packed[:-1]), ["who is packed"]),
        (lambda d: replace(d, weights=tuple(w + 1 for w in d.weights)), ["the weights", "the model's hash"]),
        (lambda d: with_outcome(d, rewards=tuple((n, Amount(a + 1)) for n, a in d.outcome.rewards)), ["the rewards"]),
        (lambda d: with_outcome(d, committee=d.outcome.committee[::-1]), ["the next committee"]),
        (
            lambda d: with_outcome(
                d, packed=tuple(replace(p, judgement=replace(p.judgement, score=p.judgement.score + 1)) for p in d.outcome.packed)
            ),
            ["the scores"],
        ),
    ],
)
async def test_a_decision_that_differs_is_named_for_its_round(monkeypatch, stores, chain, segments, harm, what):
    tampered(monkeypatch, harm)
    found = await replay(place(stores, chain, segments))
    assert (found.rounds, found.models) == (ROUNDS, ROUNDS)
    assert [line.split(": ")[:2] for line in found.differences] == [[f"round {r}", w] for r in range(ROUNDS) for w in what]
    assert all(" here, " in line and line.endswith("on the chain") for line in found.differences)


async def test_an_aggregate_that_differs_by_one_bit_is_noticed(monkeypatch, stores, chain, segments):
    genuine = module.aggregate

    def aggregate(rule, model, updates, weights, limit):
        found = genuine(rule, model, updates, weights, limit)
        found[0] = torch.nextafter(found[0], torch.tensor(9.0))
        return found

    monkeypatch.setattr(module, "aggregate", aggregate)
    found = await replay(place(stores, chain, segments))
    assert [line.split(": ")[:2] for line in found.differences] == [[f"round {r}", "the model's hash"] for r in range(ROUNDS)]


async def test_a_payload_that_was_changed_is_noticed(stores, chain, segments):
    """Given an update on disk that is another's, when the model is made of it, then the payload itself is refused."""
    first, second = (update.offer for update in segments[1].segment.updates[:2])
    assert first is not None
    assert second is not None
    roots = [header.blob.root for header in segments[1].segment.headers[:2]]
    chain.payloads[roots[0]] = chain.payloads[roots[1]]
    with pytest.raises(PeerError, match="label"):
        await replay(place(stores, chain, segments))


async def test_a_chain_that_does_not_hold_is_refused(stores, chain, segments):
    odd = segments[1].segment
    weights = tuple(weight + 1 for weight in odd.model.weights)
    harmed = replace(segments[1], segment=replace(odd, model=replace(odd.model, weights=weights)))
    with pytest.raises(PeerError, match=r"weights|body"):
        await replay(place(stores, chain, [segments[0], harmed]))


# -- refusals -----------------------------------------------------------------------------------------------------------------


async def test_a_directory_without_a_genesis(stores):
    stores["node0"] = Held(None, [], {})
    with pytest.raises(MachineError, match="no genesis") as caught:
        await replay([Path("node0")])
    assert caught.value.hint


async def test_a_directory_without_a_chain(tmp_path):
    with pytest.raises(OperatorError, match="holds no chain") as caught:
        await replay([tmp_path])
    assert caught.value.code == "no_store"


def test_a_model_is_addressed_as_everywhere():
    assert module.blob_ref(b"model") == ref(b"model")
