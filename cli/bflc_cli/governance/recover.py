"""`recover`: a manager gives a round that can't go on another committee, after being told what that means."""

import sys
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from bflc_cli.client import Api, connect
from bflc_cli.session import CommandError, Session
from bflc_cli.tables import table, warning_lines
from bflc_cli.text import short, yes
from bflcd.api.schema.members import MemberView
from bflcd.api.schema.recovery import RecoveryView
from bflcd.errors import UsageError

LEAST_DIGITS: Final = 4
"""A shorter beginning of an id is too easily mistyped for what takes a member its seat."""

_PATH: Final = "/v1/recovery"


def recover(
    ctx: typer.Context,
    *,
    committee: Annotated[
        str | None, typer.Option("--committee", metavar="ID,ID,...", help="Who judges from then on, in seat order.")
    ] = None,
    retire: Annotated[
        str | None, typer.Option("--retire", metavar="ID,ID,...", help="Who gets no seat until it is seen again.")
    ] = None,
    join: Annotated[
        str | None, typer.Option("--join", metavar="ID", help="Sign this recovery, which others have signed.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Sign one of our own, though others have signed one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be signed, and sign nothing.")] = False,
    agreed: Annotated[bool, typer.Option("--yes", "-y", help="Sign without asking.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Sign even where a quorum may still come together.")] = False,
) -> None:
    """Give a round whose committee can't decide any more another committee; a quorum of managers has to."""
    session: Session = ctx.obj
    asks = not (dry_run or agreed)
    if asks and (session.json or not sys.stdin.isatty()):
        raise CommandError(
            "a recovery can undo what others have decided, and nobody can be asked here",
            code="needs_yes",
            hint="look at it with --dry-run, then sign with --yes",
        )
    with connect(session) as api:
        body: dict[str, Any] = {"new": new, "force": force}
        body |= _named(api, committee, retire)
        if join is not None:
            body["join"] = _pending(api, join)
        if dry_run or asks:
            view = _post(session, api, {**body, "dry_run": True})
            if dry_run:
                session.emit(view, lambda: session.show(recovery_view(view)))
                return
            session.show(recovery_view(view))
            if not _confirmed(view):
                return
            body["expect"] = view.proposal.id
        done = _post(session, api, body)
    session.emit(done, lambda: session.show(_outcome(done)))


def _post(session: Session, api: Api, body: dict[str, Any]) -> RecoveryView:
    with session.err.status("asking the members what they have prepared"):
        return msgspec.convert(api.post(_PATH, body), RecoveryView)


def _confirmed(view: RecoveryView) -> bool:
    """Whether the operator wants it signed; False if there is nothing to sign. Raises CommandError for a refusal or a no."""
    if view.refusal:
        raise CommandError(view.refusal, code=view.code, hint=view.hint)
    if view.action == "wait":
        return False
    if not typer.confirm(f"Sign that round {view.round} goes on in epoch {view.proposal.epoch} under this committee?", err=True):
        raise CommandError("nothing was signed", code="declined")
    return True


# -- ids ------------------------------------------------------------------------------------------------------------------


def _named(api: Api, committee: str | None, retire: str | None) -> dict[str, list[str]]:
    """The members that the options name, by whole ids. Raises UsageError."""
    if committee is None and retire is None:
        return {}
    ids = [member.node_id for member in api.read("/v1/members", list[MemberView])]
    given = (("committee", "--committee", committee), ("retired", "--retire", retire))
    return {key: [whole_id(part, ids, option) for part in _parts(text)] for key, option, text in given if text is not None}


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _pending(api: Api, given: str) -> str:
    view = api.read(_PATH, RecoveryView)
    return whole_id(given, [row.id for row in view.pending], "--join")


def whole_id(given: str, known: list[str], option: str) -> str:
    """The one id that begins with `given`. Raises UsageError if there is none, or more than one."""
    text = given.lower()
    found = [id_ for id_ in known if id_.startswith(text)] if len(text) >= LEAST_DIGITS else []
    if len(found) == 1:
        return found[0]
    if len(text) < LEAST_DIGITS:
        why = f"has fewer than {LEAST_DIGITS} digits"
    elif found:
        why = f"is the beginning of {len(found)} ids: {', '.join(short(id_) for id_ in found[:4])}"
    else:
        why = "is the beginning of no id"
    listed = "`bflc-cli recover --dry-run`" if option == "--join" else "`bflc-cli members`"
    raise UsageError(f"{option}: {given[:80]!r} {why}", hint=f"{listed} lists them; with --json whole", code="bad_argument")


# -- pictures -------------------------------------------------------------------------------------------------------------


def recovery_view(view: RecoveryView) -> RenderableType:
    """The whole case for people: what stopped, what would be signed, what speaks against it."""
    parts: list[RenderableType] = [_seats(view), Text()]
    for line in view.lines:
        parts += [Text(line), Text()]
    parts += _pending_rows(view)
    parts += warning_lines(view.warnings)
    if view.refusal:
        parts.append(Text(f"not signed: {view.refusal}", style="red"))
    elif view.action == "wait":
        parts.append(Text("this manager has signed it: nothing is left to do here", style="green"))
    return Group(*parts)


def _seats(view: RecoveryView) -> RenderableType:
    reasons = {asked.node_id: asked.reason for asked in view.unanswered}
    rows = (
        (
            short(seat.node_id) + (" *" if seat.me else ""),
            "connected" if seat.connected else "gone",
            yes(seat.heard),
            "signed a recovery" if seat.signed else "awaited" if seat.awaited else "",
            reasons.get(seat.node_id, "answered"),
        )
        for seat in view.committee
    )
    return table(("seat", "", "heard in the round", "vote", "~asked what it had prepared"), rows)


def _pending_rows(view: RecoveryView) -> list[RenderableType]:
    if not view.pending:
        return []
    rows = (
        (
            short(row.id),
            str(row.epoch),
            f"{len(row.signed_by)}/{view.needed}",
            " ".join(short(node) for node in row.committee),
            " ".join(short(node) for node in row.retired) or "-",
            "-" if row.prepared is None else short(row.prepared.digest),
            row.objection or "-",
        )
        for row in view.pending
    )
    names = ("pending", ">epoch", ">signed", "~committee", "~retired", "prepared", "~speaks against it")
    return [table(names, rows), Text()]


def _outcome(view: RecoveryView) -> RenderableType:
    if view.adopted:
        return Text(view.lines[0], style="green")
    if view.signed:
        return Group(Text("signed", style="green"), Text(view.lines[-1]))
    return Group(Text("this manager had signed it before", style="green"), Text(view.lines[-1]))


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("recover")(recover)
