"""Simulations on a Ray cluster: the same records as here, nothing twice, and what to do where there is no Ray or no cluster."""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bflcd.errors import MachineError, OperatorError
from bflcd.lab.runs import batch, cluster
from bflcd.lab.runs.batch import run_all
from bflcd.lab.runs.cluster import simulate
from bflcd.lab.runs.records import RunFiles
from bflcd.lab.runs.runner import Silent, run
from bflcd.lab.simulation import Machine
from tests.helpers.lab import tiny

ONE = Machine("cpu", threads=1)
CONFIGS = [tiny(rounds=3, seed=seed, attack="sleeper", liars=0.3) for seed in range(3)]


def facts_of(found):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in found.rounds]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return [run(config, ONE, folder) for config in CONFIGS]


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OperatorError, match="ray, which is not installed") as caught:
        run_all(CONFIGS, ONE, tmp_path, cluster="127.0.0.1:6379")
    assert caught.value.code == "no_ray"
    assert "pip install 'bflcd[ray]'" in caught.value.hint


@pytest.mark.parametrize(
    "address", ["127.0.0.1:{free}", "ray://127.0.0.1:{free}", "auto", "", ":6379", "host:", "host:x", "host:70000"]
)
def test_where_no_cluster_is_it_says_so_at_once(tmp_path, monkeypatch, address):
    """Ray would go on trying for minutes, or start a cluster of its own."""

    def init(**_):
        raise AssertionError("Ray was asked")

    monkeypatch.setattr(cluster, "load_ray", lambda: SimpleNamespace(init=init))
    with pytest.raises(MachineError, match="cannot be reached") as caught:
        run_all(CONFIGS[:1], ONE, tmp_path, cluster=address.format(free=free_port()))
    assert "ray start --head" in caught.value.hint


def test_only_what_is_not_done_is_handed_to_the_cluster(tmp_path, monkeypatch):
    """And a device that is not here may be there."""
    asked = []

    def run_on_cluster(configs, machine, folder, observer, address):
        asked.append(([config.seed for config in configs], machine.device, address))
        for config in configs:
            RunFiles(folder, config).take(simulate(config, config.id, ONE))

    monkeypatch.setattr(batch, "run_on_cluster", run_on_cluster)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run(CONFIGS[1], ONE, tmp_path)
    found = run_all(CONFIGS, Machine("cuda"), tmp_path, cluster="there:6379")
    assert asked == [([0, 2], "cuda", "there:6379")]
    assert [one.config for one in found] == CONFIGS


def test_a_machine_of_the_cluster_gives_the_file_back(tmp_path, alone):
    content = simulate(CONFIGS[0], CONFIGS[0].id, ONE)
    files = RunFiles(tmp_path, CONFIGS[0])
    (tmp_path / f"{CONFIGS[0].id}.npz").write_bytes(b"an older checkpoint")
    files.take(content)
    assert facts_of(files.finished()) == facts_of(alone[0])
    assert [path.name for path in tmp_path.iterdir()] == [f"{CONFIGS[0].id}.jsonl"]


def test_a_machine_with_other_rules_computes_nothing():
    with pytest.raises(MachineError, match=r"the cluster's machine .* has version"):
        simulate(CONFIGS[0], "0" * 12, ONE)


def test_what_comes_back_without_an_end_is_no_run(tmp_path):
    content = b"".join(simulate(CONFIGS[0], CONFIGS[0].id, ONE).splitlines(keepends=True)[:-1])
    with pytest.raises(MachineError, match="without an end") as caught:
        cluster._take(RunFiles(tmp_path, CONFIGS[0]), content, CONFIGS[0], Silent())
    assert caught.value.hint


# -- a real cluster of one machine --------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def address():
    pytest.importorskip("ray")
    port, place = free_port(), tempfile.mkdtemp(prefix="ray", dir="/tmp")  # its sockets' names must be short
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--node-ip-address", "127.0.0.1",
        "--port", str(port), "--num-cpus", "2", "--object-store-memory", str(100 * 2**20), "--include-dashboard", "false",
        "--disable-usage-stats", "--temp-dir", place,
    ]  # fmt: skip
    head = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + 90
        while not any(Path(place).glob("session_*/sockets/raylet")) and time.monotonic() < end:
            assert head.poll() is None, "ray start ended"
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        started = psutil.Process(head.pid).children(recursive=True)
        head.send_signal(signal.SIGTERM)
        psutil.wait_procs([psutil.Process(head.pid)], timeout=30)
        _, left = psutil.wait_procs(started, timeout=10)
        for process in left:
            process.kill()
        head.wait(10)
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_a_real_cluster_computes_the_same_and_only_what_is_missing(tmp_path, address, alone):
    """Given a cluster of one machine and one simulation that is done, when three are asked for, then the other two come back as
    they would be computed here, and every round of them is told; asked for again, nothing is.
    """
    steps = []

    class Heard(Silent):
        def step(self, config, round_, accuracy):
            steps.append((config.seed, round_))

    run(CONFIGS[1], ONE, tmp_path)
    found = run_all(CONFIGS, Machine("cpu"), tmp_path, Heard(), cluster=address)
    assert [facts_of(one) for one in found] == [facts_of(one) for one in alone]
    assert sorted(steps) == [(seed, round_) for seed in (0, 2) for round_ in (1, 2, 3)]
    steps.clear()
    run_all(CONFIGS, Machine("cpu"), tmp_path, Heard(), cluster=address)
    assert steps == []
    with pytest.raises(OperatorError, match=r"absent\.npz") as caught:
        run_all([tiny(task="femnist", data="/nowhere/absent.npz")], Machine("cpu"), tmp_path, cluster=address)
    assert (caught.value.code, bool(caught.value.hint)) == ("missing_data", True)
