"""Catch-up against a real chain: segments from the ledger's own transition, certificates with real signatures."""

import asyncio
from dataclasses import replace
from functools import cache

import pytest

from bflcd.consensus.certificate import certificate_of, verify_chain
from bflcd.errors import PeerError, Rejection, RequestError
from bflcd.net.sync import ChainSync, SyncLimits, check_segment, fetch_genesis
from bflcd.types import ZERO_DIGEST, Digest, Round, View
from bflcd.wire.blocks import (
    Certificate,
    CertifiedHeader,
    CertifiedSegment,
    chain_id_of,
    committee_hash,
    header_hash,
    segment_digest,
)
from bflcd.wire.envelope import seal, verify_envelope
from bflcd.wire.messages import Commit
from bflcd.wire.requests import GenesisReply, GetGenesis, GetHeaders, GetSegment, Headers, SegmentReply
from tests.helpers.ledger import make_community, make_genesis, play_gains
from tests.helpers.network import clique

ROUNDS = 12
LIMITS = SyncLimits(headers_deadline=0.5, segment_deadline=0.5, window=3, batch=5)


@cache
def chain():
    """The starting community and ROUNDS certified segments."""
    community = start = make_community()
    segments = []
    for _ in range(ROUNDS):
        trainers = community.outsiders[:3]
        played = play_gains(community, {node: 1000 * (i + 1) for i, node in enumerate(trainers)})
        segments.append(CertifiedSegment(played.segment, certify(community, segment_digest(played.segment))))
        community = played.after
    return start, tuple(segments)


def certify(community, digest: Digest) -> Certificate:
    state = community.state
    commit = Commit(
        chain=state.chain,
        round=state.round,
        epoch=state.epoch,
        view=View(0),
        parent=community.head,
        committee=committee_hash(state.epoch, state.committee),
        digest=digest,
    )
    return certificate_of([seal(commit, community.keys[seat]) for seat in state.committee[: community.q]])


def verify_header(certified, previous):
    verify_chain(previous, [certified], chain()[0].params, chain()[0].state.managers, verify_envelope)


def certified_header(certified):
    return CertifiedHeader(certified.segment.model_header, certified.certificate)


def refused():
    return PeerError(Rejection.UNAVAILABLE, "not held here")


class Peer:
    """Serves the chain up to `held` rounds; tests break it in one way each."""

    def __init__(self, held=ROUNDS):
        self.held = held
        self.asked = []

    def headers(self, request):
        return [certified_header(s) for s in chain()[1][: self.held]][request.first - 1 : request.first - 1 + request.count]

    def segment(self, round_):
        if not 1 <= round_ <= self.held:
            raise refused()
        return chain()[1][round_ - 1]

    async def answer_headers(self, _peer, request):
        return Headers(tuple(self.headers(request)))

    async def answer_segment(self, _peer, request):
        self.asked.append(request.round)
        return SegmentReply(self.segment(request.round))

    def handlers(self):
        return {GetHeaders: self.answer_headers, GetSegment: self.answer_segment}


class Outcome:
    def __init__(self):
        self.applied = []
        self.blobs = []
        self.faults = []
        self.progress = []


async def catch_up(*peers, claims=None, start=0, limits=LIMITS, outcome=None):
    """Run one catch-up of node 1 from round `start`; returns the head it reached, what was seen, and who the peers were."""
    out = outcome or Outcome()
    community, segments = chain()
    head = community.header if start == 0 else segments[start - 1].segment.model_header
    async with clique([{}, *(peer.handlers() for peer in peers)]) as (me, *others):

        async def apply(certified):
            out.applied.append(certified)

        async def fetch_blob(ref, holders):
            out.blobs.append((ref, set(holders())))

        catching = ChainSync(
            me.exchange,
            chain=community.state.chain,
            verify_header=verify_header,
            apply=apply,
            fetch_blob=fetch_blob,
            on_misbehaviour=lambda peer, rejection, _text: out.faults.append((peer, rejection)),
            on_progress=lambda done, target: out.progress.append((done, target)),
            limits=limits,
        )
        claimed = {node.id: Round(peer.held if claims is None else claims) for node, peer in zip(others, peers, strict=True)}
        reached = await asyncio.wait_for(catching.run(head, lambda: claimed), 20)
        return reached, out, [node.id for node in others]


async def test_a_node_catches_up_from_several_peers_in_order():
    peers = Peer(), Peer()
    reached, out, ids = await catch_up(*peers)
    assert reached == chain()[1][-1].segment.model_header
    assert out.applied == list(chain()[1])
    assert out.blobs == [(reached.blob, set(ids))]
    assert out.faults == []
    assert min(len(peer.asked) for peer in peers) >= ROUNDS // 3
    assert sorted(peers[0].asked + peers[1].asked) == list(range(1, ROUNDS + 1))
    assert [done for done, _ in out.progress] == sorted(done for done, _ in out.progress)
    assert out.progress[-1][0] == ROUNDS


async def test_it_starts_where_the_node_stands_and_does_nothing_when_nobody_is_ahead():
    reached, out, _ = await catch_up(Peer(), start=8)
    assert (reached.round, out.applied) == (ROUNDS, list(chain()[1][8:]))
    reached, out, _ = await catch_up(Peer(8), start=8)
    assert (reached.round, out.applied, out.blobs) == (8, [], [])


async def test_updates_of_the_last_rounds_are_fetched_where_they_are_wanted():
    _, out, _ = await catch_up(Peer(), limits=replace(LIMITS, keep_rounds=2))
    expected = {h.blob for s in chain()[1][-2:] for h in s.segment.headers if h.blob is not None}
    assert {ref for ref, _ in out.blobs} == expected
    assert out.blobs[0][0] == chain()[1][-1].segment.model_header.blob


async def test_a_claimed_height_is_never_believed():
    """Given a peer that claims a million rounds and has eight; Then eight are applied, and the rest is nobody's."""
    reached, out, _ = await catch_up(Peer(8), claims=1_000_000)
    assert (reached.round, len(out.applied)) == (8, 8)


def forged(certified):
    """The header with its committee's signatures under each other's names."""
    authors = [author for author, _ in certified.certificate.signatures]
    signatures = [signature for _, signature in certified.certificate.signatures]
    exchanged = tuple(zip(authors, signatures[1:] + signatures[:1], strict=True))
    return CertifiedHeader(certified.header, replace(certified.certificate, signatures=exchanged))


HEADER_LIES = {
    "forged signatures": lambda headers: [headers[0], forged(headers[1]), *headers[2:]],
    "too few signatures": lambda headers: [
        CertifiedHeader(headers[0].header, replace(headers[0].certificate, signatures=headers[0].certificate.signatures[:-1]))
    ],
    "another header": lambda headers: [
        CertifiedHeader(replace(headers[0].header, time=headers[0].header.time + 1), headers[0].certificate)
    ],
    "a gap": lambda headers: headers[1:],
    "out of order": lambda headers: headers[::-1],
    "another chain": lambda headers: [CertifiedHeader(replace(headers[0].header, chain=ZERO_DIGEST), headers[0].certificate)],
    "an update header": lambda headers: [CertifiedHeader(chain()[1][0].segment.headers[0], headers[0].certificate)],
}


@pytest.mark.parametrize("lie", HEADER_LIES, ids=str)
async def test_a_liar_about_headers_is_charged_and_the_honest_peer_suffices(lie):
    class Liar(Peer):
        def headers(self, request):
            headers = super().headers(request)
            return HEADER_LIES[lie](headers) if request.first == 1 else headers

    reached, out, ids = await catch_up(Liar(), Peer(), claims=ROUNDS)
    assert reached.round == ROUNDS
    assert out.applied == list(chain()[1])
    assert [peer for peer, _ in out.faults] == [ids[0]]


async def test_a_forged_certificate_alone_moves_nothing():
    class Forger(Peer):
        def headers(self, request):
            return [forged(header) for header in super().headers(request)]

    reached, out, ids = await catch_up(Forger())
    assert (reached.round, out.applied, out.blobs) == (0, [], [])
    assert out.faults == [(ids[0], Rejection.BAD_CERTIFICATE)]


SEGMENT_LIES = {
    "another round's": lambda s: chain()[1][(s.segment.model_header.round) % ROUNDS],
    "other cards": lambda s: replace(s, segment=replace(s.segment, model=replace(s.segment.model, rule="median"))),
    "an update changed": lambda s: replace(
        s, segment=replace(s.segment, updates=(replace(s.segment.updates[0], score=7), *s.segment.updates[1:]))
    ),
    "an update header changed": lambda s: replace(
        s, segment=replace(s.segment, headers=(replace(s.segment.headers[0], blob=None), *s.segment.headers[1:]))
    ),
    "an update missing": lambda s: replace(
        s, segment=replace(s.segment, headers=s.segment.headers[1:], updates=s.segment.updates[1:])
    ),
    "headers missing": lambda s: replace(s, segment=replace(s.segment, headers=s.segment.headers[1:])),
}


@pytest.mark.parametrize("lie", SEGMENT_LIES, ids=str)
async def test_a_liar_about_segments_is_charged_and_another_is_asked(lie):
    class Liar(Peer):
        def segment(self, round_):
            return SEGMENT_LIES[lie](super().segment(round_))

    reached, out, ids = await catch_up(Liar(), Peer())
    assert reached.round == ROUNDS
    assert out.applied == list(chain()[1])
    assert {peer for peer, _ in out.faults} == {ids[0]}
    with pytest.raises(RequestError, match="nobody gave the segment"):
        await catch_up(Liar())


async def test_a_segments_own_certificate_is_not_believed():
    """Given a peer whose segment carries a forged certificate; Then the proven one from the header chain is applied."""

    class Forger(Peer):
        def segment(self, round_):
            certified = super().segment(round_)
            return replace(certified, certificate=replace(certified.certificate, view=View(9)))

    _, out, _ = await catch_up(Forger())
    assert out.applied == list(chain()[1])


async def test_a_peer_that_stops_answering_is_worked_around():
    class Stops(Peer):
        async def answer_segment(self, peer, request):
            if request.round > 3:
                await asyncio.sleep(60)
            return await super().answer_segment(peer, request)

    class Silent(Peer):
        async def answer_headers(self, _peer, _request):
            await asyncio.sleep(60)

    reached, out, _ = await catch_up(Stops(), Silent(), limits=replace(LIMITS, headers_deadline=0.1, segment_deadline=0.1))
    assert reached.round == ROUNDS
    assert out.applied == list(chain()[1])
    assert out.faults == []


async def test_a_peer_that_takes_every_request_and_answers_none_costs_one_wait_not_one_for_each_segment():
    class Silent(Peer):
        async def answer_headers(self, _peer, request):
            self.asked.append(-request.first)
            await asyncio.sleep(60)

        async def answer_segment(self, _peer, request):
            self.asked.append(request.round)
            await asyncio.sleep(60)

    silent = Silent(held=1000)  # the boldest claim: asked first
    limits = replace(LIMITS, headers_deadline=30.0, segment_deadline=30.0, patience=0.05)
    reached, out, _ = await catch_up(silent, Peer(), limits=limits)
    assert (reached.round, out.applied, out.faults) == (ROUNDS, list(chain()[1]), [])
    assert silent.asked.count(-1) == 1
    assert 0 < len(silent.asked) <= 1 + LIMITS.window  # what was in flight before the first was late


async def test_pruned_peers_are_nobodys_fault_and_named_when_nobody_has_the_segment():
    class Pruned(Peer):
        def segment(self, round_):
            if round_ < 5:
                raise refused()
            return super().segment(round_)

    reached, out, _ = await catch_up(Pruned(), Peer())
    assert (reached.round, out.faults) == (ROUNDS, [])
    out = Outcome()
    with pytest.raises(RequestError, match=r"round 1: .*not held here"):
        await catch_up(Pruned(), Pruned(), outcome=out)
    assert out.applied == []


class WithoutSegments(Peer):
    """Has pruned its segments; headers it has."""

    def segment(self, round_):
        raise refused()


async def test_who_has_only_headers_and_who_has_only_segments_suffice_together():
    """Given peers that each fail every question of one kind, then what they fail of it isn't held against them for the other."""

    class WithoutHeaders(Peer):
        def headers(self, request):
            raise refused()

    reached, out, _ = await catch_up(WithoutSegments(), WithoutHeaders())
    assert (reached.round, out.applied, out.faults) == (ROUNDS, list(chain()[1]), [])


async def test_a_peer_that_has_got_on_since_its_last_claim_is_asked_too():
    class Grown(Peer):
        def segment(self, round_):
            return chain()[1][round_ - 1]

    reached, out, _ = await catch_up(WithoutSegments(), Grown(held=3))
    assert (reached.round, out.applied, out.faults) == (ROUNDS, list(chain()[1]), [])


async def test_what_apply_raises_ends_the_catch_up_and_nothing_after_it_is_applied():
    class Full(Outcome):
        def __init__(self):
            super().__init__()
            self.applied = self

        def append(self, certified):
            self.last = certified
            raise OSError("disk full")

    out = Full()
    with pytest.raises(OSError, match="disk full"):
        await catch_up(Peer(), outcome=out)
    assert out.last == chain()[1][0]


async def test_segments_are_fetched_only_a_window_ahead():
    peer, seen = Peer(), []

    class Watching(Outcome):
        def __init__(self):
            super().__init__()
            self.applied = self

        def append(self, certified):
            seen.append(max(peer.asked) - certified.segment.model_header.round)

    await catch_up(peer, outcome=Watching())
    assert len(seen) == ROUNDS
    assert max(seen) <= LIMITS.window


def test_an_honest_segment_passes_and_its_first_parent_is_the_model_before_it():
    start, segments = chain()
    check_segment(segments[0].segment, segments[0].segment.model_header, start.header)
    with pytest.raises(PeerError) as caught:
        check_segment(segments[0].segment, segments[0].segment.model_header, segments[1].segment.model_header)
    assert caught.value.rejection is Rejection.BAD_LINK
    assert header_hash(start.header) == segments[0].segment.headers[0].parent


@pytest.mark.parametrize(
    ("pinned", "served", "rejection"),
    [
        ("right", "right", None),
        (None, "right", None),
        ("right", "other", Rejection.WRONG_CHAIN),
        (None, "contradicts itself", Rejection.MALFORMED),
    ],
)
async def test_the_genesis_is_checked_against_the_pin_and_against_itself(pinned, served, rejection):
    right = make_genesis()[0]
    contradiction = replace(right, committee=right.committee[:-1])
    genesis = {"right": right, "other": replace(right, name="other"), "contradicts itself": contradiction}[served]
    asked = []

    async def answer(_peer, request):
        asked.append(request.chain)
        return GenesisReply(genesis)

    async with clique([{GetGenesis: answer}, {}]) as (a, b):
        a.members.clear()
        pin = chain_id_of(right) if pinned else None
        if rejection is None:
            assert await fetch_genesis(b.exchange, a.id, pin) == genesis
        else:
            with pytest.raises(PeerError) as caught:
                await fetch_genesis(b.exchange, a.id, pin)
            assert caught.value.rejection is rejection
        assert asked == [pin or ZERO_DIGEST]
