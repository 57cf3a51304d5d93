"""What the parts of a round find out, beside the effects that they ask for; the core draws the consequences."""

from dataclasses import dataclass

from bflcd.core.effects import Effect
from bflcd.types import NodeId
from bflcd.wire.blocks import Certificate, Segment
from bflcd.wire.operation import Operation
from bflcd.wire.recovery import RecoveryCertificate


@dataclass(frozen=True, slots=True)
class EvidenceFound:
    """A member signed two messages in one place; both signatures were verified."""

    evidence: Operation


@dataclass(frozen=True, slots=True)
class RoundDecided:
    """A certificate closes the running round; `holders` have its segment. Nothing of it is verified yet."""

    certificate: Certificate
    holders: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class SegmentRight:
    """A proposed segment was found right, and is durable here."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class EpochGiven:
    """A quorum of managers gives the running round another committee."""

    certificate: RecoveryCertificate


@dataclass(frozen=True, slots=True)
class SomethingNew:
    """Something is held now with which the round may go on."""


Fact = EvidenceFound | RoundDecided | SegmentRight | EpochGiven | SomethingNew

Step = tuple[list[Effect], list[Fact]]
"""What a part of the round answers: effects, to be carried out in order, and facts."""
