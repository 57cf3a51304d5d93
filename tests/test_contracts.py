"""Promises about the source itself: layers, purity, what the daemon imports."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PURE_FOLDERS = ("core", "ledger", "consensus", "wire")
"""No I/O, no clock, no asyncio, no global randomness, no logging (design 3)."""

PURE_FILES = ("limits.py", "registry.py", "crypto/hashing.py", "crypto/identity.py", "learn/aggregate.py", "store/pruning.py")
"""As much, in folders that have other things to do too."""

IMPURE_MODULES = frozenset(
    (
        "asyncio",
        "logging",
        "os",
        "pathlib",
        "random",
        "secrets",
        "socket",
        "sqlite3",
        "subprocess",
        "threading",
        "time",
        "datetime",
    )
)


def pure_files():
    for folder in PURE_FOLDERS:
        found = sorted((ROOT / "bflcd" / folder).rglob("*.py"))
        assert found, f"bflcd/{folder} is gone"
        yield from found
    yield from (ROOT / "bflcd" / place for place in PURE_FILES)


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", list(pure_files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_code_imports_nothing_impure(path):
    found = {name.split(".")[0] for name in imports_of(path)} & IMPURE_MODULES
    assert found == set()


def modules():
    """Every module of the product by its dotted name."""
    return {
        ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__"): path
        for base, package in ((ROOT, "bflcd"), (ROOT / "cli", "bflc_cli"))
        for path in sorted((base / package).rglob("*.py"))
    }


def run_imports_of(tree):
    """The import statements that run, those inside functions too; what stands under TYPE_CHECKING never does."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from run_imports_of(ast.Module(node.orelse, []))
        else:
            yield from run_imports_of(node)


def graph_of(known):
    """Which of the `known` modules each of them imports."""

    def named(node):
        if isinstance(node, ast.Import):
            return [name.name for name in node.names]
        inner = [f"{node.module}.{name.name}" for name in node.names]
        return [name if name in known else node.module for name in inner]

    return {
        module: {name for node in run_imports_of(ast.parse(text)) for name in named(node) if name in known}
        for module, text in known.items()
    }


def in_cycles(graph):
    """Modules that import themselves by way of others: what is left once all that import nothing left are gone, both ways."""
    left = set(graph)
    while True:
        idle = {one for one in left if not graph[one] & left or not any(one in graph[other] for other in left)}
        if not idle:
            return sorted(left)
        left -= idle


def test_no_modules_import_each_other():
    """A late import only hides a cycle: what both sides need belongs below them."""
    assert in_cycles(graph_of({module: path.read_text() for module, path in modules().items()})) == []


def test_a_cycle_is_found_though_one_side_imports_late():
    sources = {
        "p.a": "from p import b",
        "p.b": "def f():\n    from p.c import x",
        "p.c": "import p.a\nif TYPE_CHECKING:\n    from p.d import y",
        "p.d": "from p.a import z",
        "p": "",
    }
    assert in_cycles(graph_of(sources)) == ["p.a", "p.b", "p.c"]
    assert in_cycles(graph_of(sources | {"p.b": "import os"})) == []


def test_the_import_contracts_hold():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_worker_side_names_torch():
    allowed = ("learn", "lab")
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "bflcd").rglob("*.py"))
        if path.relative_to(ROOT / "bflcd").parts[0] not in allowed
        and any(name.split(".")[0] == "torch" for name in imports_of(path))
    ]
    assert found == []


def test_only_the_libp2p_package_names_libp2p():
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "bflcd").rglob("*.py"))
        if "libp2p" not in path.parts and any(name.split(".")[0] in {"libp2p", "trio", "multiaddr"} for name in imports_of(path))
    ]
    assert found == []


def test_importing_the_daemon_leaves_torch_and_libp2p_out():
    code = "import sys, bflcd.node.app; print(sorted({'torch', 'libp2p', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_every_module_opens_with_what_it_is():
    missing = [
        str(path.relative_to(ROOT))
        for folder in ("bflcd", "cli/bflc_cli")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert missing == []


def test_the_top_level_holds_what_it_may():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    if tracked.returncode != 0:
        pytest.skip("no git checkout: the listing of what belongs to it is missing")
    top = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    allowed = {"bflcd", "cli", "tests", "docs", "pyproject.toml", "README.md", "Dockerfile"}
    beside = {
        "Makefile",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "LICENSE",
        "constraints.txt",
        ".ci",
        ".gitignore",
        ".dockerignore",
        "compose.yaml",
    }
    assert top - allowed - beside == set()


def locked(name):
    """Version and number of hashes of each package in a lock."""
    blocks = re.split(r"(?m)^(?=[a-z0-9])", (ROOT / ".ci" / "lock" / name).read_text())[1:]
    return {block.split("==")[0]: (re.split(r"==|\s", block)[1], block.count("--hash=sha256:")) for block in blocks}


def test_every_package_but_torch_is_locked_with_hashes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"], *extras["lab"]]
    run, dev = locked("run.txt"), locked("dev.txt")
    for lock, wanted in ((run, needed), (dev, [*needed, *extras["dev"]])):
        names = {re.split(r"[\[>=; ]", requirement)[0] for requirement in wanted}
        assert names - set(lock) == {"torch"} | (names & {"bflcd"})
        assert [name for name, (_, hashes) in lock.items() if hashes == 0] == []
    assert {name: dev[name] for name in run} == run
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#"))
    assert pinned.pop("torch")
    assert pinned == {name: version for name, (version, _) in dev.items()}


def test_every_runtime_dependency_is_used():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules = {"pynacl": "nacl", "scikit-learn": "sklearn", "tomli-w": "tomli_w", "prometheus-client": "prometheus_client"}
    used = {
        name.split(".")[0] for folder in ("bflcd", "cli") for path in (ROOT / folder).rglob("*.py") for name in imports_of(path)
    }
    used |= set(re.findall(r'find_spec\("([a-z]+)"\)', (ROOT / "bflcd" / "learn" / "tasks" / "digits.py").read_text()))
    names = [dependency.split(">")[0].split("=")[0] for dependency in project["dependencies"]]
    assert [name for name in names if modules.get(name, name) not in used] == []


# -- sizes -------------------------------------------------------------------------------------------------------------

MAX_LINES, MAX_FILES, MAX_FUNCTION_LINES, MAX_MEDIAN = 400, 20, 60, 6

LONG = {
    "bflcd/consensus/pbft.py": "one state machine: every transition reads and writes the same few fields, and is proved beside the others",
    "bflcd/core/core.py": "one match over all events and what follows from each: the order of effects is its content",
}
"""Files above MAX_LINES, each with its reason."""


def product_files():
    return sorted(path for folder in ("bflcd", "cli") for path in (ROOT / folder).rglob("*.py"))


def function_lengths():
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.end_lineno - node.lineno + 1, f"{path.relative_to(ROOT)}: {node.name}"


def test_no_file_is_long_without_a_reason():
    long = {str(path.relative_to(ROOT)) for path in product_files() if len(path.read_text().splitlines()) > MAX_LINES}
    assert long == set(LONG)


def test_no_folder_holds_too_many_files():
    folders = {path.parent for path in product_files()}
    assert [folder for folder in folders if len(list(folder.glob("*.py"))) > MAX_FILES] == []


def test_functions_are_short():
    lengths = sorted(function_lengths())
    assert lengths[-1][0] <= MAX_FUNCTION_LINES, lengths[-3:]
    assert lengths[len(lengths) // 2][0] <= MAX_MEDIAN
