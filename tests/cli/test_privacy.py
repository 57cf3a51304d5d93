"""What people read of the bounds."""

import io

import pytest
from rich.console import Console

from bflc_cli.governance.privacy import privacy_view
from bflcd.api.schema.privacy import JudgingPrivacy, PrivacyView

JUDGING = JudgingPrivacy(
    mechanism="noise",
    delta=1e-5,
    noise=4.0,
    card=4.011,
    life=77.4,
    cards=12,
    answers=144,
    spent=18.25,
    budget=None,
    left=None,
)


def shown(view: PrivacyView) -> list[str]:
    console = Console(width=200, file=io.StringIO())
    console.print(privacy_view(view))
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_people_read_the_bound_of_a_card_of_a_hundred_and_of_all_so_far() -> None:
    assert shown(PrivacyView(training=None, judging=JUDGING)) == [
        "judging by noise",
        "a card epsilon 4.01 at delta 1e-05, with an answer to each trainer",
        "a hundred cards epsilon 77.4 at delta 1e-05",
        "so far epsilon 18.2 at delta 1e-05: 12 cards with 144 answers",
        "budget none (privacy.judging_epsilon)",
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"budget": 20.0, "left": 1.75}, "budget epsilon 20, 1.75 left"),
        ({"budget": 20.0, "left": 0.0}, "budget epsilon 20, 0 left"),
        ({"spent": None}, "so far no bound at delta 1e-05: 12 cards with 144 answers"),
        ({"card": None, "noise": 0.0}, "a card no bound at delta 1e-05, with an answer to each trainer"),
        ({"card": None}, "a card not known yet at delta 1e-05, with an answer to each trainer"),
    ],
)
def test_a_budget_and_a_missing_bound_are_said(change: dict[str, float | None], line: str) -> None:
    fields = {name: getattr(JUDGING, name) for name in JUDGING.__struct_fields__}
    assert line in shown(PrivacyView(training=None, judging=JudgingPrivacy(**(fields | change))))


def test_nothing_to_tell_is_said() -> None:
    assert shown(PrivacyView(training=None, judging=None)) == ["nothing is told of this node's rows"]
