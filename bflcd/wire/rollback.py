"""What managers sign to turn the model back to an older one (docs/adr/0021-rollback.md)."""

from dataclasses import dataclass
from typing import Final

from bflcd.params import BlobRef
from bflcd.types import Digest, Round
from bflcd.wire.alliance import ALLIANCE_BYTES, Note, Number
from bflcd.wire.codec import message

RULE: Final = "rollback"
"""What a model body says in the place of a rule of aggregation where managers went back to an older model."""


@message(97, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Rollback:
    """A manager: the next model is that of round `target` again, which is `model`. `round`, `number`: as in `wire.alliance`."""

    chain: Digest
    round: Round
    number: Number
    target: Round
    model: BlobRef
    reason: Note
