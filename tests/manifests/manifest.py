"""What a manifest says: a community, the perturbations that it is put through, and what must come of it. Read strictly from TOML."""

import tomllib
from itertools import count
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from bflcd.ledger.quorum import faults

MAX_BYTES: Final = 256 * 1024
"""Largest manifest that is read."""

TASKS: Final = {
    "digits": "digits",
    "paced": "tests.helpers.paced_task:PacedDigits",
    "points": "tests.soak.task:PointsTask",
}
"""Tasks by the names that manifests use; any other is the factory itself, `module:attribute`."""

ROLES: Final = ("leader", "member", "trainer", "observer", "random", "next", "all")
"""Whom a perturbation may name besides indices and shares of all nodes. `member` includes the leader only where `count` asks for
every seat; `next`: every node in turn."""

Action = Literal["kill", "pause", "disconnect", "stop", "restart", "wipe", "choke"]
"""`kill`: SIGKILL, started again after `for`. `stop`: the same with SIGTERM; `restart`: at once. `wipe`: SIGKILL, and all that is
left is key and configuration. `pause`: SIGSTOP. `disconnect`: alive, and cut off. `choke`: no file of it may grow any more; it must
end by itself with exit code 1, and is started again after `for`."""

Seconds = Annotated[float, Meta(ge=0, le=3600)]
Index = Annotated[int, Meta(ge=0, le=63)]
Share = Annotated[float, Meta(gt=0, lt=1)]
Who = Index | Share | str | list[Index]


class ManifestError(Exception):
    """A manifest that can't be used: names the file, the key, and what is allowed."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a manifest."""


class CommunityPart(Part, frozen=True):
    """The community. `places` 0: one for each trainer. It runs until `rounds`, or for `duration` seconds, counted from round 1."""

    nodes: Annotated[int, Meta(ge=1, le=40)]
    committee: Annotated[int, Meta(ge=1, le=40)] = 4
    places: Annotated[int, Meta(ge=0, le=64)] = 0
    task: str = "paced"
    options: list[str] = []
    """KEY=VALUE: options of the task."""
    rounds: Annotated[int, Meta(ge=0, le=100_000)] = 0
    duration: Seconds = 0
    view_timeout: Annotated[int, Meta(ge=50, le=60_000)] = 1250
    """T0, milliseconds."""
    store: Literal["archive", "pruned", "mixed"] = "archive"
    """`mixed`: every second node is pruned."""
    keep: Annotated[int, Meta(ge=1, le=1000)] = 2
    newcomers: Annotated[int, Meta(ge=0, le=20)] = 0
    """Machines beside it that its genesis does not name."""
    small: bool = False
    """Fewer nodes than the protocol wants: the committee trains too."""
    observers: list[Index] = []
    params: list[str] = []
    """KEY=VALUE: other parameters of the genesis."""
    flags: list[str] = []
    """Further flags of every `bflcd start`."""


class Perturbation(Part, frozen=True, rename={"lasts": "for", "when": "at", "first": "round"}):
    """One thing that is done, or the same again and again: `every` so many seconds, or at every so many rounds, `times` in all."""

    action: Action
    who: Who
    when: Seconds | None = None
    """Seconds after round 1."""
    first: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """The round that some node must have reached."""
    lasts: Seconds = 0.0
    count: Annotated[int, Meta(ge=1, le=40)] = 1
    """How many of a role."""
    every: Seconds = 0.0
    every_rounds: Annotated[int, Meta(ge=0, le=10_000)] = 0
    times: Annotated[int, Meta(ge=1, le=1000)] = 1
    after_back: bool = False
    """Wait until everyone who was disturbed before is back."""
    mode: Literal["hold", "reset"] = "hold"
    """Of `disconnect`: a black hole, or connections that are reset."""
    direction: Literal["both", "out", "in"] = "both"
    """Of `disconnect`: which way nothing passes, seen from `who`."""
    peers: Who = "all"
    """Of `disconnect`: from whom."""
    together: bool = False
    """Of `disconnect`: those cut off still reach each other."""
    halts: bool = False
    """More than f of the committee are gone: no round may close while it lasts."""


class Change(Part, frozen=True, rename={"first": "round"}):
    """Members come or go, from a round on, at every so many rounds, `times` in all. `join`: a newcomer, or, once there is none
    left, whoever went longest ago; `leave`, `kick`: a member that is no manager; `rollback`: the model of ten rounds before comes
    back."""

    kind: Literal["join", "leave", "kick", "rollback"]
    first: Annotated[int, Meta(ge=1, le=100_000)]
    every_rounds: Annotated[int, Meta(ge=1, le=10_000)] = 1
    times: Annotated[int, Meta(ge=1, le=1000)] = 1


class Expectations(Part, frozen=True):
    """What must hold at the end; times are measured on a machine that may have much else to do."""

    min_rounds: Annotated[int, Meta(ge=0)] = 1
    one_state_hash: bool = True
    verify_clean: bool = True
    max_stall_seconds: Seconds = 60.0
    """Longest time between two rounds, halts not counted."""
    back_in_seconds: Seconds = 60.0
    """From the end of a disturbance until its node is at most a round behind."""
    resume_in_seconds: Seconds = 60.0
    """From the end of a halt to the next round."""
    double_signatures: Annotated[int, Meta(ge=0)] = 0
    empty_rounds_at_most: Annotated[int, Meta(ge=0)] | None = None
    no_warnings: bool = False
    slowest_times_usual: Annotated[float, Meta(gt=1, le=100)] | None = None
    """How long a round in which members came or went, or the one after it, may take, in medians of the other rounds."""


class Manifest(Part, frozen=True):
    """A whole manifest. `seed` draws what is random in it."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    purpose: Annotated[str, Meta(min_length=1, max_length=1000)]
    community: CommunityPart
    expect: Expectations
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 0
    perturb: list[Perturbation] = []
    change: list[Change] = []

    @property
    def relayed(self) -> bool:
        """Whether its daemons must meet through relays."""
        return any(step.action == "disconnect" for step in self.perturb)


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file. Raises ManifestError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{path}: {len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        manifest = parse_manifest(data.decode())
    except (UnicodeDecodeError, ManifestError) as error:
        raise ManifestError(f"{path}: {error}") from error
    return manifest


def parse_manifest(text: str) -> Manifest:
    """A manifest from its text. Raises ManifestError naming the key."""
    try:
        manifest = msgspec.convert(tomllib.loads(text), Manifest)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"no TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ManifestError(str(error).replace("`$.", "`")) from error
    complaint = contradiction(manifest)
    if complaint:
        raise ManifestError(complaint)
    return manifest


def contradiction(manifest: Manifest) -> str:
    """What types can't express: the first key that contradicts another, and why; empty if all is well."""
    community = manifest.community
    if bool(community.rounds) == bool(community.duration):
        return "community: give either `rounds` or `duration`"
    if not community.small and community.nodes < community.committee + 1:
        return f"community.nodes: {community.nodes} nodes are too few for a committee of {community.committee}, or set `small`"
    if any(index >= community.nodes for index in community.observers):
        return f"community.observers: there are nodes 0 to {community.nodes - 1}"
    for number, step in zip(count(), manifest.perturb, strict=False):
        complaint = _step_contradiction(step, community)
        if complaint:
            return f"perturb[{number}].{complaint}"
    return ""


def _step_contradiction(step: Perturbation, community: CommunityPart) -> str:
    if (step.when is None) == (step.first is None):
        return "at: give either `at` or `round`"
    if step.times > 1 and bool(step.every) == bool(step.every_rounds):
        return "times: more than one needs either `every` or `every_rounds`"
    if step.times == 1 and (step.every or step.every_rounds):
        return "every: once needs none; give `times`"
    if step.action in ("pause", "disconnect", "choke") and not step.lasts:
        return f"for: {step.action} needs how many seconds"
    if step.action == "restart" and step.lasts:
        return "for: restart starts at once; use stop"
    if step.action != "disconnect" and (step.mode, step.direction, step.peers, step.together) != ("hold", "both", "all", False):
        return f"action: `mode`, `direction`, `peers` and `together` are of disconnect, not of {step.action}"
    return next(filter(None, (_who_complaint(key, getattr(step, key), community) for key in ("who", "peers"))), "")


def _who_complaint(key: str, who: Who, community: CommunityPart) -> str:
    if isinstance(who, str) and who not in ROLES:
        return f"{key}: {who!r} is nobody; use an index, a list of them, a share between 0 and 1, or {', '.join(ROLES)}"
    if who == "observer" and not community.observers:
        return f"{key}: this community has no observers"
    indices = who if isinstance(who, list) else [who] if isinstance(who, int) else []
    if isinstance(who, list) and not who:
        return f"{key}: the list is empty"
    outside = next((index for index in indices if index >= community.nodes), None)
    return "" if outside is None else f"{key}: there is no node {outside}, only 0 to {community.nodes - 1}"


def bearable(community: CommunityPart) -> int:
    """f: seats that may be gone while rounds go on."""
    return faults(min(community.committee, community.nodes))


def write_manifest(manifest: Manifest) -> str:
    """Its text, which `parse_manifest` reads back."""
    import tomli_w

    raw = {key: value for key, value in msgspec.to_builtins(manifest).items() if key not in ("perturb", "change")}
    raw["expect"] = {key: value for key, value in raw["expect"].items() if value is not None}
    raw["perturb"] = [_without_defaults(step) for step in manifest.perturb]
    raw["change"] = [_without_defaults(change) for change in manifest.change]
    return tomli_w.dumps(raw)


def _without_defaults(step: Perturbation | Change) -> dict[str, object]:
    written = msgspec.to_builtins(step)
    return {
        field.encode_name: written[field.encode_name]
        for field in msgspec.structs.fields(step)
        if field.required or getattr(step, field.name) != field.default
    }
