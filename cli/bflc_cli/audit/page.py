"""The page of an audit's folder: one file, without scripts, that any browser shows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from bflc_cli.text import share, short
from bflcd.inspect.audit import AuditedChain, AuditedRound, MemberRow, OperationRow, RoundRow
from bflcd.limits import visible
from bflcd.params import MILLION

MOST_ROUNDS: Final = 100
"""The newest rounds, with a row each on the page; all of them stand in the tables."""

MOST_OPERATIONS: Final = 1000
"""The newest operations on the page."""

_WIDTH: Final = 720
_HEIGHT: Final = 180
_POINTS: Final = 720
"""Of the curve: a model a pixel."""

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1d2733; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #dde3ea; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: .92em; }
svg { background: #f6f8fa; border: 1px solid #dde3ea; }
"""


class Page:
    """Collects what the page shows, round by round."""

    def __init__(self) -> None:
        self._rounds: list[RoundRow] = []
        self._operations: list[OperationRow] = []
        self._reasons: Counter[str] = Counter()
        self._points: list[tuple[int, float]] = []
        self._count = self._rewards = self._carried = self._recovered = 0

    def add(self, audited: AuditedRound) -> None:
        """A round more."""
        row = audited.round
        self._count += 1
        self._rewards += row.rewards
        self._carried += len(audited.operations)
        self._recovered += row.recovered
        self._rounds = [*self._rounds[-MOST_ROUNDS + 1 :], row]
        self._operations = [*self._operations, *audited.operations][-MOST_OPERATIONS:]
        self._reasons.update(one.reason for one in audited.contributions if one.reason)
        if row.base_accuracy is not None:
            self._points.append((row.model - 1, row.base_accuracy / MILLION))

    def text(self, chain: AuditedChain) -> str:
        """The whole page."""
        title = f"Audit of {visible(chain.name)}"
        parts = [
            f"<h1>{escape(title)}</h1>",
            self._summary(chain),
            "<h2>Accuracy on the judges' rows</h2>",
            _curve(self._points),
            "<h2>Members</h2>",
            _members(chain.members),
            "<h2>Updates that were not packed</h2>",
            _table(("why", "#updates"), ((reason, str(count)) for reason, count in self._reasons.most_common())),
            f"<h2>Operations</h2>{_at_most(self._carried, MOST_OPERATIONS, 'operations')}",
            _operations(self._operations),
            f"<h2>Rounds</h2>{_at_most(self._count, MOST_ROUNDS, 'rounds')}",
            _rounds(self._rounds),
        ]
        head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"

    def _summary(self, chain: AuditedChain) -> str:
        span = "" if not self._rounds else f", the last at {_when(self._rounds[-1].time)}"
        facts = (
            ("chain id", chain.chain_id),
            ("newest block", chain.head),
            ("rounds", f"{self._count}{span}; {self._recovered} given another committee by managers"),
            ("paid to trainers", f"{self._rewards} units"),
        )
        rows = "".join(f"<tr><th>{escape(name)}</th><td><code>{escape(value)}</code></td></tr>" for name, value in facts)
        return (
            f"<table>{rows}</table><p>Compare the chain id and the newest block with what other members say. All of it follows "
            "from <code>chain.msgpack</code>, the signed blocks themselves; the tables stand beside it as CSV and JSON. Ids are "
            "public keys, short here and whole there.</p>"
        )


def _at_most(count: int, shown: int, what: str) -> str:
    return f"<p>The newest {shown} of {count} {what}; the tables have all.</p>" if count > shown else ""


def _members(members: Sequence[MemberRow]) -> str:
    return _table(
        ("member", "standing", "#since model", "#rounds packed", "#earned", "#by operations", "#holds"),
        (
            (
                short(m.node),
                m.standing,
                str(m.first),
                str(m.packed),
                str(m.earned),
                f"{m.moved:+d}" if m.moved else "0",
                str(m.held),
            )
            for m in sorted(members, key=lambda one: (-one.earned, one.node))
        ),
    )


def _operations(rows: Iterable[OperationRow]) -> str:
    return _table(("#model", "kind", "what"), ((str(row.model), row.kind, row.text) for row in rows))


def _rounds(rows: Sequence[RoundRow]) -> str:
    return _table(
        ("#model", "decided", "#view", "committee", "#packed", "#paid", "#accuracy before", "block"),
        (
            (
                str(row.model),
                _when(row.time),
                f"{row.view}" + (", recovered" if row.recovered else ""),
                " ".join(map(short, row.committee)),
                str(row.packed),
                str(row.rewards),
                share(None if row.base_accuracy is None else row.base_accuracy / MILLION),
                short(row.block),
            )
            for row in reversed(rows)
        ),
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """`#` before a name means numbers."""
    kinds = ['class="n"' if name.startswith("#") else "" for name in columns]
    head = "".join(f"<th {kind}>{escape(name.lstrip('#'))}</th>" for kind, name in zip(kinds, columns, strict=True))
    body = [
        "<tr>" + "".join(f"<td {kind}>{escape(visible(cell))}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    ]
    return f"<table><tr>{head}</tr>" + "\n".join(body) + "</table>" if body else "<p>None.</p>"


def _when(millis: int) -> str:
    try:
        return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # a chain may claim any time
        return f"{millis} ms"


def _curve(points: Sequence[tuple[int, float]]) -> str:
    """Accuracy over models, as a line of at most `_POINTS` points."""
    if len(points) < 2:
        return "<p>Too few rounds for a curve.</p>"
    thinned = points[:: max(1, len(points) // _POINTS)]
    first, last = points[0][0], points[-1][0]
    path = " ".join(
        f"{(model - first) / (last - first) * _WIDTH:.1f},{(1 - value) * _HEIGHT:.1f}" for model, value in (*thinned, points[-1])
    )
    label = f"models {first} to {last}: {share(points[0][1])} to {share(points[-1][1])}; the box is 0 to 100 %"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="accuracy">'
        f'<polyline points="{path}" fill="none" stroke="#0b6bcb" stroke-width="2"/></svg><p>{escape(label)}.</p>'
    )
