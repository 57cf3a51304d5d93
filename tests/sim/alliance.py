"""Members that come and go while anything else goes wrong: what the operators of nodes have signed, right and wrong (design 7).

An overlay for any profile, from a draw of its own, so that everything else of a seed stays what it is without it.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from typing import Any, Final

from bflcd.core.events import OperationSaid
from bflcd.crypto.identity import Signer
from bflcd.ledger.alliance.fees import in_arrears, is_payable, price_of
from bflcd.ledger.operations.registry import KINDS
from bflcd.ledger.quorum import faults
from bflcd.ledger.state import NEVER, State, account_of, is_member, member_of, members_of
from bflcd.params import BlobRef, Terms
from bflcd.types import Amount, Digest, NodeId, Round
from bflcd.wire.alliance import Admit, Application, Join, Kick, Leave, Refuse, Return, Transfer, Vouch
from bflcd.wire.codec import decode
from bflcd.wire.envelope import seal
from bflcd.wire.governance import Appoint, Dismiss, SetParameter
from bflcd.wire.keys import Replace, Rotate
from bflcd.wire.money import Pay
from bflcd.wire.operation import Operation
from bflcd.wire.rollback import Rollback
from tests.helpers.inside import pool_of
from tests.sim.node import SimNode
from tests.sim.scene import Scene
from tests.sim.setup import Setup

SHARE: Final = 0.65
"""Of the seeds: in at least a third somebody comes or goes."""

WITHOUT: Final = frozenset({"gone"})
"""Profiles whose own operators count on who was there at first."""

MOST: Final = 30
"""Operators' decisions before the heal."""

EMPTIER: Final = 0.1
"""How often somebody goes though seats, or what the committee can bear, are fewer then."""

SET: Final = {
    "admission": (1, 2),
    "deposit": (0, 60),
    "entry_fee": (0, 9),
    "motion_rounds": (2, 1_000),
    "norm_clip": (0, 2_000_000),
    "period_fee": (0, 2),
    "period_rounds": (3, 1_000),
    "reward_share": (0, 1_000, 500_000),
    "score_margin": (100_000, 300_000),
}
"""Parameters that managers set, and to what; none that a time limit of the world follows from."""

WRONG: Final = 0.15
"""Of what is signed: something that no block may carry."""


def draw_strangers(setup: Setup, rng: Random) -> Setup:
    """The community with one or two nodes beside it that its genesis does not name."""
    strangers = rng.choice([1, 1, 2])
    terms = Terms(
        motion_rounds=rng.choice([3, 1_000]), application_rounds=rng.choice([3, 1_000]), admission=rng.choice([1, 1, 2])
    )
    if rng.random() < 0.5:
        costs = [rng.choice([0, 7]), rng.choice([0, 3]), rng.choice([0, 50])]
        entry, period, deposit = (Amount(cost) for cost in costs)
        rounds = rng.choice([2, 4, 1_000])
        terms = replace(terms, entry_fee=entry, period_fee=period, deposit=deposit, period_rounds=rounds, deposit_rounds=2)
    return replace(setup, nodes=setup.nodes + strangers, strangers=strangers, terms=terms)


class Alliance:
    """The operators of all nodes, each for itself."""

    def __init__(self, scene: Scene, rng: Random) -> None:
        self.world, self.rng, self.scene = scene.world, rng, scene
        self.vouchers: dict[NodeId, Signer] = {}
        """Secrets of invitations: whoever wants one has it."""
        self.carried = 0
        """Decisions that were signed and handed in."""
        busy = max(scene.busy, 1)
        for _ in range(rng.randint(6, MOST)):
            scene.at(rng.randint(0, busy), self._decide)

    def _decide(self) -> None:
        """Somebody who is up decides something, as its own ledger shows the community."""
        awake = self._awake()
        if not awake:
            return
        node = self.rng.choice(awake)
        core = node.core
        if core is None or core.syncing:
            return
        if node.honest and any(held.author == node.id for held in pool_of(core).values()):
            return  # one at a time (ADR 18)
        said = self._drawn(node, core.context.state)
        if said is not None:
            self._hand_in(node, said)

    def _awake(self) -> list[SimNode]:
        return [node for node in self.world.nodes if node.running and node.started and not node.paused and not node.gone]

    def _drawn(self, node: SimNode, state: State) -> Any | None:
        """A body, without a number yet where its kind has one; None if there is nothing to decide."""
        account = account_of(state, node.id)
        choices: list[Callable[[SimNode, State], Any | None]] = []
        if account is None or not is_member(account):
            choices += [_apply, *([self._join] * 3 if state.vouchers else [])]
        else:
            choices += [
                self._leave,
                self._leave,
                self._rotate,
                self._transfer,
                *([self._pay] * 4 if in_arrears(state, state.round) else [self._pay]),
            ]
        if node.id in state.managers:
            choices += [self._answer, self._answer, self._kick, self._take_back, *([self._agree] * (5 if state.motions else 0))]
            choices += [self._appoint, self._dismiss, self._set, self._go_back, self._vouch, self._vouch]
            choices += [self._replace] * (3 if state.applicants else 0)
        if self.rng.random() < WRONG:
            choices = [self._presume]
        return self.rng.choice(choices)(node, state)

    def _hand_in(self, node: SimNode, body: Any) -> None:
        """Its own node takes it, or for who is no member the one that it asks; a liar signs two and tells two nodes."""
        account = account_of(node.disk.head.state, node.id)
        number = 1 + (0 if account is None else account.operations)
        if not isinstance(body, Application | Join):
            body = replace(body, number=max(1, number + (self.rng.choice([0, 0, 0, 1, -1]) if not node.honest else 0)))
        kind = next(name for name, kind in KINDS.items() if kind.bodies == (type(body),))
        operation = Operation(kind, tuple(seal(body, signer).envelope for signer in self._signers(node, body)))
        taker = node
        if isinstance(body, Application | Join) or not node.honest:
            taker = self.rng.choice([other for other in self.world.nodes if other.running and other.started] or [node])
        self.carried += 1
        self.world.note(node, "signs", f"{kind} {KINDS[kind].describe(operation)}, at {taker.name}", kind.encode())
        taker.post(OperationSaid(operation))

    def _signers(self, node: SimNode, body: Any) -> list[Signer]:
        """Its own key, and what else a kind asks for."""
        match body:
            case Join():
                return [node.signer, self.vouchers[body.voucher]]
            case Rotate():
                return [node.signer, next(key for key in node.keys if key.node_id == body.node)]
        return [node.signer]

    # -- what there is to decide --------------------------------------------------------------------------------------

    def _spare(self, state: State) -> list[NodeId]:
        """Who may go: nobody who manages, and not so many that seats stay empty, except now and then."""
        setup, there = self.world.setup, [account.node for account in members_of(state)]
        seats = min(setup.committee, len(there) - 1)
        enough = faults(seats) == setup.f and (setup.small or len(there) > setup.committee + 1)
        if not enough and (len(there) < 2 or self.rng.random() > EMPTIER):
            return []
        return [node for node in there if node not in state.managers]

    def _leave(self, node: SimNode, state: State) -> Leave | None:
        """Half of them leave what they have to another."""
        others = [one.node for one in members_of(state) if one.node != node.id]
        heir = self.rng.choice(others) if others and self.rng.random() < 0.5 else None
        return Leave(state.chain, state.round, 1, heir) if node.id in self._spare(state) else None

    def _transfer(self, node: SimNode, state: State) -> Transfer | None:
        account, others = account_of(state, node.id), [one.node for one in members_of(state) if one.node != node.id]
        if account is None or not account.balance or not others:
            return None
        amount = Amount(self.rng.randint(1, max(1, account.balance // 4)))
        return Transfer(state.chain, state.round, 1, self.rng.choice(others), amount)

    def _answer(self, _: SimNode, state: State) -> Admit | Refuse | None:
        """An applicant, or somebody who is known to be out."""
        out = [one.node for one in state.applicants if one.refused_round == NEVER]
        out += [one.node for one in state.accounts if one.left_round != NEVER]
        out += [one.id for one in self.world.nodes if account_of(state, one.id) is None]
        if not out:
            return None
        chosen = self.rng.choice(out)
        if self.rng.random() < 0.15 and any(one.node == chosen for one in state.applicants):
            return Refuse(state.chain, state.round, 1, chosen, "not now")
        return Admit(state.chain, state.round, 1, chosen)

    def _kick(self, _: SimNode, state: State) -> Kick | None:
        spare = self._spare(state)
        return Kick(state.chain, state.round, 1, self.rng.choice(spare), "it copies") if spare else None

    def _take_back(self, _: SimNode, state: State) -> Return | None:
        out = [one.node for one in state.accounts if one.kicked_round != NEVER]
        return Return(state.chain, state.round, 1, self.rng.choice(out)) if out else None

    def _vouch(self, _: SimNode, state: State) -> Vouch:
        """By a voucher of its own, or behind another's."""
        if state.vouchers and self.rng.random() < 0.5:
            other = self.rng.choice(state.vouchers)
            return Vouch(state.chain, state.round, 1, other.key, other.until, opens=False)
        key = self.world.keyring.another()
        self.vouchers[key.node_id] = key
        self.scene.at(self.rng.randint(200, 4_000), self._invited, key.node_id)
        until = Round(state.round + self.rng.choice([1, 3, 100]))
        return Vouch(state.chain, state.round, 1, key.node_id, until, opens=True)

    def _join(self, node: SimNode, state: State) -> Join:
        """By a voucher that others may use in the same round."""
        return Join(state.chain, state.round, node.id, self.rng.choice(state.vouchers).key)

    def _invited(self, voucher: NodeId) -> None:
        """Those who have got an invitation, one or two, use it."""
        out = [node for node in self._awake() if member_of(node.disk.head.state, node.id) is None]
        for node in self.rng.sample(out, min(len(out), self.rng.choice([1, 1, 2]))):
            state = node.disk.head.state
            self._hand_in(node, Join(state.chain, state.round, node.id, voucher))

    def _rotate(self, node: SimNode, state: State) -> Rotate:
        """To a key that it has made before, or a new one."""
        made = [key for key in node.keys if account_of(state, key.node_id) is None]
        key = self.rng.choice(made) if made else self.world.another_key(node)
        return Rotate(state.chain, state.round, 1, key.node_id, node.id)

    def _replace(self, _: SimNode, state: State) -> Replace | None:
        """A member's account goes to another machine."""
        new = [one.node for one in state.applicants if one.refused_round == NEVER and account_of(state, one.node) is None]
        there = [one.node for one in members_of(state)]
        return Replace(state.chain, state.round, 1, self.rng.choice(there), self.rng.choice(new)) if new else None

    def _pay(self, node: SimNode, state: State) -> Pay | None:
        """For itself, or for whoever owes."""
        mine = account_of(state, node.id)
        owing = [one for one in members_of(state) if is_payable(state.terms, one, state.round)]
        if mine is None or not owing:
            return None
        whose = mine if mine in owing and self.rng.random() < 0.6 else self.rng.choice(owing)
        price = price_of(state.terms, whose)
        return Pay(state.chain, state.round, 1, whose.node, whose.paid_round, price.fee, price.deposit)

    def _appoint(self, _: SimNode, state: State) -> Appoint | None:
        others = [one.node for one in members_of(state) if one.node not in state.managers and self.world.by_id[one.node].honest]
        return Appoint(state.chain, state.round, 1, self.rng.choice(others)) if others else None

    def _dismiss(self, node: SimNode, state: State) -> Dismiss | None:
        """Itself as often as another."""
        other = node.id if self.rng.random() < 0.5 else self.rng.choice(state.managers)
        return Dismiss(state.chain, state.round, 1, other, "") if len(state.managers) > 1 else None

    def _set(self, _: SimNode, state: State) -> SetParameter:
        name, values = self.rng.choice(sorted(SET.items()))
        return SetParameter(state.chain, state.round, 1, name, self.rng.choice(values))

    def _go_back(self, node: SimNode, state: State) -> Rollback | None:
        """To a model that its own headers name; a liar names another's."""
        target = Round(self.rng.randint(0, state.round))
        found = node.disk.segment(target)
        model = self.world.genesis.model if target == 0 else None if found is None else found.segment.model_header.blob
        if model is None:
            return None
        if not node.honest and self.rng.random() < 0.5:
            model = BlobRef(Digest(bytes(32)), model.size)
        return Rollback(state.chain, state.round, 1, target, model, "poisoned")

    def _agree(self, node: SimNode, state: State) -> Any | None:
        """The same as another manager's open motion."""
        open_ = [one for one in state.motions if node.id not in one.approvals]
        if not open_:
            return None
        motion = self.rng.choice(open_)
        return replace(decode(motion.content, KINDS[motion.kind].bodies[0]), round=state.round)

    def _presume(self, _: SimNode, state: State) -> Any:
        """What no ledger can carry, or not of this author."""
        other = self.rng.choice(self.world.nodes).id
        return self.rng.choice(
            [
                Admit(state.chain, state.round, 1, other),
                Kick(state.chain, Round(state.round + 3), 1, other, ""),
                Transfer(state.chain, state.round, 1, other, Amount(2**40)),
                Return(state.chain, state.round, 1, other),
            ]
        )


def _apply(_: SimNode, state: State) -> Application:
    return Application(state.chain, state.round, "a node of the world")


def came_and_went(states: Iterable[State]) -> int:
    """In how many of those ledgers, one after the other, somebody is a member who was none before, or the other way round."""
    changes, before = 0, None
    for state in states:
        members = frozenset(account.node for account in members_of(state))
        changes += before is not None and members != before
        before = members
    return changes
