"""What a seed says and decides, as two hashes: a change that only moves code leaves both as they are, bit for bit.

`python -m tests.sim.recording check` runs all recorded seeds again, `write` records them anew: after a change of what is said, and
then the commit says why.
"""

import argparse
import json
import multiprocessing
import sys
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from bflcd.params import ELECTIONS
from bflcd.types import NodeId
from bflcd.wire.codec import encode
from tests.sim.profiles import PROFILES
from tests.sim.run import make_world, run_world

FILE: Final = Path(__file__).parents[1] / "vectors" / "sim.json"

SEEDS: Final = 300

SIZES: Final = (4, 5, 6, 7, 4, 1, 5, 6, 2, 7, 3, 8, 10, 4, 13, 5, 7)
"""Of the communities, in turn; their number has no factor in common with that of profiles and elections."""

LARGE: Final = {60: 20, 160: 30, 260: 40}
"""A few larger ones, by seed."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One seed's run. `said` covers the moment, speaker, bytes and receivers of every message, `decided` every commit."""

    seed: int
    profile: str
    nodes: int
    election: str
    messages: int
    commits: int
    said: str
    decided: str


class Recording:
    """Follows one world."""

    def __init__(self) -> None:
        self.messages = self.commits = 0
        self._said = blake2b(digest_size=16)
        self._decided = blake2b(digest_size=16)

    def said(self, now: int, name: str, message: Any, to: tuple[NodeId, ...]) -> None:
        """A message leaves a node, a liar's raw bytes among them."""
        self.messages += 1
        self._said.update(b"%d %s %d " % (now, name.encode(), len(to)) + b"".join(to))
        self._said.update(message if isinstance(message, bytes) else _bytes_of(message))

    def committed(self, now: int, name: str, round_: int, view: int, block: bytes) -> None:
        """A segment is durable on a node."""
        self.commits += 1
        self._decided.update(b"%d %s %d %d " % (now, name.encode(), round_, view) + block)

    def hashes(self) -> tuple[str, str]:
        """Of what was said, and of what was decided."""
        return self._said.hexdigest(), self._decided.hexdigest()


def _bytes_of(message: Any) -> bytes:
    try:
        return encode(message)
    except ValueError:  # a liar's message that has no encoding
        return repr(message).encode()


def drawn(seed: int) -> tuple[str, int, str]:
    """Profile, size and election of a recorded seed: each with each, as far as the number of seeds goes."""
    names = sorted(PROFILES)
    return names[seed % len(names)], LARGE.get(seed, SIZES[seed % len(SIZES)]), ELECTIONS[seed % len(ELECTIONS)]


def record(seed: int) -> Recorded:
    """Run one seed and note what it says and decides."""
    profile, nodes, election = drawn(seed)
    world, scene = make_world(seed, profile=profile, nodes=nodes, election=election, changing=False)
    world.recording = recording = Recording()
    run_world(world, scene)
    said, decided = recording.hashes()
    return Recorded(seed, profile, nodes, election, recording.messages, recording.commits, said, decided)


def recorded() -> dict[int, Recorded]:
    """What the file holds, by seed."""
    return {row["seed"]: Recorded(**row) for row in json.loads(FILE.read_text())}


def main() -> int:
    """Exit status 1 if a seed says or decides anything else than the file."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.recording", description=__doc__)
    parser.add_argument("what", choices=("check", "write"))
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    with multiprocessing.Pool(options.jobs) as pool:
        found = sorted(pool.imap_unordered(record, range(SEEDS)), key=lambda row: row.seed)
    if options.what == "write":
        FILE.write_text("[\n" + ",\n".join(json.dumps(asdict(row)) for row in found) + "\n]\n")
    known = recorded()
    other = [row for row in found if known.get(row.seed) != row]
    for row in other:
        sys.stderr.write(f"seed {row.seed} is another: {row}, recorded {known.get(row.seed)}\n")
    messages, commits = sum(row.messages for row in found), sum(row.commits for row in found)
    sys.stdout.write(f"{len(found)} seeds, {messages} messages, {commits} commits, {len(other)} others than recorded\n")
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
