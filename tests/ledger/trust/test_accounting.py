"""How much answers tell of one row: held against dp-accounting where it is installed, against its figures everywhere."""

from math import inf, isinf

import pytest

from bflcd.errors import UsageError
from bflcd.ledger.trust.accounting import NOTHING, ORDERS, Answers, added, cost, epsilon
from bflcd.params import LEAST_NOISE
from tests.helpers.ledger import make_genesis

DELTA = 1e-5

FIGURES = [
    (Answers(4_000, 18, 256, 256), 1, 5.065228),
    (Answers(4_000, 18, 256, 256), 100, 105.491308),
    (Answers(4_000, 18, 256, 2_560), 1, 2.572318),
    (Answers(4_000, 18, 256, 2_560), 100, 15.688603),
    (Answers(16_000, 18, 256, 2_560), 100, 2.460558),
    (Answers(16_000, 6, 100, 400), 100, 3.628002),
    (Answers(1_000, 92, 13, 13), 1, 90.116308),
    (Answers(1_000, 1, 50, 100), 30, 35.875557),
    (Answers(64_000, 12, 256, 25_600), 100, 0.104807),
]
"""By dp-accounting 0.6.0 at the same orders; answers of one draw, how many draws, epsilon."""


@pytest.mark.parametrize(("answers", "rounds", "expected"), FIGURES)
def test_the_bound_is_that_of_the_library(answers: Answers, rounds: int, expected: float) -> None:
    assert epsilon(added(*[cost(answers)] * rounds), DELTA) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("noise", [500, 2_000, 4_000, 30_000])
@pytest.mark.parametrize("rows", [(256, 256), (255, 256), (256, 700), (100, 5_000), (1, 50)])
@pytest.mark.parametrize("count", [1, 8, 95])
def test_it_is_so_where_the_library_is_installed(noise: int, rows: tuple[int, int], count: int) -> None:
    accounting = pytest.importorskip("dp_accounting", reason="needs dp-accounting")
    rdp = pytest.importorskip("dp_accounting.rdp", reason="needs dp-accounting")
    library = rdp.RdpAccountant(orders=ORDERS, neighboring_relation=accounting.NeighboringRelation.REPLACE_ONE)
    event = accounting.GaussianDpEvent(noise / 1_000 / count**0.5)
    drawn, held = rows
    library.compose(event if drawn == held else accounting.SampledWithoutReplacementDpEvent(held, drawn, event), 20)
    ours = epsilon(added(*[cost(Answers(noise, count, drawn, held))] * 20), DELTA)
    whole = epsilon(added(*[cost(Answers(noise, count, 1, 1))] * 20), DELTA)
    assert ours == pytest.approx(min(library.get_epsilon(DELTA), whole), rel=1e-4)  # it does without a draw that helps nothing


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (Answers(4_000, 10, 100, 100), Answers(4_000, 11, 100, 100)),
        (Answers(5_000, 10, 100, 100), Answers(4_000, 10, 100, 100)),
        (Answers(4_000, 10, 100, 500), Answers(4_000, 10, 100, 400)),
        (Answers(4_000, 10, 100, 101), Answers(4_000, 10, 100, 100)),
    ],
    ids=["one more answer", "less noise", "fewer rows to draw from", "all rows drawn"],
)
def test_it_grows_with_what_is_told(less: Answers, more: Answers) -> None:
    assert epsilon(cost(less), DELTA) <= epsilon(cost(more), DELTA)
    assert all(low <= high for low, high in zip(cost(less), cost(more), strict=True))


def test_nothing_told_costs_nothing() -> None:
    assert cost(Answers(0, 0, 1, 1)) == NOTHING
    assert epsilon(NOTHING, DELTA) == 0.0


def test_without_noise_there_is_no_bound() -> None:
    assert set(cost(Answers(0, 1, 10, 1_000))) == {inf}
    assert isinf(epsilon(added(cost(Answers(0, 1, 10, 1_000)), cost(Answers(4_000, 5, 10, 10))), DELTA))


@pytest.mark.parametrize(
    "answers", [Answers(1, 4_098, 1, 2**40), Answers(10**6, 1, 1, 2**40), Answers(10**6, 1, 2**20, 2**20 + 1)]
)
def test_the_extremes_have_a_bound(answers: Answers) -> None:
    assert 0 <= epsilon(cost(answers), DELTA) < inf


@pytest.mark.parametrize("noise", [100, 101, 150, 1_000])
@pytest.mark.parametrize("count", [1, 14, 2_048])
def test_little_noise_has_a_cost_and_no_judge_ends_at_it(noise: int, count: int) -> None:
    """The least noise that a genesis may name, and the most answers of a card, on drawn rows."""
    assert all(one > 0 for one in cost(Answers(noise, count, 16, 400)))


def test_a_genesis_names_no_noise_below_a_tenth_of_a_row() -> None:
    for noise in (1, 4, LEAST_NOISE - 1):
        with pytest.raises(UsageError, match="score_noise is in thousandths"):
            make_genesis(10, 4, 6, score_noise=noise)
    make_genesis(10, 4, 6, score_noise=LEAST_NOISE)
