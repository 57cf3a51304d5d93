"""The version of the rules: what decides a run counts, what can't does not, and nothing that a run loads is left out."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bflcd.errors import OperatorError
from bflcd.lab import rules_version as module
from bflcd.lab.rules_version import ENGINE, normal_form, rules_version, trees_of
from tests.helpers.lab import tiny

ROOT = Path(__file__).parents[2]
DIGITS = "bflcd.learn.tasks.digits"


@pytest.fixture(scope="module")
def counted():
    return trees_of((ENGINE, DIGITS))


def form(text):
    return normal_form(ast.parse(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1\n", "x = 1  # why\n\n"),
        ("x = (1 +\n     2)\n", "x = 1 + 2\n"),
        ("def f():\n    'What.'\n    return 1\n", "def f():\n    return 1\n"),
        ("class A:\n    x: int = 1\n    'In metres.'\n", "class A:\n    x: int = 1\n"),
        ("'What this is.'\nx = 1\n", "x = 1\n"),
        ("x = 'a'\n", 'x = "a"\n'),
        ("x = 10_000\n", "x = 10000\n"),
    ],
)
def test_comments_docstrings_and_layout_decide_nothing(one, other):
    assert form(one) == form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1\n", "x = 2\n"),
        ("x = 1\n", "x = 1.0\n"),
        ("x = 1\n", "x = True\n"),
        ("x = 'a'\n", "x = b'a'\n"),
        ("x = None\n", "x: object\n"),
        ("x = a < b\n", "x = a <= b\n"),
        ("x = a + b\n", "x = b + a\n"),
        ("def f(a, *, b): pass\n", "def f(a, b): pass\n"),
        ("def f(a, b=None): pass\n", "def f(a, b): pass\n"),
        ("f(a, b)\n", "f(a, b=b)\n"),
        ("if a:\n    f()\ng()\n", "if a:\n    f()\n    g()\n"),
        ("return_ = yield_\n", "return_ = -yield_\n"),
        ("match x:\n    case None: f()\n", "match x:\n    case True: f()\n"),
        ("x = f'{a}'\n", "x = f'{a!r}'\n"),
        ("x = {**a}\n", "x = {None: a}\n"),
    ],
)
def test_everything_else_does(one, other):
    assert form(one) != form(other)


def test_the_form_is_the_same_on_every_python():
    """Pythons differ in which empty fields a node has; what this text says must not."""
    text = "def f[T](x): pass\n" if sys.version_info >= (3, 12) else "def f(x): pass\n"
    expected = "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x')]),body=[Pass()]"
    assert form(text).startswith(expected)
    assert form("def f(x): pass\n") == f"{expected})])"


@pytest.mark.parametrize(
    "name",
    [
        "bflcd.lab.frameworks",
        "bflcd.lab.rules",
        "bflcd.lab.engine.loop",
        "bflcd.lab.engine.stacked",
        "bflcd.ledger.judgement",
        "bflcd.ledger.election",
        "bflcd.ledger.rewards",
        "bflcd.learn.aggregate",
        "bflcd.learn.attacks",
        "bflcd.learn.datasets.readers",
        "bflcd.learn.partition",
        "bflcd.learn.scoring",
        "bflcd.learn.training",
        "bflcd.learn.tasks.femnist",
        "bflcd.params",
    ],
)
def test_a_rule_that_changes_makes_another_version_and_other_ids(monkeypatch, name):
    """Given one module with a statement more, then nothing that was run before is taken for a run of these rules; with a comment
    more, everything is."""
    genuine, before, old = module._read, rules_version("femnist"), tiny(task="femnist").id
    more = "\n"

    def read(found, path):
        return genuine(found, path) + (more if found == name else "")

    monkeypatch.setattr(module, "_read", read)
    more = "\n# a comment\n"
    assert rules_version.__wrapped__("femnist") == before
    more = "\nCHANGED = 1\n"
    after = rules_version.__wrapped__("femnist")
    assert after != before
    monkeypatch.setattr("bflcd.lab.config.rules_version", lambda _: after)
    assert tiny(task="femnist").id != old


def test_what_only_tells_results_is_no_rule(counted):
    reporting = {f"bflcd.lab.{name}" for name in ("runs.records", "runs.runner", "runs.pool", "report", "plots", "grid", "scale")}
    assert not reporting & set(counted)
    assert not [name for name in counted if name.startswith(("bflcd.node", "bflcd.net", "bflcd.store", "bflc_cli"))]
    assert "bflcd.version" not in counted, "a release would make all results old"


def test_all_that_a_run_loads_is_counted(counted):
    """Whatever way a module came in by, an import in a function or by name too: what was loaded when a run has ended is known."""
    code = (
        "import json, sys\n"
        "from bflcd.lab.simulation import Machine, Simulation\n"
        "from bflcd.lab.config import SimulationConfig\n"
        "setting = SimulationConfig(task='digits', devices=20, active=1.0, rounds=2, attack='noise', liars=0.3)\n"
        "simulation = Simulation(setting, Machine('cpu', threads=1))\n"
        "while not simulation.done: simulation.advance()\n"
        "print(json.dumps(sorted(name for name in sys.modules if name.partition('.')[0] == 'bflcd')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert "bflcd.ledger.transition" in loaded
    assert loaded - set(counted) == set()


@pytest.fixture(params=[True, False], ids=["a package", "a folder"])
def own(request, tmp_path, monkeypatch):
    """A task of somebody's own: a package whose task takes its network from another module of it."""
    package = tmp_path / "owntask"
    package.mkdir()
    if request.param:
        (package / "__init__.py").write_text("")
    (package / "nets.py").write_text("WIDTH = 3\n")
    (package / "unused.py").write_text("x = 1\n")
    (package / "task.py").write_text("from bflcd.learn.task import Task\nfrom .nets import WIDTH\nclass Own(Task): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "owntask"]:
        del sys.modules[name]
    module._path_of.cache_clear()


def test_a_task_of_ones_own_counts_with_its_package(own):
    def version():
        return rules_version.__wrapped__("owntask.task:Own")

    first = version()
    assert first != rules_version("digits")
    (own / "unused.py").write_text("x = 2\n")
    assert version() == first
    (own / "nets.py").write_text("WIDTH = 4\n")
    assert version() != first


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"\xff\xfe"), Path.unlink], ids=["no text", "gone"])
def test_a_task_without_source_is_refused_and_named(own, spoil):
    rules_version.__wrapped__("owntask.task:Own")
    spoil(own / "task.py")
    module._path_of.cache_clear()
    with pytest.raises(OperatorError, match=r"owntask\.task cannot be read") as caught:
        rules_version.__wrapped__("owntask.task:Own")
    assert (caught.value.code, bool(caught.value.hint)) == ("bad_task", True)


def test_a_task_that_there_is_not():
    with pytest.raises(OperatorError) as caught:
        rules_version("nonsense")
    assert caught.value.code == "unknown_task"
