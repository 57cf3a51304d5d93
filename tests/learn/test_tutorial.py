"""The tutorial's own code, run as it stands."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from bflcd.errors import OperatorError
from bflcd.learn.data import DataConfig
from bflcd.learn.task import find_task

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial-own-task.md"


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """The tutorial's Python blocks, in a folder with flowers.py and a table of three kinds of flowers."""
    found = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), flags=re.DOTALL)
    rng = np.random.default_rng(0)
    species = np.arange(150) % 3
    measured = rng.normal(size=(150, 4)) + species[:, None]
    np.savetxt(tmp_path / "flowers.csv", np.column_stack([measured, species]), delimiter=",")
    (tmp_path / "flowers.py").write_text(found[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield found
    sys.modules.pop("flowers", None)


def test_the_tutorial_runs(blocks, capsys):
    task, trial = blocks
    assert len([line for line in task.splitlines() if line and not line.startswith(("import", "from"))]) <= 20
    exec(compile(trial, str(TUTORIAL), "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"128 rows, loss 0\.\d+, update of \d+ bytes", printed)
    assert "test accuracy before:" in printed


def test_the_tutorials_task_refuses_what_it_says_it_refuses(blocks):
    assert len(blocks) == 2
    with pytest.raises(OperatorError, match="no option"):
        find_task("flowers:FlowersTask", {"colour": "1"})
    with pytest.raises(OperatorError, match="needs a table"):
        find_task("flowers:FlowersTask", {}).load(DataConfig())
