"""docs/cli.md and docs/api.md name every command, option, path and metric."""

import re
from pathlib import Path

import pytest
import typer

from bflc_cli.main import app
from bflcd.api.metrics import Metrics
from bflcd.api.routes import ROUTES
from tests.helpers.fake_node import status_of

DOCS = Path(__file__).parents[2] / "docs"


def commands(command, path=()):
    """(words, options) of every command, groups included."""
    yield (
        path,
        {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")},
    )
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


ALL = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize(("words", "options"), ALL, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_every_command_and_option_is_described(words, options):
    text = (DOCS / "cli.md").read_text()
    if len(words) > 1 or words not in ((), ("config",), ("testnet",)):
        assert re.search(rf"`bflc-cli {' '.join(words)}\b", text), words
    absent = [option for option in options if not re.search(rf"`[^`\n]*{re.escape(option)}\b", text)]
    assert absent == []


def test_there_are_commands():
    assert len(ALL) > 17


def test_every_path_is_described():
    text = (DOCS / "api.md").read_text()
    assert [route.path for route in ROUTES if f"`{route.method.upper()} {route.path}" not in text] == []


async def test_every_metric_is_described():
    text = (DOCS / "api.md").read_text()
    shown = Metrics().render(status_of()).decode()
    names = {line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE ")}
    assert sorted(name for name in names if name not in text and not name.endswith("_created")) == []
