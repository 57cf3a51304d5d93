"""Members that come, go, are put out and taken back in a community of daemons, while rounds go on: what their operators do."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.helpers.daemons import Community, Daemon, UnreachableError, bflcd
from tests.manifests.manifest import Change

PATIENCE_ROUNDS = 25
"""In which a change must be in the ledger from the moment on in which its last operator has signed, or is waiting for another's."""

BACK_ROUNDS = 10
"""How far a rollback goes."""

Step = Iterator[None]


@dataclass(slots=True)
class _Planned:
    change: Change
    round: int
    done: int = 0


@dataclass
class Changer:
    """Carries out a manifest's changes, one at a time each; `look` is called again and again, and never waits."""

    net: Community
    changes: list[Change]
    newcomers: list[Daemon]
    rng: Random
    tell: Callable[[str], None]
    patience: int = PATIENCE_ROUNDS
    least: int = 1
    """Members that have to be there before another goes: a community whose machines start slowly must not run out of trainers."""
    under_way: list[tuple[Change, Step]] = field(default_factory=list)
    carried: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan = [_Planned(change, change.first) for change in self.changes]
        self.out: list[tuple[str, str]] = []
        """Who left or was put out, and how it comes back."""
        self.known = {node.node_id: node for node in self.net if node.node_id}
        self.members = list(self.known)

    @property
    def finished(self) -> bool:
        return not self.under_way and all(planned.done >= planned.change.times for planned in self.plan)

    def look(self, round_: int) -> None:
        """Begin what is due, go on with what is under way."""
        for planned in self.plan:
            busy = any(change.kind == planned.change.kind for change, _ in self.under_way)
            busy |= planned.change.kind in ("leave", "kick") and len(self.members) < self.least
            busy |= planned.change.kind == "join" and not (self.newcomers or self.out)
            if planned.done < planned.change.times and round_ >= planned.round and not busy:
                planned.done += 1
                planned.round = round_ + planned.change.every_rounds
                self.under_way.append((planned.change, getattr(self, f"_{planned.change.kind}")(planned.change)))
        for begun in list(self.under_way):
            try:
                next(begun[1])
            except StopIteration:
                self.under_way.remove(begun)
                self.carried[begun[0].kind] = self.carried.get(begun[0].kind, 0) + 1
            except UnreachableError:
                continue

    # -- each kind of change ------------------------------------------------------------------------------------------

    def _join(self, _: Change) -> Step:
        """A machine that nobody knows, as long as there are some; then whoever went comes back."""
        if self.newcomers:
            node = self.newcomers.pop(0)
            first = self.net[0]
            node.start("--bootstrap", first.address, "--chain-id", self.net.chain_id, "--allow-task", self.net.task)
            self.net.expected.add(node.name)
            while (identity := self._applicant(node)) is None:
                yield
            self.known[identity] = node
            yield from self._sign([self._managers()[0]], "admit", node=identity)
        elif self.out:
            identity, kind = self.out.pop(0)
            managers = self._managers()
            yield from self._sign(managers[:1] if kind == "admit" else managers[: self._quorum()], kind, node=identity)
        else:
            return
        yield from self._until(lambda: identity in self._member_ids(), f"{identity[:8]} is a member")
        admitted, node = self.net[0].round(), self.known[identity]
        yield from self._until(lambda: self._knows(node, admitted), f"{identity[:8]} knows that")
        self.members.append(identity)
        self.tell(f"{identity[:8]} joins, and knows it {self.net[0].round() - admitted} rounds later")

    def _leave(self, _: Change) -> Step:
        if (identity := self._spare()) is None:
            return
        yield from self._hand_in(self.known[identity], "leave")  # the block that carries it may not reach it any more
        yield from self._until(lambda: identity not in self._member_ids(), f"{identity[:8]} has left")
        self.out.append((identity, "admit"))
        self.tell(f"{identity[:8]} has left")

    def _kick(self, _: Change) -> Step:
        if (identity := self._spare()) is None:
            return
        yield from self._sign(self._managers()[: self._quorum()], "kick", node=identity, reason="for the manifest")
        yield from self._until(lambda: identity not in self._member_ids(), f"{identity[:8]} is out")
        self.out.append((identity, "return"))
        self.tell(f"{identity[:8]} is put out")

    def _rollback(self, _: Change) -> Step:
        target = self.net[0].round() - BACK_ROUNDS
        before = self._went_back()
        yield from self._sign(self._managers()[: self._quorum()], "rollback", round=target, reason="for the manifest")
        yield from self._until(lambda: self._went_back() != before, f"the model went back to that of round {target}")
        self.tell(f"the model went back to that of round {target}")

    @staticmethod
    def _knows(node: Daemon, round_: int) -> bool:
        """Whether a node is a member by a ledger of then: by one of before it may be one still."""
        view = node.get("/v1/alliance")
        return bool(view["membership"] == "member" and view["round"] >= round_)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _went_back(self) -> int | None:
        """The round of the last rollback."""
        last = self.net[0].get("/v1/alliance")["rollback"]
        return None if last is None else int(last["round"])

    def _spare(self) -> str | None:
        """A member that manages nothing, if there is one; it is no member from here on, so that nobody else takes it."""
        managers = {node.node_id for node in self._managers()}
        able = [one for one in self.members if one not in managers]
        if not able:
            return None
        identity = self.rng.choice(able)
        self.members.remove(identity)
        return identity

    def _managers(self) -> list[Daemon]:
        named = self.net[0].get("/v1/alliance")["managers"]
        return [self.known[identity] for identity in named]

    def _quorum(self) -> int:
        return int(self.net[0].get("/v1/alliance")["terms"]["quorum"])

    def _member_ids(self) -> set[str]:
        return {one["node_id"] for one in self.net[0].get("/v1/members")}

    def _applicant(self, node: Daemon) -> str | None:
        """Its id once its application is on the chain."""
        try:
            identity: str = node.status()["node_id"]
        except UnreachableError:
            return None
        return identity if any(one["node_id"] == identity for one in self.net[0].get("/v1/alliance")["applicants"]) else None

    def _sign(self, signers: list[Daemon], kind: str, **request: Any) -> Step:
        """One after the other, each when its node has no other operation that waits."""
        for signer in signers:
            number = yield from self._hand_in(signer, kind, **request)
            yield from self._until(
                lambda signer=signer, number=number: signer.get("/v1/alliance")["my_operations"] >= number,
                f"{kind} number {number} of {signer.name} is in a block",
            )

    def _hand_in(self, signer: Daemon, kind: str, **request: Any) -> Generator[None, None, int]:
        """The number that it got."""
        while True:
            answer = signer.request("POST", "/v1/operations", json={"kind": kind, **request})
            if answer.status_code == 200:
                return int(answer.json()["data"]["number"])
            assert answer.json().get("code") in {"busy", "syncing"}, f"{kind} by {signer.name}: {answer.text}"
            yield

    def _until(self, holds: Callable[[], bool], what: str) -> Step:
        begun = self.net[0].round()
        while not holds():
            waited = self.net[0].round() - begun
            assert waited <= self.patience, f"{waited} rounds later not: {what}"
            yield


def make_newcomers(net: Community, count: int) -> list[Daemon]:
    """Machines with a key and nothing else; they are swept with the community."""
    made = []
    for index in range(count):
        datadir = net.path / f"newcomer{index}"
        done = bflcd("init", "--datadir", datadir)
        assert done.returncode == 0, done.stderr
        (datadir / "config.toml").write_text(f"[data]\nindex = {len(net.nodes) + index}\ncount = {len(net.nodes) + count}\n")
        made.append(Daemon(f"newcomer{index}", datadir))
    net.nodes.extend(made)
    return made
