"""What the API server needs of a node."""

from collections.abc import AsyncGenerator
from typing import Protocol

from bflcd.api.schema.alliance import AllianceView, OperationRequest, OperationView
from bflcd.api.schema.chain import HistoryRow, ModelView, PruneRequest, PruneView
from bflcd.api.schema.events import Event, LogView
from bflcd.api.schema.members import CommitteeView, MemberView
from bflcd.api.schema.money import EarningsRow, LedgerView
from bflcd.api.schema.privacy import PrivacyView
from bflcd.api.schema.recovery import RecoveryRequest, RecoveryView
from bflcd.api.schema.round import RoundView
from bflcd.api.schema.status import Peer, Status, StopView


class NodeView(Protocol):
    """What the API server needs of a node. All of it is called in the event loop's thread; what is not `async` must be quick.

    Refusals are raised as OperatorError, whose code and hint reach the user; MachineError says that the disk failed.
    """

    def status(self) -> Status:
        """Where the node stands."""
        ...

    def peers(self) -> list[Peer]:
        """Open connections."""
        ...

    def round(self) -> RoundView:
        """The running round."""
        ...

    def committee(self) -> CommitteeView:
        """The committee of the running round."""
        ...

    def members(self) -> list[MemberView]:
        """All members, sorted by id."""
        ...

    async def history(self, first: int, count: int) -> list[HistoryRow]:
        """Models of rounds first, first + 1, ..., at most `count`; fewer at the head."""
        ...

    async def prune(self, wanted: PruneRequest) -> PruneView:
        """Drop old payloads. Raises UsageError for what `rounds_to_keep` refuses."""
        ...

    async def recover(self, request: RecoveryRequest) -> RecoveryView:
        """Plan a recovery of the running round, and sign it unless it is a dry run. A refusal is an OperatorError."""
        ...

    def alliance(self) -> AllianceView:
        """Applicants, motions, who has gone, and what waits for its block."""
        ...

    def ledger(self) -> LedgerView:
        """All units: who has what, and who owes what."""
        ...

    def privacy(self) -> PrivacyView:
        """What gets out of this node's rows at most."""
        ...

    async def earnings(self, first: int, count: int) -> list[EarningsRow]:
        """What models of rounds first, first + 1, ..., at most `count`, gave members or took from them; fewer at the head."""
        ...

    async def sign_operation(self, request: OperationRequest) -> OperationView:
        """Sign what the operator wants and give it to the others. A refusal is an OperatorError."""
        ...

    async def model(self, round_: int | None) -> tuple[bytes, ModelView]:
        """A model's safetensors bytes; None means the newest. OperatorError(code="not_found" or "pruned") if it is not held."""
        ...

    def request_stop(self) -> StopView:
        """Begin a clean stop and return at once."""
        ...

    def events(self, after_seq: int | None) -> AsyncGenerator[Event, None]:
        """Events after `after_seq`, then new ones until the node stops; None means only new ones. `EventBus.stream` is one."""
        ...

    def logs(self, lines: int, after: int) -> LogView:
        """At most `lines` of the newest log lines whose number is above `after`."""
        ...
