"""What a manager's node proposes for a stuck round, and what it refuses to sign, over whole cores in virtual time (design 6.8)."""

from dataclasses import replace

import pytest

from bflcd.api.schema.recovery import RecoveryRequest, RecoveryView
from bflcd.core.events import MessageReceived, RecoverySigned
from bflcd.core.records import RoundRecords
from bflcd.crypto.identity import Identity
from bflcd.errors import OperatorError, PeerError, Rejection, RequestError, UsageError
from bflcd.node.recovery.observation import Observation, best_of, check_found, doubt_of
from bflcd.node.recovery.plan import _default_retired
from bflcd.node.recovery.report import pending_warning
from bflcd.node.recovery.service import RecoveryService
from bflcd.node.services import highest_proof
from bflcd.node.views.members import members_view
from bflcd.node.views.status import _recovering
from bflcd.types import Epoch, Millis, NodeId, PartsPerMillion, Round, View, short
from bflcd.wire.blocks import Certificate, committee_hash
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Prepare
from bflcd.wire.proposal import proposal_id
from bflcd.wire.recovery import PreparedClaim, PreparedProof, ProposalBasis, Recovery, RecoveryCertificate
from bflcd.wire.requests import GetPrepared, PreparedReply
from tests.core.test_recovery import a_recovery, managers, prepared_and_stuck, stuck
from tests.helpers.inside import round_of
from tests.helpers.proofs import claiming
from tests.helpers.world import World

LOOK = RecoveryRequest(dry_run=True)
SIGN = RecoveryRequest()


class Desk(RecoveryService):
    """The desk of one node of a world; `answers` takes the place of what members would say, `rounds` of where they stand."""

    def __init__(self, world: World, node: NodeId) -> None:
        self.world, self.node = world, node
        self.blamed: list[tuple[NodeId, Rejection]] = []
        self.answers: dict[NodeId, PreparedProof | Exception] = {}
        self.rounds: dict[NodeId, Round] = {}
        self.cut_off: set[NodeId] = set()
        self.asked: list[NodeId] = []
        super().__init__(
            world.cores[node],
            store=self,
            asker=self,
            peers=self._connected,
            sign=self._feed,
            verify=world.verified.verify_once,
            on_misbehaviour=lambda peer, rejection, _: self.blamed.append((peer, rejection)),
            clock=world.instant,
        )

    def _connected(self) -> dict[NodeId, Round]:
        here = [node for node in self.world.cores if node != self.node and node not in self.cut_off]
        return {node: self.rounds.get(node, self.world.cores[node].context.round) for node in here}

    async def records(self, round_: Round) -> RoundRecords:
        return self.world.disks[self.node].found(round_)

    async def certificate(self, round_: Round) -> Certificate | None:
        segment = self.world.disks[self.node].segments.get(round_)
        return None if segment is None else segment.certificate

    async def ask(self, peer: NodeId, request: GetPrepared, *, deadline: float) -> PreparedReply:
        assert 0 < deadline <= 5
        self.asked.append(peer)
        context = self.world.cores[peer].context
        if (request.chain, request.round, request.parent) != (context.state.chain, context.round, context.head_hash):
            raise PeerError(Rejection.UNAVAILABLE, "elsewhere")
        answer = self.answers.get(peer)
        if isinstance(answer, Exception):
            raise answer
        disk = self.world.disks[peer]
        return PreparedReply(answer or highest_proof(disk.head.state, disk.found(request.round)))

    async def _feed(self, event: RecoverySigned) -> None:
        self.world.feed(self.node, event)


def spread(world: World) -> None:
    """Let what was said arrive."""
    world.run_until(lambda: False, 200)


def ids(nodes: object) -> list[str]:
    return [node.hex() for node in nodes]  # type: ignore[attr-defined]


async def sign_all(world: World, request: RecoveryRequest = SIGN) -> list[RecoveryView]:
    """Three managers sign, one after the other."""
    views = []
    for manager in managers(world)[:3]:
        views.append(await Desk(world, manager).recover(request))
        spread(world)
    return views


@pytest.mark.parametrize("seed", range(3))
async def test_three_managers_sign_one_and_the_same_recovery_and_the_round_goes_on(seed: int) -> None:
    """Given f + 1 dead seats, when three managers take what is proposed, then the first makes it, the others join, all go on."""
    world, dead = stuck(seed)
    manager = managers(world)[0]
    context = world.cores[manager].context
    view = await Desk(world, manager).recover(LOOK)
    alive = [node for node in context.committee if node not in dead]
    others = sorted(set(world.cores) - set(alive))
    assert view.proposal.committee == ids([*alive, *others][:4])
    assert view.proposal.retired == ids(sorted(dead))
    assert view.silent == ids(node for node in context.committee if node in dead)
    assert (view.action, view.refusal, view.can_still_decide, view.needed) == ("new", "", False, 3)
    assert {asked.node_id for asked in view.unanswered} == set(view.silent)
    assert view.proposal.signed_by == []

    views = await sign_all(world)
    assert {v.proposal.id for v in views} == {view.proposal.id}
    assert [len(v.proposal.signed_by) for v in views] == [1, 2, 3]
    assert [(v.action, v.signed, v.adopted) for v in views] == [
        ("new", True, False),
        ("join", True, False),
        ("join", True, True),
    ]
    assert world.run_until(lambda: min(world.rounds()) >= 4, 30_000)


def test_who_is_connected_is_not_declared_gone_though_nothing_was_heard_of_it_in_the_round() -> None:
    """Given a stuck round in which this manager has heard nobody, when it proposes, then those that it is connected to stay."""
    world, dead = stuck(0)
    core = world.cores[managers(world)[0]].snapshot(world.instant())
    context = core.context
    connected = frozenset(world.cores) - {context.me}
    assert set(_default_retired(replace(core, present=frozenset()), Observation(connected), context.committee)) == set()
    alive = tuple(node for node in context.committee if node not in dead)
    assert set(_default_retired(replace(core, present=frozenset()), Observation(connected), alive)) == set(dead)


async def test_what_was_found_prepared_is_proposed_and_decided() -> None:
    """Given a prepared segment that only some hold, when managers sign what is proposed, then exactly that is decided."""
    world, _, proof = prepared_and_stuck(1)
    view = await Desk(world, managers(world)[0]).recover(LOOK)
    assert view.prepared is not None
    assert (view.prepared.digest, view.prepared.view) == (proof.claim.digest.hex(), proof.claim.view)
    assert view.proposal.prepared is not None
    assert view.proposal.prepared.digest == proof.claim.digest.hex()
    assert any(short(proof.claim.digest) in line for line in view.lines)
    await sign_all(world)
    assert world.run_until(lambda: min(world.rounds()) >= 3, 30_000), world.notices[-20:]
    assert {disk.segments[3].certificate.digest for node, disk in world.disks.items() if node in world.cores} == {
        proof.claim.digest
    }


async def test_nothing_is_signed_while_a_quorum_may_come_together_unless_forced() -> None:
    world, dead = stuck()
    world.start(dead[0])  # three of four seats now
    manager = managers(world)[0]
    desk = Desk(world, manager)
    view = await desk.recover(LOOK)
    assert view.can_still_decide
    assert view.code == "not_needed"
    assert "wrong" in view.lines[0]
    with pytest.raises(OperatorError) as refused:
        await desk.recover(SIGN)
    assert refused.value.code == "not_needed"
    assert refused.value.hint
    assert round_of(world.cores[manager]).recoveries.signed == 0
    assert (await desk.recover(RecoveryRequest(force=True))).signed


async def test_who_says_that_the_round_is_decided_holds_it_up() -> None:
    world, _ = stuck()
    desk = Desk(world, managers(world)[0])
    ahead = next(node for node in world.cores if node != desk.node)
    desk.rounds[ahead] = Round(3)
    with pytest.raises(OperatorError, match=short(ahead)) as refused:
        await desk.recover(SIGN)
    assert refused.value.code == "not_needed"


async def test_a_seat_whose_manager_has_signed_votes_no_more() -> None:
    """Given one dead seat of four, when a manager with a seat was forced to sign, then two votes are left and others may follow."""
    world, dead = stuck()
    world.start(dead[0])
    seat = next((node for node in managers(world) if node in world.cores[node].context.committee), None)
    assert seat is not None
    await Desk(world, seat).recover(RecoveryRequest(force=True))
    spread(world)
    other = next(node for node in managers(world) if node != seat)
    view = await Desk(world, other).recover(LOOK)
    assert [row.node_id for row in view.committee if row.signed] == [seat.hex()]
    assert not view.can_still_decide
    assert view.action == "join"


async def test_who_has_signed_waits_and_signs_nothing_twice() -> None:
    world, _ = stuck()
    desk = Desk(world, managers(world)[0])
    await desk.recover(SIGN)
    spread(world)
    again = await desk.recover(SIGN)
    assert (again.action, again.signed, again.refusal) == ("wait", False, "")
    assert round_of(world.cores[desk.node]).recoveries.signed == 1
    core = world.cores[managers(world)[1]]
    assert pending_warning(core.snapshot(world.instant()).recoveries, core.context.state.epoch).startswith(
        "1 of 3 managers have signed"
    )
    newer = await desk.recover(RecoveryRequest(new=True))
    assert (newer.proposal.epoch, newer.signed) == (2, True)


async def test_only_managers_sign_and_everybody_may_look() -> None:
    world, _ = stuck()
    other = next(node for node in sorted(world.cores) if node not in world.genesis.managers)
    desk = Desk(world, other)
    view = await desk.recover(LOOK)
    assert (view.i_am_manager, view.code) == (False, "not_manager")
    with pytest.raises(OperatorError) as refused:
        await desk.recover(RecoveryRequest(force=True))
    assert refused.value.code == "not_manager"


async def test_nothing_but_what_was_shown_is_signed() -> None:
    """Given a plan that was shown, when another manager signs another one meanwhile, then this one is not signed unseen."""
    world, _ = stuck()
    first, second = managers(world)[:2]
    desk = Desk(world, first)
    shown = await desk.recover(LOOK)
    reversed_ = list(reversed(shown.proposal.committee))
    await Desk(world, second).recover(RecoveryRequest(committee=reversed_))
    spread(world)
    with pytest.raises(OperatorError) as refused:
        await desk.recover(RecoveryRequest(expect=shown.proposal.id))
    assert refused.value.code == "changed"
    assert round_of(world.cores[first]).recoveries.signed == 0
    joined = await desk.recover(SIGN)
    assert joined.proposal.committee == reversed_
    assert len(joined.proposal.signed_by) == 2


def signed(world: World, recovery: Recovery, proof: PreparedProof | None, by: NodeId) -> RecoveryCertificate:
    return RecoveryCertificate(recovery, proof, ((by, seal(recovery, world.identities[by]).envelope.signature),))


@pytest.mark.parametrize("wrong", ["dead", "retires the living"])
async def test_what_one_manager_makes_up_is_not_joined_without_being_told_to(wrong: str) -> None:
    """Given a manager that signs senseless recoveries of a high epoch, when another takes the default, then it makes its own."""
    world, dead = stuck()
    rogue, manager = managers(world)[:2]
    recovery = a_recovery(world, dead, epoch=7)
    if wrong == "dead":
        recovery = replace(recovery, committee=tuple(dead), retired=())
    else:
        victim = next(node for node in sorted(world.cores) if node not in recovery.committee)
        recovery = replace(recovery, retired=tuple(sorted([*dead, victim])))
    world.feed(manager, MessageReceived(signed(world, recovery, None, rogue), rogue))
    desk = Desk(world, manager)
    view = await desk.recover(LOOK)
    assert (view.action, view.proposal.epoch) == ("new", 8)
    assert view.pending[0].objection
    assert any(view.pending[0].objection in text for text in view.warnings)
    with pytest.raises(OperatorError) as refused:
        await desk.recover(RecoveryRequest(join=view.pending[0].id))
    assert refused.value.code == "doubtful"
    assert (await desk.recover(RecoveryRequest(join=view.pending[0].id, force=True))).proposal.epoch == 7


async def test_a_recovery_that_leaves_out_what_was_prepared_is_not_joined() -> None:
    """Given a manager that saw no proof and signed free choice, when another finds one, then it makes a higher epoch of it."""
    world, dead, proof = prepared_and_stuck(1)
    blind, manager = managers(world)[:2]
    world.feed(manager, MessageReceived(signed(world, a_recovery(world, dead), None, blind), blind))
    view = await Desk(world, manager).recover(SIGN)
    assert (view.action, view.proposal.epoch) == ("new", 2)
    assert view.proposal.prepared is not None
    assert view.proposal.prepared.digest == proof.claim.digest.hex()


def forged(world: World, like: PreparedProof, epoch: int, liars: list[Identity]) -> PreparedProof:
    """A proof in an epoch between, by a committee of the liar's own making, every signature of it true."""
    context = next(iter(world.cores.values())).context
    committee = tuple(liar.node_id for liar in liars)
    body = Prepare(
        chain=context.state.chain,
        round=context.round,
        epoch=Epoch(epoch),
        view=View(50),
        parent=context.head_hash,
        committee=committee_hash(Epoch(epoch), committee),
        digest=like.claim.digest,
        proposal=proposal_id(like.claim.proposal),
    )
    prepares = tuple(sorted((liar.node_id, seal(body, liar).envelope.signature) for liar in liars))
    return PreparedProof(PreparedClaim(Epoch(epoch), committee, View(50), like.claim.digest, like.claim.proposal), prepares)


async def test_a_committee_that_nobody_appointed_prepares_nothing() -> None:
    """Given a pending recovery of epoch 1, when a liar shows a proof of epoch 1 by itself alone, then it is not used."""
    world, dead, proof = prepared_and_stuck(1)
    first, manager = managers(world)[:2]
    world.feed(manager, MessageReceived(signed(world, a_recovery(world, dead, proof=proof), proof, first), first))
    liar = next(node for node in sorted(world.cores) if node != manager and node not in proof.claim.committee)
    desk = Desk(world, manager)
    desk.answers[liar] = forged(world, proof, 1, [world.identities[liar]])
    view = await desk.recover(LOOK)
    assert view.prepared is not None
    assert (view.prepared.epoch, view.prepared.view) == (0, proof.claim.view)
    assert any(short(liar) in text and "not used" in text for text in view.warnings)

    false = desk.answers[liar]
    assert isinstance(false, PreparedProof)
    world.feed(manager, MessageReceived(signed(world, a_recovery(world, dead, epoch=2, proof=false), false, first), first))
    view = await desk.recover(LOOK)
    objections = {row.epoch: row.objection for row in view.pending}
    assert "can't be used" in objections[2]
    assert objections[1] == ""
    assert (view.action, view.proposal.epoch) == ("join", 1)


def test_a_proof_holds_only_on_the_ground_that_a_known_recovery_gave() -> None:
    """Given epochs 0 and 1 that are known, then a proposal of 0 has no basis, one of 1 that of epoch 1, and of 2 none is known."""
    _, _, proof = prepared_and_stuck(1)
    first, later = ProposalBasis(proof.claim.committee, ()), ProposalBasis(proof.claim.committee[:3], proof.claim.committee[3:])
    epochs = {Epoch(0): first, Epoch(1): later}
    again = claiming(proof, epoch=Epoch(1), committee=later.committee)
    anew = claiming(again, proposal=replace(proof.claim.proposal, epoch=Epoch(1)), basis=later)
    assert [doubt_of(one, epochs) for one in (proof, again, anew)] == ["", "", ""]
    unknown = claiming(anew, proposal=replace(proof.claim.proposal, epoch=Epoch(2)))
    for one in (claiming(proof, basis=later), claiming(anew, basis=None), claiming(anew, basis=first), unknown):
        assert "basis" in doubt_of(one, epochs)
    assert "committee" in doubt_of(claiming(again, committee=first.committee), epochs)
    assert "committee" in doubt_of(claiming(again, epoch=Epoch(2)), epochs)


async def test_a_false_proof_costs_its_giver_and_a_silent_member_is_named() -> None:
    world, _, proof = prepared_and_stuck(1)
    desk = Desk(world, managers(world)[0])
    seats = world.cores[desk.node].context.committee
    liar, late = [node for node in sorted(world.cores) if node != desk.node and node not in seats][:2]
    desk.answers[liar] = claiming(proof, view=View(proof.claim.view + 5))
    desk.answers[late] = RequestError("no answer within 3 s")
    view = await desk.recover(LOOK)
    assert desk.blamed == [(liar, Rejection.BAD_RECOVERY)]
    reasons = {asked.node_id: asked.reason for asked in view.unanswered}
    assert "no proof" in reasons[liar.hex()]
    assert reasons[late.hex()] == "no answer within 3 s"
    assert not {liar.hex(), late.hex()} & set(view.answered)
    assert view.prepared is not None
    assert view.prepared.view == proof.claim.view


async def test_how_much_the_answers_prove_is_told() -> None:
    """Given two of four seats, when both answer, one of them prepared whatever was decided; when one does, it may be missed."""
    world, dead = stuck()
    manager = managers(world)[0]
    alive = [node for node in world.cores[manager].context.committee if node not in dead]
    desk = Desk(world, manager)
    assert "at least 1 of these prepared" in (await desk.recover(LOOK)).warnings[0]
    other = next(node for node in alive if node != manager)
    desk.answers[other] = RequestError("lost")
    if manager not in alive:
        desk.answers |= dict.fromkeys(alive, RequestError("lost"))
    assert "one exception" in (await desk.recover(LOOK)).warnings[0]
    assert desk.asked[0] in alive, "the old seats first"


async def test_a_node_that_is_cut_off_is_told_so_and_proposes_what_is_left() -> None:
    world, _ = stuck()
    desk = Desk(world, managers(world)[0])
    desk.cut_off = set(world.cores) - {desk.node, managers(world)[1]}
    view = await desk.recover(LOOK)
    assert any("cut off" in text for text in view.warnings)
    assert any("survives neither" in text for text in view.warnings)
    assert set(view.proposal.committee) == {desk.node.hex(), managers(world)[1].hex()}


async def test_who_was_heard_and_is_not_connected_is_neither_seated_nor_retired_but_a_seat_is_retired() -> None:
    """Given a trainer and a seat that spoke in this round and are not connected, then only the seat counts as gone: everybody
    keeps connections to the committee, and a trainer may be known through others alone."""
    world, dead = stuck()
    desk = Desk(world, managers(world)[0])
    core = world.cores[desk.node]
    seats = core.context.committee
    heard, unheard = [node for node in sorted(world.cores) if node not in (*seats, desk.node)][:2]
    desk.cut_off = {heard, unheard}
    round_of(core).collection.beacons -= {unheard}
    round_of(core).collection.beacons |= {heard, *dead}
    proposal = (await desk.recover(LOOK)).proposal
    assert proposal.retired == ids(sorted([*dead, unheard]))
    assert heard.hex() not in proposal.committee


def test_the_ledger_and_status_show_what_a_recovery_did() -> None:
    """Given a signature that waits for others, then `status` says so; given members that lied or were gone, `members` does."""
    world, dead = stuck()
    first, other = managers(world)[:2]
    world.feed(other, MessageReceived(signed(world, a_recovery(world, dead), None, first), first))
    core = world.cores[other]
    assert [text[:31] for text in _recovering(core.snapshot(world.instant()))] == ["1 of 3 managers have signed to "]
    state = core.context.head.state
    marks = {dead[0]: {"retired_round": 2}, dead[1]: {"punished_round": 1, "retired_round": 2}}
    accounts = tuple(replace(account, **marks.get(account.node, {})) for account in state.accounts)
    context = replace(core.context, head=replace(core.context.head, state=replace(state, accounts=accounts)))
    seen = replace(core.snapshot(world.instant()), context=context)
    standings = {member.node_id: member.standing for member in members_view(seen)}
    assert [standings[node.hex()] for node in (*dead, other)] == ["retired", "punished", "member"]


async def test_wishes_that_mean_nothing_are_refused() -> None:
    world, dead = stuck()
    desk = Desk(world, managers(world)[0])
    alive = ids(sorted(world.cores))
    wrong: list[tuple[dict[str, object], str]] = [
        ({"committee": ["ff" * 32]}, "no member"),
        ({"committee": ["ff" * 31]}, "no id"),
        ({"committee": ["zz" * 32]}, "no id"),
        ({"committee": [alive[0], alive[0]]}, "twice"),
        ({"committee": alive[:5]}, "1 to 4 seats"),
        ({"committee": []}, "1 to 4 seats"),
        ({"committee": alive[:4], "retired": alive[:1]}, "can't have a seat"),
        ({"retired": ["ff" * 32]}, "no member"),
        ({"retired": alive[:1] * 65}, "at most 64"),
        ({"join": "ff" * 32}, "no recovery"),
        ({"join": "ff" * 32, "new": True}, "as it stands"),
    ]
    for fields, text in wrong:
        with pytest.raises(UsageError, match=text):
            await desk.recover(RecoveryRequest(**fields))  # type: ignore[arg-type]
    seated = (await desk.recover(LOOK)).proposal.committee
    living = next(node for node in alive if node not in seated)
    for request in (RecoveryRequest(committee=ids(dead)), RecoveryRequest(retired=[living])):
        with pytest.raises(OperatorError) as refused:
            await desk.recover(request)
        assert refused.value.code == "doubtful"
    assert round_of(world.cores[desk.node]).recoveries.signed == 0
    assert (await desk.recover(RecoveryRequest(committee=alive[:4]))).proposal.committee == alive[:4]


async def test_a_punished_member_gets_no_seat() -> None:
    world, _ = stuck()
    desk = Desk(world, managers(world)[0])
    core = world.cores[desk.node]
    bad = next(node for node in sorted(world.cores) if node != desk.node)
    state = core.context.head.state
    accounts = tuple(replace(a, punished_round=1) if a.node == bad else a for a in state.accounts)
    round_of(core).context = replace(core.context, head=replace(core.context.head, state=replace(state, accounts=accounts)))
    assert bad.hex() not in (await desk.recover(LOOK)).proposal.committee
    with pytest.raises(UsageError, match="punished"):
        await desk.recover(RecoveryRequest(committee=[bad.hex()]))


async def test_a_node_that_catches_up_or_has_finished_has_nothing_to_sign() -> None:
    world, _ = stuck()
    desk = Desk(world, managers(world)[0])
    world.cores[desk.node]._syncing = True
    with pytest.raises(OperatorError) as refused:
        await desk.recover(LOOK)
    assert refused.value.code == "syncing"


def test_a_proof_with_another_proposal_beside_it_is_none() -> None:
    """Given members that answer with a true proof and another proposal beside it, more of them than preparers, none is believed."""
    world, _, proof = prepared_and_stuck(1)
    strange = claiming(proof, proposal=replace(proof.claim.proposal, time=Millis(proof.claim.proposal.time + 1)))
    context = next(iter(world.cores.values())).context
    check_found(proof, context.first_instance, world.verified.verify_once)
    with pytest.raises(PeerError) as refused:
        check_found(strange, context.first_instance, world.verified.verify_once)
    assert refused.value.rejection is Rejection.BAD_RECOVERY


def test_the_highest_proof_counts() -> None:
    world, _, proof = prepared_and_stuck(1)
    first, second, *_ = sorted(world.identities)
    assert best_of({}) is None
    assert best_of({second: proof, first: proof}) == (first, proof)
    higher = claiming(proof, view=View(proof.claim.view + 1))
    assert best_of({first: proof, second: higher}) == (second, higher)


async def test_who_only_follows_is_seated_by_no_plan() -> None:
    """Given a connected member that was never present and is not heard, then others are proposed; one that is heard is one of them."""
    world, _ = stuck()
    desk = Desk(world, managers(world)[0])
    core = world.cores[desk.node]
    follower, heard = [node for node in sorted(world.cores) if node not in (*core.context.committee, desk.node)][:2]
    state = core.context.head.state
    accounts = tuple(
        replace(a, availability=PartsPerMillion(0 if a.node in (follower, heard) else 500_000)) for a in state.accounts
    )
    round_of(core).context = replace(core.context, head=replace(core.context.head, state=replace(state, accounts=accounts)))
    round_of(core).collection.beacons -= {follower}
    round_of(core).collection.beacons |= {heard}
    seated = (await desk.recover(LOOK)).proposal.committee
    assert follower.hex() not in seated
    assert heard.hex() in seated
    assert len(seated) == 4
