"""A core on its chain, and what runs it: made alike by the daemon and by the simulated world."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bflcd.core.core import Core
from bflcd.core.events import Started
from bflcd.core.records import RoundRecords
from bflcd.core.signing_guard import Mark, SigningGuard
from bflcd.core.trust.judging_account import JudgingAccount
from bflcd.crypto.identity import Signer
from bflcd.errors import OperatorError
from bflcd.ledger.state import State
from bflcd.node.runtime.loop import Ports, Runtime
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.params import Genesis
from bflcd.store.protocol import ChainStore, RecordStore, Upkeep
from bflcd.types import NodeId, Round
from bflcd.wire.envelope import Verify

GuardOf = Callable[[Mark | None, Round, RoundRecords], SigningGuard]
"""What a node may sign, by its mark, its head's round, and what is stored of that round."""


class MarkFile(Protocol):
    """The mark beside the database."""

    def highest(self) -> Mark | None:
        """The last mark written."""
        ...

    async def write(self, mark: Mark) -> None:
        """Make the mark durable."""
        ...


@dataclass(frozen=True, slots=True)
class Engine:
    """`started`: what the runtime begins with."""

    core: Core
    guard: SigningGuard
    started: Started
    unpublished: Unpublished

    def runtime(self, ports: Ports) -> Runtime:
        """What carries out the core's effects in the world of `ports`."""
        context = self.core.context
        return Runtime(
            self.core,
            ports,
            chain=context.state.chain,
            me=context.me,
            params=lambda: self.core.context.params,
            guard=self.guard,
            unpublished=self.unpublished,
        )


def check_observer(state: State, node: NodeId) -> None:
    """Raise OperatorError if `node`, which is told to follow only, holds a seat: its committee would be one short."""
    if node in state.committee:
        raise OperatorError(
            f"this node holds a seat in round {state.round}, so it can't only follow: its committee waits for it",
            hint="start it without --observe until it holds no seat, or leave it out of the committee of the genesis",
            code="holds_seat",
        )


class TakenUp(ChainStore, RecordStore, Upkeep, Protocol):
    """The store of a chain that is taken up."""


async def open_engine(
    genesis: Genesis,
    store: TakenUp,
    marks: MarkFile,
    *,
    signer: Signer,
    verify: Verify,
    private_seed: bytes,
    train: bool,
    guard_of: GuardOf = SigningGuard.after_restart,
    account: JudgingAccount | None = None,
) -> Engine:
    """Take up the chain where the store stands.

    What this node said before it stopped is said again; its mark comes first, if the process died between the two (design 6.3).
    """
    head = await store.head()
    records = await store.records(head.state.round)
    guard = guard_of(marks.highest(), head.state.round, records)
    if guard.overdue is not None:
        await marks.write(guard.overdue)
    await store.discard_stale(head.state.round)
    last = await store.certificate(head.state.round) if head.state.round else None
    core = Core(genesis, head, signer, verify, private_seed, guard=guard, train=train, last=last, account=account)
    return Engine(core, guard, Started(records), Unpublished(await store.unpublished(), head.state.round))
