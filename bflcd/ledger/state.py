"""The ledger's state: what every node computes alike, and what a model header's state hash covers (design 4)."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Annotated, Final

from bflcd.crypto.hashing import Domain, digest
from bflcd.errors import InvariantError, UsageError
from bflcd.ledger.lot import first_lot
from bflcd.ledger.pace import Pace
from bflcd.ledger.trust.words import SHOWN_ROUNDS, RoundWords
from bflcd.limits import Between, Name, Size
from bflcd.params import MILLION, BlobRef, Genesis, Terms
from bflcd.types import (
    MAX_COMMITTEE,
    MAX_MEMBERS,
    MAX_NORM,
    MAX_REPUTATION,
    ZERO_DIGEST,
    Amount,
    Digest,
    Epoch,
    Height,
    MicroNats,
    Millis,
    NodeId,
    PartsPerMillion,
    Round,
    View,
    short,
)
from bflcd.wire.alliance import ALLIANCE_BYTES, Note
from bflcd.wire.blocks import KIND_MODEL, Header, ModelFields, chain_id_of
from bflcd.wire.codec import encode, message
from bflcd.wire.governance import ParameterName, ParameterValue

NEVER: Final = -1
"""Stands for "no round yet" in an account."""

HALF: Final = PartsPerMillion(MILLION // 2)
"""Of an account's `offering`: from here on its offers came in most of the rounds that count."""

MAX_SUPPLY: Final = 2**63 - 1
"""Units of one ledger: the largest amount that has an encoding."""

MAX_OPERATION_NUMBER: Final = 2**53
"""Operations of one author."""

MAX_REFUSALS: Final = 8
"""Harmful offers that count at most, so that as many useful ones make up for all (`ledger.standing`)."""

MAX_DOUBT: Final = 5_200
"""The most doubt of a judge, to which it jumps at the limit: 32 rounds of a hundred above it (`ledger.trust.doubts`)."""

MAX_ROTATIONS: Final = 16
"""Keys in a row that a member takes by its own word: each leaves an account in the ledger for ever."""

MAX_APPLICANTS: Final = 64
"""Applications that the ledger keeps; while they are so many, managers can still admit whom they know."""

MAX_MOTIONS: Final = 32
"""Motions that the ledger keeps."""

MAX_VOUCHERS: Final = 64
"""Vouchers that the ledger keeps."""

MAX_CHANGED: Final = 16
"""Parameters that the ledger keeps: more than can be set (`ledger.alliance.parameters`)."""

RoundOrNever = Annotated[int, Between(NEVER, 2**53)]


@dataclass(frozen=True, slots=True)
class Account:
    """One member: its balance, the last round in which it was packed and with which score, the last round it held a seat in.

    `punished_round`: of the block whose evidence proved that it equivocated; it never trains or judges again (design 6.9).
    `retired_round`: of the recovery that declared it gone; it gets no seat until it shows up again (design 6.8).
    `availability`: exponential average of its presence, round by round, from 0 at genesis (design 5, Election).
    `offering`: exponential average of the rounds in which its offer counted, of those in which it might train; a half at genesis,
    when nothing is known of it (design 5.3).
    `operations`: the number of its last operation that a block carried; the next has the next number (`ledger.operations`).
    `refusals`: offers that harmed most judges and are not made up for yet; `rest_round`: the next round in which it may train,
    if that is not the running one (`ledger.standing`).
    `failed_round`: the last that was decided in a later view than one that it led (design 5, Election).
    `left_round`, `kicked_round`: of the block by which it left, or was put out: it is no member any more (`is_member`).
    `deposit`: what of it the community holds; `paid_round`: the last round that it has paid for (`alliance.fees`).
    `successor`: the key under which its member goes on, by its own word in `left_round` or by the managers' in `kicked_round`;
    this one is dead for ever (`alliance.keys`). `rotations`: keys that the member took by its own word since managers chose one.
    `heir`: of who has left, who gets what it has once its deposit is free (`alliance.fees`).
    `reputation`: moving average of what its offers were worth, in micro-nats; 0 of who has offered nothing (`trust.reputation`).
    `doubt`: that its words as a judge come from measuring, in thousandths of a card (`trust.doubts`).
    """

    node: NodeId
    balance: Amount
    packed_round: RoundOrNever
    packed_score: MicroNats
    seat_round: RoundOrNever
    punished_round: RoundOrNever = NEVER
    retired_round: RoundOrNever = NEVER
    availability: PartsPerMillion = PartsPerMillion(0)
    offering: PartsPerMillion = HALF
    operations: Annotated[int, Between(0, MAX_OPERATION_NUMBER)] = 0
    refusals: Annotated[int, Between(0, MAX_REFUSALS)] = 0
    rest_round: RoundOrNever = NEVER
    failed_round: RoundOrNever = NEVER
    left_round: RoundOrNever = NEVER
    kicked_round: RoundOrNever = NEVER
    deposit: Amount = Amount(0)
    paid_round: RoundOrNever = NEVER
    successor: NodeId | None = None
    rotations: Annotated[int, Between(0, MAX_ROTATIONS)] = 0
    heir: NodeId | None = None
    reputation: Annotated[MicroNats, Between(-MAX_REPUTATION, MAX_REPUTATION)] = MicroNats(0)
    doubt: Annotated[int, Between(0, MAX_DOUBT)] = 0


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who asks to become a member. `round`: of the block that carried its application; `refused_round`: of the one by which a
    manager refused it, for `reason`."""

    node: NodeId
    round: Round
    note: Note
    refused_round: RoundOrNever = NEVER
    reason: Note = ""


@dataclass(frozen=True, slots=True)
class Motion:
    """What one manager alone can't do, and who is for it: what `kind` does by `content`, a signed body without its author's round
    and number (`ledger.operations.motion`). `approvals` sorted by id; `opener`: the first; `opened`: its block's round."""

    kind: Name
    content: Annotated[bytes, Size(1, ALLIANCE_BYTES)]
    opener: NodeId
    opened: Round
    approvals: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]


@dataclass(frozen=True, slots=True)
class Voucher:
    """Whoever the key `key` signs for first is admitted, in a block of round `until` at the latest, while enough of the managers
    in `approvals`, sorted by id, manage still (`ledger.operations.vouching`). `opened`: by the block of that round."""

    key: NodeId
    until: Round
    approvals: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    opened: Round = Round(0)


@dataclass(frozen=True, slots=True)
class LastRollback:
    """By what managers went back the last time: in `round`, whose aggregate was not taken, to the model of round `target`."""

    round: Round
    target: Round
    model: BlobRef


@message(162, max_bytes=MAX_MEMBERS * 290 + 544 * 1024)
@dataclass(frozen=True, slots=True)
class State:
    """The ledger after the model block of `round`, without that block's own hash.

    `accounts` sorted by node; `committee`: of this round, in the order in which it leads; `managers` sorted by id; `lot`: what
    this round's draws follow from (`ledger.lot`); `time`: of this model block. Balances, deposits, pool and burnt sum to
    `supply`.
    `usual_norm`: of updates in the rounds before (`influence.step_limit`), in the unit of cards; 0 before anything was packed.
    `known`: what share of their rows the judges of the rounds before found the model right on, risen by no more than a quarter a
    round (`ledger.trust.margin`), from which the margin follows (`ledger.disclosure`); 0 before anybody judged.
    `terms`: of admission, in force; `applicants` sorted by id; `motions` by their opening, then by id.
    `changed`: parameters that managers have set, sorted by name (`ledger.alliance.parameters`).
    `rollback`: the last one, None as long as there was none (`ledger.operations.rollback`).
    `pace`: how long the community waits (`ledger.pace`).
    `vouchers`: those that nobody has used yet, sorted by key.
    `words`: of the judges of the last rounds, oldest first, where there are canaries (`ledger.trust.words`).
    """

    chain: Digest
    round: Round
    epoch: Epoch
    time: Millis
    committee: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    managers: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    lot: Digest
    accounts: Annotated[tuple[Account, ...], Size(1, MAX_MEMBERS)]
    pool: Amount
    burnt: Amount
    supply: Amount
    usual_norm: Annotated[int, Between(0, MAX_NORM)] = 0
    known: Annotated[PartsPerMillion, Between(0, MILLION)] = PartsPerMillion(0)
    terms: Terms = Terms()
    applicants: Annotated[tuple[Applicant, ...], Size(0, MAX_APPLICANTS)] = ()
    motions: Annotated[tuple[Motion, ...], Size(0, MAX_MOTIONS)] = ()
    changed: Annotated[tuple[tuple[ParameterName, ParameterValue], ...], Size(0, MAX_CHANGED)] = ()
    rollback: LastRollback | None = None
    pace: Pace = Pace()
    vouchers: Annotated[tuple[Voucher, ...], Size(0, MAX_VOUCHERS)] = ()
    words: Annotated[tuple[RoundWords, ...], Size(0, SHOWN_ROUNDS)] = ()


def state_hash(state: State) -> Digest:
    """What a model header commits to."""
    return digest(Domain.STATE, encode(state))


def account_of(state: State, node: NodeId) -> Account | None:
    """A member's account, or None for a stranger; logarithmic in the number of members."""
    accounts = state.accounts
    index = bisect_left(accounts, node, key=attrgetter("node"))
    return accounts[index] if index < len(accounts) and accounts[index].node == node else None


def is_member(account: Account) -> bool:
    """Whether an account's owner belongs to the community: it has not left and was not put out."""
    return account.left_round == NEVER and account.kicked_round == NEVER


def member_of(state: State, node: NodeId) -> Account | None:
    """A member's account, or None for a stranger and for who was a member."""
    account = account_of(state, node)
    return account if account is not None and is_member(account) else None


def members_of(state: State) -> Iterator[Account]:
    """The accounts of those that belong to the community, by id."""
    return filter(is_member, state.accounts)


def with_accounts(state: State, *accounts: Account) -> State:
    """`state` with these in the place of the same members' accounts."""
    changed = list(state.accounts)
    for account in accounts:
        index = bisect_left(changed, account.node, key=attrgetter("node"))
        if index == len(changed) or changed[index].node != account.node:
            raise InvariantError(f"{short(account.node)} has no account in the ledger of round {state.round}")
        changed[index] = account
    return replace(state, accounts=tuple(changed))


def without_word(state: State, node: NodeId) -> State:
    """`state` in which `node` is for no motion and behind no voucher; what nobody else is for is open no more."""
    motions = (replace(one, approvals=_others(one.approvals, node)) for one in state.motions)
    vouchers = (replace(one, approvals=_others(one.approvals, node)) for one in state.vouchers)
    return replace(
        state,
        motions=tuple(one for one in motions if one.approvals),
        vouchers=tuple(one for one in vouchers if one.approvals),
    )


def _others(nodes: tuple[NodeId, ...], node: NodeId) -> tuple[NodeId, ...]:
    return tuple(other for other in nodes if other != node)


def genesis_state(genesis: Genesis) -> State:
    """The ledger at model 0. Raises UsageError if the balances and the pool sum to more than an amount can hold."""
    supply = genesis.pool + sum(member.balance for member in genesis.members)
    if supply > MAX_SUPPLY:
        raise UsageError(
            f"the genesis hands out {supply} units, at most {MAX_SUPPLY} are possible; lower the balances or the pool",
            code="bad_genesis",
        )
    accounts = tuple(
        Account(
            node=member.node,
            balance=Amount(member.balance - genesis.terms.deposit),
            packed_round=NEVER,
            packed_score=MicroNats(0),
            seat_round=0 if member.node in genesis.committee else NEVER,
            deposit=genesis.terms.deposit,
            paid_round=genesis.terms.period_rounds - 1,
        )
        for member in genesis.members
    )
    chain = chain_id_of(genesis)
    return State(
        chain=chain,
        round=Round(0),
        epoch=Epoch(0),
        time=genesis.time,
        committee=genesis.committee,
        managers=genesis.managers,
        lot=first_lot(chain),
        accounts=accounts,
        pool=genesis.pool,
        burnt=Amount(0),
        supply=Amount(supply),
        terms=genesis.terms,
    )


def genesis_header(genesis: Genesis) -> Header:
    """Block 0: it needs no certificate, since the chain id is a hash over all that it says."""
    state = genesis_state(genesis)
    return Header(
        chain=state.chain,
        height=Height(0),
        round=Round(0),
        kind=KIND_MODEL,
        parent=ZERO_DIGEST,
        body=ZERO_DIGEST,
        blob=genesis.model,
        time=genesis.time,
        model=ModelFields(Epoch(0), View(0), None, state.lot, state_hash(state), genesis.committee, degraded=False),
    )
