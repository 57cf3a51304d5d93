"""`audit`: the folder for somebody who trusts none of the members; the daemon may run meanwhile."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from bflc_cli.session import Session
from bflc_cli.tables import facts
from bflc_cli.text import short
from bflcd.files import named


def audit(
    ctx: typer.Context,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", parser=named, metavar="DIR", help="The folder to make.")],
) -> None:
    """Write who contributed what to which model, what was refused and why, operations, units and certificates."""
    session: Session = ctx.obj
    datadir = session.need_datadir()
    with session.err.status("auditing") as shown:
        ended = asyncio.run(_audit(datadir, output, lambda model: shown.update(f"auditing, model {model}")))
    result = {"folder": str(output.absolute()), **ended}
    pairs = [
        ("folder", result["folder"]),
        ("chain", short(result["chain_id"])),
        ("rounds", f"{result['rounds']}, up to block {short(result['head'])}"),
        ("read first", str(Path(result["folder"]) / "index.html")),
    ]
    session.emit(result, lambda: session.show(facts(pairs)))


async def _audit(datadir: Path, output: Path, tell: Any) -> dict[str, Any]:
    from bflc_cli.audit.folder import new_folder  # noqa: PLC0415 - numpy and the store
    from bflcd.errors import InvariantError  # noqa: PLC0415
    from bflcd.inspect.audit import AuditedChain, audit_chain  # noqa: PLC0415
    from bflcd.inspect.reader import open_reader  # noqa: PLC0415

    rounds = 0
    async with open_reader(datadir) as store:
        with new_folder(output) as folder:
            async for item in audit_chain(store):
                if isinstance(item, AuditedChain):
                    folder.end(item)
                    ended = {"chain_id": item.chain_id, "head": item.head, "rounds": rounds}
                    break
                folder.add(item)
                rounds += 1
                tell(item.round.model)
            else:
                raise InvariantError("the audit ended without its chain")
    return ended


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("audit")(audit)
