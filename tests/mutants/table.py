"""The table of mutants, as Markdown: who noticed each, and how many seeds the worlds needed."""

from collections.abc import Iterable, Sequence

from tests.mutants.catchers import Tests, Verdict
from tests.mutants.harness import Outcome

HEADINGS = ("mutant", "layer", "what it breaks", "caught by", "seeds: PBFT worlds", "seeds: simulated world", "s")


def table(outcomes: Iterable[Outcome]) -> str:
    """One row for each mutant; seeds are how many were tried up to the one that showed it."""
    return "\n".join(_aligned([HEADINGS, *(_row(outcome) for outcome in outcomes)]))


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """One line."""
    living = [outcome.mutant.name for outcome in outcomes if outcome.lives]
    text = f"{len(outcomes)} mutants, {len(outcomes) - len(living)} caught, {len(living)} live, {seconds:.0f} s"
    return f"{text}: {', '.join(living)}" if living else text


def _row(outcome: Outcome) -> tuple[str, ...]:
    by_tests = [_short(verdict.by) for catcher, verdict in outcome.verdicts if isinstance(catcher, Tests) and verdict.by]
    by_worlds = [verdict.by for catcher, verdict in outcome.verdicts if not isinstance(catcher, Tests) and verdict.by]
    caught = [*by_tests[:1], *([] if by_tests else by_worlds[:1])] or ["**nothing**"]
    mutant = outcome.mutant
    columns = [_seeds(outcome, name) for name in ("PBFT worlds", "simulated world")]
    return (mutant.name, mutant.layer, mutant.breaks, caught[0], *columns, f"{outcome.seconds:.0f}")


def _seeds(outcome: Outcome, column: str) -> str:
    parts = [_cell(verdict, catcher.arguments(0)) for catcher, verdict in outcome.verdicts if catcher.name == column]
    return "; ".join(parts)


def _cell(verdict: Verdict, arguments: Sequence[str]) -> str:
    kind = arguments[1]
    return f"{kind} {verdict.seeds}" if verdict.by is not None else f"{kind} none in {verdict.seeds}"


def _short(by: str | None) -> str:
    """A node id without its folder and parameters."""
    path, _, test = (by or "").partition("::")
    return f"{path.removeprefix('tests/')}::{test.partition('[')[0]}" if test else path


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(rows[0]))]
    for number, row in enumerate(cells):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
