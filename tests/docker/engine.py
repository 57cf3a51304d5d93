"""A Docker engine: the one that runs, or one of our own that leaves the machine as it was."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("docker.io", "iptables", "docker-compose", "mmdebstrap")
BRIDGE_ADDRESS = "172.30.0.1/24"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
START_SECONDS = 30.0
STOP_SECONDS = 30.0


class NoEngineError(Exception):
    """There is no engine, and none can be started; says why."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How to reach an engine. `ours`: started here, with nothing in it."""

    environment: dict[str, str]
    ours: bool

    def run(self, *command: str, timeout: float = 120.0, check: bool = True) -> str:
        """Standard output of a command that talks to this engine. Raises CalledProcessError, its standard error shown."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode != 0:
            sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])
            raise subprocess.CalledProcessError(done.returncode, command)
        return done.stdout

    def docker(self, *arguments: str, timeout: float = 120.0, check: bool = True) -> str:
        """`docker ARGUMENTS`."""
        return self.run("docker", *arguments, timeout=timeout, check=check)


def say(text: str) -> None:
    """Progress, for people."""
    sys.stderr.write(f"docker: {text}\n")
    sys.stderr.flush()


@contextmanager
def open_engine() -> Iterator[Engine]:
    """The engine that runs; else one of our own, which is gone at the end with all that it left in the kernel. Raises NoEngineError."""
    running = Engine(dict(os.environ), ours=False)
    if shutil.which("docker") and _answers(running):
        yield running
        return
    _require_programs()
    before = _saved_rules(), FORWARDING.read_text()
    root = Path(tempfile.mkdtemp(prefix="bflc-docker-", dir="/var/tmp"))
    process = _start(root)
    try:
        engine = Engine({**os.environ, "DOCKER_HOST": f"unix://{root}/docker.sock"}, ours=True)
        _await_answer(engine, process, root)
        say("started an engine of its own")
        yield engine
    finally:
        _stop(process)
        _restore(*before)
        subprocess.run(["ip", "link", "delete", "docker0"], check=False, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)
        say("stopped the engine; packet filter and forwarding are as before")


def _answers(engine: Engine) -> bool:
    try:
        return (
            subprocess.run(["docker", "info"], env=engine.environment, capture_output=True, timeout=20, check=False).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False


def _require_programs() -> None:
    if os.geteuid() != 0:
        raise NoEngineError("no Docker engine answers, and only root can start one: start it, or run as root")
    needed = ("dockerd", "iptables", "docker", "ip")
    if all(shutil.which(name) for name in needed) and (shutil.which("docker-compose") or _has_compose_plugin()):
        return
    if not shutil.which("apt-get"):
        raise NoEngineError(f"no Docker engine answers and there is no apt-get: install {', '.join(PACKAGES)}")
    say(f"installing {', '.join(PACKAGES)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES, "iproute2"],
    ):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise NoEngineError(f"{' '.join(command)} failed: {done.stderr[-500:]}")


def _has_compose_plugin() -> bool:
    return subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=20, check=False).returncode == 0


def compose_command() -> tuple[str, ...]:
    """Compose 2 if it is there, else compose 1."""
    return ("docker", "compose") if _has_compose_plugin() else ("docker-compose",)


def _start(root: Path) -> subprocess.Popen[bytes]:
    arguments = ["--data-root", f"{root}/data", "--exec-root", f"{root}/exec", "-p", f"{root}/engine.pid"]
    network = ["--storage-driver", "overlay2", "--mtu", "1400", "--bip", BRIDGE_ADDRESS]
    command = ["dockerd", "-H", f"unix://{root}/docker.sock", *arguments, *network]
    with (root / "engine.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _await_answer(engine: Engine, process: subprocess.Popen[bytes], root: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(engine):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NoEngineError(f"the engine did not start: {(root / 'engine.log').read_text(errors='replace')[-1500:]}")
        time.sleep(0.3)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _saved_rules() -> str:
    """All tables that exist; asking for one by name would make it."""
    return subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout


def _tables_of(rules: str) -> set[str]:
    return {line[1:] for line in rules.splitlines() if line.startswith("*")}


def _restore(rules: str, forwarding: str) -> None:
    """Put packet filter and forwarding back; a table that was not there is emptied, and removed where nft can."""
    if rules.strip():
        subprocess.run(["iptables-restore"], input=rules, text=True, check=True)
    for table in _tables_of(_saved_rules()) - _tables_of(rules):
        for action in ("-F", "-X"):
            subprocess.run(["iptables", "-t", table, action], check=False, capture_output=True)
        subprocess.run(["iptables", "-t", table, "-P", "FORWARD", "ACCEPT"], check=False, capture_output=True)
        if shutil.which("nft"):
            subprocess.run(["nft", "delete", "table", "ip", table], check=False, capture_output=True)
    FORWARDING.write_text(forwarding)
