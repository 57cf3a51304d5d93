"""What who makes a community is told without being refused."""

import pytest
from typer.testing import CliRunner

from bflcd.commands.app import app
from bflcd.params import Params
from bflcd.setup.genesis_plan import fair_card_share, notes_of
from bflcd.types import PartsPerMillion


def params(card_share: int = 100_000, *, doubts: int = 1, small: bool = False, seats: int = 4, places: int = 6) -> Params:
    share = PartsPerMillion(card_share)
    return Params(committee_size=seats, places=places, card_share=share, doubts=doubts, small_community=small)


@pytest.mark.parametrize(("seats", "places", "fair"), [(4, 6, 400_000), (4, 4, 500_000), (20, 80, 200_000), (4, 3, 571_428)])
def test_a_seat_is_worth_an_update_where_cards_get_the_share_of_seats(seats: int, places: int, fair: int) -> None:
    """c / M is (1 - c) / k."""
    share = fair_card_share(params(seats=seats, places=places))
    assert share == fair
    assert share / seats == pytest.approx((1_000_000 - share) / places, rel=1e-4)


@pytest.mark.parametrize(
    ("made", "noted"),
    [
        (params(), True),
        (params(199_999), True),
        (params(200_000), False),
        (params(doubts=0), False),
        (params(0, small=True), False),
        (params(100_000, seats=20, places=80), False),
        (params(99_999, seats=20, places=80), True),
    ],
)
def test_doubts_and_little_pay_for_cards_are_noted(made: Params, noted: bool) -> None:
    texts = notes_of(made)
    assert len(texts) == noted
    if noted:
        assert f"--param card_share={fair_card_share(made)}" in texts[0]


@pytest.mark.parametrize("words", [("--param", "doubts=1"), ("--param", "doubts=1", "--param", "card_share=400000"), ()])
def test_the_command_that_makes_a_testnet_says_so_and_makes_it(tmp_path, words: tuple[str, ...]) -> None:
    made = CliRunner().invoke(app, ["testnet", "--nodes", "10", "--output", str(tmp_path / "net"), *words])
    assert made.exit_code == 0, made.output
    assert ("note       doubts are on" in made.output) is (words == ("--param", "doubts=1"))
    assert (tmp_path / "net" / "testnet.json").exists()
