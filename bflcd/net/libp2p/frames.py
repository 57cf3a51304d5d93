"""Whole messages on a Yamux stream: a 4-byte big-endian length (requests) or a varint length (gossip), then the bytes."""

from typing import Any, Final

import trio

from bflcd.net.libp2p.yamux import FRAME_BYTES, STALL_S, PatientStream

_LENGTH_BYTES: Final = 4
_MAX_VARINT_BYTES: Final = 4
"""Lengths up to 2^28: far above any limit here."""


LEAST_BYTES_S: Final = 16 * 1024
"""Bytes a second below which a message that has begun is given up."""


class OversizedError(Exception):
    """The peer announced a message above the limit; nothing was allocated for it."""


class Frames:
    """Reads and writes messages on one stream, one at a time in each direction."""

    def __init__(self, stream: PatientStream) -> None:
        self.stream = stream
        self._rest = bytearray()

    async def write(self, message: bytes) -> None:
        """Send one message with its 4-byte length."""
        head = FRAME_BYTES - _LENGTH_BYTES
        await self.stream.write(len(message).to_bytes(_LENGTH_BYTES, "big") + message[:head])
        if len(message) > head:
            await self.stream.write(memoryview(message)[head:])

    async def read(self, limit: int) -> bytes:
        """Receive one message with its 4-byte length.

        Waits for its start without a limit, then gives up when nothing arrives for `STALL_S`, or less than `LEAST_BYTES_S`.
        Raises OversizedError above `limit` bytes before anything is allocated, MuxedStreamEOF if the peer closed the stream.
        """
        length = int.from_bytes(await self.take(_LENGTH_BYTES), "big")
        return await self._body(length, limit)

    async def read_varint(self, limit: int) -> bytes:
        """Receive one message with a varint length (GossipSub); otherwise as `read`."""
        length = 0
        for position in range(_MAX_VARINT_BYTES):
            (byte,) = await self.take(1)
            length |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                return await self._body(length, limit)
        raise OversizedError("the message's length has too many bytes")

    async def reset(self) -> None:
        """Abandon the stream in both directions."""
        await self.stream.reset()

    async def _body(self, length: int, limit: int) -> bytes:
        if length > limit:
            raise OversizedError(f"the message has {length} bytes, allowed are {limit}")
        if length <= len(self._rest):
            return self._cut(length)
        parts: list[Any] = [self._rest]
        missing, held, complete = length - len(self._rest), 0, False
        try:
            end = trio.current_time() + STALL_S + length / LEAST_BYTES_S
            with trio.fail_after(STALL_S) as scope:
                while missing > 0:
                    part = await self.stream.receive()
                    scope.deadline = min(end, trio.current_time() + STALL_S)
                    parts.append(part)
                    missing -= len(part)
                    held += len(part)
                    self.stream.unfinished += len(part)
            complete = True
        finally:
            if not complete:
                self.stream.unfinished -= held
        self.stream.unfinished -= len(self._rest) + held + min(missing, 0)
        self._rest = bytearray()
        if missing < 0:
            self._rest = part[missing:]
            del part[missing:]
        return b"".join(parts)

    async def take(self, count: int) -> bytes:
        """The next `count` bytes, however they were sent. Raises MuxedStreamEOF if the peer closed the stream."""
        while len(self._rest) < count:
            part = await self.stream.receive()
            self._rest += part
            self.stream.unfinished += len(part)
        return self._cut(count)

    def _cut(self, count: int) -> bytes:
        head = bytes(self._rest[:count])
        del self._rest[:count]
        self.stream.unfinished -= count
        return head
