"""Who belongs to the community: applications and motions, and what a manager or a member signs."""

import sys
import time
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from bflc_cli.client import Api, connect
from bflc_cli.session import CommandError, Session, finite
from bflc_cli.tables import facts, table, warning_lines
from bflc_cli.text import short, shorts
from bflcd.api.schema.alliance import AllianceView, ApplicantView, MotionView, OperationView, VoucherView
from bflcd.limits import LARGEST_NUMBER

_VIEW: Final = "/v1/alliance"

_POLL: Final = 0.25
"""Seconds between two looks whether a block has carried an operation."""

_FETCH: Final = 30.0
"""Seconds that a node may take to get the model that it is to go back to, before it signs."""

NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="A node's id, or its beginning where it is known.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for everybody to read, for ever.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
PatienceOption = Annotated[
    float, typer.Option("--for", min=0, max=86_400, callback=finite, help="Seconds to wait for the block that carries it.")
]


def alliance(ctx: typer.Context) -> None:
    """Members, applications, motions of managers, who has gone, and what waits for its block."""
    session: Session = ctx.obj
    with connect(session) as api:
        view = api.read(_VIEW, AllianceView)
    session.emit(view, lambda: session.show(alliance_view(view)))


def applications(ctx: typer.Context) -> None:
    """Who asks to become a member."""
    session: Session = ctx.obj
    with connect(session) as api:
        view = api.read(_VIEW, AllianceView)
    session.emit(view.applicants, lambda: session.show(_applicants(view.applicants)))


def motions(ctx: typer.Context) -> None:
    """What some managers have signed and too few."""
    session: Session = ctx.obj
    with connect(session) as api:
        view = api.read(_VIEW, AllianceView)
    session.emit(view.motions, lambda: session.show(_motions(view.motions)))


def admit(ctx: typer.Context, node: NodeArgument, *, patience: PatienceOption = 60) -> None:
    """Admit a node, whether it has applied or not. A manager's command."""
    sign(ctx, {"kind": "admit", "node": node}, patience)


def refuse(ctx: typer.Context, node: NodeArgument, *, reason: ReasonOption = "", patience: PatienceOption = 60) -> None:
    """Refuse an application, or withdraw a voucher by its key. A manager's command."""
    sign(ctx, {"kind": "refuse", "node": node, "reason": reason}, patience)


def kick(
    ctx: typer.Context,
    node: NodeArgument,
    *,
    reason: ReasonOption = "",
    agreed: YesOption = False,
    patience: PatienceOption = 60,
) -> None:
    """Put a member out, once a quorum of managers has said the same."""
    _ask(ctx, f"Sign that {node} is put out of the community?", agreed=agreed)
    sign(ctx, {"kind": "kick", "node": node, "reason": reason}, patience)


def take_back(ctx: typer.Context, node: NodeArgument, *, patience: PatienceOption = 60) -> None:
    """Take back who was put out, once a quorum of managers has said the same."""
    sign(ctx, {"kind": "return", "node": node}, patience)


def appoint(ctx: typer.Context, node: NodeArgument, *, agreed: YesOption = False, patience: PatienceOption = 60) -> None:
    """Make a member a manager, once a quorum of managers has said the same."""
    _ask(ctx, f"Sign that {node} manages the community too?", agreed=agreed)
    sign(ctx, {"kind": "appoint", "node": node}, patience)


def dismiss(
    ctx: typer.Context,
    node: NodeArgument,
    *,
    reason: ReasonOption = "",
    agreed: YesOption = False,
    patience: PatienceOption = 60,
) -> None:
    """End a manager's managing, once a quorum of managers has said the same; this node's own at once."""
    _ask(ctx, f"Sign that {node} manages no more?", agreed=agreed)
    sign(ctx, {"kind": "dismiss", "node": node, "reason": reason}, patience)


def set_parameter(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A parameter, as `bflcd genesis --param` calls it.")],
    value: Annotated[
        int,
        typer.Argument(
            metavar="VALUE", min=0, max=LARGEST_NUMBER, help="In milliseconds, millionths, rounds, as in the genesis."
        ),
    ],
    *,
    agreed: YesOption = False,
    patience: PatienceOption = 60,
) -> None:
    """Set what the community works by, from the next round on, once a quorum of managers has said the same."""
    _ask(ctx, f"Sign that {name} is {value} for all members from the next round on?", agreed=agreed)
    sign(ctx, {"kind": "set", "name": name, "value": value}, patience)


def approve(
    ctx: typer.Context,
    motion: Annotated[str, typer.Argument(metavar="MOTION", help="The beginning of a motion's id, or of a voucher's key.")],
    *,
    patience: PatienceOption = 60,
) -> None:
    """Sign what another manager has proposed: `motions` lists it, `alliance` vouchers too."""
    sign(ctx, {"kind": "approve", "motion": motion}, patience)


def rollback(
    ctx: typer.Context,
    round_: Annotated[int, typer.Argument(metavar="ROUND", min=0, max=LARGEST_NUMBER, help="Whose model comes back.")],
    *,
    reason: ReasonOption = "",
    agreed: YesOption = False,
    patience: PatienceOption = 60,
) -> None:
    """Go back to the model of an earlier round, once a quorum of managers has said the same. A manager's command."""
    text = f"Sign that the community goes back to the model of round {round_}, and what it has learned since is dropped?"
    _ask(ctx, text, agreed=agreed)
    sign(ctx, {"kind": "rollback", "round": round_, "reason": reason}, patience)


def replace_key(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The member whose key is lost or stolen.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Who has applied with its new key.")],
    *,
    agreed: YesOption = False,
    patience: PatienceOption = 60,
) -> None:
    """Give a member's account to a new key, once a quorum of managers has said the same."""
    _ask(ctx, f"Sign that all that {old} has is {new}'s? The old key is dead from then on", agreed=agreed)
    sign(ctx, {"kind": "replace", "node": old, "by": new}, patience)


def leave(
    ctx: typer.Context,
    *,
    heir: Annotated[
        str, typer.Option("--heir", metavar="NODE", help="The member that gets what this node has, once its deposit is free.")
    ] = "",
    agreed: YesOption = False,
    patience: PatienceOption = 60,
) -> None:
    """Leave the community from the next round on; managers can admit this node again."""
    left = f", and what it has to {heir}" if heir else ""
    _ask(ctx, f"Sign that this node leaves the community{left}?", agreed=agreed)
    sign(ctx, {"kind": "leave", "node": heir} if heir else {"kind": "leave"}, patience)


def transfer(
    ctx: typer.Context,
    node: NodeArgument,
    amount: Annotated[int, typer.Argument(metavar="UNITS", min=1, max=LARGEST_NUMBER, help="How much of this node's balance.")],
    *,
    patience: PatienceOption = 60,
) -> None:
    """Give another member a part of this node's balance."""
    sign(ctx, {"kind": "transfer", "node": node, "amount": amount}, patience)


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    signing = (admit, refuse, kick, appoint, dismiss, rollback, approve, leave, transfer)
    for command in (alliance, applications, motions, *signing):
        app.command()(command)
    app.command("take-back")(take_back)
    app.command("set")(set_parameter)
    app.command("replace")(replace_key)


def alliance_view(view: AllianceView) -> RenderableType:
    """All of it for people."""
    terms = view.terms
    parts: list[RenderableType] = [
        facts(
            [
                ("members", f"{view.members}, {view.least} are needed; this node: {view.membership}"),
                ("managers", shorts(view.managers) + (", this node is one" if view.i_am_manager else "")),
                ("admitting", f"{terms.admission} of them; putting out and taking back: {terms.quorum}"),
            ]
        )
    ]
    if view.changed:
        parts.append(facts([("set by managers", ", ".join(f"{name} = {value}" for name, value in view.changed.items()))]))
    if view.rollback is not None:
        parts.append(facts([("went back", f"in round {view.rollback.round} to the model of round {view.rollback.target}")]))
    if view.applicants:
        parts += [_title("applications"), _applicants(view.applicants)]
    if view.motions:
        parts += [_title("motions"), _motions(view.motions)]
    if view.vouchers:
        parts += [_title("vouchers"), _vouchers(view.vouchers)]
    if view.former:
        gone = [
            (
                short(one.node_id),
                f"{one.standing} {short(one.successor)}".strip(),
                str(one.round),
                str(one.balance),
                short(one.heir),
            )
            for one in view.former
        ]
        parts += [_title("former members"), table(("node", "", ">in round", ">balance", "for"), gone)]
    if view.waiting:
        parts += [_title("waiting for a block"), table(("kind", "~what"), [(one.kind, one.text) for one in view.waiting])]
    if view.members < view.least:
        parts += warning_lines([f"{view.members} members are too few: {view.least} are needed, so admit somebody"])
    return Group(*parts)


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _applicants(rows: list[ApplicantView]) -> RenderableType:
    return table(
        ("node", ">round", ">until", "~says", "~answer"),
        [
            (one.node_id, str(one.round), str(one.expires), one.note, f"refused: {one.reason}" if one.refused else "waits")
            for one in rows
        ],
    )


def _motions(rows: list[MotionView]) -> RenderableType:
    return table(
        ("motion", "what", "~why", ">managers", "for it", ">until"),
        [
            (
                short(one.id),
                f"{one.kind} {one.text if one.kind == 'set' else short(one.node_id)}".rstrip(),
                "" if one.kind == "set" else one.text,
                f"{len(one.approvals)} of {one.needed}",
                shorts(one.approvals),
                str(one.expires),
            )
            for one in rows
        ],
    )


def _vouchers(rows: list[VoucherView]) -> RenderableType:
    return table(
        ("key", ">managers", "behind it", ">until"),
        [(short(one.key), f"{len(one.approvals)} of {one.needed}", shorts(one.approvals), str(one.until)) for one in rows],
    )


def _ask(ctx: typer.Context, question: str, *, agreed: bool) -> None:
    session: Session = ctx.obj
    if agreed:
        return
    if session.json or not sys.stdin.isatty():
        raise CommandError("nobody can be asked here whether this is meant", code="needs_yes", hint="say so with --yes")
    if not typer.confirm(question, err=True):
        raise CommandError("nothing was signed, as you said", code="declined")


def sign(ctx: typer.Context, body: dict[str, Any], patience: float) -> None:
    """Have the node sign an operation, and wait for the block that carries it."""
    session: Session = ctx.obj
    with connect(session) as api:
        signed = msgspec.convert(api.post("/v1/operations", body, timeout=api.timeout + _FETCH), OperationView)
        with session.err.status("waiting for the block that carries it"):
            outcome, view = outcome_of(api, signed, patience)
    result = {"operation": signed, "outcome": outcome, "round": view.round}
    lines = [Text(signed.text), Text(told(signed, outcome, view))]
    mine = [one for one in view.motions if one.kind == signed.kind and set(one.approvals) & set(view.managers)]
    if outcome == "carried" and mine:
        lines.append(Text("motions that need more managers:"))
    session.emit(result, lambda: session.show(Group(*lines, *([_motions(mine)] if len(lines) > 2 else []))))


_TOLD: Final = {
    "carried": "a block has carried it; the community is in round {round}",
    "dropped": "this node keeps it no more: what it is for has happened, or can't happen now, in round {round}; whoever has kept "
    "it can bring it until round {last}",
    "expired": "it has run out: no block has carried it by round {last}, and none ever will",
    "waiting": "it waits for its block, in round {round}; `bflc-cli alliance` shows when it is gone",
}


def told(signed: OperationView, outcome: str, view: AllianceView) -> str:
    """How it ended, for people."""
    return _TOLD[outcome].format(round=view.round, last=signed.expires)


def outcome_of(api: Api, signed: OperationView, patience: float) -> tuple[str, AllianceView]:
    """Whether a block has carried it by now, waiting for it as long as wanted."""
    end = time.monotonic() + patience
    while True:
        view = api.read(_VIEW, AllianceView)
        if view.my_operations >= signed.number:
            return "carried", view
        if signed.id not in {one.id for one in view.waiting}:
            return "expired" if view.round > signed.expires else "dropped", view
        if time.monotonic() >= end:
            return "waiting", view
        time.sleep(_POLL)
