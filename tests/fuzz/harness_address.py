"""Addresses that operators and peers give."""

from collections.abc import Iterator
from contextlib import suppress

from bflcd.crypto.identity import Identity, node_id_of, peer_id_of
from bflcd.net.exchange import printable
from bflcd.net.multiaddr import Address, parse, parse_dialable, parse_listening
from tests.fuzz.target import Target

PEER = peer_id_of(Identity(b"1" * 32).node_id)


def seeds() -> Iterator[bytes]:
    for host in ("ip4/127.0.0.1", "ip6/::1", "ip6/fe80::1%eth0", "dns/a-b.example", "dns4/localhost", "dns6/x_y"):
        yield f"/{host}/tcp/4001".encode()
        yield f"/{host}/tcp/0/p2p/{PEER}".encode()


def one(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    for read in (parse, parse_dialable, parse_listening):
        try:
            found = read(text)
        except ValueError:
            continue
        address = found if isinstance(found, Address) else found[0]
        assert parse(str(address)) == address, "what is written is read back as it was"
    with suppress(ValueError):
        assert peer_id_of(node_id_of(text)) == text, "two spellings of one peer"
    assert printable(text).isprintable()


TARGET = Target("address", seeds, one, share=2)
