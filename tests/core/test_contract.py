"""What the core gives to everybody else: two ways in, when it wants to be ticked, and the questions below. Nothing else of it is read."""

import ast
from pathlib import Path

import pytest

from bflcd.core.core import Core

PRODUCT = Path(__file__).parents[2] / "bflcd"

ENTRIES = {"handle", "tick", "deadline"}
QUESTIONS = {
    "context",
    "syncing",
    "snapshot",
    "signed_message",
    "shown_cards",
    "serves_updates",
    "closed_by",
    "operation",
    "recovery_refusal",
}

USERS = sorted(
    path
    for path in PRODUCT.rglob("*.py")
    if PRODUCT / "core" not in path.parents and "from bflcd.core.core import Core" in path.read_text()
)


def test_the_core_has_these_public_names() -> None:
    assert {name for name in vars(Core) if not name.startswith("_")} == ENTRIES | QUESTIONS


def read_of_the_core(source: str) -> set[str]:
    """Names that a module reads of what it calls `core` or `_core`."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and (
            (isinstance(node.value, ast.Name) and node.value.id == "core")
            or (isinstance(node.value, ast.Attribute) and node.value.attr in {"core", "_core"})
        )
    }


@pytest.mark.parametrize("path", USERS, ids=lambda path: str(path.relative_to(PRODUCT)))
def test_no_part_outside_reads_anything_else_of_it(path: Path) -> None:
    read = read_of_the_core(path.read_text())
    assert read <= ENTRIES | QUESTIONS


def test_a_part_that_reads_more_is_found() -> None:
    assert read_of_the_core("def f(self, core):\n    core._round\n    self._core.tick(now)") == {"_round", "tick"}
