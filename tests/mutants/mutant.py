"""A planted defect: a small change of product source, what it breaks, and who has to notice."""

from dataclasses import dataclass
from pathlib import Path

from tests.mutants.catchers import Catcher


class StaleMutantError(Exception):
    """A mutant's old text is not there exactly once: the source has moved on, and the mutant has to follow."""


@dataclass(frozen=True, slots=True)
class Edit:
    """In `file` (from the repository's root), `old` must occur exactly once; `new` takes its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """`breaks`: which defect it is and which rule or row of the fault catalogue it breaks, in one line."""

    name: str
    breaks: str
    edits: tuple[Edit, ...]
    catchers: tuple[Catcher, ...]

    @property
    def layer(self) -> str:
        """The package that it changes."""
        return Path(self.edits[0].file).parts[1]

    def check(self, root: Path) -> None:
        """Raise StaleMutantError unless every edit fits the tree at `root`, and Python comes of it."""
        self.planted(root)

    def planted(self, root: Path) -> dict[Path, str]:
        """The texts that planting writes. Raises StaleMutantError."""
        texts: dict[Path, str] = {}
        for edit in self.edits:
            path = root / edit.file
            found = path.read_text().count(edit.old) if path.exists() else 0
            if found != 1:
                raise StaleMutantError(
                    f"mutant {self.name}: its old text stands {found} times in {edit.file}, it must stand there once:\n{edit.old}"
                )
            if edit.old == edit.new:
                raise StaleMutantError(f"mutant {self.name} changes nothing in {edit.file}")
            texts[path] = texts.get(path, path.read_text()).replace(edit.old, edit.new)
        for path, text in texts.items():
            try:
                compile(text, str(path), "exec")
            except SyntaxError as error:
                raise StaleMutantError(f"mutant {self.name} leaves no Python in {path}: {error}") from error
        return texts

    def plant(self, root: Path) -> None:
        """Change the copy at `root`. Raises StaleMutantError."""
        for path, text in self.planted(root).items():
            path.write_text(text)
            for stale in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
                stale.unlink()


def mutant(name: str, breaks: str, file: str, old: str, new: str, *catchers: Catcher) -> Mutant:
    """A mutant of one edit."""
    return Mutant(name, breaks, (Edit(file, old, new),), catchers)
