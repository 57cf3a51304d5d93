"""The accountant against another library's values, against the formula by hand, and as a budget needs it."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.learn.private.accountant import ORDERS, epsilon_of, noise_for, step_divergence, thousandths
from bflcd.learn.private.mechanism import LEAST_NOISE, Mechanism, Spent, lots_of

# (noise in thousandths, lots, steps, exponent of delta): epsilon by Opacus 1.6.0's RDP analysis at the same orders, and by its
# PRV accountant (error 0.01), which is tighter: what is proven here must never be below it.
PUBLISHED = {
    (1100, 234, 14040, 5): (2.5993631347440824, 2.3939733922134603),
    (4000, 100, 10000, 5): (1.0354900660362476, 0.9569361942671307),
    (1600, 5, 180, 5): (10.359761052077683, 9.52450231307788),
    (3600, 1, 36, 5): (8.64341718438722, 8.014075312785796),
    (1000, 10, 100, 6): (9.12421405687757, 8.06903671531228),
    (800, 20, 1000, 5): (19.509308748574785, 17.59161019795137),
    (20000, 1, 5, 5): (0.42335123559871907, 0.3947326620270938),
}

mechanisms = st.tuples(st.integers(300, 20_000), st.integers(1, 500), st.integers(1, 5000))


@pytest.mark.parametrize(("noise", "lots", "steps", "exponent"), PUBLISHED)
def test_epsilons_are_those_of_another_library(noise, lots, steps, exponent):
    same, tighter = PUBLISHED[noise, lots, steps, exponent]
    found = epsilon_of([Spent(noise, lots, steps)], exponent)
    assert found == pytest.approx(same, rel=1e-9)
    assert found >= tighter - 0.01


def test_where_the_library_is_installed_it_says_the_same():
    rdp = pytest.importorskip("opacus.accountants.analysis.rdp", reason="opacus is not installed")
    for noise, lots, steps, exponent in PUBLISHED:
        divergences = rdp.compute_rdp(q=1 / lots, noise_multiplier=noise / 1000, steps=steps, orders=list(ORDERS))
        theirs, _ = rdp.get_privacy_spent(orders=list(ORDERS), rdp=divergences, delta=10.0**-exponent)
        assert epsilon_of([Spent(noise, lots, steps)], exponent) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(("noise", "lots", "order"), [(1000, 4, 2), (700, 10, 3), (2500, 3, 7)])
def test_a_steps_divergence_is_the_formulas(noise, lots, order):
    q, sigma = Fraction(1, lots), noise / 1000
    terms = (
        math.comb(order, k) * float((1 - q) ** (order - k) * q**k) * math.exp((k * k - k) / (2 * sigma**2))
        for k in range(order + 1)
    )
    assert step_divergence(noise, lots, order) == pytest.approx(math.log(sum(terms)) / (order - 1), rel=1e-12)


def test_of_order_2_without_sampling_it_is_the_gaussians():
    assert step_divergence(2000, 1, 2) == pytest.approx(2 / (2 * 4.0))
    assert step_divergence(2000, 1, 2) > step_divergence(2000, 2, 2), "who may not have been looked at is told less of"


def test_nothing_spent_is_nothing_told():
    assert epsilon_of([], 5) == epsilon_of([Spent(1000, 4, 0)], 5) == 0.0


@given(mechanisms, mechanisms)
def test_spending_only_adds_and_its_order_does_not_matter(one, other):
    together = epsilon_of([Spent(*one), Spent(*other)], 5)
    assert together >= max(epsilon_of([Spent(*one)], 5), epsilon_of([Spent(*other)], 5))
    assert together == pytest.approx(epsilon_of([Spent(*other), Spent(*one)], 5))
    noise, lots, steps = one
    assert epsilon_of([Spent(noise, lots, steps), Spent(noise, lots, steps)], 5) == pytest.approx(
        epsilon_of([Spent(noise, lots, 2 * steps)], 5)
    )


@pytest.mark.parametrize(("epsilon", "lots", "steps"), [(8000, 5, 180), (1000, 1, 36), (3000, 20, 2000)])
def test_the_noise_that_is_derived_is_the_least_that_fits(epsilon, lots, steps):
    noise = noise_for(epsilon, 5, lots=lots, steps=steps)
    assert noise is not None
    assert thousandths(epsilon_of([Spent(noise, lots, steps)], 5)) <= epsilon
    assert noise == LEAST_NOISE or thousandths(epsilon_of([Spent(noise - 1, lots, steps)], 5)) > epsilon


def test_a_budget_that_no_noise_keeps_has_no_noise():
    assert noise_for(1, 15, lots=1, steps=2**40) is None


@pytest.mark.parametrize(("rows", "batch", "lots"), [(1, 32, 1), (32, 32, 1), (33, 32, 2), (144, 32, 5), (10, 2**16, 1)])
def test_an_epoch_is_as_many_lots_as_it_would_be_batches(rows, batch, lots):
    assert lots_of(rows, batch) == lots
    assert Mechanism(1000, 1.0, lots, lots).lots == lots
