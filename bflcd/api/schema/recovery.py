"""A round that can't go on: who is silent, what is prepared, what a manager would sign."""

from bflcd.api.schema.answer import Answer


class RecoverySeat(Answer, frozen=True, kw_only=True):
    """One seat of the running round, as far as this node can tell whether it can still vote."""

    node_id: str
    connected: bool
    heard: bool
    """It has said something in this round, which may be older than its death."""
    awaited: bool
    """Its vote is missing in the running view."""
    signed: bool
    """It is a manager that has signed a recovery of this round, and votes no more in this epoch."""
    me: bool


class PreparedView(Answer, frozen=True, kw_only=True):
    """A segment of which a prepared proof exists: a recovery that names it decides exactly this."""

    digest: str
    epoch: int
    view: int
    holder: str = ""
    """Who gave it; empty if a recovery brought it."""


class RecoveryRow(Answer, frozen=True, kw_only=True):
    """One recovery of the running round."""

    id: str
    epoch: int
    committee: list[str]
    retired: list[str]
    prepared: PreparedView | None
    signed_by: list[str]
    objection: str = ""
    """Why this node would not join it; empty if nothing speaks against it."""


class Unanswered(Answer, frozen=True, kw_only=True):
    """A member that was asked what it has prepared, or can't be asked."""

    node_id: str
    reason: str


class RecoveryView(Answer, frozen=True, kw_only=True):
    """Whether the running round can go on, what a manager would sign if it can't, and what that means."""

    round: int
    epoch: int
    stalled_ms: int
    """Since the round was opened here."""
    managers: list[str]
    needed: int
    """Signatures of managers."""
    i_am_manager: bool
    can_still_decide: bool
    quorum: int
    committee: list[RecoverySeat]
    silent: list[str]
    """Seats without a connection to this node."""
    action: str
    """What signing would do: new, join (what others have signed), wait (this manager has signed)."""
    proposal: RecoveryRow
    """What would be, or was, signed."""
    pending: list[RecoveryRow]
    prepared: PreparedView | None
    answered: list[str]
    unanswered: list[Unanswered]
    warnings: list[str]
    refusal: str = ""
    """Why it would not be signed; empty if it would."""
    hint: str = ""
    code: str = ""
    """Of the refusal."""
    lines: list[str]
    """All of it for people."""
    signed: bool = False
    """This request has signed the proposal."""
    adopted: bool = False
    """A quorum of managers has signed it: the round goes on in its epoch."""


class RecoveryRequest(Answer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/recovery; whole ids. `join`: id of a pending recovery; `expect`: id of the one that was shown.

    `dry_run` only looks; `force` signs also where a quorum may still come together.
    """

    committee: list[str] | None = None
    retired: list[str] | None = None
    join: str | None = None
    new: bool = False
    expect: str | None = None
    force: bool = False
    dry_run: bool = False
