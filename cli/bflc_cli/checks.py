"""`verify`: the whole chain of a data directory, checked anew; the daemon may run meanwhile."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bflc_cli.session import CommandError, Session
from bflc_cli.tables import facts
from bflc_cli.text import share, short, size

if TYPE_CHECKING:
    from bflcd.inspect.chain_check import CheckProgress, VerifyReport


def verify(
    ctx: typer.Context,
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Read every stored chunk, of offers that lost too.")] = False,
    test: Annotated[bool, typer.Option("--test/--no-test", help="Measure the newest model on the task's test data.")] = True,
) -> None:
    """Check hashes, links, certificates, numbering, the ledger and the payloads, from the genesis to the head."""
    from bflc_cli.offline import measure_model, report_data, verify_datadir  # noqa: PLC0415 - numpy and the store

    session: Session = ctx.obj
    datadir = session.need_datadir()
    with session.err.status("verifying") as shown:

        def tell(progress: "CheckProgress") -> None:
            shown.update(f"{progress.step}, round {progress.round}")

        report = asyncio.run(verify_datadir(datadir, deep=deep, on_progress=tell))
        accuracy = None
        if report.ok and test and report.model_held:
            shown.update("measuring the newest model on test data")
            accuracy = asyncio.run(measure_model(datadir, report.model_hash))
    data = report_data(report, accuracy)
    if not report.ok:
        raise _failure(session, report, data)
    session.emit(data, lambda: session.show(facts(_report_rows(report, accuracy))))


def _failure(session: Session, report: "VerifyReport", data: dict[str, Any]) -> CommandError:
    if not session.json:
        session.show(facts([*_report_rows(report, None), *((f.where, f.text) for f in report.findings)]))
    first = report.findings[0]
    return CommandError(
        f"{len(report.findings)} findings; the first: {first.where}: {first.text}",
        code="verify_failed",
        hint="damaged payloads are fetched again when the node runs; if the chain itself is damaged, start over from the peers",
        data=data,
    )


def _report_rows(report: "VerifyReport", test_accuracy: float | None) -> list[tuple[str, str]]:
    proved = "" if not report.headers_only else f", {report.headers_only} of them by their certificates alone"
    rows = [
        ("verified", f"{report.round} rounds, up to height {report.height}{proved}" if report.ok else "NO"),
        ("chain", short(report.chain_id)),
        ("head", report.head_hash),
        ("state", report.state_hash),
        (
            "payloads",
            f"{report.payloads} whole ({size(report.payload_bytes)}), {report.missing} not held"
            + ("" if report.model_held else ", the newest model among them"),
        ),
        *(
            [("rollbacks", f"{report.rollbacks}, to the models of the rounds that were named")]
            if report.rollbacks and report.ok
            else []
        ),
        ("aggregates", f"{report.aggregates} computed anew, all the same" if report.ok else f"{report.aggregates} computed anew"),
        (
            "accuracy",
            f"{share(report.accuracy)} (model {report.accuracy_round}, on the members' rows)"
            if report.accuracy is not None
            else "-",
        ),
    ]
    if test_accuracy is not None:
        rows.append(("test accuracy", f"{share(test_accuracy)} (model {report.round})"))
    return rows


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("verify")(verify)
