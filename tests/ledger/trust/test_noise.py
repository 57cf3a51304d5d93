"""What a judge adds to what it measured: by how much one row moves an answer, whose draw it is, how it is distributed."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bflcd.learn.scoring import held_loss, mean_gain
from bflcd.ledger.disclosure import LEAST_GAIN_LIMIT, gain_limit, row_limit
from bflcd.ledger.trust.discrete_gaussian import drawn
from bflcd.ledger.trust.noise import BASE_ANSWERS, LOSS_LIMIT, Noise, Rows, sensitivity
from bflcd.params import MILLION, NOISE_UNIT, Params
from bflcd.types import Digest, Epoch, MicroNats, PartsPerMillion, Round

NOISE = 4 * NOISE_UNIT
PARAMS = Params(score_noise=NOISE)
SECRET, ROWS = b"a node's own", Rows(100, 400)
OFFER, OTHER = Digest(b"\1" * 32), Digest(b"\2" * 32)
LOSS = st.floats(-50.0, 50.0, allow_nan=False)


def noise_of(secret: bytes = SECRET, round_: int = 3, epoch: int = 0, rows: Rows = ROWS, params: Params = PARAMS) -> Noise:
    return Noise.of(params, secret, Round(round_), Epoch(epoch), rows)


@given(rows=st.lists(st.tuples(LOSS, LOSS), min_size=1, max_size=40), other=st.tuples(LOSS, LOSS), place=st.integers(0, 39))
def test_another_row_moves_no_mean_further_than_the_sensitivity(
    rows: list[tuple[float, float]], other: tuple[float, float], place: int
) -> None:
    """Given rows and their neighbours, of which one is another, when a worker measures both, then the answers are so near."""
    neighbours = list(rows)
    neighbours[place % len(rows)] = other
    lost, gained = row_limit(PARAMS), gain_limit(PARAMS)

    def answers(of: list[tuple[float, float]]) -> tuple[int, int]:
        base, moved = torch.tensor(of, dtype=torch.float64).T
        return mean_gain(base, moved, lost, gained), held_loss(base, LOSS_LIMIT)

    (gain, loss), (gain_there, loss_there) = answers(rows), answers(neighbours)
    assert abs(gain - gain_there) <= sensitivity(lost + gained, len(rows))
    assert abs(loss - loss_there) <= sensitivity(LOSS_LIMIT, len(rows))


@given(rights=st.lists(st.booleans(), min_size=1, max_size=500), place=st.integers(0, 499))
def test_one_row_moves_an_accuracy_no_further_either(rights: list[bool], place: int) -> None:
    count, at = len(rights), place % len(rights)
    there = sum(rights) + (-1 if rights[at] else 1)
    assert abs(sum(rights) * MILLION // count - there * MILLION // count) <= sensitivity(MILLION, count)


@pytest.mark.parametrize(("width", "rows", "most"), [(3_000_000, 100, 30_001), (3_000_000, 256, 11_720), (1, 1, 2), (10, 3, 5)])
def test_the_sensitivity_is_the_width_of_a_row_over_their_number(width: int, rows: int, most: int) -> None:
    assert sensitivity(width, rows) == most


@pytest.mark.parametrize(
    ("params", "most"),
    [
        (Params(score_noise=0), row_limit(Params())),
        (PARAMS, 600_000),
        (Params(score_noise=NOISE, score_margin=MicroNats(0)), LEAST_GAIN_LIMIT),
        (Params(score_noise=NOISE, score_margin=MicroNats(10**13)), row_limit(Params(score_margin=MicroNats(10**13)))),
    ],
)
def test_with_noise_a_row_may_gain_less_than_it_may_lose(params: Params, most: int) -> None:
    assert gain_limit(params) == most <= row_limit(params)


def said(noise: Noise, offer: Digest = OFFER) -> tuple[int, int, int]:
    middle = PartsPerMillion(MILLION // 2)
    return noise.gain(MicroNats(0), offer), noise.accuracy(middle, offer), noise.loss(MicroNats(LOSS_LIMIT // 2), offer)


def test_a_card_that_is_made_again_says_the_same() -> None:
    assert said(noise_of()) == said(noise_of())


def test_no_two_nodes_rounds_epochs_offers_or_numbers_share_a_draw() -> None:
    """The answers are of one scale, so that a shared draw would show."""
    places = product((SECRET, b"another's"), (3, 4), (0, 1))
    noises = [noise_of(secret, round_, epoch) for secret, round_, epoch in places]
    gains = {noise.gain(MicroNats(0), offer) for noise in noises for offer in (OFFER, OTHER)}
    assert len(gains) == len(noises) * 2
    assert not gains & {noise.accuracy(PartsPerMillion(500_000), OFFER) - 500_000 for noise in noises}


def test_without_noise_all_is_said_as_it_is() -> None:
    exact = noise_of(params=Params(score_noise=0))
    assert exact.gain(MicroNats(-7), OFFER) == -7
    assert exact.accuracy(PartsPerMillion(7), OFFER) == 7
    assert exact.loss(MicroNats(-7), OFFER) == -7


def test_what_is_said_stays_within_its_range() -> None:
    loud = noise_of(params=Params(score_noise=1_000 * NOISE_UNIT), rows=Rows(1, 1))
    for number in range(50):
        about = Digest(number.to_bytes(32, "big"))
        assert 0 <= loud.accuracy(PartsPerMillion(MILLION), about) <= MILLION
        assert 0 <= loud.loss(MicroNats(0), about) <= LOSS_LIMIT


@pytest.mark.parametrize("rows", [Rows(1, 1), Rows(256, 9_000)])
def test_the_noise_is_as_wide_as_the_genesis_says(rows: Rows) -> None:
    noise = noise_of(rows=rows)
    gains = [noise.gain(MicroNats(0), Digest(number.to_bytes(32, "big"))) for number in range(3_000)]
    scale = NOISE / NOISE_UNIT * sensitivity(row_limit(PARAMS) + gain_limit(PARAMS), rows.drawn)
    assert np.std(gains) / scale == pytest.approx(1.0, abs=0.05)
    assert abs(np.mean(gains)) < 0.07 * scale


@pytest.mark.parametrize(("numerator", "denominator"), [(1, 2), (1, 1), (5, 2), (30_000, 7)])
def test_the_discrete_gaussian_has_its_probabilities(numerator: int, denominator: int) -> None:
    """Of the eight likeliest numbers, or intervals where there are many, none is off by five of its own deviations."""
    scale, count = numerator / denominator, 5_000
    found = np.array([drawn(integer.to_bytes(8, "big"), numerator, denominator) for integer in range(count)])
    whole = np.arange(-int(12 * scale) - 12, int(12 * scale) + 13)
    weights = np.exp(-np.square(whole / scale) / 2)
    weights /= weights.sum()
    edges = np.ceil(scale * np.array([-9, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 9])).astype(int)
    for low, high in pairwise(edges):
        likely = weights[(whole >= low) & (whole < high)].sum()
        share = np.mean((found >= low) & (found < high))
        assert abs(share - likely) <= 5 * np.sqrt(likely * (1 - likely) / count) + 1e-9


def test_no_scale_draws_nothing() -> None:
    assert drawn(b"any", 0) == 0


@pytest.mark.parametrize(
    ("rule", "entries", "count"), [("gain", 0, 0), ("gain", 7, 7 + BASE_ANSWERS), ("accuracy", 7, 14 + BASE_ANSWERS)]
)
def test_a_card_answers_of_each_offer_and_of_the_base(rule: str, entries: int, count: int) -> None:
    told = noise_of(params=Params(score_noise=NOISE, score_rule=rule)).answers(entries)
    assert (told.noise, told.count, told.drawn, told.held) == (NOISE, count, 100, 400)
