"""What it costs work W that a daemon is killed with -9 in mid-round, by its role (design 12)."""

import os
import signal
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.work_w import JUDGES, NODES, START_SECONDS, Running, ask, data_file, round_seconds, status, testnet, w_options

ROUNDS = 24
ROLES = ("trainer", "member", "leader")


def run() -> list[dict[str, Any]]:
    """A row a role: seconds that the slowest of the killed round and the next takes longer than the median round."""
    data = data_file()
    if data is None:
        return []
    extra: dict[str, float] = {}
    with testnet(NODES, *w_options(data, ROUNDS)) as running:
        watcher = running.datadirs[0]
        running.wait(2, START_SECONDS)
        for role in ROLES:
            victim, at = _kill(running, role)
            others = [d for d in running.datadirs if d != victim]
            running.wait(at + 3, START_SECONDS, others)
            running.start(victim)
            running.wait(at + 5, START_SECONDS)
            seconds = round_seconds(watcher)
            extra[role] = max(seconds[at : at + 3])
        usual = median(round_seconds(watcher)[1:])
    return [
        {
            "row": f"work W, a {role} of {NODES} ({JUDGES} judge) killed with -9, s more",
            "value": round(extra[role] - usual, 2),
            "floor": round(usual, 2),
            "floor_is": "a usual round",
            "budget": "<= 5",
        }
        for role in ROLES
    ]


def _kill(running: Running, role: str) -> tuple[Path, int]:
    """Kill one of that role half a second into a round; returns it and the round. Never the first, which is watched."""
    watcher = running.datadirs[0]
    begun = status(watcher)
    assert begun is not None
    while (now := status(watcher)) is None or now["round"] == begun["round"]:
        time.sleep(0.05)
    time.sleep(0.5)
    round_ = int(now["round"])
    ids = {d: (status(d) or {}).get("node_id") for d in running.datadirs[1:]}
    leader = now["leader"]
    wanted = {
        "leader": [d for d, node in ids.items() if node == leader],
        "member": [d for d, node in ids.items() if node in now["committee"] and node != leader],
        "trainer": [d for d, node in ids.items() if node not in now["committee"]],
    }[role]
    if not wanted:  # the watched one leads: the next round has another leader
        return _kill(running, role)
    victim = wanted[0]
    process = running.processes[victim]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert ask(watcher, "/v1/status")["round"] >= round_
    return victim, round_
