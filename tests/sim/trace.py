"""What happened, twice: a running hash over every event and effect, and lines for people if they are wanted."""

from hashlib import blake2b
from typing import Any

from bflcd.core.effects import (
    Aggregate,
    Blame,
    CancelWork,
    CatchUp,
    Commit,
    FetchBlob,
    FetchEnvelopes,
    FetchSegment,
    Notice,
    Persist,
    Score,
    Send,
    Train,
)
from bflcd.core.events import (
    Aggregated,
    BlobFetched,
    BlobLost,
    BlobMissing,
    Confirmed,
    EnvelopesFetched,
    IdleChanged,
    MessageReceived,
    Scored,
    SegmentFetched,
    Started,
    SyncChanged,
    Trained,
    WorkFailed,
)
from bflcd.core.records import Pin
from bflcd.types import short
from bflcd.wire.blocks import segment_digest
from bflcd.wire.codec import registered
from bflcd.wire.envelope import Envelope, open_envelope
from bflcd.wire.messages import Announcement, JustifiedPrePrepare, JustifiedViewChange, PrePrepare


class Trace:
    """`lines` is filled only if `readable`."""

    def __init__(self, *, readable: bool) -> None:
        self._hash = blake2b(digest_size=16)
        self.readable = readable
        self.lines: list[str] = []

    def add(self, now: int, name: str, what: str, mark: bytes) -> None:
        self._hash.update(b"%d %s %s " % (now, name.encode(), what.encode()))
        self._hash.update(mark)

    def line(self, now: int, name: str, text: str) -> None:
        self.lines.append(f"{now:>9} {name} {text}")

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def signed_part(message: Any) -> Envelope | None:
    """The envelope that a gossip message is about, if it has one."""
    if isinstance(message, JustifiedPrePrepare):
        return message.pre_prepare
    if isinstance(message, JustifiedViewChange):
        return message.view_change
    return message if isinstance(message, Envelope) else None


def mark_of_message(message: Any) -> bytes:
    """Bytes that tell two messages apart."""
    envelope = signed_part(message)
    if envelope is not None:
        return envelope.author[:4] + envelope.payload + envelope.signature[:8]
    if isinstance(message, Announcement):
        return message.certificate.digest + b"%d" % message.certificate.view
    return repr(message).encode()


def mark_of_event(event: Any) -> bytes:
    """As `mark_of_message`, for events."""
    match event:
        case MessageReceived(message, peer):
            return peer[:4] + mark_of_message(message)
        case BlobFetched(root) | BlobLost(root):
            return bytes(root)
        case BlobMissing():
            return bytes(event.root) + event.text.encode()
        case Aggregated(key, model):
            return key + (b"" if model is None else model.root)
        case EnvelopesFetched():
            return b"".join(map(mark_of_message, event.envelopes))
        case SegmentFetched(certified):
            return bytes(certified.certificate.digest)
        case Trained():
            return bytes(event.blob.root)
        case Scored(_, result):
            return b"".join(score.key + b"%d" % score.gain for score in result.scores)
        case Started(records):
            return b"%d %d" % (len(records.votes), len(records.own))
        case Confirmed(round_):
            return b"%d" % round_
        case IdleChanged(nodes):
            return b"".join(sorted(nodes))
        case SyncChanged(active):
            return b"%d" % active
        case WorkFailed():
            return event.text.encode()
        case _:
            return repr(event).encode()


def mark_of_effect(effect: Any) -> bytes:
    """As `mark_of_message`, for effects."""
    match effect:
        case Send(message, to):
            return mark_of_message(message) + b"%d" % len(to)
        case Persist(records):
            return b"".join(type(record).__name__.encode() + _record_mark(record) for record in records)
        case Commit(certified):
            return bytes(certified.certificate.digest)
        case Blame(node, rejection, _):
            return (node or b"")[:4] + rejection.value.encode()
        case Notice(type_):
            return type_.encode()
        case FetchBlob(blob):
            return bytes(blob.root)
        case FetchEnvelopes(_, digests, source):
            return source[:4] + b"".join(digests)
        case FetchSegment(round_) | CancelWork(round_) | CatchUp(round_):
            return b"%d" % round_
        case Train() | Score():
            return b"%d %d" % (effect.round, effect.seed)
        case Aggregate(key):
            return bytes(key)
        case _:
            return repr(effect).encode()


def _record_mark(record: Any) -> bytes:
    if isinstance(record, Pin):
        return bytes(record.root)
    envelope = getattr(record, "envelope", None)
    return envelope.payload if envelope is not None else repr(getattr(record, "digest", "")).encode()


# -- words ----------------------------------------------------------------------------------------------------------------


def words_of_message(message: Any, name: Any) -> str:
    """A message for people; `name` turns a node id into its short name."""
    envelope = signed_part(message)
    if envelope is None:
        if isinstance(message, Announcement):
            certificate = message.certificate
            return f"Announcement r{certificate.round} v{certificate.view} {short(certificate.digest)}"
        return type(message).__name__
    return words_of_envelope(envelope, name) + _justified_by(message, name)


def words_of_envelope(envelope: Envelope, name: Any) -> str:
    """A signed body for people."""
    try:
        body: Any = open_envelope(envelope, tuple(registered().values())).body
    except Exception as error:  # noqa: BLE001 - a liar's bytes are shown as what they are
        return f"garbage in the name of {name(envelope.author)} ({error})"
    parts = [type(body).__name__, f"by {name(envelope.author)}", f"r{getattr(body, 'round', '?')}"]
    for field, letter in (("view", "v"), ("digest", "d="), ("prepared_view", "prepared=v"), ("prepared_digest", "d=")):
        value = getattr(body, field, None)
        if value is not None:
            parts.append(letter + (short(value) if isinstance(value, bytes) else str(value)))
    if hasattr(body, "entries"):
        parts.append(f"{len(body.entries)} entries, {len(body.present)} present")
    if hasattr(body, "blob"):
        parts.append(f"blob {short(body.blob.root)}")
    if isinstance(body, PrePrepare):
        parts.append(f"cards {' '.join(short(card) for card in body.proposal.cards)} time {body.proposal.time}")
    return " ".join(parts)


def _justified_by(message: Any, name: Any) -> str:
    if isinstance(message, JustifiedPrePrepare) and message.view_changes:
        return f" justified by {','.join(name(e.author) for e in message.view_changes)} with {len(message.prepares)} prepares"
    return ""


def words_of(item: Any, name: Any) -> str:
    """An event or an effect for people."""
    kind = type(item).__name__
    match item:
        case MessageReceived(message, peer):
            return f"heard from {name(peer)}: {words_of_message(message, name)}"
        case Send(message, to):
            return f"SAYS to {','.join(map(name, to)) or 'all'}: {words_of_message(message, name)}"
        case Persist(records):
            return "stores " + ", ".join(_words_of_record(record, name) for record in records)
        case Commit(certified, state):
            return f"COMMITS r{state.round} {short(segment_digest(certified.segment))} v{certified.certificate.view}"
        case Blame(node, rejection, text):
            return f"blames {name(node) if node else 'nobody'}: {rejection.value}: {text}"
        case Notice(type_, text):
            return f"notice {type_}: {text}"
        case EnvelopesFetched(round_, envelopes, source):
            return f"got {len(envelopes)} envelopes of r{round_} from {name(source)}"
        case SegmentFetched(certified, source):
            return f"got the segment {short(certified.certificate.digest)} from {name(source)}"
        case Started(records):
            return f"started with {len(records.votes)} votes, {len(records.own)} own"
        case Confirmed(round_):
            return f"more than f stand at round {round_}"
        case IdleChanged(nodes):
            return f"idle: {','.join(map(name, sorted(nodes))) or 'nobody'}"
        case FetchBlob(blob, holders, round_):
            return f"fetches blob {short(blob.root)} of r{round_} from {','.join(map(name, holders))}"
        case FetchEnvelopes(round_, digests, source):
            return f"asks {name(source)} for {','.join(map(short, digests))} of r{round_}"
        case BlobFetched(root) | BlobLost(root):
            return f"{kind} {short(root)}"
        case BlobMissing(root, _, refused, text):
            return f"BlobMissing {short(root)} refused={refused}: {text}"
        case Scored(round_, result):
            return f"Scored r{round_}: " + ", ".join(f"{short(s.key)} {s.gain}" for s in result.scores)
        case Trained():
            return f"Trained r{item.round} {short(item.blob.root)}"
        case Aggregate():
            return f"aggregates {short(item.key)} r{item.round} of {len(item.updates)}"
        case Aggregated(key, model):
            return f"Aggregated {short(key)} to {'nothing' if model is None else short(model.root)}"
        case Train() | Score():
            return f"{kind}s r{item.round}"
        case _:
            return str(item)


def _words_of_record(record: Any, name: Any) -> str:
    if isinstance(record, Pin):
        return f"pin {short(record.root)}"
    envelope = getattr(record, "envelope", None)
    return words_of_envelope(envelope, name) if envelope is not None else type(record).__name__
