"""Fig. 3: points, surface, table, figure."""

import json

import pytest

from bflcd.errors import UsageError
from bflcd.lab import report as report_module
from bflcd.lab.committee_capture import capture_of
from bflcd.lab.experiments.fig3 import P_DRAWN, P_GRID, POINTS, Q_DRAWN, Q_GRID, _probability, fig3_report, point
from bflcd.lab.report import write_report


def test_the_papers_point():
    """Four in ten of a thousand devices lie and a tenth sits: a majority is one in eighty, a third of the seats all but sure."""
    assert point(1000, 0.1, 0.4) == {
        "devices": 1000,
        "p": 0.1,
        "q": 0.4,
        "seats": 100,
        "liars": 400,
        "probability": pytest.approx(0.012466863310526828, rel=1e-9),
        "beyond_faults": pytest.approx(0.9200203330630505, rel=1e-9),
    }


def test_a_point_that_there_is_not():
    with pytest.raises(UsageError):
        point(1000, 0.0, 0.4)


def test_the_whole_figure(tmp_path, monkeypatch):
    """Given sixty devices and ten elections a point, then every point is told exactly and as elected, and the surfaces rise with q."""
    monkeypatch.setattr(report_module, "DOTS", 50)
    steps = []
    report = fig3_report(1, devices=60, elections=10, progress=lambda: steps.append(1))
    assert len(steps) == POINTS == len(P_DRAWN) * len(Q_DRAWN)
    points = report.data["points"]
    assert [(one["p"], one["q"]) for one in points] == [(p, q) for p in P_DRAWN for q in Q_DRAWN]
    for one in points:
        assert point(60, one["p"], one["q"]).items() <= one.items()
        for key in ("elected_majority", "elected_beyond_faults"):
            assert one[key] * 10 == pytest.approx(round(one[key] * 10))
        assert one["elected_beyond_faults"] >= one["elected_majority"]
    (table,) = report.tables
    assert len(table.rows) == POINTS
    assert table.rows[0][:2] == ("1", "20 %")
    surface = report.data["surface"]
    assert (tuple(surface["p"]), tuple(surface["q"])) == (P_GRID, Q_GRID)
    for name in ("majority", "beyond_faults"):
        for p, row in zip(P_GRID, surface[name], strict=True):
            assert row == sorted(row)
            assert row[10] == getattr(capture_of(60, p, Q_GRID[10]), name)
    written = write_report(report, tmp_path)
    assert [path.name for path in written] == ["fig3.md", "fig3.json", "fig3.png", "fig3.svg"]
    assert json.loads(written[1].read_text())["points"] == points
    from matplotlib.image import imread

    pixels = imread(written[2])
    assert len({tuple(pixel) for pixel in pixels[::3, ::3].reshape(-1, pixels.shape[2]).tolist()}) > 20


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (0.5, "0.500"), (0.001, "0.001"), (0.00099, "1e-03"), (1.234e-9, "1e-09"), (0.9999, "1.000")],
)
def test_probabilities_as_people_read_them(value, text):
    assert _probability(value) == text
