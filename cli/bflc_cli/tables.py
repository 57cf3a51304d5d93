"""Answers of the API as tables for people."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bflc_cli.text import duration, millinats, nats, round_of, share, short, shorts, size, yes
from bflcd.api.schema.chain import HistoryRow
from bflcd.api.schema.members import CommitteeView, MemberView
from bflcd.api.schema.privacy import PrivacyClaimView
from bflcd.api.schema.round import RoundView
from bflcd.api.schema.status import Peer, Status, TrainingWord
from bflcd.limits import visible

MAX_WORST: Final = 2
"""Judges whose rows are worst, of whom more are not named: the model is as good at most sites."""


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """A plain table; a column whose name begins with `>` is aligned to the right, one with `~` is folded where space is short."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        folds = name.startswith("~")
        made.add_column(
            name.lstrip(">~"), justify="right" if name.startswith(">") else "left", no_wrap=not folds, overflow="fold"
        )
    for row in rows:
        made.add_row(*(Text(visible(cell)) for cell in row))
    return made


def facts(pairs: Iterable[tuple[str, str]]) -> Table:
    """Names and values."""
    made = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, Text(visible(value)))
    return made


def status_view(status: Status) -> RenderableType:
    """All that a person asks first; warnings last, where they are seen."""
    rounds = f"{status.round}" + (f" of {status.last_round}" if status.last_round else "") + (", done" if status.done else "")
    kept = "all that came here" if status.store_mode == "archive" else f"payloads of {status.keep} rounds"
    models = "" if status.prune_height is None else f", models from height {status.prune_height} on"
    last = "none yet" if status.last_commit_age is None else f"{duration(status.last_commit_age)} ago"
    rows = "held out by the members" if status.held_out else "that the members train on"
    accuracy = share(status.accuracy) + (
        "" if status.accuracy_round is None else f" (model {status.accuracy_round}, on rows {rows})"
    )
    if status.worst_accuracy is not None:
        accuracy += f", worst {_worst(status.worst_accuracy, status.worst_at)}"
    pairs = [("community", "none yet"), ("node", f"{short(status.node_id)} ({status.peer_id}), {status.phase}")]
    if status.chain_id:  # else it has no genesis, and of all that follows there is nothing
        pairs = [
            ("community", f"{status.name}, chain {short(status.chain_id)}, {status.members} members, task {status.task}"),
            ("node", f"{short(status.node_id)} ({status.peer_id}), {status.role}"),
            ("round", f"{rounds}, view {status.view}: {status.phase}"),
            ("height", f"{status.height}, head {short(status.head_hash)}, state {short(status.state_hash)}"),
            ("chain id", status.chain_id),
            ("trusted head", status.trusted_head or "-"),
            ("committee", shorts(status.committee) + f", leader {short(status.leader)}"),
            ("accuracy", accuracy + ("" if status.test_accuracy is None else f", {share(status.test_accuracy)} on test data")),
            ("last commit", last),
        ]
    pairs += [
        ("peers", str(status.peers)),
        ("store", f"{size(status.size_on_disk)}, keeps {kept}{models}"),
        ("process", f"{status.pid}, up {duration(status.uptime)}, {size(status.memory_rss)}, device {status.device or '-'}"),
        ("listens on", ", ".join(status.listen) or "-"),
    ]
    if status.changed:
        pairs.append(("set by managers", ", ".join(f"{name} = {value}" for name, value in status.changed.items())))
    if status.not_training:
        pairs.append(("not training", f"{shorts(status.not_training)} (`peers` says why)"))
    if status.waiting_for:
        pairs.append(("waiting for", status.waiting_for))
    return Group(facts(pairs), *warning_lines(status.warnings))


def warning_lines(warnings: Iterable[str]) -> list[Text]:
    """A line for each, none of which can pass for another."""
    return [Text(visible(f"warning: {text}"), style="yellow") for text in warnings]


def peers_view(peers: list[Peer]) -> RenderableType:
    """One line a connection."""
    if not peers:
        return Text("no peers: check --bootstrap and the firewall", style="yellow")
    rows = (
        (
            short(peer.node_id),
            "in" if peer.inbound else "out",
            peer.address,
            "-" if peer.latency_ms is None else f"{peer.latency_ms:.1f} ms",
            str(peer.round),
            str(peer.height),
            f"{peer.score:.1f}",
            duration(peer.last_seen_ms / 1000),
            "-" if peer.clock_ahead_ms is None else f"{peer.clock_ahead_ms / 1000:+.1f} s",
            _trains(peer.training),
            peer.version,
        )
        for peer in peers
    )
    return table(
        ("node", "", "~address", ">latency", ">round", ">height", ">score", ">seen", ">clock", "trains", "version"), rows
    )


def _trains(word: TrainingWord | None) -> str:
    """Whether a peer says that it trains, and why if not."""
    if word is None:
        return "-"
    return "yes" if word is TrainingWord.TRAINS else f"no: {word}"


def round_view(view: RoundView) -> RenderableType:
    """The running round: who has offered, whose card is in, who votes, who is missing."""
    ends = "" if view.deadline_ms is None else f", collection ends in {duration(view.deadline_ms / 1000)}"
    leader, offer = view.view_timeout_ms, view.collect_deadline_ms
    pairs = [
        ("round", f"{view.round}, view {view.view}, leader {short(view.leader)}"),
        ("phase", f"{view.phase}, for {duration(view.started_ms_ago / 1000)}{ends}"),
        ("waits", f"{duration(leader / 1000)} for a leader, {duration(offer / 1000)} for a first offer"),
        ("cards", shorts([card.member + ("*" if card.mine else "") for card in view.cards])),
        ("prepares", shorts(view.votes.prepare)),
        ("commits", shorts(view.votes.commit)),
    ]
    if view.votes.view_change:
        pairs.append(("view changes", shorts(view.votes.view_change)))
    if view.missing or view.waiting_for:
        pairs.append(("waiting for", view.waiting_for or shorts(view.missing)))
    parts: list[RenderableType] = [facts(pairs)]
    if view.offers:
        rows = (
            (
                short(offer.uploader),
                str(offer.samples),
                size(offer.size),
                yes(offer.have),
                yes(offer.scored),
                "" if offer.claim is None else f"epsilon {offer.claim.epsilon:g} at 1e-{offer.claim.delta_exponent}",
            )
            for offer in view.offers
        )
        parts += [Text(), table(("offer of", ">samples", ">size", "held", "scored", "claimed privacy"), rows)]
    if view.last_decision:
        decided = (
            (
                short(row.uploader),
                nats(row.score),
                share(row.accuracy),
                "-" if row.norm is None else f"{row.norm:.3f}",
                str(row.weight) if row.packed else "-",
                "packed" if row.packed else row.reason,
            )
            for row in view.last_decision
        )
        parts += [Text(), table(("decided before", ">score", ">accuracy", ">norm", ">weight", ""), decided)]
    return Group(*parts)


def committee_view(view: CommitteeView) -> RenderableType:
    """Seats in order."""
    head = f"round {view.round}, epoch {view.epoch}: {len(view.members)} seats, quorum {view.quorum}, survives {view.faults}"
    rows = (
        (
            str(seat.seat),
            short(seat.node_id),
            " ".join(filter(None, ("leader" if seat.leader else "", "me" if seat.me else "", "" if seat.present else "absent"))),
            str(seat.balance),
        )
        for seat in view.members
    )
    seats = table((">seat", "node", "", ">balance"), rows)
    return Group(Text(head + (", degraded" if view.degraded else "")), seats)


def members_view(members: list[MemberView]) -> RenderableType:
    """The ledger's accounts, and from which reputation on seats are given first; a hundred columns are enough for all of it."""
    rows = (
        (
            short(member.node_id),
            str(member.balance),
            round_of(member.packed_round),
            nats(member.packed_score) if member.packed_round >= 0 else "-",
            round_of(member.seat_round),
            share(member.availability),
            millinats(member.reputation),
            ", ".join(_standing_words(member)),
            " ".join(filter(None, ("manager" if member.manager else "", "me" if member.me else ""))),
        )
        for member in members
    )
    columns = ("node", ">balance", ">packed", ">score", ">seat", ">available", ">reputation", "~standing", "")
    floor = f"reputation in thousandths of a nat; from {millinats(members[0].seat_floor)} on seats go to the packed first"
    return Group(table(columns, rows), *([Text(floor, style="dim")] if members else []))


def _standing_words(member: MemberView) -> list[str]:
    """All that stands against a member, the heaviest first."""
    words = [member.standing] if member.standing in ("punished", "retired", "owes") else []
    words += [] if member.present else ["absent"]
    if member.sits_out_until >= 0:
        words.append(f"doubted until {member.sits_out_until}")
    elif member.doubt > 0:
        words.append(f"doubt {100 * member.doubt:.0f} %")
    if member.rest_until >= 0:
        words.append(f"rests until {member.rest_until}")
    elif member.refusals:
        words.append(f"{member.refusals} harmful")
    if member.in_debt:
        words.append("in debt")
    elif not member.seated_first and member.reputation < member.seat_floor:
        words.append("low")
    return words


def _worst(accuracy: float | None, judges: list[str]) -> str:
    """The lowest accuracy, and by whose word; no name where many say the same."""
    return share(accuracy) + (f" at {shorts(judges)}" if 0 < len(judges) <= MAX_WORST else "")


def history_view(rows: list[HistoryRow]) -> RenderableType:
    """One line a model; accuracy is that of the model that the round began with, worst the lowest word of a judge of it."""
    shown = (
        (
            str(row.round),
            str(row.height),
            datetime.fromtimestamp(row.time / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            f"{row.packed}/{row.places}",
            share(row.accuracy),
            _worst(row.worst, row.worst_at),
            "-" if row.loss is None else f"{row.loss:.4f}",
            f"{row.seconds:.1f}",
            str(row.view),
            str(row.rewards),
            shorts(row.committee, 6) + (" degraded" if row.degraded else ""),
            "" if row.rolled_back_to is None else f"model {row.rolled_back_to}",
            shorts(row.not_judged, 6) if row.not_judged else "",
            _claimed(row.claims),
        )
        for row in rows
    )
    names = (
        ">model",
        ">height",
        "time",
        ">packed",
        ">accuracy",
        "~worst",
        ">loss",
        ">seconds",
        ">view",
        ">rewards",
        "~decided by",
        "~back to",
        "~left out",
        "~claimed privacy",
    )
    return table(names, shown)


def _claimed(claims: list[PrivacyClaimView]) -> str:
    """How many packed trainers claim privacy, and the widest of what they claim."""
    if not claims:
        return ""
    widest = max(claims, key=lambda one: (one.epsilon, -one.delta_exponent))
    return f"{len(claims)}, epsilon up to {widest.epsilon:g} at 1e-{widest.delta_exponent}"


CSV_COLUMNS: Final = (
    "round",
    "height",
    "time",
    "packed",
    "places",
    "accuracy",
    "worst",
    "worst_proven",
    "loss",
    "seconds",
    "view",
    "rewards",
    "degraded",
    "rolled_back_to",
)
"""Fields of a row of history, by their names in the API; what is not known is empty."""


def history_csv(rows: Iterable[HistoryRow]) -> str:
    """The same for programs that draw curves."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows([int(v) if isinstance(v, bool) else v for v in (getattr(row, name) for name in CSV_COLUMNS)] for row in rows)
    return text.getvalue()
