"""When judges leave out what an update repeats of the last step, and weigh their classes alike (design 5.2); what trainers know."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bflcd.core.effects import Effect, Score, Train
from bflcd.core.events import Event, Scored
from bflcd.ledger.disclosure import HALF_RIGHT, balances, measures_fresh
from bflcd.params import Params
from bflcd.types import NodeId, PartsPerMillion
from tests.helpers.scenes import a_world, one_state, reach


@pytest.mark.parametrize(("known", "fresh"), [(0, False), (HALF_RIGHT - 1, False), (HALF_RIGHT, True), (1_000_000, True)])
def test_it_begins_once_the_model_is_right_more_often_than_not(known: int, fresh: bool) -> None:
    assert measures_fresh(Params(), PartsPerMillion(known)) is fresh
    assert not measures_fresh(Params(fresh_gains=False), PartsPerMillion(known))


@pytest.mark.parametrize(
    ("params", "balanced"),
    [(Params(), True), (Params(balanced_gains=False), False), (Params(score_noise=1000), False)],
)
def test_classes_count_alike_unless_noise_covers_rows(params: Params, balanced: bool) -> None:
    assert balances(params) is balanced


def with_accuracy(event: Scored, accuracy: int) -> Scored:
    return replace(event, result=replace(event.result, base_accuracy=PartsPerMillion(accuracy)))


@pytest.mark.parametrize("wanted", [True, False])
def test_a_community_begins_with_it_when_its_judges_have_said_so(wanted: bool) -> None:
    """Given judges whose model is right two times of five at first, and three of five from round 3 on, then the jobs of the round after
    are without what is repeated, in all of a committee alike, and nothing else in the ledger changes by it."""
    world = a_world(seed=2, fresh_gains=wanted)
    answer, jobs, trained = world.answer, dict[int, set[bool]](), dict[int, set[int]]()

    def measured(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        round_ = world.cores[node].context.round
        if isinstance(effect, Train):
            trained.setdefault(effect.round, set()).add(effect.known)
        if isinstance(effect, Score):
            jobs.setdefault(round_, set()).add(measures_fresh(world.genesis.params, effect.known))
        for event, after in answer(node, effect):
            right = isinstance(event, Scored) and round_ >= 3
            yield (with_accuracy(event, 600_000) if right else event), after

    world.answer = measured  # type: ignore[method-assign]
    reach(world, 7, 400_000)
    assert {round_: found for round_, found in jobs.items() if round_ <= 3} == {round_: {False} for round_ in range(4)}
    assert trained[0] == {0}, "nobody knows anything of the first model"
    assert max(trained[3]) < HALF_RIGHT <= min(trained[4]), "as the judges have said"
    assert {round_: found for round_, found in jobs.items() if 4 <= round_ < 7} == {round_: {wanted} for round_ in range(4, 7)}
    one_state(world)
