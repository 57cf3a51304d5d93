"""Manifests drawn from a seed: size, roles, times and kinds of trouble differ, and never more than f are hit at a time unless a
halt is what is expected."""

from random import Random
from typing import Any, Final

import msgspec

from bflcd.ledger.quorum import faults
from tests.manifests.manifest import Action, CommunityPart, Expectations, Manifest, Perturbation, contradiction

SIZES: Final = ((4, 4), (6, 4), (7, 4), (7, 5), (8, 6), (10, 7))
"""Nodes and seats. Four of four is a small community: its members train too."""

ACTIONS: Final[tuple[Action, ...]] = (
    "kill",
    "kill",
    "pause",
    "pause",
    "disconnect",
    "disconnect",
    "stop",
    "restart",
    "wipe",
    "choke",
)
"""Each as often as it is drawn."""

HALT_SHARE: Final = 0.25
"""Of the manifests, those in which the community halts once and has to resume."""


def generate(seed: int) -> Manifest:
    """The manifest of a seed; the same seed gives the same one."""
    rng = Random(f"manifest {seed}")
    nodes, seats = rng.choice(SIZES)
    community = CommunityPart(
        nodes=nodes,
        committee=seats,
        task=rng.choice(("points", "points", "paced")),
        duration=float(rng.randint(15, 40)),
        view_timeout=rng.choice((500, 800, 1250)),
        store=rng.choice(("archive", "pruned", "mixed")),
        keep=rng.randint(1, 4),
        small=nodes == seats,
    )
    steps = [_step(rng, community) for _ in range(rng.randint(2, 5))]
    if rng.random() < HALT_SHARE:
        steps.append(_halt(rng, community))
    manifest = Manifest(
        name=f"drawn-{seed}",
        purpose=f"Drawn from seed {seed}: {nodes} nodes, {seats} seats, {', '.join(step.action for step in steps)}.",
        community=community,
        expect=Expectations(min_rounds=5, max_stall_seconds=90.0, back_in_seconds=90.0),
        seed=seed,
        perturb=steps,
    )
    complaint = contradiction(manifest)
    if complaint:
        raise AssertionError(f"seed {seed} draws a manifest that contradicts itself: {complaint}")
    return manifest


def _step(rng: Random, community: CommunityPart) -> Perturbation:
    """Trouble for at most f nodes, once everyone is back from the trouble before."""
    action = rng.choice(ACTIONS)
    fields: dict[str, Any] = {"action": action, "when": round(rng.uniform(0.5, community.duration), 1), "after_back": True}
    bearable = faults(community.committee)
    fields["who"] = rng.choice(("leader", "member", "random", "random", "next") + (() if community.small else ("trainer",)))
    if fields["who"] in ("member", "random") and action != "restart":
        fields["count"] = rng.randint(1, bearable)
    if action != "restart":
        fields["lasts"] = round(rng.uniform(0.5, 8.0), 1)
    if action == "disconnect":
        fields |= {"mode": rng.choice(("hold", "reset")), "direction": rng.choice(("both", "both", "out", "in"))}
        if rng.random() < 0.3:
            fields |= {"who": rng.randrange(community.nodes), "count": 1, "peers": [rng.randrange(community.nodes)]}
    if rng.random() < 0.3:
        fields |= {"times": rng.randint(2, 3), "every": round(rng.uniform(1.0, 5.0), 1)}
    return msgspec.structs.replace(Perturbation(action=action, who="random"), **fields)


def _halt(rng: Random, community: CommunityPart) -> Perturbation:
    """One more than the community bears, so that it stands still."""
    step = Perturbation(action="pause", who="member", count=faults(community.committee) + 1, after_back=True, halts=True)
    return msgspec.structs.replace(
        step, when=round(rng.uniform(1.0, community.duration), 1), lasts=round(rng.uniform(4.0, 10.0), 1)
    )
