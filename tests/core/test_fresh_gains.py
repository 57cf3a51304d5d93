"""When judges leave out what an update repeats of the last step (design 5.2)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bflcd.core.effects import Effect, Score
from bflcd.core.events import Event, Scored
from bflcd.ledger.disclosure import HALF_RIGHT, measures_fresh
from bflcd.params import Params
from bflcd.types import NodeId, PartsPerMillion
from tests.helpers.scenes import a_world, one_state, reach


@pytest.mark.parametrize(("known", "fresh"), [(0, False), (HALF_RIGHT - 1, False), (HALF_RIGHT, True), (1_000_000, True)])
def test_it_begins_once_the_model_is_right_more_often_than_not(known: int, fresh: bool) -> None:
    assert measures_fresh(Params(), PartsPerMillion(known)) is fresh
    assert not measures_fresh(Params(fresh_gains=False), PartsPerMillion(known))


def with_accuracy(event: Scored, accuracy: int) -> Scored:
    return replace(event, result=replace(event.result, base_accuracy=PartsPerMillion(accuracy)))


@pytest.mark.parametrize("wanted", [True, False])
def test_a_community_begins_with_it_when_its_judges_have_said_so(wanted: bool) -> None:
    """Given judges whose model is right two times of five at first, and three of five from round 3 on, then the jobs of the round after
    are without what is repeated, in all of a committee alike, and nothing else in the ledger changes by it."""
    world = a_world(seed=2, fresh_gains=wanted)
    answer, jobs = world.answer, dict[int, set[bool]]()

    def measured(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        round_ = world.cores[node].context.round
        if isinstance(effect, Score):
            jobs.setdefault(round_, set()).add(measures_fresh(world.genesis.params, effect.known))
        for event, after in answer(node, effect):
            right = isinstance(event, Scored) and round_ >= 3
            yield (with_accuracy(event, 600_000) if right else event), after

    world.answer = measured  # type: ignore[method-assign]
    reach(world, 7, 400_000)
    assert {round_: found for round_, found in jobs.items() if round_ <= 3} == {round_: {False} for round_ in range(4)}
    assert {round_: found for round_, found in jobs.items() if 4 <= round_ < 7} == {round_: {wanted} for round_ in range(4, 7)}
    one_state(world)
