"""Which offers of a simulated round are copies, as its honest judges find them."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from bflcd.lab.chain import LAST_STEP
from bflcd.learn.checks.alike import Comparison
from bflcd.ledger.trust.alike import likes_of
from bflcd.types import HASH_BYTES, Digest

_PARENT: Final = Digest(b"\xff" * HASH_BYTES)


def find_copies(comparison: Comparison, updates: Tensor, moved: Tensor, order: Sequence[int]) -> list[int | None]:
    """Of which line of `updates` each is a copy, `LAST_STEP` of what `moved` the model, None of nothing.

    `order`: the lines as they came to the judges.
    """
    places = slice(None) if comparison.places is None else torch.from_numpy(comparison.places).to(updates.device)
    keys = [Digest(line.to_bytes(HASH_BYTES, "big")) for line in order]
    comparison.last_step(moved[places].cpu().numpy())
    found = comparison.look(keys, [updates[line][places].cpu().numpy() for line in order])
    alike = {key: frozenset(like.others) | ({_PARENT} if like.repeats else set()) for key, like in zip(keys, found, strict=True)}
    lines = dict(zip(keys, order, strict=True)) | {_PARENT: LAST_STEP}
    named = {lines[key]: lines[like] for key, like in likes_of(_PARENT, keys, alike).items()}
    return [named.get(line) for line in range(len(updates))]
