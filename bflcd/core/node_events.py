"""Everything that a node tells of itself: its kinds, how grave each is, and what it means.

This table alone decides how loudly something is logged, whether `status` warns of it, what is counted and which types the
event stream has. Kinds are added, never given another meaning: programs of operators know them by name.
"""

from enum import Enum, StrEnum
from typing import Self


class Severity(Enum):
    """How much somebody should care."""

    DETAIL = "detail"
    """Every round is full of them. Logged at debug."""
    NOTE = "note"
    """A step that an operator follows. Logged at info."""
    WARNING = "warning"
    """No round that goes well brings it about; it passes, or is mended without help. Logged as a warning."""
    ALARM = "alarm"
    """Somebody has to look, and waiting mends nothing: logged as a warning, and `status` goes on warning of it."""


class EventKind(StrEnum):
    """What can happen. The value is the type that people and programs read."""

    severity: Severity
    meaning: str

    def __new__(cls, value: str, severity: Severity, meaning: str) -> Self:
        """A row of the table: the public name, the one severity, the meaning in one line."""
        kind = str.__new__(cls, value)
        kind._value_ = value
        kind.severity, kind.meaning = severity, meaning
        return kind

    # a round
    ROUND_OPENED = "round_opened", Severity.NOTE, "a round has begun here, or goes on in a new epoch"
    PRESENT = "present", Severity.DETAIL, "a member is present in the round"
    TRAINED = "trained", Severity.NOTE, "this node has trained on its data"
    OFFER = "offer", Severity.DETAIL, "a trainer has offered an update"
    OFFERS_CLOSED = "offers_closed", Severity.DETAIL, "a member of the committee, perhaps this node, takes no further offers"
    SEALED = "sealed", Severity.DETAIL, "a member of the committee, perhaps this node, is bound to the card that it will show"
    CARD = "card", Severity.DETAIL, "a member of the committee, perhaps this node, has sent its score card"
    BUDGET_SPENT = (
        "budget_spent",
        Severity.ALARM,
        "this node's budget for judging is spent: its score card says nothing of its rows",
    )
    QUORUM_OF_CARDS = "quorum_of_cards", Severity.DETAIL, "enough score cards are held to decide the round"
    VIEW = "view", Severity.DETAIL, "the committee has entered a view, under its leader"
    TOO_MANY_CANDIDATES = "too_many_candidates", Severity.WARNING, "the round has so many proposals that no more are worked on"
    COMMITTED = "committed", Severity.NOTE, "a round is closed and stored"
    FINISHED = "finished", Severity.NOTE, "the community has reached its last round"
    SYNC = "sync", Severity.NOTE, "this node catches up, or has caught up"
    WORK_FAILED = "work_failed", Severity.WARNING, "the compute worker could not train, score or measure"
    MODEL_WORSE = (
        "model_worse",
        Severity.WARNING,
        "a model is worse on this node's own rows than its steps so far explain: managers may want to go back",
    )

    # payloads
    BLOB_MISSING = "blob_missing", Severity.DETAIL, "no peer gave a payload, or what it gave breaks its specification"
    BLOB_LOST = "blob_lost", Severity.WARNING, "a payload that the round needs was damaged on the disk and is fetched again"
    BLOB_DAMAGED = "blob_damaged", Severity.ALARM, "the disk gave other bytes of a payload than were written"
    BLOB_MENDED = "blob_mended", Severity.NOTE, "a damaged payload was fetched again"
    BLOB_NOT_MENDED = "blob_not_mended", Severity.WARNING, "a damaged payload can't be had from any peer now"
    PRUNED = "pruned", Severity.NOTE, "payloads of old rounds were removed"

    # operations and what goes wrong between members
    OPERATION = "operation", Severity.NOTE, "an operation waits for its block"
    OPERATION_REFUSED = "operation_refused", Severity.NOTE, "an operation that was handed to this node breaks a rule"
    OPERATION_EXPIRED = (
        "operation_expired",
        Severity.WARNING,
        "an operation that this node signed was carried by no block in time, and can't be any more",
    )
    EVIDENCE = "evidence", Severity.WARNING, "evidence waits for its block: somebody signed two things in one place"
    CONFLICT = "conflict", Severity.WARNING, "a peer brought what contradicts something that its author signed before"
    FORK = "fork", Severity.ALARM, "two certificates of one round contradict each other: the node stops"
    UNEXPLAINED = (
        "unexplained",
        Severity.ALARM,
        "a round was decided against this node's own scores: its committee may have colluded",
    )

    ROLLED_BACK = "rolled_back", Severity.WARNING, "managers have put an older model in the place of a round's"

    # recovery
    RECOVERY = "recovery", Severity.WARNING, "managers have signed a recovery of the running round; more of them are needed"
    RECOVERY_REFUSED = "recovery_refused", Severity.WARNING, "this manager's node does not sign the recovery that was asked for"
    RECOVERED = "recovered", Severity.WARNING, "a quorum of managers has given the running round a new committee"
    TAKEN_BACK = "taken_back", Severity.ALARM, "a recovery has superseded blocks of this node: they were taken back"

    # the node
    SIGNING_HELD = (
        "signing_held",
        Severity.WARNING,
        "what this node signed before is not known for sure: it signs nothing for now",
    )
    NOT_MEMBER_YET = "not_member_yet", Severity.WARNING, "this node is no member: it waits to be admitted"
    ADMITTED = "admitted", Severity.NOTE, "this node was admitted to the community"
    NOT_MEMBER = "not_member", Severity.WARNING, "this node is no member any more: it has left or was put out"
    KEY_REPLACED = "key_replaced", Severity.WARNING, "another key has taken the place of this node's: it goes on under that one"
    OVERLOADED = "overloaded", Severity.WARNING, "this node is behind: it leaves to others what they can answer or say again"
    KEEPS_UP = "keeps_up", Severity.NOTE, "this node is overloaded no more"
    ANSWER_FAILED = "answer_failed", Severity.ALARM, "an answer to a peer failed by a fault of this node's software or machine"
    PEER_UP = "peer_up", Severity.NOTE, "a member is connected"
    PEER_DOWN = "peer_down", Severity.NOTE, "a connection to a member has ended"

    # the event stream
    GAP = "gap", Severity.DETAIL, "older events are no longer held: given to a reader in place of what it missed"
