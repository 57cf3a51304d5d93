"""What a node does and is told in a round, by the number of nodes, with the same committee of four (design 12).

`python -m tests.bench growth` prints the rows, and for each size what was sent and taken in by kind of message: for the first time,
and again. All nodes share this machine's cores, so a round takes longer with more of them; what a node does in it must not grow.
"""

import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.bench.work_w import Running, ask, ask_text, cpu_seconds, round_seconds, testnet

SIZES, JUDGES, WARM, ROUNDS = (10, 20, 32), 4, 8, 24
START_SECONDS, RUN_SECONDS = 400, 600


@dataclass(frozen=True, slots=True)
class Size:
    """A community's figures, per node and round. `messages`: by direction, kind, way and whether it was said before."""

    nodes: int
    cpu: float
    seconds: float
    later_views: int
    rounds: int
    messages: Counter[tuple[str, str, str, str]]
    bytes: float


def run() -> list[dict[str, Any]]:
    """The rows, largest community last. The smallest is measured before and after each of the others, and the mean of those two is
    what the other is held against."""
    smallest, *others = SIZES
    before = told(smallest)
    found = rows(before, before)
    for nodes in others:
        size, after = told(nodes), told(smallest)
        least = replace(before, cpu=(before.cpu + after.cpu) / 2, seconds=(before.seconds + after.seconds) / 2)
        found += rows(size, least)
        before = after
    return found


def told(nodes: int) -> Size:
    """Measure a community, and print what its nodes said."""
    found = measure(nodes)
    print(text(found), file=sys.stderr, flush=True)
    return found


def measure(nodes: int) -> Size:
    """Run a community of so many, and count from the round `WARM` on."""
    options = ("--task", "digits", "--rounds", str(ROUNDS), "--committee-size", str(JUDGES))
    with testnet(nodes, *options) as running:
        running.wait(WARM, START_SECONDS)
        first, before, told_before = rounds_of(running), cpu_seconds(running)[0], counted(running)
        running.wait(ROUNDS, RUN_SECONDS)
        after, told = cpu_seconds(running)[0], counted(running)
        seconds = round_seconds(running.datadirs[0])[WARM:]
        views = [row["view"] for row in ask(running.datadirs[0], f"/v1/history?first={WARM + 1}&count=1000")]
    passed = nodes * ROUNDS - sum(first)
    messages = Counter({key: value / passed for key, value in (told[0] - told_before[0]).items()})
    size = (told[1] - told_before[1]) / passed
    return Size(nodes, (after - before) / passed, median(seconds), sum(view > 0 for view in views), len(views), messages, size)


def rounds_of(running: Running) -> list[int]:
    """Where each node stands."""
    return [ask(datadir, "/v1/status")["round"] for datadir in running.datadirs]


def counted(running: Running) -> tuple[Counter[tuple[str, str, str, str]], float]:
    """Messages of all nodes so far, and the bytes of pushes and gossip that came in."""
    messages, size = Counter[tuple[str, str, str, str]](), 0.0
    for datadir in running.datadirs:
        for family in text_string_to_metric_families(text_of(datadir)):
            for sample in family.samples:
                labels = sample.labels
                if sample.name == "bflc_messages_total":
                    messages[labels["direction"], labels["kind"], labels["way"], labels.get("said", "?")] += int(sample.value)
                elif sample.name == "bflc_bytes_total" and labels["direction"] == "in" and labels["channel"] != "payload":
                    size += sample.value
    return messages, size


def text_of(datadir: Path) -> str:
    """A node's metrics; a busy machine gets some tries."""
    for _ in range(5):
        try:
            return ask_text(datadir, "/metrics")
        except OSError:
            time.sleep(1)
    return ask_text(datadir, "/metrics")


def rows(size: Size, least: Size) -> list[dict[str, Any]]:
    """A community's rows, beside the smallest."""
    found = [
        {
            "row": f"CPU s a node and round at {size.nodes} nodes, without workers",
            "value": round(size.cpu, 3),
            "floor": round(least.cpu, 3),
            "floor_is": f"at {least.nodes}",
            "ratio": round(size.cpu / least.cpu, 2),
            "budget": "<= 1.5",
        },
        {
            "row": f"s a round at {size.nodes} nodes on this machine",
            "value": round(size.seconds, 2),
            "floor": round(least.seconds, 2),
            "floor_is": f"at {least.nodes}",
            "ratio": round(size.seconds / least.seconds, 2),
            "budget": "<= 4",
        },
    ]
    views = {"row": f"rounds at {size.nodes} nodes that needed a later view", "value": f"{size.later_views} of {size.rounds}"}
    return [*(found if size is not least else []), {**views, "budget": "<= 5 %"}]


def text(size: Size) -> str:
    """Messages a node and round, as a table."""
    lines = [
        f"{size.nodes} nodes: {size.cpu:.3f} CPU s a node and round, {size.seconds:.2f} s a round, {size.bytes / 1024:.1f} KiB taken in",
        f"{'':22}{'out first':>10}{'out again':>10}{'in first':>10}{'in again':>10}{'in gossiped':>12}",
    ]
    for kind in sorted({kind for _, kind, _, _ in size.messages}):
        cells = [
            sum(count for (d, k, _, s), count in size.messages.items() if (d, k, s) == (direction, kind, said))
            for direction, said in (("out", "first"), ("out", "again"), ("in", "first"), ("in", "again"))
        ]
        gossiped = sum(count for (d, k, w, _), count in size.messages.items() if (d, k, w) == ("in", kind, "gossip"))
        lines.append(f"{kind:22}" + "".join(f"{cell:>10.2f}" for cell in cells) + f"{gossiped:>12.2f}")
    return "\n".join(lines)
