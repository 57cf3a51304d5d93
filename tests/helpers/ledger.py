"""Builders for ledger tests: genesis, offers, cards and whole segments, from keys with fixed seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from bflcd.crypto.hashing import root_of
from bflcd.crypto.identity import Identity
from bflcd.ledger.lot import Draw, lot_input
from bflcd.ledger.quorum import faults, leader, quorum
from bflcd.ledger.state import State, genesis_header, genesis_state, members_of
from bflcd.ledger.transition import Outcome, build_segment, decide, draw_of
from bflcd.params import BlobRef, Genesis, GenesisMember, Params, TaskSpec, TensorSpec, check_genesis
from bflcd.types import PROOF_BYTES, Amount, Digest, MicroNats, Millis, NodeId, PartsPerMillion, Proof, View
from bflcd.wire.blocks import Header, Segment, committee_hash, header_hash
from bflcd.wire.envelope import Signed, seal
from bflcd.wire.messages import Beacon, CardEntry, Offer, ScoreCard

GENESIS_TIME = Millis(1_700_000_000_000)
POOL = Amount(1_000_000_000)
BALANCE = Amount(1_000)
NEXT_MODEL = BlobRef(root_of(b"the next model"), 14)
NO_PROOF = Proof(bytes(PROOF_BYTES))
"""Stands where nobody looks at what a proposer drew."""


@cache
def _identities(count: int) -> tuple[Identity, ...]:
    seeds = (number.to_bytes(32, "big") for number in range(1, count + 1))
    return tuple(sorted((Identity(seed) for seed in seeds), key=lambda identity: identity.node_id))


def make_identities(count: int) -> list[Identity]:
    """`count` identities from fixed seeds, sorted by node id."""
    return list(_identities(count))


def make_genesis(nodes: int = 10, committee: int = 4, places: int = 6, **params: Any) -> tuple[Genesis, list[Identity]]:
    """A checked genesis and its members' identities: identities[i] is members[i].

    The first `committee` members (at most all) hold the first seats, the first four are managers; `params` are fields of Params.
    Where members and seats are too few for the common rules, the community is a small one. Seats go by score, reputations decide
    nothing, nobody is a canary, no card is paid, and cards say what was measured, so that a test can tell who gets what.
    """
    identities = make_identities(nodes)
    ids = tuple(identity.node_id for identity in identities)
    params.setdefault("election", "score")
    params.setdefault("reputation_rounds", 0)
    params.setdefault("score_noise", 0)
    params.setdefault("canary_share", 0)
    params.setdefault("card_share", 0)
    params.setdefault("small_community", committee < 4 or nodes < committee + 1)
    model = b"the initial model"
    genesis = Genesis(
        name="test",
        time=GENESIS_TIME,
        params=Params(committee_size=committee, places=places, **params),
        task=TaskSpec(factory="digits", options=(), tensors=(TensorSpec("weight", (4, 2), "F32"),)),
        managers=ids[:4],
        members=tuple(GenesisMember(node, BALANCE) for node in ids),
        committee=ids[:committee],
        pool=POOL,
        model=BlobRef(root_of(model), len(model)),
    )
    check_genesis(genesis)
    return genesis, identities


@dataclass(frozen=True)
class Community:
    """A community that stands before a round: its parameters, its ledger, its head, everybody's keys."""

    params: Params
    state: State
    header: Header
    keys: Mapping[NodeId, Identity]

    @property
    def head(self) -> Digest:
        return header_hash(self.header)

    @property
    def f(self) -> int:
        return faults(len(self.state.committee))

    @property
    def q(self) -> int:
        return quorum(len(self.state.committee))

    @property
    def members(self) -> tuple[NodeId, ...]:
        return tuple(account.node for account in members_of(self.state))

    @property
    def outsiders(self) -> tuple[NodeId, ...]:
        """Members without a seat, by id."""
        return tuple(node for node in self.members if node not in self.state.committee)


def make_community(nodes: int = 10, committee: int = 4, places: int = 6, **params: Any) -> Community:
    """A community at round 0."""
    genesis, identities = make_genesis(nodes, committee, places, **params)
    keys = {identity.node_id: identity for identity in identities}
    return Community(genesis.params, genesis_state(genesis), genesis_header(genesis), keys)


def place_of(community: Community) -> dict[str, Any]:
    """The fields with which every signed body names its round."""
    state = community.state
    return {
        "chain": state.chain,
        "round": state.round,
        "epoch": state.epoch,
        "parent": community.head,
        "committee": committee_hash(state.epoch, state.committee),
    }


def make_beacon(community: Community, node: NodeId, **changes: Any) -> Signed[Beacon]:
    return seal(Beacon(**(place_of(community) | changes)), community.keys[node])


def make_offer(community: Community, node: NodeId, *, samples: int = 100, salt: str = "", **changes: Any) -> Signed[Offer]:
    """An offer whose blob root depends on round, node and `salt`."""
    payload = b"update" + community.state.round.to_bytes(8, "big") + node + salt.encode()
    fields = place_of(community) | {"blob": BlobRef(root_of(payload), len(payload)), "samples": samples} | changes
    return seal(Offer(**fields), community.keys[node])


def make_entry(offer: Signed[Offer], gain: int = 1000, accuracy: int = 500_000, norm: int = 4096, rate: int = 0) -> CardEntry:
    return CardEntry(
        uploader=offer.author,
        offer=offer.digest,
        root=offer.body.blob.root,
        gain=MicroNats(gain),
        accuracy=PartsPerMillion(accuracy),
        norm=norm,
        rate=rate,
    )


def make_card(
    community: Community, node: NodeId, entries: Iterable[CardEntry] = (), present: Iterable[NodeId] | None = None, **changes: Any
) -> Signed[ScoreCard]:
    """A card with its lists in order; `present` (default: all members) always includes the author and the uploaders."""
    listed = tuple(sorted(entries, key=lambda entry: (entry.uploader, entry.offer, entry.root)))
    seen = set(community.members if present is None else present) | {node} | {entry.uploader for entry in listed}
    base = {
        "base_loss": MicroNats(2_000_000) if listed else None,
        "base_accuracy": PartsPerMillion(400_000) if listed else None,
    }
    fields = place_of(community) | base | {"entries": listed, "present": tuple(sorted(seen))} | changes
    return seal(ScoreCard(**fields), community.keys[node])


def make_cards(
    community: Community,
    gains: Mapping[Digest, Sequence[int | None]],
    offers: Mapping[Digest, Signed[Offer]],
    present: Iterable[NodeId] | None = None,
    **changes: Any,
) -> tuple[Signed[ScoreCard], ...]:
    """q cards, sorted by author: the i-th of the first q seats gives the offer `gains[offer][i]`, None for no entry."""
    seats = sorted(community.state.committee[: community.q])
    seen = None if present is None else tuple(present)
    return tuple(
        make_card(
            community,
            seat,
            [make_entry(offers[o], gain) for o, row in gains.items() if (gain := row[i]) is not None],
            seen,
            **changes,
        )
        for i, seat in enumerate(seats)
    )


def by_digest(offers: Iterable[Signed[Offer]]) -> dict[Digest, Signed[Offer]]:
    return {offer.digest: offer for offer in offers}


def prove_lot(community: Community, view: int = 0, by: Identity | None = None) -> Proof:
    """What the leader of a view, or somebody else, says of the round's lot."""
    state = community.state
    key = by or community.keys[leader(state.committee, View(view))]
    return key.prove(lot_input(state.chain, state.round, state.lot))


def make_draw(community: Community, view: int = 0) -> Draw:
    """The draw of the leader of a view."""
    return draw_of(community.state, View(view), prove_lot(community, view))


@dataclass(frozen=True)
class Played:
    """A round that was decided and written down, and the community after it."""

    cards: tuple[Signed[ScoreCard], ...]
    outcome: Outcome
    segment: Segment
    after: Community


def play(community: Community, cards: tuple[Signed[ScoreCard], ...], offers: Iterable[Signed[Offer]] = ()) -> Played:
    """Decide a round by `cards`, one second after its parent; the next model's bytes are NEXT_MODEL, or the head's if nothing is packed."""
    params, state, header = community.params, community.state, community.header
    draw = make_draw(community)
    outcome = decide(params, state, community.head, cards, by_digest(offers), draw=draw, time=Millis(state.time + 1000))
    assert header.blob is not None
    segment = build_segment(params, state, header, outcome, NEXT_MODEL if outcome.packed else header.blob)
    return Played(cards, outcome, segment, replace(community, state=outcome.state, header=segment.model_header))


def play_gains(community: Community, gains: Mapping[NodeId, int], present: Iterable[NodeId] | None = None) -> Played:
    """Play a round in which all q cards agree on every trainer's gain."""
    offers = by_digest(make_offer(community, node) for node in gains)
    rows = {digest: [gains[offer.author]] * community.q for digest, offer in offers.items()}
    return play(community, make_cards(community, rows, offers, present), offers.values())
