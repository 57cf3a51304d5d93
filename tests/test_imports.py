"""Names that are imported late, inside functions, are there: no type checker reads the benchmarks and campaigns."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = {"bflcd": ROOT / "bflcd", "bflc_cli": ROOT / "cli" / "bflc_cli", "tests": ROOT / "tests"}


def module_file(name: str) -> Path | None:
    """Where a module of ours is written."""
    first, *rest = name.split(".")
    path = PLACES[first].joinpath(*rest)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


@cache
def names_of(file: Path) -> frozenset[str]:
    """What a module defines or imports, at whatever depth: conditional definitions count."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                found.add(name)
            case ast.Name(id, ast.Store()):
                found.add(id)
            case ast.alias(name, asname):
                found.add(asname or name.split(".")[0])
    return frozenset(found)


def late_imports() -> Iterator[tuple[Path, str, str]]:
    """File, module and name of each `from ours import name`."""
    for folder in PLACES.values():
        for file in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PLACES:
                    yield from ((file, node.module, alias.name) for alias in node.names)


def test_whatever_is_imported_of_ours_is_there():
    lost = []
    for file, module, name in late_imports():
        written = module_file(module)
        known = written is not None and (name in names_of(written) or module_file(f"{module}.{name}") is not None)
        folder = PLACES[module.split(".")[0]].joinpath(*module.split(".")[1:])
        if not known and not (written is None and (folder / f"{name}.py").exists()):
            lost.append(f"{file.relative_to(ROOT)}: {module}.{name}")
    assert lost == []
