"""The fault catalogue in docs/reliability.md is complete; docs/measurements/faults.md has tests, a figure and a command for each row."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"
OVERVIEW = (DOCS / "reliability.md").read_text()
FIGURES = (DOCS / "measurements" / "faults.md").read_text()
EVERYTHING = "\n".join(path.read_text() for path in (*DOCS.glob("reliability*.md"), *(DOCS / "measurements").glob("*.md")))

ROWS = set(range(1, 57))

BUGS = (
    "IBFT v1", "celo 117", "FISCO 2211", "FIB-134", "raijin 17", "gravity-sdk 743", "tmkms 1220", "FIB-124",
    "FIB-137", "FIB-138", "FIB-135", "FIB-127", "FIB-145", "FIB-136", "hyperspace 1.3.8",
)  # fmt: skip

NAMED = sorted(set(re.findall(r"`(?:tests/)?([\w/]+\.py)::(\w+)`", EVERYTHING)))


def table_rows(text: str) -> dict[int, list[str]]:
    """Cells of a table's lines, by row number."""
    lines = (line for line in text.splitlines() if re.match(r"\| \d+ \|", line))
    cells = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return {int(row[0]): row for row in cells}


@cache
def names_in(path: Path) -> frozenset[str]:
    """Names of the test functions in a file."""
    tree = ast.parse(path.read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_the_catalogue_says_of_every_row_what_must_hold_and_what_came_out() -> None:
    rows = table_rows(OVERVIEW)
    assert set(rows) == ROWS
    assert [number for number, row in rows.items() if len(row) != 4 or not all(row)] == []


def test_every_row_has_a_test_a_figure_and_a_command() -> None:
    rows = table_rows(FIGURES)
    assert set(rows) == ROWS
    assert [number for number, row in rows.items() if len(row) != 6 or not all(row)] == []
    assert [number for number, row in rows.items() if "::" not in row[2]] == []


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in names_in(TESTS / file), f"tests/{file} has no {name}"


def test_every_bug_of_others_has_its_line() -> None:
    lines = [line for line in FIGURES.splitlines() if line.startswith("| ") and "::" in line]
    assert [bug for bug in BUGS if not any(bug in line for line in lines)] == []


def test_the_table_of_mutants_names_only_what_is_planted() -> None:
    text = (DOCS / "measurements" / "mutants.md").read_text().split("## The table")[1]
    rows = {row[0]: row[1] for row in re.findall(r"^\| ([\w+-]+) \| (\w+) \|", text, re.MULTILINE)}
    del rows["mutant"]
    planted = {mutant.name: mutant.layer.removesuffix(".py") for mutant in MUTANTS}
    assert {name: layer for name, layer in rows.items() if planted.get(name) != layer} == {}
