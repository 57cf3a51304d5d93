"""Prepared proofs with other claims."""

from dataclasses import replace
from typing import Any

from bflcd.wire.recovery import PreparedProof


def claiming(proof: PreparedProof, **changes: Any) -> PreparedProof:
    """`proof` with other fields in its claim, and the same signatures."""
    return replace(proof, claim=replace(proof.claim, **changes))
