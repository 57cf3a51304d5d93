"""What an experiment leaves in its folder: Markdown, JSON, figures that show something."""

import dataclasses
import json
from xml.etree import ElementTree as ET

import pytest

from bflcd import pictures
from bflcd.errors import OperatorError
from bflcd.lab import report as module
from bflcd.lab.grid import Spread
from bflcd.lab.plots import Line, draw_lines, line_of, new_figure
from bflcd.lab.report import Drawing, Report, Table, need_matplotlib, share_of, write_report

TABLE = Table("What came out", ("variant", "a", "b"), (("ours", "1.0", "2.0"), ("theirs", "3.0", "-")))


def draw():
    figure, axes = new_figure(2)
    draw_lines(
        axes[0],
        [Line("one", (1.0, 2.0), (3.0, 4.0), (0.5, 0.5)), Line("two", (1.0, 2.0), (4.0, 3.0), dashed=True)],
        x="x",
        y="y",
        title="t",
    )
    draw_lines(axes[1], [line_of("many", range(20), [Spread(float(i), 1.0, 3) for i in range(20)])], x="x", y="y", legend=False)
    return figure


REPORT = Report(
    "trial", "A trial", (TABLE, TABLE), {"ours": [1.0, 2.5], "nested": {"of": []}}, (Drawing("drawn", draw),), ("A note.",)
)


def test_a_table_as_markdown():
    assert TABLE.markdown() == (
        "**What came out**\n\n| variant | a | b |\n|---|---:|---:|\n| ours | 1.0 | 2.0 |\n| theirs | 3.0 | - |\n"
    )


def test_a_report_is_written_for_people_for_programs_and_as_figures(tmp_path):
    from matplotlib.image import imread

    written = write_report(REPORT, tmp_path / "new" / "folder")
    assert [path.name for path in written] == ["trial.md", "trial.json", "drawn.png", "drawn.svg"]
    assert sorted(written) == sorted((tmp_path / "new" / "folder").iterdir())
    text = written[0].read_text()
    assert text == f"# A trial\n\n{TABLE.markdown()}\n{TABLE.markdown()}\nA note.\n"
    decided = dataclasses.replace(REPORT, rules_version="0123456789ab").markdown()
    assert decided == f"{text}\nDecided by version 0123456789ab of the rules (docs/lab.md).\n"
    assert json.loads(written[1].read_text()) == REPORT.data
    assert written[2].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(written[2])
    assert len({tuple(pixel) for pixel in pixels[::7, ::7].reshape(-1, pixels.shape[2]).tolist()}) > 4, "no blank page"
    assert ET.parse(written[3]).getroot().tag.endswith("svg")


def test_figures_are_the_same_bytes_again(tmp_path):
    """Nothing in a committed figure may change with the day it was drawn on."""
    first, second = (write_report(REPORT, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_report_without_figures_needs_no_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    written = write_report(Report("plain", "Plain", (TABLE,), {}), tmp_path)
    assert [path.name for path in written] == ["plain.md", "plain.json"]


def test_a_missing_matplotlib_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    for ask in (lambda: need_matplotlib(tmp_path), lambda: write_report(REPORT, tmp_path / "new")):
        with pytest.raises(OperatorError, match="matplotlib") as caught:
            ask()
        assert caught.value.code == "no_matplotlib"
        assert "pip install" in caught.value.hint
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_to(tmp_path, place):
    (tmp_path / "file").write_text("here")
    with pytest.raises(OperatorError, match="nothing can be written there") as caught:
        write_report(Report("plain", "Plain", (TABLE,), {}), tmp_path / place)
    assert caught.value.hint


def test_a_file_in_the_way_of_a_figure(tmp_path):
    (tmp_path / "drawn.svg").mkdir()
    with pytest.raises(OperatorError, match=r"drawn\.svg"):
        write_report(REPORT, tmp_path)


@pytest.mark.parametrize(("share", "text"), [(0.0, "0 %"), (0.1, "10 %"), (0.125, "12.5 %"), (1.0, "100 %"), (0.3, "30 %")])
def test_shares_as_people_write_them(share, text):
    assert share_of(share) == text


@pytest.mark.parametrize(
    ("cells", "band"),
    [
        ([Spread(1.0, 0.5, 3), Spread(2.0, 0.25, 2)], (0.5, 0.25)),
        ([Spread(1.0, 0.5, 3), Spread(2.0, float("nan"), 1)], ()),
        ([], ()),
    ],
)
def test_a_band_stands_where_every_cell_has_several_seeds(cells, band):
    line = line_of("l", range(len(cells)), cells)
    assert line == Line("l", tuple(range(len(cells))), tuple(cell.mean for cell in cells), band)


def test_a_curve_of_few_points_has_markers_and_every_curve_its_colour():
    figure, (ax,) = new_figure()
    draw_lines(ax, [Line(str(i), (0.0, 1.0), (0.0, float(i))) for i in range(8)] + [Line("long", tuple(range(30)), tuple(range(30)))], x="rounds", y="accuracy", title="T")  # fmt: skip
    lines = ax.get_lines()
    assert len({line.get_color() for line in lines[:8]}) == 8
    assert [line.get_marker() in ("None", None) for line in lines] == [False] * 8 + [True]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("rounds", "accuracy", "T")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*map(str, range(8)), "long"]
    assert figure.axes == [ax]
    assert module.FORMATS == ("png", "svg")
