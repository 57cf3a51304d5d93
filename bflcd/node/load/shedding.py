"""Which requests others can answer as well: those that an overloaded node refuses beyond a few (design 8, Waits)."""

from typing import Any

from bflcd.core.round.context import RoundContext
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.wire.requests import GetChunk, GetGenesis, GetManifest, Request


def others_can_answer(request: Request[Any], context: RoundContext, unpublished: Unpublished) -> bool:
    """Whether a request is of old payloads or the genesis. Headers and segments are given as ever: who catches up asks several at
    once, and one that is refused costs it all the others."""
    match request:
        case GetGenesis():
            return True
        case GetManifest(_, root) | GetChunk(_, root):
            return root != context.head_blob.root and unpublished.round_of(root) != context.round
        case _:
            return False
