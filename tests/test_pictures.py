"""matplotlib where a picture is drawn: loaded before the work, whatever can be written to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bflcd import pictures
from bflcd.errors import OperatorError

ROOT = Path(__file__).parents[1]

DRAW = """
import sys
from pathlib import Path
from bflcd.pictures import load_matplotlib
load_matplotlib(Path(sys.argv[1]), "this needs")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
figure = Figure(figsize=(1, 1))
figure.add_subplot(title="text")
FigureCanvasAgg(figure)
figure.savefig(sys.argv[2], format="png")
"""


def test_it_needs_no_place_but_the_pictures(tmp_path):
    """Given a system on which neither home nor temporary files can be written, Then the picture is drawn, and nothing else is left."""
    pytest.importorskip("matplotlib")
    nowhere = tmp_path / "file"
    nowhere.touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    script = f"import tempfile\ntempfile.mkdtemp = lambda **_: open({str(nowhere / 'x')!r}, 'x')\n{DRAW}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, str(folder / "later" / "yet"), str(folder / "drawn.png")],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(nowhere / "below"), "HOME": str(nowhere)},
    )
    assert done.returncode == 0, done.stderr.decode()
    assert [path.name for path in folder.iterdir()] == ["drawn.png"]


def test_without_it_the_work_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "find_spec", lambda _: None)
    with pytest.raises(OperatorError, match="this needs matplotlib, which is not installed") as caught:
        pictures.load_matplotlib(tmp_path, "this needs")
    assert caught.value.code == "no_matplotlib"
