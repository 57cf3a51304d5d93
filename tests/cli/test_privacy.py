"""`bflc-cli privacy` and what other commands say of claims, against a served node."""

import io
import json
from collections.abc import Iterator

import msgspec
import pytest
from rich.console import Console

from bflc_cli.main import main
from bflc_cli.privacy.command import privacy_view
from bflc_cli.tables import history_view
from bflcd.api.schema.chain import HistoryRow
from bflcd.api.schema.privacy import JudgingPrivacy, PrivacyClaimView, PrivacyView
from tests.helpers.fake_node import IDS, TRAINING_PRIVACY, ServedNode


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedNode]:
    with ServedNode(tmp_path_factory.mktemp("served")) as served:
        yield served


def asked(served, capsys, *words):
    assert main(["--datadir", str(served.datadir), *words]) == 0
    return capsys.readouterr().out


def test_it_shows_budget_mechanism_and_what_is_left(served, capsys):
    served.node.private = PrivacyView(training=TRAINING_PRIVACY)
    shown = asked(served, capsys, "privacy")
    for words in (
        "epsilon 8 at delta 1e-5, for life",
        "epsilon 2.125, in 3 updates",
        "21 updates like the next one",
        "4 steps an update, each on a row with probability 0.25; gradients cut to 0.5, noise of 1.75 times that",
    ):
        assert words in " ".join(shown.split())
    assert json.loads(asked(served, capsys, "--json", "privacy"))["data"]["training"]["spent"] == 2.125


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (None, "updates are as training gives them"),
        (msgspec.structs.replace(TRAINING_PRIVACY, stopped=True, updates_left=0), "this node does not train any more"),
        (
            msgspec.structs.replace(TRAINING_PRIVACY, updates_left=None, clip=None, noise=None, sampling=None, steps=None),
            "not known before the worker has counted its rows",
        ),
    ],
)
def test_it_says_so_where_there_is_none_or_nothing_left(served, capsys, view, words):
    served.node.private = PrivacyView(training=view)
    assert words in " ".join(asked(served, capsys, "privacy").split())


def test_history_shows_claims_as_claims(served, capsys):
    (row,) = json.loads(asked(served, capsys, "--json", "history", "--from", "1", "-n", "1"))["data"]
    assert row["claims"] == []
    claims = [
        PrivacyClaimView(node_id=IDS[0], epsilon=2.5, delta_exponent=5),
        PrivacyClaimView(node_id=IDS[1], epsilon=4.0, delta_exponent=6),
    ]
    told = msgspec.structs.replace(msgspec.convert(row, HistoryRow), claims=claims)
    console = Console(width=400, record=True)
    with console.capture() as found:
        console.print(history_view([told]))
    assert "claimed privacy" in found.get()
    assert "2, epsilon up to 4 at 1e-6" in found.get()


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
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    return lines[lines.index("judging") + 1 :]


def test_people_read_the_bound_of_a_card_of_a_hundred_and_of_all_so_far() -> None:
    assert shown(PrivacyView(training=None, judging=JUDGING)) == [
        "mechanism noise",
        "a card epsilon 4.02 at delta 1e-05, with an answer to each trainer",
        "a hundred cards epsilon 77.5 at delta 1e-05",
        "so far epsilon 18.3 at delta 1e-05: 12 cards with 144 answers",
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
