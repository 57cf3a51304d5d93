"""What a leader proposes: the little that a segment needs besides the parent state."""

from dataclasses import dataclass
from typing import Annotated

from bflcd.limits import Size
from bflcd.types import MAX_COMMITTEE, Digest, Epoch, Millis
from bflcd.wire.evidence import MAX_EVIDENCE


@dataclass(frozen=True, slots=True)
class Proposal:
    """All that a segment needs besides the parent state: everything else is a function of it (design 5.4).

    `epoch`: of the first proposal; `cards`: payload digests of exactly q cards, sorted by their authors' ids; `evidence`: ids of
    the evidence that it carries, sorted.
    """

    epoch: Epoch
    time: Millis
    cards: Annotated[tuple[Digest, ...], Size(1, MAX_COMMITTEE)]
    evidence: Annotated[tuple[Digest, ...], Size(0, MAX_EVIDENCE)] = ()
