"""What a manager's node does before it signs that the model goes back: it knows the model by its headers, and holds it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bflcd.api.history import history_rows
from bflcd.core.records import Head
from bflcd.core.round.context import RoundContext
from bflcd.errors import OperatorError, RequestError, UsageError
from bflcd.ledger.operations.application import apply_operations
from bflcd.ledger.operations.motion import motion_id
from bflcd.ledger.state import State
from bflcd.node.alliance.old_models import PATIENCE_SECONDS, OldModelSource
from bflcd.node.alliance.service import AllianceService
from bflcd.params import BlobRef
from bflcd.store.memory import MemoryStore
from bflcd.types import Round, short
from bflcd.wire.blocks import header_hash
from bflcd.wire.envelope import open_envelope, seal
from bflcd.wire.operation import Operation
from bflcd.wire.rollback import Rollback
from tests.helpers.alliance import asks
from tests.helpers.chains import Chain, begin_chain, fill, goes_back, next_segment, ref

WRONG = BlobRef(ref(b"poison").root, 6)


class Members:
    """Whoever is connected: they give a payload, or don't."""

    def __init__(self, store: MemoryStore, payloads: dict[bytes, bytes]) -> None:
        self.store, self.payloads = store, payloads
        self.asked: list[BlobRef] = []

    def connected(self) -> tuple[()]:
        return ()

    async def fetch(self, blob: BlobRef, holders: Any, *, deadline: float | None) -> None:
        assert (holders(), deadline) == ((), PATIENCE_SECONDS)
        if await self.store.has_blob(blob.root):
            return
        self.asked.append(blob)
        if blob.root not in self.payloads:
            raise RequestError("nobody has it")
        await self.store.put_blob(self.payloads[blob.root])


class Node:
    """A manager's, four rounds after the genesis."""

    def __init__(self, chain: Chain, store: MemoryStore, state: State | None = None, who: int = 0) -> None:
        community = chain.community
        head = Head(community.header, header_hash(community.header), state or chain.state)
        self.identity = community.keys[chain.state.managers[who]]
        self.context = RoundContext(chain.genesis, head, self.identity.node_id)
        self.members = Members(store, dict(chain.payloads))
        self.waiting: list[Operation] = []
        models = OldModelSource(store, self.members, self.members)  # type: ignore[arg-type]
        self.service = AllianceService(self, self.identity, self.say, lambda: None, models=models, coming=None)  # type: ignore[arg-type, return-value]

    def snapshot(self, _: Any) -> Any:
        return SimpleNamespace(context=self.context, syncing=False, started=True, waiting=tuple(self.waiting))

    async def say(self, event: Any) -> None:
        self.waiting.append(event.operation)

    @property
    def signed(self) -> Rollback:
        (operation,) = self.waiting
        body: Rollback = open_envelope(operation.signed[0], (Rollback,)).body
        return body


@pytest.fixture
async def made() -> tuple[Chain, MemoryStore, list[BlobRef]]:
    """A chain of four rounds in a store, and its models."""
    chain, store = begin_chain(), MemoryStore()
    segments = await fill(store, chain, 4)
    models = [chain.genesis.model, *(one.segment.model_header.blob for one in segments)]
    return chain, store, [model for model in models if model is not None]


async def test_a_manager_names_a_round_and_its_node_the_model(made: Any) -> None:
    chain, store, models = made
    node = Node(chain, store)
    view = await node.service.sign(asks("rollback", round=1, reason="poisoned"))
    assert (node.signed.target, node.signed.model, node.signed.round, node.signed.number) == (1, models[1], 4, 1)
    assert f"goes back to the model of round 1, {short(models[1].root)}: poisoned" in view.text
    assert node.members.asked == []


@pytest.mark.parametrize("round_", [0, 4])
async def test_also_the_first_model_and_the_running_rounds(made: Any, round_: int) -> None:
    chain, store, models = made
    node = Node(chain, store)
    await node.service.sign(asks("rollback", round=round_))
    assert node.signed.model == models[round_]


async def test_a_model_that_was_pruned_is_fetched_before_anything_is_signed(made: Any) -> None:
    chain, store, models = made
    await store.drop_blob(models[1].root)
    node = Node(chain, store)
    await node.service.sign(asks("rollback", round=1))
    assert node.members.asked == [models[1]]
    assert await store.has_blob(models[1].root)


async def test_what_nobody_gives_is_not_signed(made: Any) -> None:
    chain, store, models = made
    await store.drop_blob(models[1].root)
    node = Node(chain, store)
    del node.members.payloads[models[1].root]
    with pytest.raises(
        OperatorError, match=f"{short(models[1].root)}, is not held here, and no connected member gives it"
    ) as caught:
        await node.service.sign(asks("rollback", round=1))
    assert (caught.value.code, node.waiting) == ("no_model", [])


async def test_what_no_block_could_carry_fetches_nothing(made: Any) -> None:
    chain, store, models = made
    await store.drop_blob(models[1].root)
    node = Node(chain, store, replace(chain.state, managers=chain.state.managers[1:]))
    with pytest.raises(OperatorError, match="is no manager"):
        await node.service.sign(asks("rollback", round=1))
    with pytest.raises(OperatorError, match="there is no model of round 5"):
        await node.service.sign(asks("rollback", round=5))
    with pytest.raises(UsageError, match="rollback needs the round"):
        await node.service.sign(asks("rollback"))
    assert (node.waiting, node.members.asked) == ([], [])


def motion_of(chain: Chain, model: BlobRef) -> State:
    """The ledger after the first manager has opened a motion."""
    state = chain.state
    body = Rollback(state.chain, state.round, 1, Round(1), model, "poisoned")
    opened = Operation("rollback", (seal(body, chain.community.keys[state.managers[0]]).envelope,))
    return apply_operations(state, [opened])


async def test_another_manager_agrees_to_the_right_model_and_holds_it(made: Any) -> None:
    chain, store, models = made
    await store.drop_blob(models[1].root)
    state = motion_of(chain, models[1])
    node = Node(chain, store, state, who=1)
    (motion,) = node.service.view().motions
    assert (motion.kind, motion.node_id, motion.needed) == ("rollback", "", 3)
    assert motion.text == f"to the model of round 1, {short(models[1].root)}: poisoned"
    await node.service.sign(asks("approve", motion=motion.id[:8]))
    assert (node.signed.model, node.members.asked) == (models[1], [models[1]])
    assert len(apply_operations(state, node.waiting).motions[0].approvals) == 2


async def test_another_manager_does_not_agree_to_what_is_not_the_rounds_model(made: Any) -> None:
    chain, store, models = made
    state = motion_of(chain, WRONG)
    node = Node(chain, store, state, who=1)
    (motion,) = state.motions
    text = f"calls {short(WRONG.root)} the model of round 1, which is {short(models[1].root)}"
    with pytest.raises(OperatorError, match=text) as caught:
        await node.service.sign(asks("approve", motion=motion_id(motion.kind, motion.content).hex()))
    assert (caught.value.code, node.waiting, node.members.asked) == ("refused", [], [])


async def test_the_history_has_the_round_that_was_gone_back_to_and_alliance_the_last_time() -> None:
    chain, store = begin_chain(), MemoryStore()
    await fill(store, chain, 2)
    certified = next_segment(chain, goes_back(chain, 1))
    await store.commit(certified, chain.state)
    await fill(store, chain, 1)
    rows = await history_rows(store, chain.genesis, 1, 10)
    assert [row.rolled_back_to for row in rows] == [None, None, 1, None]
    view = Node(chain, store).service.view().rollback
    assert view is not None
    assert (view.round, view.target) == (2, 1)
