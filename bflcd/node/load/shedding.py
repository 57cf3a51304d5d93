"""Which requests others can answer as well: those that an overloaded node refuses beyond a few (design 8, Waits)."""

from typing import Any, Final

from bflcd.core.round.context import RoundContext
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.wire.requests import GetChunk, GetGenesis, GetHeaders, GetManifest, GetSegment, Request

NEWEST: Final = 2
"""Committed rounds whose headers and segments are always given: who has just fallen behind gets back at once."""


def others_can_answer(request: Request[Any], context: RoundContext, unpublished: Unpublished) -> bool:
    """Whether a request is of history, old payloads or the genesis; what the running round needs is none of that."""
    match request:
        case GetGenesis():
            return True
        case GetHeaders(_, first):
            return first <= context.round - NEWEST
        case GetSegment(_, round_):
            return round_ <= context.round - NEWEST
        case GetManifest(_, root) | GetChunk(_, root):
            return root != context.head_blob.root and unpublished.round_of(root) != context.round
        case _:
            return False
