"""A gossip packet counted before it is parsed: a megabyte holds half a million empty messages, and each costs work."""

from typing import Any, Final

from bflcd.net.libp2p.budget import PACKET_CONTROL_BYTES, PACKET_MESSAGES

_CONTROL: Final = 3
"""Field of the control messages (libp2p pubsub specification)."""

_MAX_VARINT_BYTES: Final = 5


_MAX_CONTROL_IDS: Final = 512
"""Message ids looked at in one IHAVE or IWANT: the library copies a message for every mention of its id."""

_MAX_BACKOFF_S: Final = 60
"""Longest time that a peer may keep us from grafting it again; GossipSub's own."""


class PacketError(Exception):
    """The packet is none, or holds more than one may hold."""


def check_packet(packet: bytes) -> tuple[int, int]:
    """How many fields a packet has, and how many bytes of control.

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
    return fields, control


def bound_control(control: Any, topics: tuple[str, ...]) -> None:
    """Cut what a control message may make us do: our topics alone, one message of a kind for each, each id once, few of them, no
    peer exchange, and no longer back-off than ours. The library keeps something for every topic that it hears of.
    """
    for kind in (control.ihave, control.graft, control.prune):
        known: dict[str, Any] = {}
        for item in kind[:_MAX_CONTROL_IDS]:
            if item.topicID in topics:
                known.setdefault(item.topicID, item)
        kept = list(known.values())
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]
        del kind[:]
        kind.extend(copies)
    del control.iwant[1:], control.idontwant[:]
    for batch in (*control.ihave, *control.iwant):
        ids = list(dict.fromkeys(batch.messageIDs[:_MAX_CONTROL_IDS]))
        del batch.messageIDs[:]
        batch.messageIDs.extend(ids)
    for prune in control.prune:
        prune.ClearField("peers")
        prune.backoff = min(prune.backoff, _MAX_BACKOFF_S)


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
