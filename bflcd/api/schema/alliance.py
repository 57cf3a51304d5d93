"""Who wants to join, what managers have open, and what a member signs at its operator's word."""

from typing import Annotated, Literal

from msgspec import Meta

from bflcd.api.schema.answer import Answer


class TermsView(Answer, frozen=True, kw_only=True):
    """By which the community admits and puts out; durations in rounds."""

    admission: int
    """Managers that have to admit a member."""
    quorum: int
    """Managers that have to be for what no single one may do."""
    motion_rounds: int
    application_rounds: int


class ApplicantView(Answer, frozen=True, kw_only=True):
    """Who asks to become a member."""

    node_id: str
    round: int
    """In which it applied."""
    note: str
    """What it says of itself: nobody has checked it."""
    expires: int
    """The round in which the application is forgotten."""
    refused: bool
    reason: str = ""
    """Why it was refused."""


class MotionView(Answer, frozen=True, kw_only=True):
    """What needs more managers than have signed it yet."""

    id: str
    kind: str
    node_id: str
    """To whom it is done; empty where it is about no node."""
    text: str
    """Why; of `set` what, as `name = value`."""
    opener: str
    approvals: list[str]
    needed: int
    opened: int
    expires: int


class VoucherView(Answer, frozen=True, kw_only=True):
    """What admits one node more without anybody's further word."""

    key: str
    approvals: list[str]
    """Managers who stand behind it, and manage still."""
    needed: int
    until: int
    """The last round whose block may carry its use."""


class FormerMemberView(Answer, frozen=True, kw_only=True):
    """Who was a member."""

    node_id: str
    balance: int
    standing: str
    """left, kicked or replaced."""
    round: int
    """Of the block by which it went."""
    successor: str = ""
    """The key that has taken its place, if it was replaced."""
    heir: str = ""
    """Who gets what it has, once its deposit is free."""


class OperationView(Answer, frozen=True, kw_only=True):
    """An operation that waits for its block."""

    id: str
    kind: str
    author: str
    number: int
    """Among its author's operations; 0 where it has none."""
    expires: int
    """The last round whose block may carry it; 0 where it never runs out."""
    text: str
    mine: bool


class RollbackView(Answer, frozen=True, kw_only=True):
    """The last time that managers went back to an older model."""

    round: int
    """The round whose aggregate was not taken: the model of the next one is the older one."""
    target: int
    """The round whose model it is."""
    model: str


class AllianceView(Answer, frozen=True, kw_only=True):
    """Who is about to join, and what is about to change."""

    round: int
    membership: str
    """This node's: member, unknown, applied, refused, left, kicked, replaced or punished."""
    members: int
    least: int
    """Members that the community needs to give every seat to somebody and have somebody train."""
    managers: list[str]
    i_am_manager: bool
    my_operations: int
    """Operations of this node that blocks have carried."""
    terms: TermsView
    changed: dict[str, int]
    """Parameters that managers have set otherwise than the genesis, by name."""
    applicants: list[ApplicantView]
    motions: list[MotionView]
    former: list[FormerMemberView]
    waiting: list[OperationView]
    vouchers: list[VoucherView]
    """Those that nobody has used yet."""
    rollback: RollbackView | None = None


class OperationRequest(Answer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/operations: what this node's operator wants it to sign.

    `node`: whom it is about, the whole id or as much of one as only one known node's begins with; none: pay for this node; of
    leave its heir, if any.
    `reason`: of refuse, kick, dismiss and rollback. `amount`: of transfer, and the most that pay may take, 0 for whatever it
    costs. `motion`: of approve, the beginning of its id, or of a voucher's key. `name`, `value`: of set. `round`: of rollback,
    whose model comes back; of vouch, the last one in which the voucher `node` holds. `by`: of replace, the applicant whose key
    takes the place of `node`'s. For rotate the node makes its new key itself.
    """

    kind: Literal[
        "admit",
        "refuse",
        "kick",
        "return",
        "appoint",
        "dismiss",
        "set",
        "leave",
        "transfer",
        "pay",
        "approve",
        "rollback",
        "rotate",
        "replace",
        "vouch",
    ]
    node: Annotated[str, Meta(max_length=64)] = ""
    reason: Annotated[str, Meta(max_length=256)] = ""
    amount: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    motion: Annotated[str, Meta(max_length=64)] = ""
    name: Annotated[str, Meta(max_length=32)] = ""
    value: Annotated[int, Meta(ge=0, le=2**53)] = 0
    round: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    by: Annotated[str, Meta(max_length=64)] = ""
