"""Whole chains with real payloads, aggregates and certificates, for what reads a store: small models, seeded keys."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bflcd.consensus.certificate import certificate_of
from bflcd.crypto.hashing import root_of
from bflcd.learn.aggregate import WeightedUpdate, aggregate
from bflcd.ledger.disclosure import REFUSED
from bflcd.ledger.quorum import quorum
from bflcd.ledger.roles import trainers
from bflcd.ledger.state import State, account_of, genesis_header, genesis_state
from bflcd.ledger.transition import build_segment, decide
from bflcd.params import BlobRef, Genesis, Terms
from bflcd.store.block_store import BlockStore
from bflcd.types import Round, View
from bflcd.wire.blocks import CertifiedSegment, Segment, committee_hash, segment_digest
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Commit
from bflcd.wire.operation import Operation
from bflcd.wire.rollback import Rollback
from bflcd.wire.tensors import update_label
from tests.helpers.ledger import Community, by_digest, make_cards, make_draw, make_genesis, make_offer
from tests.helpers.tensors import encode_tensors

TRAINERS = 2


@dataclass
class Chain:
    """A chain as it grows: `payloads` by root, `model` the newest payload."""

    genesis: Genesis
    community: Community
    model: bytes
    payloads: dict[bytes, bytes]
    models: list[BlobRef]
    """Of each round."""

    @property
    def state(self) -> State:
        return self.community.state


def ref(data: bytes) -> BlobRef:
    return BlobRef(root_of(data), len(data))


def begin_chain(terms: Terms | None = None, **params: Any) -> Chain:
    genesis, identities = make_genesis(**params)
    model = payload_of(genesis, 0.5, None)
    genesis = replace(genesis, model=ref(model), terms=Terms() if terms is None else terms)
    keys = {identity.node_id: identity for identity in identities}
    community = Community(genesis.params, genesis_state(genesis), genesis_header(genesis), keys)
    return Chain(genesis, community, model, {ref(model).root: model}, [genesis.model])


def payload_of(genesis: Genesis, value: float, label: str | None) -> bytes:
    arrays = {t.name: np.full(t.shape, value, dtype=np.float32) for t in genesis.task.tensors}
    return encode_tensors(arrays, genesis.task.tensors, label=label)


def goes_back(chain: Chain, target: int, model: BlobRef | None = None) -> tuple[Operation, ...]:
    """All that a quorum of managers signs to go back to the model of a round, in a block's order."""
    state = chain.state
    said = []
    for manager in sorted(state.managers)[: quorum(len(state.managers))]:
        account = account_of(state, manager)
        assert account is not None
        named = chain.models[target] if model is None else model
        body = Rollback(state.chain, state.round, account.operations + 1, Round(target), named, "poisoned")
        said.append(Operation("rollback", (seal(body, chain.community.keys[manager]).envelope,)))
    return tuple(said)


def next_segment(
    chain: Chain, operations: tuple[Operation, ...] = (), *, harmful: int = 0, accuracy: int | None = None
) -> CertifiedSegment:
    """Play one round in which two trainers are packed, and `harmful` others refused, and judges find their model right by `accuracy`
    if that is given; the chain stands behind it afterwards."""
    community, genesis = chain.community, chain.genesis
    state = community.state
    offers, updates = [], {}
    able = trainers(community.params, state)
    for index, trainer in enumerate([node for node in community.outsiders if node in able][: TRAINERS + harmful]):
        update = payload_of(genesis, (index + 1) / 8, update_label(state.chain, state.round, trainer))
        offer = make_offer(community, trainer, samples=100 * (index + 1), blob=ref(update))
        offers.append(offer)
        updates[offer.digest] = update
        chain.payloads[ref(update).root] = update
    by = by_digest(offers)
    gains = {offer.digest: 1000 if index < TRAINERS else REFUSED for index, offer in enumerate(offers)}
    told = {} if accuracy is None else {"base_accuracy": accuracy}
    cards = make_cards(community, {digest: [gain] * community.q for digest, gain in gains.items()}, by, **told)
    outcome = decide(
        community.params,
        state,
        community.head,
        cards,
        by,
        draw=make_draw(community),
        time=state.time + 1000,
        operations=operations,
    )
    weighted = [
        WeightedUpdate(p.weight, update_label(state.chain, state.round, p.offer.author), updates[p.offer.digest])
        for p in outcome.packed
    ]
    if outcome.rollback is None:
        chain.model = aggregate(community.params.aggregation, chain.model, weighted, genesis.task.tensors, outcome.step_limit)
        chain.payloads[ref(chain.model).root] = chain.model
    else:
        chain.model = chain.payloads.get(outcome.rollback.root, b"")
    model = outcome.rollback or ref(chain.model)
    chain.models.append(model)
    segment = build_segment(community.params, state, community.header, outcome, model)
    certified = certify(community, segment)
    chain.community = replace(community, state=outcome.state, header=segment.model_header)
    return certified


def certify(community: Community, segment: Segment) -> CertifiedSegment:
    """With the commits of the first q seats."""
    state = community.state
    body = Commit(
        chain=state.chain,
        round=state.round,
        epoch=state.epoch,
        view=View(0),
        parent=community.head,
        committee=committee_hash(state.epoch, state.committee),
        digest=segment_digest(segment),
    )
    commits = [seal(body, community.keys[node]) for node in state.committee[: community.q]]
    return CertifiedSegment(segment, certificate_of(commits))


async def fill(store: BlockStore, chain: Chain, rounds: int, *, accuracy: int | None = None) -> list[CertifiedSegment]:
    """Store genesis (where the store is new) and `rounds` more rounds with all their payloads; `accuracy`: see `next_segment`."""
    genesis = chain.genesis
    await store.initialise(genesis, genesis_header(genesis), genesis_state(genesis))
    made = []
    for _ in range(rounds):
        certified = next_segment(chain, accuracy=accuracy)
        for data in chain.payloads.values():
            await store.put_blob(data)
        await store.commit(certified, chain.state)
        made.append(certified)
    return made
