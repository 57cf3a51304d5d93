"""A node of canned answers behind the real API server: the control command and the API tests talk to it."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from bflcd.api.event_bus import EventBus, LogRing
from bflcd.api.metrics import Metrics
from bflcd.api.prune_target import rounds_to_keep
from bflcd.api.schema.alliance import (
    AllianceView,
    ApplicantView,
    FormerMemberView,
    MotionView,
    OperationRequest,
    OperationView,
    TermsView,
    VoucherView,
)
from bflcd.api.schema.chain import HistoryRow, ModelView, PruneRequest, PruneView
from bflcd.api.schema.events import Event, LogView
from bflcd.api.schema.members import CommitteeMember, CommitteeView, MemberView
from bflcd.api.schema.money import EarningsRow, LedgerMember, LedgerTerms, LedgerView
from bflcd.api.schema.privacy import PrivacyView, TrainingPrivacy
from bflcd.api.schema.recovery import PreparedView, RecoveryRequest, RecoveryRow, RecoverySeat, RecoveryView, Unanswered
from bflcd.api.schema.round import CardView, DecisionRow, OfferView, RoundView, VotesView
from bflcd.api.schema.status import Peer, Status, StopView, TrainingWord
from bflcd.api.server import ApiServer
from bflcd.crypto.hashing import root_of
from bflcd.errors import OperatorError
from bflcd.params import TensorSpec
from bflcd.types import Millis, Round
from tests.helpers.tensors import encode_tensors

IDS = [f"{i:02x}" * 32 for i in range(1, 9)]
SPEC = (TensorSpec("bias", (3,), "F32"),)
MODEL = encode_tensors({"bias": np.array([1.0, 2.0, 3.0], dtype=np.float32)}, SPEC, label=None)

HELD_AGAINST: dict[int, dict[str, Any]] = {
    1: {"reputation": 1_000, "refusals": 2, "seated_first": False, "doubt": 0.35},
    2: {"reputation": -125, "in_debt": True, "seated_first": False, "standing": "in debt"},
    4: {"standing": "resting", "refusals": 4, "rest_until": 8, "seated_first": False, "reputation": -7_500, "in_debt": True},
    5: {"standing": "doubted", "doubt": 2.6, "sits_out_until": 39},
    6: {"standing": "punished"},
    7: {"standing": "retired"},
}
"""What the ledger of the fake node holds against its members, by place."""


def status_of(**changes: object) -> Status:
    fields: dict[str, object] = {
        "version": "0.1.0",
        "chain_id": "ab" * 32,
        "name": "testnet",
        "node_id": IDS[0],
        "peer_id": "12D3KooWtest",
        "role": "trainer",
        "task": "digits",
        "syncing": False,
        "height": 35,
        "round": 5,
        "last_round": 20,
        "done": False,
        "view": 0,
        "phase": "collecting",
        "head_hash": "cd" * 32,
        "trusted_head": "5:" + "cd" * 32,
        "model_hash": "ef" * 32,
        "state_hash": "12" * 32,
        "epoch": 0,
        "committee": IDS[1:5],
        "leader": IDS[2],
        "committee_size": 4,
        "places": 6,
        "members": 8,
        "peers": 2,
        "store_mode": "archive",
        "keep": 0,
        "oldest_payload_round": 0,
        "size_on_disk": 1_234_567,
        "last_commit_age": 1.5,
        "accuracy": 0.875,
        "accuracy_round": 4,
        "worst_accuracy": 0.25,
        "worst_at": [IDS[3]],
        "warnings": [],
        "waiting_for": "",
        "uptime": 61.0,
        "listen": ["/ip4/127.0.0.1/tcp/1/p2p/12D3KooWtest"],
        "pid": 1,
        "memory_rss": 90_000_000,
        "device": "cpu",
        "training": TrainingWord.TRAINS,
        "not_training": [IDS[2]],
    }
    return Status(**{**fields, **changes})  # type: ignore[arg-type]


def history_row(round_: int) -> HistoryRow:
    return HistoryRow(
        round=round_,
        height=round_ * 7,
        time=1_700_000_000_000 + round_ * 1000,
        packed=6,
        places=6,
        accuracy=min(0.95, 0.1 * round_),
        worst=0.05 * round_,
        worst_at=[IDS[2]],
        worst_proven=0.0625 * round_,
        loss=2.3 / round_,
        committee=IDS[1:5],
        degraded=False,
        rewards=1000,
        view=0,
        seconds=1.0,
        hash="cd" * 32,
    )


def recovery_of(**changes: object) -> RecoveryView:
    """Two of four seats are gone, and one manager has signed nothing yet."""
    fields: dict[str, object] = {
        "round": 5,
        "epoch": 0,
        "stalled_ms": 42_000,
        "managers": IDS[:4],
        "needed": 3,
        "i_am_manager": True,
        "can_still_decide": False,
        "quorum": 3,
        "committee": [
            RecoverySeat(node_id=IDS[i], connected=i in (1, 2), heard=i != 4, awaited=i > 2, signed=False, me=False)
            for i in range(1, 5)
        ],
        "silent": IDS[3:5],
        "action": "new",
        "proposal": RecoveryRow(
            id="77" * 32, epoch=1, committee=[*IDS[1:3], IDS[0], IDS[5]], retired=IDS[3:5], prepared=None, signed_by=[]
        ),
        "pending": [],
        "prepared": PreparedView(digest="dd" * 32, epoch=0, view=2, holder=IDS[1]),
        "answered": IDS[:3],
        "unanswered": [Unanswered(node_id=id_, reason="not connected") for id_ in IDS[3:5]],
        "warnings": ["2 of the 4 old seats told what they had prepared"],
        "lines": ["Round 5 has been open for 42 s.", "Signed by 0 of 3 managers."],
    }
    return RecoveryView(**{**fields, **changes})  # type: ignore[arg-type]


def alliance_of(**changes: object) -> AllianceView:
    """A device waits, a motion needs two more managers, one member has left, and nothing waits for its block."""
    fields: dict[str, object] = {
        "round": 5,
        "membership": "member",
        "members": 8,
        "least": 5,
        "managers": IDS[:4],
        "i_am_manager": True,
        "my_operations": 0,
        "terms": TermsView(admission=1, quorum=3, motion_rounds=1000, application_rounds=1000),
        "changed": {"reward_share": 2_000},
        "applicants": [
            ApplicantView(node_id="a1" * 32, round=3, note="a ward's machine", expires=1003, refused=False),
            ApplicantView(node_id="a2" * 32, round=2, note="", expires=1002, refused=True, reason="unknown to us"),
        ],
        "motions": [
            MotionView(
                id="b1" * 32,
                kind="kick",
                node_id=IDS[6],
                text="it copies",
                opener=IDS[1],
                approvals=[IDS[1]],
                needed=3,
                opened=4,
                expires=1004,
            )
        ],
        "former": [
            FormerMemberView(node_id="c1" * 32, balance=70, standing="left", round=4),
            FormerMemberView(node_id="d1" * 32, balance=0, standing="replaced", round=5, successor="e1" * 32),
        ],
        "waiting": [],
        "vouchers": [VoucherView(key="f1" * 32, approvals=IDS[:1], needed=1, until=900)],
    }
    return AllianceView(**{**fields, **changes})  # type: ignore[arg-type]


def ledger_of(**changes: object) -> LedgerView:
    """Eight members, of whom the last owes and is left out; one has left, and its deposit is not free yet."""
    members = [
        LedgerMember(
            node_id=id_,
            balance=1000 + number,
            deposit=50,
            paid_round=19,
            owes=0,
            price=10,
            left_out=False,
            standing="member",
            me=number == 0,
        )
        for number, id_ in enumerate(IDS)
    ]
    late = {"balance": 0, "deposit": 0, "paid_round": -1, "owes": 160, "price": 160, "left_out": True}
    members[7] = msgspec.structs.replace(members[7], owes_text="160 units (entry fee 110, deposit 50), never paid", **late)
    members.append(msgspec.structs.replace(members[1], node_id="c1" * 32, standing="left"))
    fields: dict[str, object] = {
        "round": 5,
        "supply": 1_008_471,
        "pool": 1_000_000,
        "burnt": 49,
        "balances": sum(one.balance for one in members),
        "deposits": sum(one.deposit for one in members),
        "terms": LedgerTerms(entry_fee=100, period_fee=10, period_rounds=20, deposit=50, deposit_rounds=100, reward_share=0.001),
        "members": members,
    }
    return LedgerView(**{**fields, **changes})  # type: ignore[arg-type]


def earnings_in(round_: int) -> list[EarningsRow]:
    """In each round two are packed and paid; in the second one of them pays for a newcomer, to which the other gives something."""

    def row(node: int, *, packed: bool = True, **amounts: int) -> EarningsRow:
        sums = {"pay": 0, "taken": 0, "given": 0, "fees": 0, "deposits": 0} | amounts
        return EarningsRow(round=round_, time=1_700_000_000_000 + round_, node_id=IDS[node], packed=packed, **sums)

    if round_ != 2:
        return [row(5, pay=600), row(6, pay=400)]
    return [row(5, pay=600, fees=110, deposits=50), row(6, pay=400, given=30), row(7, packed=False, taken=30)]


TRAINING_PRIVACY = TrainingPrivacy(
    epsilon=8.0,
    spent=2.125,
    delta_exponent=5,
    updates=3,
    updates_left=21,
    stopped=False,
    clip=0.5,
    noise=1.75,
    sampling=0.25,
    steps=4,
    accountant="Renyi",
)


class FakeNode:
    """Implements `NodeView`."""

    def __init__(self) -> None:
        self.current = status_of()
        self.stopped = False
        self.pruned: list[tuple[int, bool]] = []
        self.recovery = recovery_of()
        self.recoveries: list[RecoveryRequest] = []
        self.community = alliance_of()
        self.signs: list[OperationRequest] = []
        self.money = ledger_of()
        self.private = PrivacyView(training=TRAINING_PRIVACY)
        self.earned = [row for round_ in range(1, 6) for row in earnings_in(round_)]
        self.refusal: OperatorError | None = None
        self.bus = EventBus(lambda: Millis(1_700_000_000_000), lambda _: None, capacity=8, max_watchers=2)
        self.log = LogRing()
        self.broken: Exception | None = None

    def status(self) -> Status:
        if self.broken is not None:
            raise self.broken
        return self.current

    def peers(self) -> list[Peer]:
        return [
            Peer(
                node_id=IDS[i],
                peer_id="12D3KooWpeer",
                address="/ip4/127.0.0.1/tcp/4001",
                inbound=i == 1,
                latency_ms=0.4 if i == 1 else None,
                round=5,
                height=35,
                score=0.0,
                version="0.1.0",
                last_seen_ms=120,
                training=TrainingWord.TRAINS if i == 1 else TrainingWord.DEVICE,
            )
            for i in (1, 2)
        ]

    def round(self) -> RoundView:
        return RoundView(
            round=5,
            view=0,
            phase="collecting",
            leader=IDS[2],
            started_ms_ago=800,
            deadline_ms=59_200,
            view_timeout_ms=1_250,
            collect_deadline_ms=60_000,
            offers=[OfferView(uploader=IDS[0], samples=143, size=4096, have=True, scored=False)],
            cards=[CardView(member=IDS[1], entries=1, mine=False)],
            votes=VotesView(prepare=[IDS[1]]),
            missing=[IDS[5]],
            waiting_for="cards of 02020202",
            last_decision=[
                DecisionRow(
                    uploader=IDS[0],
                    score=12_000,
                    gain=12_000,
                    accuracy=0.87,
                    norm=1.25,
                    rate=40_960,
                    weight=143,
                    packed=True,
                    reason="",
                ),
                DecisionRow(
                    uploader=IDS[6],
                    score=-900_000,
                    gain=-900_000,
                    accuracy=0.1,
                    norm=30.0,
                    rate=0,
                    weight=0,
                    packed=False,
                    reason="score",
                ),
            ],
        )

    def committee(self) -> CommitteeView:
        members = [
            CommitteeMember(node_id=IDS[i], seat=i - 1, leader=i == 2, present=i != 4, balance=1000 + i, me=False)
            for i in range(1, 5)
        ]
        return CommitteeView(round=5, epoch=0, quorum=3, faults=1, degraded=False, members=members)

    def members(self) -> list[MemberView]:
        return [
            MemberView(
                node_id=id_,
                balance=1000,
                packed_round=4,
                packed_score=12_000,
                seat_round=-1,
                availability=0.875,
                present=True,
                manager=i == 0,
                me=i == 0,
                seat_floor=1_500,
                **HELD_AGAINST.get(i, {"reputation": 3_250}),
            )
            for i, id_ in enumerate(IDS)
        ]

    async def history(self, first: int, count: int) -> list[HistoryRow]:
        return [history_row(r) for r in range(first, min(first + count, self.current.round + 1))]

    async def prune(self, wanted: PruneRequest) -> PruneView:
        keep = rounds_to_keep(wanted.keep, wanted.to, head=Round(self.current.round), places=self.current.places)
        if keep == 13:
            await asyncio.sleep(30)
        self.pruned.append((keep, wanted.dry_run))
        freed = 0 if wanted.dry_run else 98_304
        return PruneView(dry_run=wanted.dry_run, keep=keep, height=13, round=2, blobs=9, payload_bytes=90_000, freed=freed)

    async def recover(self, request: RecoveryRequest) -> RecoveryView:
        self.recoveries.append(request)
        if request.dry_run:
            return self.recovery
        if self.recovery.refusal:
            raise OperatorError(self.recovery.refusal, hint=self.recovery.hint, code=self.recovery.code)
        return msgspec.structs.replace(self.recovery, signed=True)

    def alliance(self) -> AllianceView:
        return self.community

    def ledger(self) -> LedgerView:
        return self.money

    async def earnings(self, first: int, count: int) -> list[EarningsRow]:
        return [row for row in self.earned if first <= row.round < first + count]

    def privacy(self) -> PrivacyView:
        return self.private

    async def sign_operation(self, request: OperationRequest) -> OperationView:
        self.signs.append(request)
        if self.refusal is not None:
            raise self.refusal
        return OperationView(
            id="d1" * 32, kind=request.kind, author=IDS[0], number=1, expires=105, text=f"it does {request.kind}", mine=True
        )

    async def model(self, round_: int | None) -> tuple[bytes, ModelView]:
        if round_ is not None and round_ < 3:
            raise OperatorError(f"the model of round {round_} is pruned here", hint="ask an archive", code="pruned")
        round_ = self.current.round if round_ is None else round_
        return MODEL, ModelView(
            round=round_,
            height=round_ * 7,
            root=root_of(MODEL).hex(),
            size=len(MODEL),
            block_hash="cd" * 32,
            accuracy=0.875,
            chain_id="ab" * 32,
            task="digits",
        )

    def request_stop(self) -> StopView:
        self.stopped = True
        return StopView(stopping=True, pid=1)

    def events(self, after_seq: int | None) -> AsyncGenerator[Event, None]:
        return self.bus.stream(after_seq)

    def logs(self, lines: int, after: int) -> LogView:
        return self.log.read(lines, after)


class ServedNode:
    """A fake node and its API server in a thread with its own loop; a context manager."""

    def __init__(self, datadir: Path) -> None:
        self.datadir = datadir
        self.node: FakeNode
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def call(self, function: object) -> None:
        self._loop.call_soon_threadsafe(function)  # type: ignore[arg-type]

    def _main(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            self._failure = error
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        self.node = FakeNode()
        server = ApiServer(self.node, Metrics(), self.datadir)
        await server.start()
        self._started.set()
        await self._stop.wait()
        await server.close()
