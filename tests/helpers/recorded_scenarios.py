"""What the scenarios over whole cores say and decide, hashed by test: a change that only moves code leaves every hash as it is.

`pytest -p tests.helpers.recorded_scenarios --scenarios FILE tests/node tests/faults` writes FILE; with `--scenarios-before OLD` the
tests whose hash is another than in OLD fail the run. Tests are told apart by their names, wherever they stand.
"""

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import world as worlds
from tests.sim.recording import Recording

_SEEN = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two files."""
    parser.addoption("--scenarios", type=Path, help="write here what each scenario says and decides")
    parser.addoption("--scenarios-before", type=Path, help="fail if it is another than here")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing was seen yet."""
    config.stash[_SEEN] = {}


@pytest.fixture(autouse=True)
def _record(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    recordings: list[Recording] = []
    make, carry_out = worlds.World.__init__, worlds.World.carry_out

    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        self.recording = Recording()
        recordings.append(self.recording)
        make(self, *args, **kwargs)

    def carried_out(self: Any, node: Any, effects: list[Any]) -> None:
        for effect in effects:
            kind = type(effect).__name__
            if hasattr(effect, "message") and hasattr(effect, "to"):
                self.recording.said(self.now, node.hex(), effect.message, effect.to)
            elif kind == "Commit":
                certificate = effect.certified.certificate
                self.recording.committed(self.now, node.hex(), effect.state.round, certificate.view, certificate.digest)
        carry_out(self, node, effects)

    monkeypatch.setattr(worlds.World, "__init__", made)
    monkeypatch.setattr(worlds.World, "carry_out", carried_out)
    yield
    if recordings and any(recording.messages for recording in recordings):
        whole = blake2b(repr([recording.hashes() for recording in recordings]).encode(), digest_size=16)
        request.config.stash[_SEEN][request.node.name] = whole.hexdigest()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write, compare."""
    seen = session.config.stash[_SEEN]
    target, before = session.config.getoption("--scenarios"), session.config.getoption("--scenarios-before")
    if target is not None:
        target.write_text(json.dumps(dict(sorted(seen.items())), indent=1) + "\n")
    if before is not None:
        old: dict[str, str] = json.loads(before.read_text())
        other = sorted(name for name in old.keys() & seen.keys() if old[name] != seen[name])
        print(f"\n{len(old.keys() & seen.keys())} of {len(old)} scenarios were compared, {len(other)} are others: {other}")  # noqa: T201
        if other:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
