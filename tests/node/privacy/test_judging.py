"""The file of what cards told: it survives, it is never guessed at, and the operator sees the bound."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from bflcd.config import PrivacySection
from bflcd.core.trust.judging_account import JudgingAccount, Told
from bflcd.errors import MachineError, OperatorError
from bflcd.ledger.trust.accounting import Answers, cost, epsilon
from bflcd.ledger.trust.noise import Rows
from bflcd.node.privacy.judging import JudgingFile, judging_privacy, noise_warnings
from bflcd.params import NOISE_UNIT, Params
from bflcd.types import Digest, Epoch, MicroNats, Round

NOISE = 4 * NOISE_UNIT
ANSWERS = Answers(NOISE, 12, 100, 400)
BUDGET = PrivacySection(judging_epsilon=9.0, judging_delta=1e-6)


def told(round_: int, answers: Answers = ANSWERS, epoch: int = 0) -> Told:
    return Told(Round(round_), Epoch(epoch), answers)


async def spent(path: Path, *cards: Told) -> JudgingFile:
    file = JudgingFile.open(path, BUDGET)
    for card in cards:
        await file.count(card)
    return file


async def test_what_was_told_is_known_after_a_restart(tmp_path: Path) -> None:
    cards = (told(1), told(2), told(2, replace(ANSWERS, count=3), epoch=1))
    before = await spent(tmp_path / "judging.json", *cards)
    after = JudgingFile.open(tmp_path / "judging.json", BUDGET)
    assert after.account.tally == before.account.tally
    assert (after.account.budget, after.account.delta) == (9.0, 1e-6)
    await after.count(cards[-1])  # said again after the restart: nothing new
    assert after.account.tally == before.account.tally


async def test_what_was_told_without_noise_stays_without_a_bound(tmp_path: Path) -> None:
    await spent(tmp_path / "judging.json", told(1, replace(ANSWERS, noise=0)), told(2))
    assert not JudgingFile.open(tmp_path / "judging.json", BUDGET).account.affords(told(3))


async def test_a_spent_budget_is_spent_after_a_restart_too(tmp_path: Path) -> None:
    file = await spent(tmp_path / "judging.json")
    round_ = 0
    while file.account.affords(told(round_)):
        await file.count(told(round_))
        round_ += 1
        file = JudgingFile.open(tmp_path / "judging.json", BUDGET)
    assert 0 < round_ < 100


async def test_nothing_told_is_epsilon_nothing_and_a_file_that_is_gone_is_no_bound(tmp_path: Path) -> None:
    """Given a node that has signed, when its file is not there, then nobody knows what was told; one that was begun says that it is nothing."""
    path = tmp_path / "judging.json"
    await spent(path, told(1, replace(ANSWERS, count=0)))
    assert JudgingFile.open(path, BUDGET, has_signed=True).account.epsilon == 0
    path.unlink()
    assert JudgingFile.open(path, BUDGET, has_signed=True).account.epsilon == inf
    assert not JudgingFile.open(path, BUDGET, has_signed=True).account.affords(told(2))


async def test_an_account_that_is_taken_to_another_chain_counts_on_there(tmp_path: Path) -> None:
    """Given cards up to round 49 of one chain, when the rows join another that begins at round 0, then each card there counts."""
    path = tmp_path / "judging.json"
    await spent(path, *(told(round_) for round_ in range(5)))
    file = JudgingFile.open(path, BUDGET)
    for round_ in range(3):
        await file.count(replace(told(round_), chain=Digest(bytes([7]) * 32)))
    assert JudgingFile.open(path, BUDGET).account.tally.all_cards == 8
    assert file.account.epsilon == pytest.approx(epsilon(tuple(8 * part for part in cost(ANSWERS)), 1e-6))


async def test_a_card_that_can_not_be_counted_does_not_leave(tmp_path: Path) -> None:
    with pytest.raises((OperatorError, MachineError)):
        await spent(tmp_path / "gone" / "judging.json", told(1))


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: b"",
        lambda saved: b"{" * 10_000,
        lambda saved: json.dumps(saved | {"orders": saved["orders"][1:]}).encode(),
        lambda saved: json.dumps(saved | {"spent": saved["spent"][1:]}).encode(),
        lambda saved: json.dumps(saved | {"spent": [-1.0, *saved["spent"][1:]]}).encode(),
        lambda saved: json.dumps(saved | {"cards": -1}).encode(),
        lambda saved: json.dumps(saved | {"running": saved["running"] * 999}).encode(),
        lambda saved: json.dumps(saved | {"other": 1}).encode(),
        lambda saved: json.dumps(saved | {"spent": [one / 1000 for one in saved["spent"]]}).encode(),
        lambda saved: json.dumps(saved | {"running": [saved["running"][0] | {"count": -5}]}).encode(),
        lambda saved: json.dumps(saved | {"chain": "ab"}).encode(),
    ],
    ids=[
        "empty",
        "deep",
        "other orders",
        "too few",
        "negative",
        "less than no card",
        "too many epochs",
        "an unknown field",
        "less told",
        "a count below one",
        "no chain",
    ],
)
async def test_a_damaged_file_is_told_and_never_begun_anew(tmp_path: Path, change) -> None:
    path = tmp_path / "judging.json"
    await spent(path, told(1), told(2))
    path.write_bytes(change(json.loads(path.read_bytes())))
    with pytest.raises(MachineError, match="can't be read") as caught:
        JudgingFile.open(path, BUDGET)
    assert caught.value.code == "damaged_account"


def test_the_operator_sees_the_bound_of_a_card_and_of_a_life() -> None:
    account = JudgingAccount(budget=9.0)
    shown = judging_privacy(account, Params(score_noise=NOISE), Rows(100, 400), trainers=10)
    one = cost(ANSWERS)
    assert (shown.card, shown.life) == (epsilon(one, 1e-5), epsilon(tuple(100 * part for part in one), 1e-5))
    assert (shown.noise, shown.delta, shown.cards, shown.budget) == (4.0, 1e-5, 0, 9.0)
    assert "4 times what one row changes, on means over 100 of 400 rows" in shown.mechanism
    account.count(account.tally.after(told(1)))
    later = judging_privacy(account, Params(score_noise=NOISE), Rows(100, 400), trainers=10)
    assert (later.cards, later.answers, later.spent) == (1, 12, epsilon(one, 1e-5))
    assert later.left == pytest.approx(9.0 - epsilon(one, 1e-5))


def test_without_noise_or_rows_no_bound_is_shown() -> None:
    account = JudgingAccount()
    exact = judging_privacy(account, Params(score_noise=0), Rows(100, 400), trainers=10)
    assert (exact.card, exact.life, exact.budget, exact.left) == (None, None, None, None)
    assert exact.mechanism.startswith("none")
    unknown = judging_privacy(account, Params(score_noise=NOISE), None, trainers=10)
    assert (unknown.card, unknown.life) == (None, None)
    assert "at most 256 rows" in unknown.mechanism


@pytest.mark.parametrize(
    ("noise", "rows", "warned"),
    [
        (0, 10, False),
        (4_000, 0, False),
        (4_000, 50, True),
        (4_000, 119, True),
        (4_000, 120, False),
        (4_000, 10_000, False),
        (1_000, 50, False),
    ],
)
def test_a_judge_of_too_few_rows_for_its_noise_is_told_so(noise: int, rows: int, warned: bool) -> None:
    """Noise of more than a third of the margin: 3 nat a row may say, times noise, over a third of 0.3 nat."""
    found = noise_warnings(replace(Params(), score_noise=noise), rows)
    assert bool(found) is warned
    assert all("fewer than 120 rows" in text and "hold more rows" in text for text in found)


def test_a_genesis_whose_judges_can_never_have_enough_rows_is_told_so() -> None:
    (text,) = noise_warnings(replace(Params(), score_noise=4_000, score_rows=64), 5_000)
    assert "no number of rows is enough" in text


def test_a_margin_that_refuses_nothing_is_hidden_by_no_noise() -> None:
    assert noise_warnings(replace(Params(), score_noise=4_000, score_margin=MicroNats(0)), 1) == []
