"""All journals of a community, read as they grow: what is agreed on, who was heard, and what must never be."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.journal import Place

_MESSAGE: Final = ("said", "heard")


@dataclass(slots=True)
class Seen:
    """One node's journal so far."""

    path: Path
    node_id: str
    offset: int = 0
    rest: bytes = b""
    started: float = 0.0
    """Time of its last start."""
    head: int = 0
    floor: int | None = None
    """Round up to which it signs nothing, as found at its last start."""
    committed: dict[int, str] = field(default_factory=dict)
    """Model blocks that it has acknowledged as durable, by round, over all its starts."""
    commit_times: dict[int, float] = field(default_factory=dict)
    said: dict[Place, str] = field(default_factory=dict)
    hit: str | None = None


class RuntimeObserver:
    """What all journals say together. Safe to use from several threads."""

    def __init__(self, journals: dict[str, tuple[Path, str]]) -> None:
        """`journals`: by the node's name, the journal's path and the node's id."""
        self.nodes = {name: Seen(path, node_id) for name, (path, node_id) in journals.items()}
        self.chain: dict[int, str] = {}
        self.heard: dict[str, dict[int, float]] = {}
        """By author and round, when the first other node heard something of it."""
        self.double: list[str] = []
        self.forks: list[str] = []
        self.messages = 0
        self._signed: dict[Place, str] = {}
        self._turn = threading.Lock()

    def look(self) -> None:
        """Take in what was written since the last look."""
        with self._turn:
            for name, seen in self.nodes.items():
                self._read(name, seen)

    def round(self, without: str) -> int:
        """The newest round that any other node than `without` has committed."""
        with self._turn:
            return max((max(seen.committed, default=0) for name, seen in self.nodes.items() if name != without), default=0)

    def forget(self, name: str) -> None:
        """The node's store was removed on purpose: nothing that it acknowledged can be asked for."""
        with self._turn:
            self.nodes[name].committed.clear()
            self.nodes[name].said.clear()

    def _read(self, name: str, seen: Seen) -> None:
        if not seen.path.exists():
            return
        with seen.path.open("rb") as file:
            file.seek(seen.offset)
            new = file.read()
        seen.offset += len(new)
        *lines, seen.rest = (seen.rest + new).split(b"\n")
        for line in lines:
            time, kind, *fields = line.decode().split(" ")
            self._take(name, seen, float(time), kind, fields)

    def _take(self, name: str, seen: Seen, time: float, kind: str, fields: list[str]) -> None:
        if kind in _MESSAGE:
            author, body, round_, epoch, view, digest = fields
            place = Place(author, body, int(round_), int(epoch), int(view))
            self.messages += 1
            if self._signed.setdefault(place, digest) != digest:
                self.double.append(f"{place}: {self._signed[place]} and {digest}, in the journal of {name}")
            if kind == "said" and author == seen.node_id:
                seen.said[place] = digest
            if kind == "heard" and author != seen.node_id:
                self.heard.setdefault(author, {}).setdefault(place.round, time)
        elif kind == "committed":
            round_, digest = int(fields[0]), fields[1]
            seen.committed[round_] = digest
            seen.commit_times.setdefault(round_, time)
            if self.chain.setdefault(round_, digest) != digest:
                self.forks.append(f"round {round_}: {self.chain[round_]} and {digest}, on {name}")
        elif kind == "started":
            seen.started, seen.head = time, int(fields[0])
            seen.floor = None if fields[2] == "None" else int(fields[2])
        elif kind == "hit":
            seen.hit = " ".join(fields)
