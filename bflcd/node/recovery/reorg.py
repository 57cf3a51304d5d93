"""Blocks that a recovery has superseded: found by comparing chains, archived, taken back (design 6.8).

A node may have committed a round whose committee then failed, and managers who did not reach it gave the round to another one.
Then two certificates stand, and the one of the higher epoch counts. This is the one way in which something committed is lost: it
is told loudly, nothing is thrown away, and a lower or equal epoch never does it.
"""

import logging
from dataclasses import dataclass
from typing import Final

from bflcd.consensus.certificate import verify_successor
from bflcd.core.node_events import EventKind
from bflcd.errors import MachineError, PeerError, RequestError
from bflcd.ledger.operations.recovery import judged_from
from bflcd.ledger.state import State, genesis_header, genesis_state
from bflcd.ledger.transition import apply
from bflcd.net.exchange import Exchange
from bflcd.node.anew import StartAnewError
from bflcd.params import Genesis
from bflcd.scheduler import ASYNCIO, Scheduler
from bflcd.store.protocol import ChainStore
from bflcd.types import NodeId, Round, short
from bflcd.wire.blocks import CertifiedHeader, Header, chain_id_of, header_hash
from bflcd.wire.envelope import Verify
from bflcd.wire.requests import MAX_HEADERS, GetHeaders

logger = logging.getLogger(__name__)

LOOK_BACK: Final = MAX_HEADERS
"""Rounds before the head in which a superseded one is looked for: what one answer holds."""

HEADERS_SECONDS: Final = 15.0
"""Deadline of the question for a peer's headers."""


class SupersededError(StartAnewError):
    """Blocks of this node were superseded and taken back: it has to start again from its new head."""

    kind = EventKind.TAKEN_BACK


@dataclass(frozen=True, slots=True)
class OtherHistory:
    """Two proven headers in one place: ours, and a peer's."""

    ours: CertifiedHeader
    theirs: CertifiedHeader

    @property
    def supersedes(self) -> bool:
        """Whether a recovery gave the round to the peer's committee: the higher epoch counts."""
        return self.theirs.certificate.epoch > self.ours.certificate.epoch

    @property
    def contradicts(self) -> bool:
        """Whether neither counts more than the other."""
        return self.theirs.certificate.epoch == self.ours.certificate.epoch


async def find_other(
    exchange: Exchange, store: ChainStore, peer: NodeId, genesis: Genesis, verify: Verify, *, scheduler: Scheduler = ASYNCIO
) -> OtherHistory | None:
    """The first header of `peer` that differs from ours in its place, proved by our header before it; None if it proves none."""
    head = (await store.head()).header.round
    first = Round(max(1, head - LOOK_BACK + 1))
    ours = await store.headers(first, LOOK_BACK)
    if not ours:
        return None
    try:
        reply = await exchange.ask(peer, GetHeaders(chain_id_of(genesis), first, len(ours)), deadline=HEADERS_SECONDS)
    except (RequestError, PeerError) as error:
        logger.debug("%s gives no headers to compare with ours: %s", short(peer), error)
        return None
    pairs = zip(ours, reply.headers, strict=False)
    index = next((i for i, (mine, theirs) in enumerate(pairs) if header_hash(mine.header) != header_hash(theirs.header)), None)
    if index is None:
        return None
    mine, theirs = ours[index], reply.headers[index]
    previous = ours[index - 1].header if index else await _header_before(store, first, genesis)
    # only a recovery is theirs to sign
    managers = () if theirs.certificate.recovery is None else await managers_at(store, previous.round, scheduler=scheduler)
    try:
        await scheduler.offload(verify_successor, previous, theirs, genesis.params, managers, verify)
    except PeerError as error:
        logger.info(
            "the headers of %s differ from ours from round %d on, and are not proved: %s", short(peer), first + index, error
        )
        return None
    return OtherHistory(mine, theirs)


async def managers_at(store: ChainStore, round_: Round, *, scheduler: Scheduler = ASYNCIO) -> tuple[NodeId, ...]:
    """Who managed in `round_`: who does now, unless a block since has carried anything. Raises as `state_at` does."""
    head = await store.head()
    for number in range(round_ + 1, head.header.round + 1):
        certified = await store.segment(Round(number))
        if certified is None or certified.segment.model.operations:
            return (await state_at(store, round_, scheduler=scheduler)).managers
    return head.state.managers


async def _header_before(store: ChainStore, first: Round, genesis: Genesis) -> Header:
    if first == 1:
        return genesis_header(genesis)
    return (await store.headers(Round(first - 1), 1))[0].header


async def take_back(store: ChainStore, superseding: CertifiedHeader, *, scheduler: Scheduler = ASYNCIO) -> SupersededError:
    """Archive every block from the superseded one on and return to the model before it; the result says what was done.

    Raises MachineError if a segment that is needed to compute the ledger at that model is not held.
    """
    to, head = Round(superseding.header.round - 1), await store.head()
    await store.rewind(to, await state_at(store, to, scheduler=scheduler))
    certificate = superseding.certificate
    return SupersededError(
        f"rounds {to} to {head.header.round - 1} as this node had them are superseded: managers gave round {to} to another "
        f"committee, and epoch {certificate.epoch} decided it otherwise; {head.header.round - to} blocks were archived and are "
        "fetched anew"
    )


async def state_at(store: ChainStore, round_: Round, *, scheduler: Scheduler = ASYNCIO) -> State:
    """The ledger at the model of `round_`, from the genesis on. Raises MachineError (no_genesis, not_held)."""
    genesis = await store.genesis()
    if genesis is None:
        raise MachineError("the store has no genesis", hint="start the node once: it then fetches it", code="no_genesis")
    header, state = genesis_header(genesis), genesis_state(genesis)
    for number in range(1, round_ + 1):
        certified = await store.segment(Round(number))
        if certified is None:
            raise MachineError(
                f"the segment of round {number} is not held, so the ledger at round {round_} can't be computed",
                hint="start over in a fresh data directory with the same key, privacy.json and judging.json: it then catches up",
                code="not_held",
            )
        before = judged_from(state, certified)
        state = await scheduler.offload(apply, genesis.params, before, header, certified.segment, _held_to_be_true)
        header = certified.segment.model_header
    return state


def _held_to_be_true(_: object) -> bool:
    """The signatures of what is committed here were verified when it was."""
    return True
