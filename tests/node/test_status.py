"""What `status` says of a node: ages, heights, what it does, before the genesis and on a chain."""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bflcd.api.schema.chain import PruneRequest
from bflcd.api.schema.status import Activity, Role, Status
from bflcd.core.core import Core
from bflcd.core.events import Instant, Started, SyncChanged
from bflcd.core.signing_guard import SigningGuard
from bflcd.core.snapshot import LastDecision
from bflcd.errors import OperatorError
from bflcd.learn.health import Work
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.node.views import decided, facts
from bflcd.node.views.decided import last_decision
from bflcd.node.views.facts import Measures, NodeFacts
from bflcd.node.views.presenter import OnChain, Presenter
from bflcd.node.views.round import round_view
from bflcd.node.views.status import status_of, status_without_chain, too_few
from bflcd.store.memory import MemoryStore
from bflcd.types import Millis, NodeId, Round
from tests.helpers import chains
from tests.helpers.chains import begin_chain, fill
from tests.helpers.ledger import make_card, make_entry, make_genesis, make_identities
from tests.helpers.scenes import a_world, committee_of, reach
from tests.helpers.world import World

BOOTED = Millis(2_048_000)
"""What the machine's clock shows when the daemon starts."""

GENESIS, IDENTITIES = make_genesis()


def facts_of(node: NodeId, *, train: bool = True) -> NodeFacts:
    config = SimpleNamespace(
        node=SimpleNamespace(fee_limit=0),
        compute=SimpleNamespace(train=train),
        attack=SimpleNamespace(name=""),
        store=SimpleNamespace(mode="archive", keep=2),
    )
    peers = SimpleNamespace(members=tuple, warnings=tuple, peers=tuple)
    return NodeFacts(config, node, peers, Measures(MemoryStore()), addresses=tuple, alarms=list)


def at(mono: int) -> Instant:
    return Instant(Millis(mono), Millis(1_700_000_000_000 + mono))


def core_of(identity) -> Core:
    """A core that is made and not started."""
    world = World(GENESIS, IDENTITIES)
    head = world.disks[IDENTITIES[0].node_id].head
    guard = SigningGuard(in_doubt=False)
    return Core(GENESIS, head, identity, world.verified.verify_once, identity.seed, guard=guard, train=True)


def shown(core: Core, mono: int, **facts: bool) -> Status:
    return status_of(core.snapshot(at(mono)), facts_of(core.context.me, **facts), "cpu")


def test_before_the_genesis_it_says_so_and_knows_nothing():
    status = status_without_chain(facts_of(NodeId(bytes(32))))
    assert (status.phase, status.role, status.syncing) == (Activity.WAITING_FOR_GENESIS, Role.SYNCING, True)
    assert [status.chain_id, status.head_hash, status.model_hash, status.state_hash, status.leader] == [""] * 5
    assert (status.round, status.height, status.prune_height, status.last_commit_age) == (0, 0, None, None)


async def test_a_node_without_a_chain_has_nothing_to_prune():
    facts = facts_of(NodeId(bytes(32)))
    presenter = Presenter(facts, MemoryStore(), None, ring=None, tell=None, stop=None)
    with pytest.raises(OperatorError) as refused:
        await presenter.prune(PruneRequest(to=7))
    assert refused.value.code == "starting"


def test_a_stall_counts_from_the_start_of_the_daemon_not_of_the_machine():
    """Given a machine that has run for 2048 s, when a daemon starts on it, then no age of its round is older than the daemon."""
    core = core_of(IDENTITIES[0])
    before = core.snapshot(at(BOOTED))
    assert before.opened == before.at == BOOTED
    assert (shown(core, BOOTED).phase, shown(core, BOOTED).warnings) == (Activity.STARTING, [])
    core.handle(Started(World(GENESIS, IDENTITIES).disks[core.context.me].found(0)), at(BOOTED + 1_400))
    assert core.snapshot(at(BOOTED + 2_000)).opened == BOOTED + 1_400
    assert shown(core, BOOTED + 2_000).warnings == []
    stalled = GENESIS.params.collect_deadline + 10 * GENESIS.params.view_timeout
    (warning,) = shown(core, BOOTED + 1_400 + stalled).warnings
    assert warning.startswith(f"nothing was committed for {stalled / 1000:.0f} s; ")


def test_who_is_no_member_is_idle_and_warns_of_no_stall():
    members = {identity.node_id for identity in IDENTITIES}
    core = core_of(next(identity for identity in make_identities(len(members) + 1) if identity.node_id not in members))
    status = shown(core, BOOTED)
    assert (status.phase, status.role, status.warnings) == (Activity.IDLE, Role.OBSERVER, [])


def test_what_each_member_does_and_is():
    """Given a round that has just begun, then judges and trainers are called what they are, and who catches up takes no part."""
    world = a_world()
    reach(world, 2, 60_000)
    judge = world.cores[committee_of(world)[0]]
    trainer = next(core for core in world.cores.values() if not core.context.judges)
    assert (shown(judge, world.now).role, shown(trainer, world.now).role) == (Role.COMMITTEE, Role.TRAINER)
    assert shown(trainer, world.now, train=False).role is Role.OBSERVER
    assert (shown(trainer, world.now).round, shown(trainer, world.now).height) == (2, 14)
    trainer.handle(SyncChanged(active=True), at(world.now))
    syncing = shown(trainer, world.now)
    assert (syncing.syncing, syncing.role, syncing.phase) == (True, Role.SYNCING, Activity.SYNCING)


def test_training_that_even_the_longest_round_is_too_short_for_is_told():
    """Given training that takes longer than sixteen collect deadlines, when the deadline has grown so far, then every node says so."""
    world = a_world()
    world.train_ms = lambda _: 2_000_000
    reach(world, 3, 10_000_000)
    assert not any("the training of most" in text for core in world.cores.values() for text in shown(core, world.now).warnings)
    reach(world, 5, 10_000_000)
    for core in world.cores.values():
        assert [text for text in shown(core, world.now).warnings if "does not end within 960 s" in text]


def test_a_trainer_trains_until_it_has_trained():
    """Given a trainer, when its work is done, then it waits for the certificate, whatever it offered."""
    world = a_world()
    world.train_ms = lambda _: 1_000
    reach(world, 2, 60_000)
    trainer = next(core for core in world.cores.values() if not core.context.judges)
    seen = []
    world.run_until(lambda: seen.append(shown(trainer, world.now).phase) or trainer.context.round > 2, 60_000)
    told = [phase for phase, before in zip(seen, [None, *seen], strict=False) if phase is not before]
    assert told[told.index(Activity.TRAINING) + 1] is Activity.WAITING_FOR_CERTIFICATE


def test_the_phases_of_a_round_are_told_by_their_names():
    """Given some rounds, when a judge is watched, then it collects, scores, waits for cards and decides."""
    world = a_world()
    seen: set[Activity] = set()

    def watch() -> bool:
        seen.update(shown(core, world.now).phase for core in world.cores.values())
        return min(world.rounds()) >= 3

    assert world.run_until(watch, 120_000)
    assert {Activity.COLLECTING, Activity.WAITING_FOR_CARDS, Activity.PREPARING, Activity.TRAINING} <= seen


def test_work_that_fails_is_no_training():
    """Given a trainer whose training failed, then it says what fails for as long as that lasts, also while it is tried again."""
    world = a_world()
    world.train_ms = lambda _: 1_000
    reach(world, 2, 60_000)
    trainer = next(core for core in world.cores.values() if not core.context.judges)
    assert world.run_until(lambda: shown(trainer, world.now).phase is Activity.TRAINING, 60_000)
    facts = facts_of(trainer.context.me)
    facts.work.failed(Work.TRAIN, "the input of row 17 in column 3 is nan")
    status = status_of(trainer.snapshot(at(world.now)), facts, "cpu")
    assert (status.phase, status.work_failures) == (Activity.TRAINING_FAILS, 1)
    assert round_view(trainer.snapshot(at(world.now)), facts.work).phase is Activity.TRAINING_FAILS
    assert [text for text in status.warnings if "the input of row 17 in column 3 is nan" in text] == status.warnings
    facts.work.succeeded(Work.TRAIN)
    well = status_of(trainer.snapshot(at(world.now)), facts, "cpu")
    assert (well.phase, well.work_failures, well.warnings) == (Activity.TRAINING, 0, [])


def test_judging_that_fails_is_no_scoring():
    world = a_world()
    reach(world, 2, 60_000)
    judge = next(core for core in world.cores.values() if core.context.judges)
    assert world.run_until(lambda: shown(judge, world.now).phase is Activity.SCORING, 60_000)
    facts = facts_of(judge.context.me)
    facts.work.failed(Work.START, "no torch")
    assert status_of(judge.snapshot(at(world.now)), facts, "").phase is Activity.SCORING_FAILS


def test_prune_height_is_that_of_the_first_model_without_a_gap_after_it():
    core = core_of(IDENTITIES[0])
    facts = facts_of(core.context.me)
    facts.measures.models = SimpleNamespace(first=None)
    assert status_of(core.snapshot(at(1)), facts, "").prune_height is None
    facts.measures.models = SimpleNamespace(first=Round(3))
    assert status_of(core.snapshot(at(1)), facts, "").prune_height == 3 * (GENESIS.params.places + 1)


async def test_what_the_chain_knows_is_shown_from_the_start_of_the_daemon():
    """Given a chain whose newest block is 90 s old / When a daemon starts on it / Then age and accuracy are there, with no commit."""
    store, chain = MemoryStore(), begin_chain()
    await fill(store, chain, 2)
    measures = Measures(store)
    await measures.recall(chain.community.header, Millis(chain.community.header.time + 90_000))
    assert measures.commit_age == pytest.approx(90, abs=5)
    assert measures.accuracy == (0.4, 1)
    assert measures.stats == await store.stats()


async def test_what_the_newest_round_decided_is_read_from_its_block(monkeypatch):
    """Given rounds that a core has seen close / When a daemon starts on their store / Then it shows the same decision."""
    store, chain = MemoryStore(), begin_chain()
    seen: list[LastDecision] = []
    real = chains.build_segment

    def remembering(params, state, header, outcome, model):
        segment = real(params, state, header, outcome, model)
        seen.append(LastDecision(outcome.judgement, segment.model.weights))
        return segment

    monkeypatch.setattr(chains, "build_segment", remembering)
    await store.initialise(chain.genesis, genesis_header(chain.genesis), genesis_state(chain.genesis))
    assert await last_decision(store) is None
    for _ in range(3):
        await fill(store, chain, 1)
        assert await last_decision(store) == seen[-1]
    measures = Measures(store)
    await measures.recall(chain.community.header, Millis(0))
    core = core_of(IDENTITIES[0])
    here = facts_of(core.context.me)
    here.measures = measures
    presenter = Presenter(here, store, None, ring=None, tell=None, stop=None)
    presenter.show(OnChain(core, here, recover=None, alliance=None, clock=lambda: at(1), device=str, rows=int, privacy=None))
    assert [row.uploader for row in presenter.round().last_decision] == [o.uploader.hex() for o in seen[-1].judgement.offers]


@pytest.mark.parametrize("accuracy", [400_000, 800_000])
async def test_what_was_refused_for_the_norms_of_rounds_before_is_shown_so(monkeypatch, accuracy):
    """Given an offer that is far too short by what was usual, in a young model's rounds and in others, then that is read too."""
    store, chain = MemoryStore(), begin_chain()
    await fill(store, chain, 2, accuracy=accuracy)

    def with_a_short_one(community, gains, offers, **told):
        norms = dict(zip(gains, (100, 4096), strict=True))
        return tuple(
            make_card(community, seat, [make_entry(offers[o], row[i], norm=norms[o]) for o, row in gains.items()], **told)
            for i, seat in enumerate(sorted(community.state.committee[: community.q]))
        )

    monkeypatch.setattr(chains, "make_cards", with_a_short_one)
    await fill(store, chain, 1, accuracy=accuracy)
    found = await last_decision(store)
    assert sorted(str(offer.reason) for offer in found.judgement.offers) == ["None", "Reason.NORM_TOO_SMALL"]


async def test_a_decision_that_the_cards_do_not_give_is_not_shown(monkeypatch):
    store, chain = MemoryStore(), begin_chain()
    await fill(store, chain, 2)
    monkeypatch.setattr(decided, "judge", lambda *_: SimpleNamespace(packed=()))
    assert await last_decision(store) is None
    monkeypatch.setattr(decided, "quorum", lambda _: 99)
    assert await last_decision(store) is None


async def test_before_the_first_block_there_is_no_age_and_of_a_block_from_the_future_it_is_none():
    store, chain = MemoryStore(), begin_chain()
    await fill(store, chain, 1)
    genesis, header = genesis_header(chain.genesis), chain.community.header
    ages = []
    for head, now in ((genesis, header.time), (header, header.time - 60_000)):
        measures = Measures(store)
        await measures.recall(head, Millis(now))
        ages.append(measures.commit_age)
    assert ages == [None, pytest.approx(0, abs=5)]


async def test_accuracy_is_that_of_the_newest_round_whose_cards_say_it(monkeypatch):
    store, chain = MemoryStore(), begin_chain()
    told = (await fill(store, chain, 3))[1].segment.model.cards[0].payload
    monkeypatch.setattr(facts, "base_of", lambda cards: (Millis(0), 400_000) if told in cards else None)
    measures = Measures(store)
    await measures.recall(chain.community.header, Millis(0))
    assert measures.accuracy == (0.4, 1)


def test_a_stall_lasts_as_long_as_the_chain_says():
    core = core_of(IDENTITIES[0])
    core.handle(Started(World(GENESIS, IDENTITIES).disks[core.context.me].found(0)), at(BOOTED))
    here = facts_of(core.context.me)
    here.measures.committed_at = time.monotonic() - 7200
    assert status_of(core.snapshot(at(BOOTED)), here, "").warnings == []
    stalled = GENESIS.params.collect_deadline + 10 * GENESIS.params.view_timeout
    (warning,) = status_of(core.snapshot(at(BOOTED + stalled)), here, "").warnings
    assert warning.startswith("nothing was committed for 72")


def test_a_community_of_too_few_members_says_so_and_what_to_do() -> None:
    """Given ten members and four seats, when six have left, then every node warns and names the way out; with five it does not."""

    def warned(left: int) -> list[str]:
        core = core_of(IDENTITIES[0])
        state = core.context.state
        gone = tuple(replace(one, left_round=Round(0)) if place >= 10 - left else one for place, one in enumerate(state.accounts))
        head = replace(core.context.head, state=replace(state, accounts=gone))
        snapshot = replace(core.snapshot(at(1)), context=replace(core.context, head=head))
        return too_few(snapshot)

    assert warned(5) == []
    (text,) = warned(6)
    assert "4 members are too few: 5 are needed" in text
    assert "bflc-cli admit" in text
