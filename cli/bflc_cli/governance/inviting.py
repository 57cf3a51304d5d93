"""An invitation for a new machine; a manager's may admit it too, by a voucher that its node has put into the ledger."""

import time
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from bflc_cli.client import Api, connect
from bflc_cli.governance.alliance import PatienceOption, outcome_of, told
from bflc_cli.session import CommandError, Session, finite
from bflc_cli.text import short
from bflcd.api.schema.alliance import OperationView
from bflcd.api.schema.status import Peer, Status
from bflcd.crypto.identity import Identity
from bflcd.ledger.operations.vouching import MAX_VOUCHER_ROUNDS
from bflcd.setup.invitation import MAX_ADDRESSES, Invitation, invitation_text
from bflcd.types import Digest, Millis, Round

USUAL_ROUNDS: Final = 1_000
"""Rounds that a voucher holds, as an application by default."""

_LOOPBACK: Final = ("/ip4/127.", "/ip6/::1/", "/dns4/localhost/", "/dns6/localhost/")


def invite(
    ctx: typer.Context,
    *,
    hours: Annotated[
        float, typer.Option("--hours", min=0, max=24 * 366, callback=finite, help="How long it holds; 0: for ever.")
    ] = 24 * 7,
    admits: Annotated[
        bool, typer.Option("--admit", help="Admit the first machine that uses it, with nobody's further word; by a manager.")
    ] = False,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=MAX_VOUCHER_ROUNDS, help="With --admit: for how many rounds it admits.")
    ] = USUAL_ROUNDS,
    patience: PatienceOption = 60,
) -> None:
    """Print one string with which a new machine finds this community: `bflcd init --invite STRING`."""
    session: Session = ctx.obj
    with connect(session) as api:
        status = api.read("/v1/status", Status)
        peers = api.read("/v1/peers", list[Peer])
        if not status.chain_id or status.syncing:
            raise CommandError("this node is catching up: it can't say where the chain stands", code="syncing", hint="wait")
        voucher = Identity.generate() if admits else None
        vouched = {} if voucher is None else _vouch(session, api, voucher, status.round + rounds, patience)
    round_, _, head = status.trusted_head.partition(":")
    dialled = [peer.address for peer in peers if not peer.inbound and "/p2p/" in peer.address]
    expires = Millis(round(1000 * (time.time() + 3600 * hours)) if hours else 0)
    invitation = Invitation(
        Digest(bytes.fromhex(status.chain_id)),
        Round(int(round_ or 0)),
        Digest(bytes.fromhex(head) if head else bytes(32)),
        tuple([*status.listen, *dialled][:MAX_ADDRESSES]),
        expires,
        None if voucher is None else voucher.seed,
    )
    text = invitation_text(invitation)
    addresses = list(invitation.addresses)
    if all(address.startswith(_LOOPBACK) for address in addresses):
        warning = "this node is reached from its own machine alone: give it node.listen or node.announce, then invite again"
        session.err.print(Text(f"warning: {warning}", style="yellow"))
    facts = {"invitation": text, "chain_id": status.chain_id, "addresses": addresses, "expires": expires}
    session.emit(facts | vouched, lambda: typer.echo(text))


def register(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command()(invite)


def _vouch(session: Session, api: Api, voucher: Identity, until: int, patience: float) -> dict[str, Any]:
    """Have the node vouch for who has the voucher, and wait for the block; what is to be known of it, for programs.

    Raises CommandError where it is refused, or no block carries it.
    """
    key = voucher.node_id.hex()
    signed = msgspec.convert(api.post("/v1/operations", {"kind": "vouch", "node": key, "round": until}), OperationView)
    with session.err.status("waiting for the block that carries it"):
        outcome, view = outcome_of(api, signed, patience)
    if outcome not in ("carried", "waiting"):
        raise CommandError(f"it admits nobody: {told(signed, outcome, view)}", code="not_carried", hint="try again")
    behind = next((len(one.approvals) for one in view.vouchers if one.key == key), 1)
    lines = [signed.text, told(signed, outcome, view)]
    if behind < view.terms.admission:
        more = view.terms.admission - behind
        lines.append(f"it admits once {more} more of the managers have said so: bflc-cli approve {short(key)}")
    session.err.print(*map(Text, lines), sep="\n")
    return {"voucher": key, "until": until, "outcome": outcome, "needed": view.terms.admission, "approvals": behind}
