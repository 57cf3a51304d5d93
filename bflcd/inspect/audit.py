"""What a chain says of who did what, round by round, for somebody who trusts none of its members.

Every round is checked as `verify` checks it before anything is told of it. The same rows go to people, to spreadsheets and to
programs (`bflc-cli audit`); with the chain's own bytes beside them nobody has to believe these rows.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from bflcd.errors import MachineError, PeerError
from bflcd.inspect.deciding import check_proved, decide_anew
from bflcd.ledger.alliance.membership import membership_of
from bflcd.ledger.judgement import OfferJudgement
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.state import State, genesis_header, genesis_state
from bflcd.ledger.transition import Outcome
from bflcd.params import Genesis
from bflcd.types import NodeId, Round
from bflcd.wire.blocks import CertifiedSegment, Header, header_hash
from bflcd.wire.codec import encode
from bflcd.wire.operation import operation_id

POOL: Final = "pool"
BURNT: Final = "burnt"


class SegmentReader(Protocol):
    """What is read of a store."""

    async def genesis(self) -> Genesis | None:
        """The chain's genesis."""
        ...

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        """The segment whose model header says `round_`."""
        ...


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One decided round. `model`: number of the model that it made, as everywhere here; `time`: Unix time in milliseconds;
    `base_loss` in micro-nats and `base_accuracy` in millionths: of the model before, None where nobody measured it; `step_limit`
    in the unit of cards (scale 2^12), below 0 what each of a young model's updates is held to, None for none; `pool`, `burnt`:
    units after the round."""

    model: int
    height: int
    time: int
    epoch: int
    view: int
    block: str
    root: str
    bytes: int
    committee: tuple[str, ...]
    signers: tuple[str, ...]
    recovered: bool
    packed: int
    base_loss: int | None
    base_accuracy: int | None
    step_limit: int | None
    rewards: int
    pool: int
    burnt: int


@dataclass(frozen=True, slots=True)
class ContributionRow:
    """One update that a card of the round names. `place`: among the packed, None if it was not, and then `reason` says why;
    `weight` in the aggregate; `entries`: cards that name it, `refusals`: those that say that it harms; `gain` and `score` (of
    the community's rule) in micro-nats, `accuracy` in millionths, `norm` with scale 2^12: medians; `reward` in units."""

    model: int
    uploader: str
    offer: str
    update: str
    place: int | None
    weight: int
    entries: int
    refusals: int
    gain: int | None
    accuracy: int | None
    norm: int | None
    score: int | None
    reward: int
    reason: str


@dataclass(frozen=True, slots=True)
class OperationRow:
    """One operation, in the order in which they were applied. `number`: of its author's, None for kinds without."""

    model: int
    place: int
    kind: str
    author: str
    number: int | None
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class MovementRow:
    """By how much a round changed what `holder` holds, its deposit counted: a member's id, `pool` or `burnt`; of that by rewards,
    and by operations. The changes of one model sum to 0. `held`: afterwards."""

    model: int
    holder: str
    by_rewards: int
    by_operations: int
    held: int


@dataclass(frozen=True, slots=True)
class MemberRow:
    """What a member, present or former, ends with. `packed`: rounds; `earned`: by rewards, `moved`: by operations, `held`: its
    deposit counted, in units."""

    node: str
    standing: str
    first: int
    packed: int
    earned: int
    moved: int
    held: int
    deposit: int


@dataclass(frozen=True, slots=True)
class AuditedRound:
    """A round's rows; its segment with the certificate, and the ledger after it, as they are hashed and signed."""

    segment: bytes
    ledger: bytes
    round: RoundRow
    contributions: tuple[ContributionRow, ...]
    operations: tuple[OperationRow, ...]
    movements: tuple[MovementRow, ...]


@dataclass(frozen=True, slots=True)
class AuditedChain:
    """The end of an audit. `genesis`: its bytes, whose hash is the chain id."""

    genesis: bytes
    name: str
    chain_id: str
    head: str
    members: tuple[MemberRow, ...]


async def audit_chain(store: SegmentReader) -> AsyncGenerator[AuditedRound | AuditedChain, None]:
    """Yield every round from the first on, and last the chain.

    Raises MachineError (`no_genesis`, `audit_failed`) where there is nothing to audit, or a round that doesn't hold.
    """
    genesis = await store.genesis()
    if genesis is None:
        raise MachineError("the store has no genesis", hint="start the node once: it then fetches it", code="no_genesis")
    walk = _Walk(genesis)
    round_ = Round(1)
    while (certified := await store.segment(round_)) is not None:
        try:
            audited = await asyncio.to_thread(walk.step, certified)
        except (PeerError, MachineError) as error:
            raise MachineError(
                f"round {round_} does not hold, so nothing after it can be told: {error}",
                hint="`bflc-cli verify` says what is wrong; another node has the same chain",
                code="audit_failed",
            ) from error
        yield audited
        round_ = Round(round_ + 1)
    yield walk.chain()


class _Walk:
    """Where an audit stands."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._header: Header = genesis_header(genesis)
        self._state: State = genesis_state(genesis)
        self._first: dict[NodeId, int] = {account.node: 0 for account in self._state.accounts}
        self._packed: Counter[NodeId] = Counter()
        self._earned: Counter[NodeId] = Counter()
        self._moved: Counter[str] = Counter()

    def step(self, certified: CertifiedSegment) -> AuditedRound:
        """The next round. Raises PeerError, MachineError."""
        before, committee = self._state, _committee_of(self._header)
        header = check_proved(self._genesis, before.managers, self._header, certified)
        outcome = decide_anew(self._genesis, self._header, before, certified)
        self._header, self._state = header, outcome.state
        movements = _movements(header.round, before, outcome)
        self._remember(outcome, movements)
        return AuditedRound(
            encode(certified),
            encode(outcome.state),
            _round_row(certified, outcome, committee),
            _contributions(header.round, outcome),
            _operations(header.round, outcome),
            movements,
        )

    def chain(self) -> AuditedChain:
        """What is known at the end."""
        state = self._state
        return AuditedChain(
            encode(self._genesis), self._genesis.name, state.chain.hex(), header_hash(self._header).hex(), self._members(state)
        )

    def _remember(self, outcome: Outcome, movements: tuple[MovementRow, ...]) -> None:
        for account in outcome.state.accounts:
            self._first.setdefault(account.node, outcome.state.round)
        self._packed.update(packed.judgement.uploader for packed in outcome.packed)
        self._earned.update(dict(outcome.rewards))
        self._moved.update({row.holder: row.by_operations for row in movements})

    def _members(self, state: State) -> tuple[MemberRow, ...]:
        held = _held(state)
        return tuple(
            MemberRow(
                node=account.node.hex(),
                standing=membership_of(state, account.node)[0].value,
                first=self._first[account.node],
                packed=self._packed[account.node],
                earned=self._earned[account.node],
                moved=self._moved[account.node.hex()],
                held=held[account.node.hex()],
                deposit=account.deposit,
            )
            for account in state.accounts
        )


def _committee_of(header: Header) -> tuple[NodeId, ...]:
    return () if header.model is None else header.model.committee


def _round_row(certified: CertifiedSegment, outcome: Outcome, opened: tuple[NodeId, ...]) -> RoundRow:
    """`opened`: the committee that the header before names, which a recovery replaces."""
    certificate, header = certified.certificate, certified.segment.model_header
    committee = opened if certificate.recovery is None else certificate.recovery.recovery.committee
    blob, judgement = header.blob, outcome.judgement
    return RoundRow(
        model=header.round,
        height=header.height,
        time=header.time,
        epoch=certificate.epoch,
        view=certificate.view,
        block=certificate.digest.hex(),
        root="" if blob is None else blob.root.hex(),
        bytes=0 if blob is None else blob.size,
        committee=tuple(node.hex() for node in committee),
        signers=tuple(node.hex() for node, _ in certificate.signatures),
        recovered=certificate.recovery is not None,
        packed=len(outcome.packed),
        base_loss=judgement.base_loss,
        base_accuracy=judgement.base_accuracy,
        step_limit=outcome.step_limit,
        rewards=sum(amount for _, amount in outcome.rewards),
        pool=outcome.state.pool,
        burnt=outcome.state.burnt,
    )


def _contributions(model: Round, outcome: Outcome) -> tuple[ContributionRow, ...]:
    """The packed in their order, then the others as the judgement has them."""
    paid = dict(outcome.rewards)
    packed = [
        _contribution(model, one.judgement, place, one.weight, paid.get(one.judgement.uploader, 0))
        for place, one in enumerate(outcome.packed)
    ]
    others = [_contribution(model, offer, None, 0, 0) for offer in outcome.judgement.offers if offer.reason is not None]
    return (*packed, *others)


def _contribution(model: Round, offer: OfferJudgement, place: int | None, weight: int, reward: int) -> ContributionRow:
    return ContributionRow(
        model=model,
        uploader=offer.uploader.hex(),
        offer=offer.offer.hex(),
        update=offer.root.hex(),
        place=place,
        weight=weight,
        entries=offer.entries,
        refusals=offer.refusals,
        gain=offer.gain,
        accuracy=offer.accuracy,
        norm=offer.norm,
        score=offer.score,
        reward=reward,
        reason="" if offer.reason is None else offer.reason.value,
    )


def _operations(model: Round, outcome: Outcome) -> tuple[OperationRow, ...]:
    return tuple(
        OperationRow(
            model=model,
            place=place,
            kind=operation.kind,
            author=operation.author.hex(),
            number=kind_of(operation).number(operation),
            id=operation_id(operation).hex(),
            text=kind_of(operation).describe(operation),
        )
        for place, operation in enumerate(outcome.operations)
    )


def _held(state: State) -> Mapping[str, int]:
    """What everybody holds, in units."""
    members = {account.node.hex(): account.balance + account.deposit for account in state.accounts}
    return members | {POOL: state.pool, BURNT: state.burnt}


def _movements(model: Round, before: State, outcome: Outcome) -> tuple[MovementRow, ...]:
    """Everybody whose units changed, by id, then pool and burnt."""
    had, has = _held(before), _held(outcome.state)
    rewarded = {node.hex(): int(amount) for node, amount in outcome.rewards}
    rewarded[POOL] = -sum(rewarded.values())
    return tuple(
        MovementRow(model, holder, rewarded.get(holder, 0), held - had.get(holder, 0) - rewarded.get(holder, 0), held)
        for holder, held in has.items()
        if held != had.get(holder, 0) or rewarded.get(holder, 0)
    )
