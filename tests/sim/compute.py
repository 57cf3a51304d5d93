"""What the compute worker would answer: bytes and integers that follow from the inputs alone, so that honest members agree."""

from collections.abc import Iterable
from hashlib import blake2b

from bflcd.learn.protocol import ScoreResult, UpdateScore
from bflcd.params import Genesis
from bflcd.types import Digest, MicroNats, NodeId, PartsPerMillion
from bflcd.wire.tensors import payload_size

GENESIS_MODEL = b"the initial model"
"""The payload that `tests.helpers.ledger.make_genesis` names as model 0."""

BAD_GAIN = -5_000_000
"""Micro-nats: what an update of a liar is worth."""

LABEL_BYTES = 32


def draw(*parts: object) -> int:
    """63 bits that follow from the parts."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1


def _expand(seed: bytes, size: int) -> bytes:
    return (seed * (size // len(seed) + 1))[:size]


def _label_hash(label: str) -> bytes:
    return blake2b(label.encode(), digest_size=LABEL_BYTES).digest()


def update_bytes(genesis: Genesis, label: str, model: Digest, attempt: int) -> bytes:
    """An update's payload: as long as the specification says, beginning with its label. Another attempt gives another update."""
    seed = blake2b(repr((label, model, attempt)).encode(), digest_size=32).digest()
    size = payload_size(genesis.task.tensors, label)
    return _label_hash(label) + _expand(seed, size - LABEL_BYTES)


def meets_specification(genesis: Genesis, data: bytes, label: str | None) -> bool:
    """Stands for `split_payload`: the payload names what it must."""
    if label is None:
        return True
    return len(data) == payload_size(genesis.task.tensors, label) and data[:LABEL_BYTES] == _label_hash(label)


def aggregate_bytes(
    genesis: Genesis, rule: str, model: Digest, updates: Iterable[tuple[int, Digest]], limit: int | None
) -> bytes:
    """The next model: a function of the model, of weights and roots of the updates, and of the step's limit."""
    seed = blake2b(repr((rule, model, tuple(updates), limit)).encode(), digest_size=32).digest()
    return _expand(seed, genesis.model.size)


def scores(
    judge: NodeId, model: Digest, offers: Iterable[tuple[Digest, Digest, bool]], invalid: tuple[tuple[Digest, str], ...]
) -> ScoreResult:
    """One member's scores: (offer, root, whether it is honest work), and what breaks the specification. Members differ by some
    noise."""
    found = []
    for key, root, good in offers:
        quality = 1_000 + draw("quality", root) % 100_000 if good else BAD_GAIN
        noise = draw("noise", judge, root) % 10_000
        accuracy = 500_000 + draw("accuracy", judge, root) % 100_000 if good else 100_000
        norm = 3_500 + draw("norm", root) % 1_000
        found.append(UpdateScore(key, MicroNats(quality - noise), PartsPerMillion(accuracy), norm))
    base = 2_000_000 + draw("base", judge, model) % 100_000
    return ScoreResult(MicroNats(base), PartsPerMillion(400_000), tuple(found), invalid, 0.0, 256, 256)
