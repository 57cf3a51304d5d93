"""`privacy`: what this node's rows may tell, and have told."""

from decimal import ROUND_CEILING, Decimal

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from bflc_cli.client import connect
from bflc_cli.session import Session
from bflc_cli.tables import facts
from bflcd.api.schema.privacy import JudgingPrivacy, PrivacyView, TrainingPrivacy


def privacy(ctx: typer.Context) -> None:
    """What this node's updates and score cards may tell of its rows and have told: bounds, budgets, what is spent, the noise."""
    session: Session = ctx.obj
    with connect(session) as api:
        data = api.get("/v1/privacy")
    session.emit(data, lambda: session.show(privacy_view(msgspec.convert(data, PrivacyView))))


def privacy_view(view: PrivacyView) -> RenderableType:
    """A part for each way in which rows are told of."""
    parts: list[RenderableType] = [Text("training", style="bold"), facts(_training(view.training))]
    if view.judging is not None:
        parts += [Text("judging", style="bold"), facts(_judging(view.judging))]
    return Group(*parts)


def _judging(found: JudgingPrivacy) -> list[tuple[str, str]]:
    at = f"at delta {found.delta:g}"
    budget = (
        "none (privacy.judging_epsilon)" if found.budget is None else f"epsilon {found.budget:g}, {found.left or 0.0:.3g} left"
    )
    return [
        ("mechanism", found.mechanism),
        ("a card", f"{_expected(found.card, found.noise)} {at}, with an answer to each trainer"),
        ("a hundred cards", f"{_expected(found.life, found.noise)} {at}"),
        ("so far", f"{_epsilon(found.spent)} {at}: {found.cards} cards with {found.answers} answers"),
        ("budget", budget),
    ]


def _expected(value: float | None, noise: float) -> str:
    """Before the worker has said how many rows there are, nobody knows."""
    return "not known yet" if value is None and noise else _epsilon(value)


def _epsilon(value: float | None) -> str:
    """Rounded up: a bound is never understated."""
    if value is None:
        return "no bound"
    digits = Decimal(value).adjusted() - 2 if value else 0
    return f"epsilon {Decimal(value).quantize(Decimal(1).scaleb(digits), ROUND_CEILING):f}"


def _training(training: TrainingPrivacy | None) -> list[tuple[str, str]]:
    if training is None:
        return [("without privacy", "updates are as training gives them (privacy.epsilon is 0)")]
    left = "not known yet" if training.updates_left is None else f"{training.updates_left} updates like the next one"
    return [
        ("budget", f"epsilon {training.epsilon:g} at delta 1e-{training.delta_exponent}, for life"),
        ("spent", f"epsilon {training.spent:.3f}, in {training.updates} updates"),
        ("left", "nothing: this node does not train any more" if training.stopped else left),
        ("mechanism", _mechanism(training)),
        ("accountant", training.accountant),
    ]


def _mechanism(training: TrainingPrivacy) -> str:
    if training.clip is None or training.noise is None or training.sampling is None:
        return "not known before the worker has counted its rows"
    return (
        f"{training.steps} steps an update, each on a row with probability {training.sampling:.4g}; gradients cut to "
        f"{training.clip:g}, noise of {training.noise:g} times that"
    )


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("privacy")(privacy)
