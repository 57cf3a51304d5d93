"""How an experiment tells its results: a table for people (Markdown), the same as JSON, and figures."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bflcd.files import make_folder, write_whole
from bflcd.lab.plots import STYLE
from bflcd.pictures import load_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: Final = ("png", "svg")

DOTS: Final = 200
"""Per inch, of a PNG."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a header; the first column is aligned to the left, all others to the right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As Markdown."""
        rule = "|".join(["---", *("---:" for _ in self.header[1:])])
        lines = [f"| {' | '.join(self.header)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in self.rows)]
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure's file name without its ending, and what draws it."""

    name: str
    draw: Callable[[], "Figure"]


@dataclass(frozen=True, slots=True)
class Report:
    """What an experiment found: `tables` for people, `data` for programs, `drawings`, and notes that go below the tables.

    `rules_version`: of the rules that decided its simulations; none for what ran none.
    """

    name: str
    title: str
    tables: tuple[Table, ...]
    data: dict[str, Any]
    drawings: tuple[Drawing, ...] = ()
    notes: tuple[str, ...] = ()
    rules_version: str = ""

    def markdown(self) -> str:
        """Tables, notes, and by which rules."""
        version = f"Decided by version {self.rules_version} of the rules (docs/lab.md)."
        notes = (*self.notes, *([version] if self.rules_version else []))
        return "\n".join([f"# {self.title}\n", *(table.markdown() for table in self.tables), *(f"{note}\n" for note in notes)])


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write NAME.md, NAME.json and each drawing as PNG and SVG; returns what was written.

    Raises OperatorError (`no_matplotlib`) if there is something to draw and nothing to draw it with; MachineError.
    """
    if report.drawings:
        need_matplotlib(folder)
    make_folder(folder)
    texts = {"md": report.markdown(), "json": json.dumps(report.data, indent=1) + "\n"}
    files = {folder / f"{report.name}.{ending}": text.encode() for ending, text in texts.items()}
    for drawing in report.drawings:
        files |= _draw(drawing, folder)
    for path, data in files.items():
        write_whole(path, data)
    return list(files)


def _draw(drawing: Drawing, folder: Path) -> dict[Path, bytes]:
    """A drawing's files."""
    from matplotlib import rc_context  # noqa: PLC0415 - optional, and slow to import

    files = {}
    with rc_context(STYLE):
        figure = drawing.draw()
        for form in FORMATS:
            drawn = BytesIO()
            figure.savefig(drawn, format=form, dpi=DOTS, metadata={"Date": None} if form == "svg" else None)
            files[folder / f"{drawing.name}.{form}"] = drawn.getvalue()
    return files


def need_matplotlib(folder: Path) -> None:
    """Raise OperatorError before hours of work whose figures, in `folder`, could not be drawn."""
    load_matplotlib(folder, "the figures need")


def share_of(value: float) -> str:
    """A share as people write it."""
    return f"{100 * value:g} %"
