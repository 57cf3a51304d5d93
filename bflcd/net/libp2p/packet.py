"""A gossip packet counted before it is parsed: a megabyte holds half a million empty messages, and each costs work."""

from typing import Final

from bflcd.net.libp2p.budget import PACKET_CONTROL_BYTES, PACKET_MESSAGES

_CONTROL: Final = 3
"""Field of the control messages (libp2p pubsub specification)."""

_MAX_VARINT_BYTES: Final = 5


class PacketError(Exception):
    """The packet is none, or holds more than one may hold."""


def check_packet(packet: bytes) -> int:
    """Bytes of control in a packet.

    Raises PacketError for more fields than PACKET_MESSAGES, more control than PACKET_CONTROL_BYTES, or what is no protobuf.
    """
    position = fields = control = 0
    while position < len(packet):
        fields += 1
        if fields > PACKET_MESSAGES:
            raise PacketError(f"more than {PACKET_MESSAGES} messages in a packet")
        tag, position = _varint(packet, position)
        length, position = _length(packet, position, tag & 7)
        position += length
        if tag >> 3 == _CONTROL:
            control += length
            if control > PACKET_CONTROL_BYTES:
                raise PacketError(f"more than {PACKET_CONTROL_BYTES} bytes of control in a packet")
    if position != len(packet):
        raise PacketError("a field reaches beyond its packet")
    return control


def _length(packet: bytes, position: int, kind: int) -> tuple[int, int]:
    """Bytes of a field's value, and where it begins."""
    match kind:
        case 2:
            return _varint(packet, position)
        case 0:
            return 0, _varint(packet, position)[1]
        case 1:
            return 8, position
        case 5:
            return 4, position
    raise PacketError(f"a field of wire type {kind}")


def _varint(packet: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(_MAX_VARINT_BYTES):
        if position >= len(packet):
            break
        byte = packet[position]
        position += 1
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, position
    raise PacketError("a number is cut short or too long")
