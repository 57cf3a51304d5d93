"""What the node shows of itself: implements the API's `NodeView` from the core, the store and the network."""

import os
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from bflcd.api.event_bus import EventBus, LogRing
from bflcd.api.history import base_of, history_row
from bflcd.api.metrics import resident_bytes
from bflcd.api.schema.chain import MAX_HISTORY, HistoryRow, ModelView, PruneView
from bflcd.api.schema.events import Event, LogView
from bflcd.api.schema.members import CommitteeMember, CommitteeView, MemberView
from bflcd.api.schema.recovery import RecoveryRequest, RecoveryView
from bflcd.api.schema.round import CardView, DecisionRow, OfferView, RoundView, VotesView
from bflcd.api.schema.status import Peer, Status, StopView
from bflcd.config import Config
from bflcd.consensus.status import Phase
from bflcd.core.collection import OfferProgress
from bflcd.core.core import Core
from bflcd.crypto.identity import peer_id_of
from bflcd.errors import OperatorError
from bflcd.learn.protocol import NORM_SCALE_BITS
from bflcd.ledger.quorum import faults, leader, quorum
from bflcd.ledger.state import NEVER, Account
from bflcd.net.peers import PeerManager
from bflcd.node.attack import attack_warnings
from bflcd.node.recovery.report import pending_warning
from bflcd.node.recovery.service import RecoveryService
from bflcd.node.runtime.loop import instant
from bflcd.params import MILLION
from bflcd.store.protocol import BlockStore, StoreStats
from bflcd.types import ZERO_DIGEST, NodeId, Round, View, short
from bflcd.version import __version__
from bflcd.wire.blocks import CertifiedSegment, model_height

MAX_WARNINGS: Final = 10
"""Warnings of lasting things that are shown."""

_NOWHERE: Final[dict[str, Any]] = {
    "chain_id": "",
    "name": "",
    "role": "syncing",
    "task": "",
    "syncing": True,
    "height": 0,
    "round": 0,
    "last_round": 0,
    "done": False,
    "view": 0,
    "phase": "waiting for the genesis",
    "head_hash": ZERO_DIGEST.hex(),
    "model_hash": ZERO_DIGEST.hex(),
    "state_hash": ZERO_DIGEST.hex(),
    "epoch": 0,
    "committee": [],
    "leader": "",
    "committee_size": 0,
    "places": 0,
    "members": 0,
    "peers": 0,
    "prune_height": -1,
    "oldest_payload_round": 0,
    "waiting_for": "a peer that gives the genesis; check --bootstrap",
}
"""Where a node stands on no chain yet."""


class Presenter:
    """The node as its operator sees it. `core` is None until the genesis is known."""

    def __init__(
        self,
        config: Config,
        node_id: NodeId,
        store: BlockStore,
        peers: PeerManager,
        bus: EventBus,
        *,
        ring: LogRing,
        addresses: Callable[[], tuple[str, ...]],
        stop: Callable[[], None],
        device: Callable[[], str],
    ) -> None:
        self._config = config
        self._node_id = node_id
        self._store = store
        self._peers = peers
        self._bus = bus
        self._ring = ring
        self._addresses = addresses
        self._stop = stop
        self._device = device
        self._started = time.monotonic()
        self.core: Core | None = None
        self.desk: RecoveryService | None = None
        self.stats = StoreStats(0, 0, 0, Round(0))
        self.committed_at: float | None = None
        self.accuracy: tuple[float, int] | None = None
        self.test_accuracy: float | None = None
        self.warnings: list[str] = []
        self.api_url = ""

    # -- the running round --------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """Where the node stands."""
        core = self.core
        if core is None:
            return Status(**_NOWHERE, **self._here(), warnings=[*self._lasting(), *self._peers.warnings()])
        context = core.context
        header, state, params = context.head_header, context.state, context.params
        view = core.pbft.view if core.pbft is not None else View(0)
        return Status(
            **self._here(),
            chain_id=state.chain.hex(),
            name=context.genesis.name,
            role=self._role(core),
            task=context.genesis.task.factory,
            syncing=core.syncing,
            height=header.height,
            round=context.round,
            last_round=params.last_round,
            done=context.finished,
            view=view,
            phase=self._phase(core),
            head_hash=context.head_hash.hex(),
            model_hash=context.head_blob.root.hex(),
            state_hash=header.model.state.hex() if header.model else "",
            epoch=state.epoch,
            committee=[node.hex() for node in state.committee],
            leader=leader(state.committee, state.round, view).hex(),
            committee_size=params.committee_size,
            places=params.places,
            members=len(state.accounts),
            peers=len(self._peers.members()),
            prune_height=model_height(self.stats.oldest_payload, params.places) - 1,
            oldest_payload_round=self.stats.oldest_payload,
            last_commit_age=None if self.committed_at is None else time.monotonic() - self.committed_at,
            accuracy=None if self.accuracy is None else self.accuracy[0],
            accuracy_round=None if self.accuracy is None else self.accuracy[1],
            test_accuracy=self.test_accuracy,
            warnings=[*self._lasting(), *self._peers.warnings(), *self._stalled(core), *self._recovering(core)],
            waiting_for=self._waiting_for(core),
        )

    def _here(self) -> dict[str, Any]:
        """What this process knows of itself, whatever the chain."""
        mode = self._config.store
        return {
            "version": __version__,
            "node_id": self._node_id.hex(),
            "peer_id": peer_id_of(self._node_id),
            "store_mode": mode.mode,
            "keep": mode.keep if mode.mode == "pruned" else 0,
            "size_on_disk": self.stats.size_on_disk,
            "uptime": time.monotonic() - self._started,
            "listen": list(self._addresses()),
            "api": self.api_url,
            "pid": os.getpid(),
            "memory_rss": resident_bytes(),
            "device": self._device(),
        }

    def _role(self, core: Core) -> str:
        if core.syncing:
            return "syncing"
        if core.context.judges:
            return "committee"
        return "trainer" if core.context.trains and self._config.compute.train else "observer"

    def _phase(self, core: Core) -> str:
        if core.syncing:
            return "syncing"
        if core.context.finished:
            return "idle"
        if not core.work.model_here:
            return "fetching the model"
        if core.certificates.pending is not None:
            return "fetching the segment"
        if core.pbft is None:
            return self._trainer_phase(core)
        if core.collection.own_card is None:
            return "scoring" if core.collection.scoring else "collecting"
        phase = core.pbft.phase.value
        return "waiting for cards" if phase == "collecting" else phase.replace("_", " ")

    def _trainer_phase(self, core: Core) -> str:
        wants = core.context.trains and self._config.compute.train
        return "training" if wants and core.work.own_offer is None else "waiting for certificate"

    def missing(self, core: Core) -> list[NodeId]:
        """Nodes that something is awaited from, as far as this node can tell."""
        context, collection = core.context, core.collection
        if core.pbft is None or context.finished or core.syncing:
            return []
        if collection.own_card is None:
            offered = {slot.offer.author for slot in collection.slots.values()}
            return sorted(collection.expected(instant().mono) - offered)
        if len(collection.first_cards) < context.q:
            return [node for node in context.committee if node not in collection.first_cards]
        return list(core.pbft.missing)

    def _waiting_for(self, core: Core) -> str:
        missing = self.missing(core)
        collecting = core.pbft is not None and core.collection.own_card is None and not core.context.finished
        if collecting and not core.collection.expected(instant().mono):
            return "a trainer: no member that may train in this round is present"
        if not missing:
            return ""
        what = "an offer" if core.collection.own_card is None else "a vote"
        if core.collection.own_card is not None and len(core.collection.first_cards) < core.context.q:
            what = "a score card"
        return f"{what} of {', '.join(short(node) for node in missing[:12])}"

    def _lasting(self) -> list[str]:
        return [*attack_warnings(self._config.attack), *self.warnings]

    def _stalled(self, core: Core) -> list[str]:
        params = core.context.params
        if core.context.finished or core.syncing:
            return []
        age = instant().mono - core.collection.opened
        if age < params.collect_deadline + 10 * params.view_timeout:
            return []
        return [f"nothing was committed for {age / 1000:.0f} s; waiting for {self._waiting_for(core) or _unheard(core)}"]

    def _recovering(self, core: Core) -> list[str]:
        text = pending_warning(core.recoveries, core.context.state.epoch)
        return [text] if text else []

    def round(self) -> RoundView:
        """The running round."""
        core = self._require_core()
        context, collection = core.context, core.collection
        now = instant().mono
        view = core.pbft.view if core.pbft is not None else View(0)
        deadline = collection.opened + context.params.collect_deadline - now
        return RoundView(
            round=context.round,
            view=view,
            phase=self._phase(core),
            leader=leader(context.committee, context.round, view).hex(),
            started_ms_ago=now - collection.opened,
            deadline_ms=deadline if deadline > 0 and collection.own_card is None and not context.finished else None,
            offers=[
                OfferView(
                    uploader=offer.author.hex(),
                    samples=offer.body.samples,
                    size=offer.body.blob.size,
                    have=offer.body.blob.root in collection.blobs,
                    scored=collection.slots[digest].progress is OfferProgress.SCORED,
                )
                for digest, offer in sorted(collection.offers.items())
            ],
            cards=[
                CardView(member=card.author.hex(), entries=len(card.body.entries), mine=card.author == self._node_id)
                for card in collection.first_cards.values()
            ],
            votes=self._votes(core),
            missing=[node.hex() for node in self.missing(core)],
            waiting_for=self._waiting_for(core),
            last_decision=self._last_decision(core),
        )

    def _votes(self, core: Core) -> VotesView:
        if core.pbft is None:
            return VotesView()
        missing, phase = set(core.pbft.missing), core.pbft.phase
        given = [node.hex() for node in core.context.committee if node not in missing]
        return VotesView(
            prepare=given if phase is Phase.PREPARING else [],
            commit=given if phase is Phase.COMMITTING else [],
            view_change=given if phase is Phase.VIEW_CHANGE else [],
        )

    def _last_decision(self, core: Core) -> list[DecisionRow]:
        judgement = core.last_judgement
        if judgement is None:
            return []
        weights = {packed.offer: weight for packed, weight in zip(judgement.packed, core.last_weights, strict=True)}
        return [
            DecisionRow(
                uploader=offer.uploader.hex(),
                score=offer.score,
                gain=offer.gain,
                accuracy=None if offer.accuracy is None else offer.accuracy / MILLION,
                norm=None if offer.norm is None else offer.norm / 2**NORM_SCALE_BITS,
                rate=offer.rate,
                weight=weights.get(offer.offer, 0),
                packed=offer.reason is None,
                reason="" if offer.reason is None else offer.reason.value,
            )
            for offer in judgement.offers
        ]

    def committee(self) -> CommitteeView:
        """The committee of the running round."""
        core = self._require_core()
        context = core.context
        view = core.pbft.view if core.pbft is not None else View(0)
        balances = {account.node: account.balance for account in context.state.accounts}
        present = core.collection.beacons | {self._node_id}
        model = context.head_header.model
        return CommitteeView(
            round=context.round,
            epoch=context.state.epoch,
            quorum=quorum(len(context.committee)),
            faults=faults(len(context.committee)),
            degraded=bool(model and model.degraded),
            members=[
                CommitteeMember(
                    node_id=node.hex(),
                    seat=seat,
                    leader=node == leader(context.committee, context.round, view),
                    present=node in present,
                    balance=balances.get(node, 0),
                    me=node == self._node_id,
                )
                for seat, node in enumerate(context.committee)
            ],
        )

    def members(self) -> list[MemberView]:
        """All members, sorted by id."""
        core = self._require_core()
        state = core.context.state
        present = core.collection.beacons | {self._node_id} | core.previous_present
        return [
            MemberView(
                node_id=account.node.hex(),
                balance=account.balance,
                packed_round=account.packed_round,
                packed_score=account.packed_score,
                seat_round=account.seat_round,
                availability=account.availability / MILLION,
                present=account.node in present,
                manager=account.node in state.managers,
                me=account.node == self._node_id,
                standing=_standing(account),
            )
            for account in state.accounts
        ]

    def peers(self) -> list[Peer]:
        """Open connections."""
        return [
            Peer(
                node_id=info.node.hex(),
                peer_id=peer_id_of(info.node),
                address=info.address,
                inbound=info.inbound,
                latency_ms=info.latency_ms,
                round=info.round,
                height=info.height,
                score=info.score,
                version=info.version,
                last_seen_ms=info.last_seen_ms,
            )
            for info in self._peers.peers()
        ]

    async def recover(self, request: RecoveryRequest) -> RecoveryView:
        """Plan a recovery of the running round, and sign it unless it is a dry run."""
        self._require_core()
        if self.desk is None:
            raise OperatorError("this node is still starting", hint="ask again in a moment", code="starting")
        return await self.desk.recover(request)

    # -- the chain ----------------------------------------------------------------------------------------------------

    async def history(self, first: int, count: int) -> list[HistoryRow]:
        """Models of rounds first, first + 1, ...; round 0 was never decided and has no row."""
        rows: list[HistoryRow] = []
        begin = max(1, first)
        before = await self._store.segment(Round(begin - 1)) if begin > 1 else None
        core = self._require_core()
        previous = core.context.genesis.time if before is None else before.segment.model_header.time
        committee = core.context.genesis.committee
        if before is not None and before.segment.model_header.model is not None:
            committee = before.segment.model_header.model.committee
        for round_ in range(begin, begin + min(count, MAX_HISTORY)):
            certified = await self._store.segment(Round(round_))
            if certified is None:
                break
            row = history_row(certified, previous, committee)
            rows.append(row)
            model = certified.segment.model_header.model
            previous = certified.segment.model_header.time
            committee = model.committee if model is not None else committee
        return rows

    async def prune(self, keep: int, dry_run: bool) -> PruneView:
        """Drop payloads but those of the last `keep` rounds."""
        report = await self._store.prune(keep, dry_run=dry_run)
        await self.refresh()
        return PruneView(
            dry_run=dry_run,
            keep=keep,
            height=report.height,
            round=report.round,
            blobs=report.blobs,
            payload_bytes=report.payload_bytes,
            freed=report.freed,
        )

    async def model(self, round_: int | None) -> tuple[bytes, ModelView]:
        """A model's payload."""
        core = self._require_core()
        wanted = core.context.round if round_ is None else round_
        header = core.context.head_header
        accuracy = None
        if wanted == 0:
            blob, height, block = core.context.genesis.model, 0, core.context.state.chain
        elif wanted == core.context.round and header.blob is not None:
            blob, height, block = header.blob, header.height, core.context.head_hash
        else:
            found = await self._store.headers(Round(wanted), 1) if wanted > 0 else ()
            if not found or found[0].header.blob is None:
                raise OperatorError(f"there is no model of round {wanted}", hint="see `bflc-cli history`", code="not_found")
            blob, height, block = found[0].header.blob, found[0].header.height, found[0].certificate.digest
        scored = await self._store.segment(Round(wanted + 1))
        if scored is not None:
            base = base_of([card.payload for card in scored.segment.model.cards])
            accuracy = None if base is None else base[1] / MILLION
        data = await self._store.blob(blob.root)
        if data is None:
            raise OperatorError(
                f"the payload of round {wanted} is not held here", hint="ask an archive node, or a later round", code="pruned"
            )
        return data, ModelView(
            round=wanted, height=height, root=blob.root.hex(), size=blob.size, block_hash=block.hex(), accuracy=accuracy
        )

    def warn(self, text: str) -> None:
        """Add to the warnings; the newest few are shown."""
        self.warnings.append(text)
        del self.warnings[:-MAX_WARNINGS]

    def note_accuracy(self, certified: CertifiedSegment) -> None:
        """Remember what the cards of a committed round say of the model before it."""
        base = base_of([card.payload for card in certified.segment.model.cards])
        if base is not None:
            self.accuracy = (base[1] / MILLION, certified.segment.model_header.round - 1)

    async def refresh(self) -> None:
        """Read the store's sizes anew."""
        self.stats = await self._store.stats()

    # -- the rest -----------------------------------------------------------------------------------------------------

    def request_stop(self) -> StopView:
        """Begin a clean stop."""
        self._stop()
        return StopView(stopping=True, pid=os.getpid())

    def events(self, after_seq: int | None) -> AsyncGenerator[Event, None]:
        """The event stream."""
        return self._bus.stream(after_seq)

    def logs(self, lines: int, after: int) -> LogView:
        """The newest log lines."""
        return self._ring.read(lines, after)

    def _require_core(self) -> Core:
        if self.core is None:
            raise OperatorError(
                "this node is still starting: it has no ledger yet",
                hint="ask again in a moment; on its first start it needs a --bootstrap peer that gives it the genesis",
                code="starting",
            )
        return self.core


def _standing(account: Account) -> str:
    """What the ledger holds against a member: being proved a liar weighs more than having been gone."""
    if account.punished_round != NEVER:
        return "punished"
    return "member" if account.retired_round == NEVER else "retired"


def _unheard(core: Core) -> str:
    """What a node without a part in the decision waits for, and which members of the committee it has not heard in this round."""
    silent = [node for node in core.context.committee if node not in core.collection.beacons and node != core.context.me]
    return f"a certificate; nothing was heard of {', '.join(short(node) for node in silent[:12])}" if silent else "a certificate"
