"""The folder of an audit: the chain's bytes, its rows as CSV and as JSON, and a page. It is whole, or it is not there."""

import csv
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any, Final

from bflc_cli.audit.page import Page
from bflcd.errors import OperatorError
from bflcd.faults import refused
from bflcd.files import beside, is_closed
from bflcd.inspect.audit import AuditedChain, AuditedRound, ContributionRow, MemberRow, MovementRow, OperationRow, RoundRow

CHAIN_FILE: Final = "chain.msgpack"
"""The genesis, then every certified segment and the ledger after it, one after the other, as they are hashed and signed."""

TABLES: Final[dict[str, type]] = {
    "rounds": RoundRow,
    "contributions": ContributionRow,
    "operations": OperationRow,
    "movements": MovementRow,
    "members": MemberRow,
}
"""By file name, without its ending."""


class Folder:
    """Takes an audit's parts as they come; what it holds in memory does not grow with the rows, except the page's."""

    def __init__(self, path: Path, files: ExitStack) -> None:
        """Begin the files in the directory `path`, which is there and empty."""
        self._path = path
        self._tables = {name: _Table(path, name, kind, files) for name, kind in TABLES.items()}
        self._segments = files.enter_context((path / "segments").open("wb"))
        self._page = Page()

    def add(self, audited: AuditedRound) -> None:
        """A round more."""
        self._segments.write(audited.segment + audited.ledger)
        self._write("rounds", (audited.round,))
        self._write("contributions", audited.contributions)
        self._write("operations", audited.operations)
        self._write("movements", audited.movements)
        self._page.add(audited)

    def end(self, chain: AuditedChain) -> None:
        """The last rows, the chain's file and the page."""
        self._write("members", chain.members)
        for table in self._tables.values():
            table.end()
        self._segments.close()
        with (self._path / CHAIN_FILE).open("wb") as file, (self._path / "segments").open("rb") as segments:
            file.write(chain.genesis)
            shutil.copyfileobj(segments, file)
        (self._path / "segments").unlink()
        (self._path / "index.html").write_text(self._page.text(chain), encoding="utf-8")

    def _write(self, name: str, rows: Iterable[Any]) -> None:
        for row in rows:
            self._tables[name].add(asdict(row))


class _Table:
    """One table in both forms."""

    def __init__(self, path: Path, name: str, kind: type, files: ExitStack) -> None:
        self._csv: IO[str] = files.enter_context((path / f"{name}.csv").open("w", encoding="utf-8", newline=""))
        self._json: IO[str] = files.enter_context((path / f"{name}.json").open("w", encoding="utf-8"))
        self._writer = csv.DictWriter(self._csv, [field.name for field in fields(kind)], lineterminator="\n")
        self._writer.writeheader()
        self._json.write("[")
        self._before = "\n"

    def add(self, row: dict[str, Any]) -> None:
        self._writer.writerow({name: _cell(value) for name, value in row.items()})
        self._json.write(self._before + json.dumps(row))
        self._before = ",\n"

    def end(self) -> None:
        self._json.write("\n]\n")


def _cell(value: Any) -> Any:
    """A value as a spreadsheet takes it: ids apart by blanks, nothing for None, truth as 0 and 1, and no text a formula."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(value)
    if isinstance(value, bool):
        return int(value)
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@"} else value


@contextmanager
def new_folder(path: Path) -> Iterator[Folder]:
    """A folder to fill, which stands at `path` once that has gone well, and else leaves nothing.

    In a directory that is its owner's alone so is the folder, with all that is in it: a data directory takes no other.
    Raises OperatorError (`exists`) if something is there, and what the file system refuses.
    """
    if path.exists() or path.is_symlink():
        raise OperatorError(f"{path} exists", hint="name a folder that is not there yet", code="exists")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = beside(path)
        partial.mkdir(0o700 if is_closed(path.parent) else 0o777)
        try:
            with ExitStack() as files:
                yield Folder(partial, files)
            if is_closed(partial):
                for file in partial.iterdir():
                    file.chmod(0o600)
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise refused(f"{path}: cannot be written", error) from error
