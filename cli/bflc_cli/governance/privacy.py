"""The command that tells what gets out of a node's rows at most."""

import msgspec
import typer
from rich.console import RenderableType

from bflc_cli.client import connect
from bflc_cli.session import Session
from bflc_cli.tables import facts
from bflcd.api.schema.privacy import JudgingPrivacy, PrivacyView


def privacy(ctx: typer.Context) -> None:
    """What the score cards of this node tell of its rows at most: epsilon, delta, the budget and what is left of it."""
    session: Session = ctx.obj
    with connect(session) as api:
        data = api.get("/v1/privacy")
    session.emit(data, lambda: session.show(privacy_view(msgspec.convert(data, PrivacyView))))


def privacy_view(found: PrivacyView) -> RenderableType:
    """For people."""
    return facts(_judging(found.judging)) if found.judging else "nothing is told of this node's rows"


def _judging(found: JudgingPrivacy) -> list[tuple[str, str]]:
    at = f"at delta {found.delta:g}"
    budget = (
        "none (privacy.judging_epsilon)" if found.budget is None else f"epsilon {found.budget:g}, {found.left or 0.0:.3g} left"
    )
    return [
        ("judging by", found.mechanism),
        ("a card", f"{_expected(found.card, found.noise)} {at}, with an answer to each trainer"),
        ("a hundred cards", f"{_expected(found.life, found.noise)} {at}"),
        ("so far", f"{_epsilon(found.spent)} {at}: {found.cards} cards with {found.answers} answers"),
        ("budget", budget),
    ]


def _expected(value: float | None, noise: float) -> str:
    """Before the worker has said how many rows there are, nobody knows."""
    return "not known yet" if value is None and noise else _epsilon(value)


def _epsilon(value: float | None) -> str:
    return "no bound" if value is None else f"epsilon {value:.3g}"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("privacy")(privacy)
