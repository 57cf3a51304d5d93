"""Managers of a community that stands still: each looks at who is left and what they have prepared, then signs (design 6.8)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bflcd.core.core import Core
from bflcd.core.events import RecoverySigned
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.state import NEVER
from bflcd.node.recovery.observation import best_of, rank_of
from bflcd.node.services import highest_proof
from bflcd.types import Epoch, NodeId
from bflcd.wire.recovery import PreparedProof, Recovery, claim_hash
from tests.helpers.inside import round_of
from tests.sim.node import SimNode
from tests.sim.scene import Scene

MAX_ATTEMPTS: Final = 12
"""After which managers who were never heard give up: that is a violation."""

LEAST_VIEW_MS: Final = 1_000
"""Shorter views pass while members still pull and check what is proposed: such a T0 is too short for a limit in T0."""

MAX_IDLE: Final = 4
"""Looks at a community that needs nobody's help."""

GIVE_UP_MS: Final = 900_000
"""Virtual time in which all must be over."""


class Operators:
    """All operators: they talk to each other beside the network."""

    def __init__(self, scene: Scene) -> None:
        self.world, self.rng = scene.world, scene.rng
        self.on_closed: Callable[[], bool] = lambda: False
        """Called when a round that was recovered is closed everywhere; True if more is to come."""
        self.attempts = self.idle = self.top = 0
        self.last: Recovery | None = None
        self.signed: Recovery | None = None
        self.finished = False
        self.world.on_recovery = self._quorum_signed
        self.world.after(GIVE_UP_MS, self._give_up)

    # -- looking ------------------------------------------------------------------------------------------------------

    def alive(self) -> list[SimNode]:
        return [node for node in self.world.living if node.running and node.started]

    def managers(self) -> list[SimNode]:
        return [node for node in self.alive() if node.id in self.world.genesis.managers]

    def _settled(self) -> bool:
        """Whether everybody who is alive stands in one round."""
        alive = self.alive()
        return len(alive) == len(self.world.living) and all(
            node.round == alive[0].round and node.core is not None and not node.core.syncing for node in alive
        )

    def needed(self, core: Core) -> bool:
        """Whether no quorum of the running committee can come together."""
        able = [node.id for node in self.alive() if node.core is not None and round_of(node.core).may_sign]
        return sum(seat in able for seat in core.context.committee) < core.context.q

    def proofs(self, core: Core) -> dict[NodeId, PreparedProof]:
        """What those who can be asked have prepared in the round, each one's highest."""
        found = {}
        for node in self.alive():
            head = node.disk.head
            if head.hash != core.context.head_hash:
                continue
            proof = highest_proof(head.state, node.disk.records(head.state.round))
            if proof is not None:
                found[node.id] = proof
        return found

    # -- acting -------------------------------------------------------------------------------------------------------

    def act(self) -> None:
        """One operator after the other does what the round needs; again and again until it is closed."""
        world, rng = self.world, self.rng
        if self.finished:
            return
        for node in world.nodes:
            if node.doomed and not node.gone:
                node.crash(power=False)
                node.gone = True
        if self.attempts == 0:
            world.net.heal()
        managers = self.managers()
        if not self._settled() or not managers:
            top = max((node.round for node in world.living), default=0)
            self.top, moved = top, top > self.top
            self.idle += moved
            world.after(1_000, self._closed if self.idle > MAX_IDLE else self.act)
            return
        core = rng.choice(managers).core
        assert core is not None
        if not self.needed(core):
            self.idle += 1
            if self.idle > MAX_IDLE:
                self._closed()
            else:
                world.after(rng.randint(500, 3_000), self.act)
            return
        if self.attempts >= MAX_ATTEMPTS and self._too_few_remember(core, managers):
            world.safety.out_of_contract = True
            world.note(None, "out of contract", "fewer managers than it takes ever learn what they signed before", b"")
            return
        if self.attempts >= MAX_ATTEMPTS:
            world.safety.violate(f"{self.attempts} recoveries of round {core.context.round} and it is not closed")
            return
        self._attempt(core, managers)

    def _too_few_remember(self, core: Core, managers: list[SimNode]) -> bool:
        """Whether a quorum of managers can't come together since some have heard too few others, and too few are left to hear: who
        is left of a community that died as it started looks as if it had lost its disk (design 6.3)."""
        others, members = len(self.alive()) - 1, len(core.context.state.accounts)
        to_hear = min(faults(len(core.context.committee)) + 1, members - 1)
        remember = [manager for manager in managers if not manager.guard.in_doubt or others >= to_hear]
        return len(remember) < quorum(len(self.world.genesis.managers))

    def _attempt(self, core: Core, managers: list[SimNode]) -> None:
        world, rng = self.world, self.rng
        best = best_of(self.proofs(core))
        proof = None if best is None else best[1]
        epochs = [round_of(m.core).recoveries.next_epoch(core.context.state.epoch) for m in managers if m.core is not None]
        recovery = self._recovery(core, proof, Epoch(max(epochs)))
        first = self.attempts == 0
        self.attempts += 1
        self.last = recovery
        world.note(None, "managers", f"want epoch {recovery.epoch} for round {recovery.round}, {len(managers)} of them live", b"")
        if first and rng.random() < 0.3:
            world.net.loss = rng.choice([0.1, 0.3, 0.5])
        needed = quorum(len(world.genesis.managers))
        signers = rng.sample(managers, rng.randint(min(needed, len(managers)), len(managers)))
        if first and rng.random() < 0.3:
            rival = self._another(core, proof, recovery)
            for manager in rng.sample(managers, rng.randint(1, min(needed - 1, len(managers)) or 1)):
                world.after(rng.randint(0, 2_000), self._sign, manager, rival, proof)
        for manager in signers:
            world.after(rng.randint(0, 2_000), self._sign, manager, recovery, proof)
        if first and rng.random() < 0.3:
            world.after(rng.randint(0, 2_500), self._stumble, rng.choice(self.alive()))
        if first and rng.random() < 0.15:
            self._return_early()
        patience = rng.choice([2_500, 20_000, 20_000]) if self.attempts < 3 else 30_000
        world.after(patience, self._look_again, self.attempts)

    def _stumble(self, node: SimNode) -> None:
        self.world.crash(node, power=False)

    def _recovery(self, core: Core, proof: PreparedProof | None, epoch: Epoch) -> Recovery:
        context = core.context
        alive = [node.id for node in self.alive()]
        members = [a.node for a in context.state.accounts if a.node in alive and a.punished_round == NEVER]
        old = [node for node in context.committee if node in members]
        others = [node for node in members if node not in old]
        seats = [*old, *others][: context.params.committee_size]
        if self.rng.random() < 0.4:
            seats = self.rng.sample(members, self.rng.randint(max(1, min(4, len(seats))), len(seats)))
        return Recovery(
            chain=context.state.chain,
            round=context.round,
            epoch=epoch,
            parent=context.head_hash,
            committee=tuple(seats),
            retired=tuple(sorted(a.node for a in context.state.accounts if a.node not in alive)),
            prepared=None if proof is None else claim_hash(proof.claim),
        )

    def _another(self, core: Core, proof: PreparedProof | None, recovery: Recovery) -> Recovery:
        """What another operator would rather have: other seats, in the same epoch or the next."""
        epoch = Epoch(recovery.epoch + self.rng.randint(0, 1))
        other = self._recovery(core, proof, epoch)
        return replace(other, committee=other.committee[::-1]) if other.committee == recovery.committee else other

    def _sign(self, manager: SimNode, recovery: Recovery, proof: PreparedProof | None) -> None:
        """As the recovery desk: each manager looks for itself before it signs, and signs nothing that leaves out what it found."""
        core = manager.core
        if self.finished or not manager.running or not manager.started or manager.gone or core is None:
            return
        if (core.context.round, core.context.head_hash) != (recovery.round, recovery.parent):
            return
        if any(node.round > manager.round for node in self.alive()) or not self.needed(core):
            return
        best = best_of(self.proofs(core))
        if best is not None and rank_of(best[1]) > rank_of(proof):
            return
        seen = self.world.safety.seen_prepared.setdefault((recovery.round, recovery.epoch), set())
        for node in self.alive():
            if node.disk.head.hash == recovery.parent:
                seen.update(record.prepared.digest for record in node.disk.records(recovery.round).prepared)
        self.world.note(manager, "signs a recovery", f"epoch {recovery.epoch} of round {recovery.round}", b"%d" % recovery.epoch)
        manager.post(RecoverySigned(recovery, proof))

    # -- what comes of it ---------------------------------------------------------------------------------------------

    def limit(self, recovery: Recovery) -> int:
        """Virtual milliseconds in which a round must be closed everywhere once a quorum of managers has signed and the network is
        calm: 3 T0 (design 6.8), and what nobody had done before: training and scoring, unless what was prepared is decided. Where
        the survivors hold all seats, or fewer train than it takes, cards leave at the collect deadline only."""
        setup = self.world.setup
        views = 3 * max(setup.view_timeout, LEAST_VIEW_MS)
        if recovery.prepared is not None:
            return views
        work = setup.train_ms[1] + setup.score_ms[1] * setup.nodes
        trainers = [node for node in self.alive() if setup.small or node.id not in recovery.committee]
        if not trainers or setup.active_fraction < 1_000_000 or any(node.amnesia for node in trainers):
            work += setup.collect_deadline
        return views + work

    def _quorum_signed(self, recovery: Recovery) -> None:
        if self.signed is None or (recovery.round, recovery.epoch) > (self.signed.round, self.signed.epoch):
            self.signed = recovery
            self.world.net.heal()
            self.world.note(None, "a quorum of managers", f"has signed epoch {recovery.epoch}", b"")
            self._look_for_end(recovery, self.world.now, self.limit(recovery))

    def _look_for_end(self, recovery: Recovery, since: int, limit: int) -> None:
        world = self.world
        if self.finished or self.signed != recovery:
            return
        living = world.living
        if living and all(node.round > recovery.round for node in living):
            world.safety.recoveries.append(100 * (world.now - since) // limit)
            self._closed()
            return
        if not self._fair(recovery):
            world.after(50, self._look_for_end, recovery, world.now, limit)  # it counts from when all of them are there
            return
        if world.now - since > limit:
            stood = ", ".join(f"{node.name}={node.round}" for node in living)
            world.safety.violate(
                f"no progress: {limit} ms after managers gave round {recovery.round} epoch {recovery.epoch} ({stood})"
            )
            return
        world.after(50, self._look_for_end, recovery, since, limit)

    def _fair(self, recovery: Recovery) -> bool:
        """Whether all who are alive are up, no new seat still waits for a payload (the one that it had asked may have died
        silently, which costs a request's deadline of 20 s), and enough of the new seats may vote in the new epoch."""
        alive = self.alive()
        if len(alive) < len(self.world.living):
            return False
        seats = [node for node in alive if node.id in recovery.committee and node.core is not None]
        if any(not round_of(node.core).work.model_here or node.fetching for node in seats):  # type: ignore[union-attr]
            return False
        voting = [
            n.id for n in alive if n.core is not None and round_of(n.core).recoveries.signed <= recovery.epoch and not n.amnesia
        ]
        silent = [n.id for n in alive if n.core is not None and n.guard.forbids(n.round)]
        able = [seat for seat in recovery.committee if seat in voting and seat not in silent]
        return len(able) >= len(recovery.committee) - faults(len(recovery.committee))

    def _look_again(self, attempt: int) -> None:
        """Patience is over; perhaps it went on without us."""
        if attempt == self.attempts:
            self.act()

    def _closed(self) -> None:
        if self.finished:
            return
        self.attempts = self.idle = 0
        if not self.on_closed():
            self.finish()

    # -- those who return ---------------------------------------------------------------------------------------------

    def _return_early(self) -> None:
        """One of the dead is back while managers sign: perhaps the old committee can decide after all."""
        dead = [node for node in self.world.nodes if node.gone]
        if dead:
            self.world.after(self.rng.randint(0, 2_500), self._return, self.rng.choice(dead))

    def _return(self, node: SimNode, *, wiped: bool = False) -> None:
        if not node.gone:
            return
        node.gone = node.doomed = False
        node.crash_in = None
        self.world.net.apart.discard(node.index)
        self.world.note(node, "is back", "with an empty disk" if wiped else "", b"wiped" if wiped else b"back")
        if wiped:
            node.crash(power=True)
            node.disk.format()
            node.amnesia = True
        node.start()

    def finish(self) -> None:
        """Some of the dead return, and from now on everybody must catch up and go on."""
        if self.finished:
            return
        self.finished = True
        dead = [node for node in self.world.nodes if node.gone]
        back = [node for node in dead if self.rng.random() < 0.6]
        committee = max(self.world.living, key=lambda node: node.round).disk.head.state.committee
        silent = len(dead) - len(back)  # who stays away, or has lost its disk, must be no more than f again
        for node in back:
            wiped = silent < faults(len(committee)) and self.rng.random() < 0.5
            silent += wiped
            self._return(node, wiped=wiped)
        self.world.heal()

    def _give_up(self) -> None:
        if not self.finished:
            stood = ", ".join(f"{node.name}={node.round}" for node in self.world.living)
            self.world.safety.violate(f"managers have not come to an end in {GIVE_UP_MS} ms ({stood})")
