"""Whose fault it is: our bug, the peer's, the operator's, the machine's; and every reason to refuse a peer's input."""

from enum import Enum


class BflcError(Exception):
    """Base of every error that this project raises on purpose; the message says what failed, where, and what to do."""


class OperatorError(BflcError):
    """The configuration, a flag, a file or a command is wrong; `hint` says how to mend it. The process exits with 1 or 2."""

    def __init__(self, message: str, *, hint: str = "", code: str = "operator_error") -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


class UsageError(OperatorError):
    """The command line or the configuration can't be understood. The process exits with 2."""

    def __init__(self, message: str, *, hint: str = "", code: str = "usage") -> None:
        super().__init__(message, hint=hint, code=code)


class MachineError(BflcError):
    """Disk full, a damaged file, a port in use: the machine under us failed. The node stops signing and says so."""

    def __init__(self, message: str, *, hint: str = "", code: str = "machine_error") -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


class InvariantError(BflcError):
    """Our own bug: a state that the design rules out. The process exits with 5."""


class Rejection(Enum):
    """Every reason to refuse something that a peer sent. The value is its name in logs and metrics."""

    MALFORMED = "malformed"
    """The bytes are no canonical encoding of a known message within its limits."""
    TOO_LARGE = "too_large"
    """The message or payload is above the limit for its kind."""
    UNKNOWN_KIND = "unknown_kind"
    """The message number means nothing here or is not allowed in this place."""
    BAD_SIGNATURE = "bad_signature"
    """The signature does not verify under the stated author's key."""
    WRONG_CHAIN = "wrong_chain"
    """The chain id is another chain's."""
    WRONG_ROUND = "wrong_round"
    """The message belongs to a round that is past, or too far ahead to be kept."""
    WRONG_EPOCH = "wrong_epoch"
    """The epoch is not the one in force."""
    WRONG_VIEW = "wrong_view"
    """The view is outside the window that is kept."""
    WRONG_PARENT = "wrong_parent"
    """The message builds on another model block than ours."""
    WRONG_COMMITTEE = "wrong_committee"
    """The committee hash is not that of the committee in force."""
    NOT_MEMBER = "not_member"
    """The author is no member of the alliance."""
    NOT_COMMITTEE = "not_committee"
    """The author holds no seat in this round."""
    NOT_LEADER = "not_leader"
    """A pre-prepare by someone who does not lead that view."""
    NOT_TRAINER = "not_trainer"
    """An offer by someone who may not train in this round."""
    DUPLICATE = "duplicate"
    """The same message was seen already."""
    CONFLICT = "conflict"
    """The author signed another message in this place: evidence."""
    BAD_JUSTIFICATION = "bad_justification"
    """View-changes or prepared proof do not justify the pre-prepare."""
    BAD_CERTIFICATE = "bad_certificate"
    """Fewer than q valid commit signatures of distinct members of the committee."""
    BAD_LINK = "bad_link"
    """A parent hash, height or round does not follow from the block before."""
    BAD_CARD = "bad_card"
    """A score card's contents contradict each other or its round."""
    BAD_SEGMENT = "bad_segment"
    """The segment is not what the function of its cards gives."""
    BAD_OPERATION = "bad_operation"
    """An operation that its kind's rule refuses, out of order in its block, or above a limit."""
    BAD_RECOVERY = "bad_recovery"
    """A recovery certificate without a quorum of managers, or one that does not fit its round."""
    BAD_DRAW = "bad_draw"
    """The proof of a proposal or a block is not what its leader's key says of the round's lot, or names another view."""
    BAD_TIME = "bad_time"
    """The block's time is above the limit of design 4."""
    BAD_TENSOR = "bad_tensor"
    """A payload's names, shapes or dtypes differ from the genesis specification, or a value is not finite or too large."""
    BAD_BLOB = "bad_blob"
    """A chunk or manifest does not hash to what was asked for."""
    UNAVAILABLE = "unavailable"
    """The peer does not hold what was asked for."""
    REFUSED = "refused"
    """The peer may not have what it asked for."""
    BUSY = "busy"
    """A limit on concurrent work is reached; ask again later."""


class PeerError(BflcError):
    """A peer sent something that is refused; `rejection` says why. Costs the peer, never the node."""

    def __init__(self, rejection: Rejection, message: str) -> None:
        super().__init__(f"{rejection.value}: {message}")
        self.rejection = rejection


class DialError(BflcError):
    """A connection attempt failed; names the address and the step (resolve, connect, handshake, identity, hello)."""

    def __init__(self, address: str, step: str, reason: str) -> None:
        super().__init__(f"cannot reach {address}: failed at {step}: {reason}")
        self.address = address
        self.step = step
        self.reason = reason


class RequestError(BflcError):
    """A request to a peer got no usable answer: timed out, connection lost, answer too large."""


def first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of what went wrong together, what to report: the first. What came after may be no more than its consequence."""
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
