"""A community in containers: set up, up, watched to its last round, taken down. Also the program behind `make testnet-docker`."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docker.engine import Engine, NoEngineError, compose_command, open_engine, say
from tests.docker.image import build_image

POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Community:
    """Containers node0, node1, ... of one compose project."""

    engine: Engine
    folder: Path
    project: str
    names: tuple[str, ...]

    def compose(self, *arguments: str, timeout: float = 300.0, check: bool = True) -> str:
        """A compose command on this project."""
        base = (*compose_command(), "-p", self.project, "-f", str(self.folder / "compose.yaml"))
        return self.engine.run(*base, *arguments, timeout=timeout, check=check)

    def container(self, name: str) -> str:
        """Id of a service's container, running or not."""
        label = f"label=com.docker.compose.project={self.project}"
        return self.engine.docker("ps", "-aq", "-f", label, "-f", f"label=com.docker.compose.service={name}").strip()

    def status(self, name: str) -> dict[str, Any] | None:
        """The node's own status, or None while its daemon does not answer."""
        command = ("exec", self.container(name), "bflc-cli", "--datadir", "/data", "--json", "status")
        try:
            answer = json.loads(self.engine.docker(*command, timeout=30, check=False) or "{}")
        except (json.JSONDecodeError, subprocess.TimeoutExpired):
            return None
        data = answer.get("data")
        return data if answer.get("status") == "ok" and isinstance(data, dict) else None

    def await_round(self, name: str, target: int, seconds: float) -> dict[str, Any]:
        """The status of a node that has reached round `target`. Raises TimeoutError with what the node last said."""
        deadline, last, shown = time.monotonic() + seconds, None, -1
        while time.monotonic() < deadline:
            last = self.status(name) or last
            if last is not None and last["round"] != shown:
                shown = last["round"]
                say(f"{name} is at round {shown}, accuracy {last.get('accuracy')}")
            if last is not None and last["round"] >= target:
                return last
            time.sleep(POLL_SECONDS)
        said = self.engine.docker("logs", "--tail", "30", self.container(name), check=False)
        raise TimeoutError(f"{name} did not reach round {target} in {seconds:.0f} s; status {last}; log:\n{said}")


@contextmanager
def community(engine: Engine, *, nodes: int, rounds: int, extra: tuple[str, ...] = ()) -> Iterator[Community]:
    """A running community of the digits task; its containers, network and folder are removed at the end, whatever happens."""
    image = build_image(engine)
    with tempfile.TemporaryDirectory(prefix="bflc-community-") as place:
        folder = Path(place) / "net"
        command = [sys.executable, "-m", "bflcd", "testnet", "--nodes", str(nodes), "--rounds", str(rounds), "--compose"]
        subprocess.run([*command, "--image", image, "--output", str(folder), *extra], check=True, timeout=120, stdout=sys.stderr)
        made = Community(engine, folder, f"bflc{folder.stat().st_ino}", tuple(f"node{index}" for index in range(nodes)))
        try:
            made.compose("up", "-d")
            say(f"{nodes} containers are up")
            yield made
        finally:
            made.compose("down", "-v", "--remove-orphans", "-t", "5", check=False)


def main() -> int:
    """Run a community to its last round and say what came out."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long it may take")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything is taken down then too
    try:
        with open_engine() as engine, community(engine, nodes=options.nodes, rounds=options.rounds) as made:
            began = time.monotonic()
            final = [made.await_round(name, options.rounds, options.seconds) for name in made.names]
            heads = {status["head_hash"] for status in final}
            sys.stdout.write(
                f"{options.nodes} containers, round {options.rounds} after {time.monotonic() - began:.0f} s, "
                f"accuracy {final[0].get('accuracy')}, {len(heads)} head{'s' if len(heads) > 1 else ''}\n"
            )
            return 0 if len(heads) == 1 else 1
    except (NoEngineError, TimeoutError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"testnet-docker: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
