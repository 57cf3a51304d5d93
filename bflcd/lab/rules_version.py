"""The version of the rules that a simulation was decided by: a digest of the source of everything that decides its numbers.

Nobody counts it up and nobody lists the modules, so neither can be forgotten: what counts is `bflcd.lab.simulation`, the task's
own module, and whatever these import, directly or by others, within this package and the task's. Each module is read as a syntax
tree without comments, docstrings and layout, which decide nothing. A change of anything else makes another version, also one
that happens to change no number: a run done twice costs minutes, two rules in one table cost the table.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Final

from bflcd.errors import OperatorError
from bflcd.learn.task import find_task_class

ENGINE: Final = "bflcd.lab.simulation"
"""From here everything is reached that a simulation runs, but for its task, which is named in its setting."""

_DIGITS: Final = 12
"""Hexadecimal digits of a version."""

_DERIVED: Final = frozenset({"ctx", "kind", "type_comment"})
"""Fields of a syntax tree that say nothing which its other fields don't."""


@cache
def rules_version(task: str) -> str:
    """The version for simulations of `task`, as it was when it was first asked for: the code that this process has loaded.

    The same on every machine and Python. Raises OperatorError: `unknown_task`, `bad_task` for one whose source can't be read.
    """
    trees = trees_of((ENGINE, find_task_class(task).__module__))
    text = "\n".join(f"{name} {normal_form(tree)}" for name, tree in sorted(trees.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def trees_of(roots: tuple[str, ...]) -> dict[str, ast.Module]:
    """The syntax trees of the modules `roots` and of all that they import within their own top packages, by module name."""
    tops = {root.partition(".")[0] for root in roots}
    found: dict[str, ast.Module] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        path = _path_of(name)
        if name in found or (path is None and name not in roots):
            continue
        found[name] = ast.parse(_read(name, path))
        package = name if path is not None and path.name == "__init__.py" else name.rpartition(".")[0]
        imported = [one for one in _imported(found[name], package) if one.partition(".")[0] in tops]
        waiting += [*imported, *_parents(name)]
    return found


def normal_form(node: object) -> str:
    """A syntax tree as text: the same for sources that differ in comments, layout and texts that stand alone (docstrings)."""
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in node._fields if name not in _DERIVED)
        said = ",".join(f"{name}={normal_form(value)}" for name, value in fields if value is not None and value != [])
        return f"{type(node).__name__}({said})"
    if isinstance(node, list):
        return f"[{','.join(normal_form(one) for one in node if not _stands_alone(one))}]"
    return "" if node is None else repr(node)  # None stands for what is left out, as the key of {**a}


def _stands_alone(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Names that may be modules, of every import that can run; what stands under TYPE_CHECKING never does."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield from (module, *(f"{module}.{name.name}" for name in node.names))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _imported(ast.Module(node.orelse, []), package)
        else:
            yield from _imported(node, package)


def _parents(name: str) -> list[str]:
    """Packages that are imported before `name`."""
    parts = name.split(".")[:-1]
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


@cache
def _path_of(name: str) -> Path | None:
    """The source file of a module, found without importing it; None for what is none, such as a function's name."""
    top, *rest = name.split(".")
    spec = find_spec(top)
    if spec is None:
        return None
    if not rest:
        return None if spec.origin is None else Path(spec.origin)
    places = (Path(folder).joinpath(*rest) for folder in spec.submodule_search_locations or ())
    files = (file for place in places for file in (place / "__init__.py", place.with_name(f"{place.name}.py")))
    return next((file for file in files if file.is_file()), None)


def _read(name: str, path: Path | None) -> str:
    if path is None:
        raise _unreadable(name, "it has no file")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(name, str(error)) from error


def _unreadable(name: str, reason: str) -> OperatorError:
    return OperatorError(
        f"the source of module {name} cannot be read, so no run can say what it was decided by: {reason}",
        hint="keep the task in a .py file of an installed package, or of a folder in PYTHONPATH",
        code="bad_task",
    )
