"""docs/reliability.md has a line for every row of the catalogue, and every test that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "docs" / "reliability.md").read_text()

ROWS = {*range(1, 39), *range(42, 46), *range(48, 57)}
"""Of the catalogue; 39 to 41, 46 and 47 are the laboratory's and the membership's."""

BUGS = (
    "IBFT v1", "celo 117", "FISCO 2211", "FIB-134", "raijin 17", "gravity-sdk 743", "tmkms 1220", "FIB-124",
    "FIB-137", "FIB-138", "FIB-135", "FIB-127", "FIB-145", "FIB-136", "hyperspace 1.3.8",
)  # fmt: skip

NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)))


def table_rows() -> dict[int, list[str]]:
    """Cells of the catalogue's lines, by row number."""
    lines = (line for line in TEXT.splitlines() if re.match(r"\| \d+ \|", line))
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


def test_every_row_has_a_line_with_a_test_a_figure_and_a_command() -> None:
    rows = table_rows()
    assert set(rows) == ROWS
    assert [number for number, row in rows.items() if len(row) != 6 or not all(row)] == []
    assert [number for number, row in rows.items() if "::" not in row[2]] == []


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in names_in(TESTS / file), f"tests/{file} has no {name}"


def test_every_bug_of_others_has_its_line() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("| ") and "::" in line]
    assert [bug for bug in BUGS if not any(bug in line for line in lines)] == []
