"""Rounds of a real community, decided once more by the laboratory from their cards and payloads: does it agree with the daemons?

Selection, weights, rewards, next committee and the model's hash are compared with what stands on the chain. It is the check that
what is simulated here is what daemons do.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from bflcd.errors import MachineError, PeerError, Rejection
from bflcd.inspect.reader import open_reader
from bflcd.lab.chain import LAST_STEP, CardLines, Decision, LabChain
from bflcd.lab.exact import aggregate
from bflcd.ledger.alliance.parameters import in_force
from bflcd.ledger.lot import Draw
from bflcd.ledger.state import State, genesis_header, genesis_state
from bflcd.ledger.transition import apply, draw_of
from bflcd.params import BlobRef, Genesis
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Digest, NodeId, Round, short
from bflcd.wire.blocks import CertifiedSegment, Header, Segment, chain_id_of, header_hash
from bflcd.wire.envelope import Signed, open_envelope, verify_envelope
from bflcd.wire.messages import CardEntry, Offer, ScoreCard
from bflcd.wire.tensors import blob_ref, join_payload, split_payload, update_label

_UNKNOWN_SAMPLES: Final = 1
"""Of offers that were not packed: the chain does not tell, and nothing depends on it."""


@dataclass(frozen=True, slots=True)
class Replay:
    """How many rounds were decided again, for how many the model too, and where the laboratory differs."""

    rounds: int
    models: int
    differences: tuple[str, ...]


async def replay(datadirs: Sequence[Path]) -> Replay:
    """Replay the chain in the first of `datadirs`; payloads are looked for in all of them, since no node keeps every update.

    Ends before the first round with operations, a recovery or a second offer of one uploader, which the laboratory does not
    simulate. Raises OperatorError (`no_store`), MachineError, PeerError for a chain that does not hold.
    """
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_reader(datadir)) for datadir in datadirs]
        genesis = await stores[0].genesis()
        if genesis is None:
            raise MachineError(f"{datadirs[0]} has no genesis", hint="start the node once: it then fetches it", code="no_genesis")
        walk = _Walk(genesis, genesis_state(genesis), genesis_header(genesis))
        while (certified := await stores[0].segment(Round(walk.state.round + 1))) is not None:
            if not _simulated(certified):
                break
            decision = walk.decide(certified.segment)
            blob = await _model(stores, walk, certified.segment, decision)
            walk.follow(certified.segment, blob)
    return Replay(walk.state.round, walk.models, tuple(walk.differences))


class _Walk:
    """Where the replay stands: the ledger and the header that open the round, and what was found."""

    def __init__(self, genesis: Genesis, state: State, header: Header) -> None:
        self.genesis, self.state, self.header = genesis, state, header
        self.models = 0
        self.differences: list[str] = []

    def decide(self, segment: Segment) -> Decision:
        """The laboratory's decision from the segment's cards, compared with the segment."""
        head = header_hash(self.header)
        nodes = [account.node for account in self.state.accounts]
        draw = _draw(self.state, segment)
        chain = LabChain(in_force(self.genesis.params, self.state), nodes, self.state, lambda _: head, 0, draw_of=lambda _: draw)
        cards = [open_envelope(envelope, (ScoreCard,)) for envelope in segment.model.cards]
        offering = sorted({chain.device_of(entry.uploader) for card in cards for entry in card.body.entries})
        claimed = {offer.author: offer.body.samples for offer in _offers(segment)}
        samples = [claimed.get(nodes[device], _UNKNOWN_SAMPLES) for device in offering]
        lines = [(chain.device_of(card.author), _lines(chain, card, offering)) for card in cards]
        decision = chain.close(offering, samples, lines)
        self._compare(segment, decision, [nodes[device] for device in decision.packed])
        return decision

    def follow(self, segment: Segment, blob: BlobRef | None) -> None:
        """Go on by the segment's own words, whatever was found; `blob` is the laboratory's model, if it could be made."""
        if blob is not None:
            self.models += 1
            self._expect("the model's hash", blob, segment.model_header.blob)
        self.state = apply(self.genesis.params, self.state, self.header, segment, verify_envelope)
        self.header = segment.model_header

    def _compare(self, segment: Segment, decision: Decision, packed: list[NodeId]) -> None:
        outcome, model = decision.outcome, segment.model_header.model
        self._expect("who is packed", packed, [offer.author for offer in _offers(segment)])
        self._expect("the weights", decision.weights, segment.model.weights)
        self._expect("the rewards", outcome.rewards, segment.model.rewards)
        self._expect("the next committee", outcome.committee, model.committee if model is not None else None)
        scores = tuple(item.judgement.score for item in outcome.packed)
        self._expect("the scores", scores, tuple(update.score for update in segment.updates if update.offer is not None))

    def _expect(self, what: str, found: object, stands: object) -> None:
        if found != stands:
            self.differences.append(f"round {self.state.round}: {what}: {_show(found)} here, {_show(stands)} on the chain")


def _draw(state: State, segment: Segment) -> Draw:
    """What the segment's first proposer drew. Raises PeerError for a segment without one."""
    model = segment.model_header.model
    if model is None or model.proof is None:
        raise PeerError(
            Rejection.BAD_DRAW, f"the segment that closes round {state.round} has no proof of what its lot follows from"
        )
    return draw_of(state, model.view, model.proof)


def _simulated(certified: CertifiedSegment) -> bool:
    """Whether the round is one that the laboratory knows."""
    if certified.segment.model.operations or certified.certificate.recovery is not None:
        return False
    cards = [open_envelope(envelope, (ScoreCard,)).body for envelope in certified.segment.model.cards]
    offers = {(entry.uploader, entry.offer) for card in cards for entry in card.entries}
    return len(offers) == len({uploader for uploader, _ in offers})


def _offers(segment: Segment) -> list[Signed[Offer]]:
    """The packed ones, in block order."""
    return [open_envelope(update.offer, (Offer,)) for update in segment.updates if update.offer is not None]


def _lines(chain: LabChain, card: Signed[ScoreCard], offering: Sequence[int]) -> CardLines:
    """A real card as the laboratory writes them."""
    entries = {chain.device_of(entry.uploader): entry for entry in card.body.entries}

    def column(name: str) -> NDArray[np.int64]:
        return np.array([getattr(entries[device], name) if device in entries else 0 for device in offering], dtype=np.int64)

    return CardLines(
        gains=column("gain"),
        accuracies=column("accuracy"),
        norms=column("norm"),
        base_loss=card.body.base_loss or 0,
        base_accuracy=card.body.base_accuracy or 0,
        entered=np.array([device in entries for device in offering], dtype=np.bool_),
        rates=column("rate"),
        present=tuple(chain.device_of(node) for node in card.body.present),
        likes=_likes(card.body, [entries.get(device) for device in offering]),
    )


def _likes(card: ScoreCard, entries: Sequence[CardEntry | None]) -> tuple[int | None, ...]:
    """What the entry on each line is like, by that one's line."""
    lines: dict[Digest | None, int] = {entry.offer: line for line, entry in enumerate(entries) if entry is not None}
    lines[card.parent] = LAST_STEP
    return tuple(None if entry is None else lines.get(entry.like) for entry in entries)


async def _model(stores: Sequence[SqliteStore], walk: _Walk, segment: Segment, decision: Decision) -> BlobRef | None:
    """The blob of the model that the laboratory computes; None if a payload is not held."""
    assert walk.header.blob is not None
    base = await _payload(stores, walk.header.blob)
    updates = [await _payload(stores, offer.body.blob) for offer in _offers(segment)]
    if base is None or None in updates:
        return None
    if not updates:
        return blob_ref(base)
    spec, round_ = walk.genesis.task.tensors, Round(walk.header.round)
    counters, weights = split_payload(base, spec, label=None)
    labels = [update_label(chain_id_of(walk.genesis), round_, offer.author) for offer in _offers(segment)]
    stack = [
        torch.from_numpy(split_payload(update, spec, label=label)[1].copy())
        for update, label in zip(updates, labels, strict=True)
        if update is not None
    ]
    before, limit = torch.from_numpy(weights.copy()), decision.outcome.step_limit
    model = aggregate(segment.model.rule, before, torch.stack(stack), decision.weights, limit)
    return blob_ref(join_payload(counters, model.numpy(), spec, label=None))


async def _payload(stores: Sequence[SqliteStore], blob: BlobRef) -> bytes | None:
    for store in stores:
        data = await store.blob(blob.root)
        if data is not None:
            return data
    return None


def _show(value: object) -> str:
    if isinstance(value, bytes):
        return short(value)
    if isinstance(value, tuple | list):
        return f"({', '.join(_show(item) for item in value)})"
    return str(value)
