"""Every citation of the design, its rules, the fault catalogue, the paper, a decision or a document resolves."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SOURCES = sorted(
    path
    for pattern in (
        "bflcd/**/*.py",
        "cli/**/*.py",
        "tests/**/*.py",
        "tests/**/*.toml",
        "docs/**/*.md",
        "*.md",
        "*.toml",
        "Makefile",
    )
    for path in ROOT.glob(pattern)
    if path != Path(__file__)
)

_DESIGN = (ROOT / "docs" / "design.md").read_text()
SECTIONS = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", _DESIGN, re.MULTILINE))
"""Numbered headings of the design, such as "6" and "6.8"."""
PARTS = set(re.findall(r"^### ([A-Z][\w ]*)$", _DESIGN, re.MULTILINE))
"""Its headings without a number, which a citation names: design 5, Election."""
RULES = {section.removeprefix("6.") for section in SECTIONS if section.startswith("6.")}

ROWS = set(re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "reliability.md").read_text(), re.MULTILINE))

PAPER = {"I", "II", "III", "III-A", "III-B", "III-C", "IV", "IV-A", "IV-B", "IV-C", "IV-D", "V", "V-A", "V-B", "VI"}
"""Sections of the paper that the system implements."""

ADRS = {path.name[:4] for path in (ROOT / "docs" / "adr").glob("*.md")}

DEFECTS = set(re.findall(r"^\| (P\d) \|", (ROOT / "docs" / "adr" / "0001-trio-thread.md").read_text(), re.MULTILINE))
"""Of the network's library, as comments number them."""

_LIST = r"(\d+(?:\.\d+)*(?:(?:, | and )\d+(?:\.\d+)*)*)"
_ELSEWHERE = r"(?<!RFC \d{4}, )(?<!et al\. \d{4}, )(?<!file format, )(?<!HTML, )(?<!Unicode \d\d, )"
"""In front of a section of something else than the design."""


def numbers(listed: str) -> list[str]:
    return re.split(r", | and ", listed)


def unresolved(text: str) -> Iterator[str]:
    """Every citation in a text that leads nowhere."""
    for listed, part in re.findall(rf"\b[Dd]esign {_LIST}(?:, ([A-Z]\w+))?", text):
        yield from (f"design {number}" for number in numbers(listed) if number not in SECTIONS)
        if part and part not in PARTS:
            yield f"design, {part}"
    for listed, part in re.findall(rf"{_ELSEWHERE}\b[Ss]ections? {_LIST}(?:, ([A-Z]\w+))?", text):
        yield from (f"section {number}" for number in numbers(listed) if number not in SECTIONS)
        if part and part not in PARTS:
            yield f"section, {part}"
    for listed in re.findall(rf"\b[Rr]ules? {_LIST}\b", text):
        yield from (f"rule {number}" for number in numbers(listed) if number not in RULES)
    for listed in re.findall(rf"\b[Rr]ows? {_LIST}(?! (?:MiB|KiB|B)\b)", text):
        yield from (f"row {number}" for number in numbers(listed) if number not in ROWS)
    for listed in re.findall(r"_rows?_(\d+(?:_and_\d+|_\d+)*)(?=_[a-z]|\b)", text):
        yield from (f"row {number}" for number in re.findall(r"\d+", listed) if number not in ROWS)
    for section in re.findall(r"\b[Pp]aper,? \(?([IVX]+(?:-[A-Z])?)\b", text) + re.findall(r"\(([IVX]+-[A-Z])\)", text):
        if section not in PAPER:
            yield f"paper {section}"
    yield from (f"RFC{after}" for after in re.findall(r"\bRFC(?!_)(.{,5})", text) if not re.match(r" \d{4}\b", after))
    for number in re.findall(r"\bADRs? (\d+)\b", text) + re.findall(r"docs/adr/(\d{4})", text):
        if number.zfill(4) not in ADRS:
            yield f"ADR {number}"
    yield from (defect for defect in re.findall(r"\bP\d\b", text) if defect not in DEFECTS)
    for path in re.findall(r"(?<![\w/.])docs/[\w./-]+\.md\b", text):
        if not (ROOT / path).exists():
            yield path


def test_the_design_has_its_sections_and_items():
    assert {*map(str, range(1, 13)), *(f"5.{n}" for n in range(1, 6)), *(f"6.{n}" for n in range(1, 10))} <= SECTIONS
    assert {str(n) for n in range(1, 10)} == RULES
    assert "Election" in PARTS


def test_every_citation_resolves():
    found = {str(path.relative_to(ROOT)): sorted(unresolved(path.read_text())) for path in SOURCES}
    assert {path: citations for path, citations in found.items() if citations} == {}


def test_there_are_citations():
    """As many as were there when this test was written: else the patterns have gone blind."""
    texts = [path.read_text() for path in SOURCES if path.suffix == ".py"]
    assert sum(len(re.findall(rf"\b[Dd]esign {_LIST}", text)) for text in texts) > 150
    assert sum(len(re.findall(rf"\brules? {_LIST}", text)) for text in texts) > 100
    assert sum(len(re.findall(rf"{_ELSEWHERE}\bsection {_LIST}", text)) for text in texts) > 80


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("design 13", ["design 13"]),
        ("(design 6.1 and 6.10)", ["design 6.10"]),
        ("Design 6.2. Then", []),
        ("design 5, Election", []),
        ("design 5, Ballot", ["design, Ballot"]),
        ("sections 4, 5.9 and 8", ["section 5.9"]),
        ("RFC 8032, section 7.1", []),
        ("rules 3 and 10", ["rule 10"]),
        ("row 57; rows 3, 4, 99", ["row 57", "row 99"]),
        ("def test_rows_28_29_and_77_a_message", ["row 77"]),
        ("def test_row_5_leader", []),
        ("paper IV-E, the paper, V-B", ["paper IV-E"]),
        ("RFC 99", ["RFC 99"]),
        ("ADR 99, docs/adr/0001-trio-thread.md", ["ADR 99"]),
        ("P4, P9", ["P9"]),
        ("docs/nowhere.md", ["docs/nowhere.md"]),
    ],
)
def test_the_check_finds_what_leads_nowhere(text: str, found: list[str]):
    assert list(unresolved(text)) == found
