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
    """To whom it is done."""
    text: str
    opener: str
    approvals: list[str]
    needed: int
    opened: int
    expires: int


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


class OperationView(Answer, frozen=True, kw_only=True):
    """An operation that waits for its block."""

    id: str
    kind: str
    author: str
    number: int
    """Among its author's operations; 0 where it has none."""
    text: str
    mine: bool


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
    applicants: list[ApplicantView]
    motions: list[MotionView]
    former: list[FormerMemberView]
    waiting: list[OperationView]


class OperationRequest(Answer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/operations: what this node's operator wants it to sign.

    `node`: whom it is about, the whole id or as much of one as only one known node's begins with; `reason`: of refuse and kick;
    `amount`: of transfer; `motion`: of approve, the beginning of its id; `by`: of replace, the applicant whose key takes `node`'s
    place. For rotate the node makes its new key itself.
    """

    kind: Literal["admit", "refuse", "kick", "return", "leave", "transfer", "approve", "rotate", "replace"]
    node: Annotated[str, Meta(max_length=64)] = ""
    reason: Annotated[str, Meta(max_length=256)] = ""
    amount: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    motion: Annotated[str, Meta(max_length=64)] = ""
    by: Annotated[str, Meta(max_length=64)] = ""
