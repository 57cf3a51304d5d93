"""What a peer can make this node hold and do: every figure of the border in one place, and the parts that keep to it."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar

import trio

from bflcd.net.libp2p.library import (
    MULTISELECT_PROTOCOL_ID,
    BaseLibp2pError,
    MultiselectClientError,
    MultiselectCommunicator,
    MultiselectCommunicatorError,
    ReadWriteCloser,
    encode_delim,
)
from bflcd.net.limits import Rate, TokenBucket
from bflcd.types import Millis

# -- before a peer is authenticated --------------------------------------------------------------------------------------------

HANDSHAKE_BYTES: Final = 8 * 1024
"""All that a socket may send before it is authenticated: two negotiations and three Noise messages take some 600 bytes."""

MAX_SILENT: Final = 128
"""Sockets that have said nothing yet. One more ends the oldest of the address that has the most."""

MAX_HANDSHAKES: Final = 128
"""Inbound handshakes at a time, of those who have spoken. One more ends the oldest of the address that has the most."""

HANDSHAKE_S: Final = 10.0
"""Deadline of an inbound handshake."""

HANDSHAKE_RATE: Final = Rate(per_second=50, burst=100)
"""Inbound handshakes of one address, each some milliseconds of Ed25519 and X25519; what comes faster waits its turn."""

TURN_S: Final = 1.0
"""Longest wait for a turn: what one address has waiting takes less than half of the places."""

# -- strangers -----------------------------------------------------------------------------------------------------------------

MAX_STRANGERS: Final = 64
"""Inbound connections of peers that are no members. One more ends the oldest of the address that has the most."""

STRANGER_S: Final = 120.0
"""How long a stranger's connection lives: enough for a status and a genesis."""

STRANGER_STREAMS: Final = 8
"""Streams that a stranger may have open to us."""

STRANGER_REQUEST_BYTES: Final = 8 * 1024
"""Largest request of a stranger: a status is the largest that it may ask."""

STRANGER_UNREAD_BYTES: Final = 512 * 1024
"""What one stranger's connection holds that nobody has read yet."""

STRANGER_READS: Final = Rate(per_second=100, burst=500)
"""Frames' headers and bodies of a stranger; what comes faster waits in its own socket."""

STRANGERS_READS: Final = Rate(per_second=250, burst=2_000)
"""The same of all strangers together: an identity costs nothing. To come, hear the genesis and apply takes some forty."""

# -- members, and whom we have dialled -----------------------------------------------------------------------------------------

MAX_STREAMS: Final = 128
"""Streams that a member may have open to us: its requests reuse a few per protocol."""

UNREAD_BYTES: Final = 64 * 1024 * 1024
"""What one connection holds that nobody has read yet: eight streams that answer, at their widest windows."""

UNASKED_BYTES: Final = 20 * 1024 * 1024
"""The part of it on streams that the member has opened: what it may push at once, a packet of gossip, and its requests."""

READS: Final = Rate(per_second=20_000, burst=40_000)
"""Frames' headers and bodies of a member: at full frames more than a gigabyte a second."""

# -- everybody -----------------------------------------------------------------------------------------------------------------

NEGOTIATION_BYTES: Final = 1024
"""Largest multistream message."""

NEGOTIATION_MESSAGES: Final = 16
"""Messages until both sides agree on a protocol; ours offer one each."""

NEGOTIATE_S: Final = 10
"""Deadline of one protocol negotiation."""

PACKET_MESSAGES: Final = 1024
"""Fields of one gossip packet; ours gather 64 KiB, which hold some 200 of the smallest messages."""

PACKET_CONTROL_BYTES: Final = 128 * 1024
"""Control fields of one gossip packet: 512 ids for each of the topics, twice."""

PUBLISHED_BYTES: Final = Rate(per_second=512 * 1024, burst=8 * 1024 * 1024)
"""Gossip of one author that is passed on: a member says one card, at most 384 KiB, and some votes in a round."""

PUBLISHED_MESSAGES: Final = Rate(per_second=100, burst=1_000)
"""Gossip of one author in messages: what it says again of a dozen views, and who lags behind it answered, each T0."""

FORWARDED_BYTES: Final = Rate(per_second=8 * 1024 * 1024, burst=64 * 1024 * 1024)
"""Gossip through one neighbour that is parsed: what sixteen authors may say."""

FORWARDED_MESSAGES: Final = Rate(per_second=1_600, burst=16_000)
"""Gossip through one neighbour in messages: what sixteen authors may say."""

CONTROL_BYTES: Final = Rate(per_second=64 * 1024, burst=1024 * 1024)
"""Control of gossip of one neighbour: a heartbeat's ids are at most 24 KiB. What is above ends the connection."""

WANTED_BYTES: Final = Rate(per_second=512 * 1024, burst=8 * 1024 * 1024)
"""Gossip that one neighbour asks for by its ids: what it missed, and what one author may say. A few bytes ask for megabytes."""

UNSENT_BYTES: Final = 32 * 1024 * 1024
"""Gossip that waits for one neighbour that does not read. What is above ends the connection."""

LINES: Final = Rate(per_second=0.2, burst=10)
"""Log lines about what strangers do, all of them together."""

Item = TypeVar("Item")

_CHECKPOINT_READS: Final = 16
"""Reads out of a full buffer after which others get their turn."""


class Negotiator(MultiselectCommunicator):  # type: ignore[misc]
    """Multistream messages within bounds: the library's own reader takes whatever length is announced."""

    def __init__(self, stream: ReadWriteCloser) -> None:
        super().__init__(stream)
        self._left = NEGOTIATION_MESSAGES

    async def propose(self, protocol: str) -> None:
        """Greet and ask for a protocol in one packet: the library waits for the other's greeting first, a round trip more.

        Raises what the stream does.
        """
        await self.read_writer.write(encode_delim(MULTISELECT_PROTOCOL_ID.encode()) + encode_delim(protocol.encode()))

    async def agree(self, protocol: str) -> None:
        """Wait for the answers to a proposal. Raises the library's MultiselectClientError."""
        try:
            with trio.fail_after(NEGOTIATE_S):
                for wanted in (MULTISELECT_PROTOCOL_ID, protocol):
                    if (found := await self.read()) != wanted:
                        raise MultiselectClientError(f"it answers {found!r} where {wanted} was asked for")
        except trio.TooSlowError as error:
            raise MultiselectClientError(f"no agreement on {protocol} within {NEGOTIATE_S} s") from error
        except MultiselectCommunicatorError as error:
            raise MultiselectClientError(f"no agreement on {protocol}: {error}") from error

    async def read(self) -> str:
        """The next message, without its newline. Raises the library's MultiselectCommunicatorError."""
        self._left -= 1
        if self._left < 0:
            raise MultiselectCommunicatorError(f"no agreement after {NEGOTIATION_MESSAGES} messages")
        # Lengths below 2^14 take two bytes at most, and no longer form is allowed.
        (low,) = await self._exactly(1)
        length = low
        if low & 0x80:
            (high,) = await self._exactly(1)
            length = low & 0x7F | high << 7
        if not 0 < length <= NEGOTIATION_BYTES:
            raise MultiselectCommunicatorError(f"a negotiation message has 1 to {NEGOTIATION_BYTES} bytes")
        text = await self._exactly(length)
        try:
            return text.decode().removesuffix("\n")
        except UnicodeDecodeError as error:
            raise MultiselectCommunicatorError("a negotiation message is no text") from error

    async def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = await self.read_writer.read(count - len(data))
            except BaseLibp2pError as error:
                raise MultiselectCommunicatorError(f"the connection was lost while a protocol was negotiated: {error}") from error
            if not more:
                raise MultiselectCommunicatorError("the peer left while a protocol was negotiated")
            data += more
        return data


class PacedSession:
    """A secured connection whose reader waits when its peer sends more frames than `rate` says, or all strangers together do."""

    def __init__(self, session: Any, strangers: TokenBucket) -> None:
        """`strangers`: what all of them share; this one does as well, until it is known for better."""
        self._session = session
        self._bucket = TokenBucket(STRANGER_READS, now())
        self._strangers: TokenBucket | None = strangers
        self._reads = 0

    def pace(self, rate: Rate) -> None:
        """What the peer may send from now on, by itself."""
        self._bucket = TokenBucket(rate, now())
        self._strangers = None

    async def read(self, n: int | None = None) -> bytes:
        """As the session's, at most as often as the rate allows."""
        wait = self._bucket.charge(1, now())
        if self._strangers is not None:
            wait = max(wait, self._strangers.charge(1, now()))
        self._reads += 1
        if wait > 0:
            await trio.sleep(wait)
        elif self._reads % _CHECKPOINT_READS == 0:
            await trio.lowlevel.checkpoint()
        data: bytes = await self._session.read(n)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class Crowd(Generic[Item]):
    """Things of one kind by the address that they came from, oldest first; where there are too many, who has the most loses."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._items: OrderedDict[Item, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(tuple(self._items))

    def add(self, item: Item, address: str) -> Item | None:
        """Take an item in; returns the one that has to go for it, already forgotten."""
        self._items[item] = address
        if len(self._items) <= self._room:
            return None
        counts: dict[str, int] = {}
        for one in self._items.values():
            counts[one] = counts.get(one, 0) + 1
        most = max(counts.values())
        victim = next(item for item, one in self._items.items() if counts[one] == most)
        del self._items[victim]
        return victim

    def remove(self, item: Item) -> None:
        """Forget an item, if it is there."""
        self._items.pop(item, None)


def place_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 one, which one machine has whole."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip if ip.version == 4 else ip.ipv4_mapped)


class AddressRates:
    """One token bucket an address, for the addresses heard last."""

    def __init__(self, rate: Rate, *, room: int = 1024) -> None:
        self._rate, self._room = rate, room
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def turn(self, address: str, patience: float) -> float | None:
        """Seconds until the next turn of an address, which is booked; None, and nothing is, if they are more than `patience`."""
        moment = now()
        bucket = self._buckets.setdefault(address, TokenBucket(self._rate, moment))
        self._buckets.move_to_end(address)
        if len(self._buckets) > self._room:
            self._buckets.popitem(last=False)
        wait = bucket.charge(1, moment)
        if wait > patience:
            bucket.charge(-1, moment)
            return None
        return wait


class Lines:
    """Log lines that strangers can cause: a few, and then how many were left out."""

    def __init__(self, log: Callable[..., None]) -> None:
        self._log = log
        self._bucket: TokenBucket | None = None
        self._left_out = 0

    def say(self, text: str, *arguments: object) -> None:
        """Log a line if there is room for one."""
        if self._bucket is None:
            self._bucket = TokenBucket(LINES, now())
        if not self._bucket.take(1, now()):
            self._left_out += 1
            return
        if self._left_out:
            text, arguments = f"{text} (and %d lines like it were left out)", (*arguments, self._left_out)
            self._left_out = 0
        self._log(text, *arguments)


def now() -> Millis:
    """The network thread's clock."""
    return Millis(int(trio.current_time() * 1000))
