"""Addresses: every form that is dialled, and what is refused."""

import pytest

from bflcd.crypto.identity import Identity, peer_id_of
from bflcd.net.multiaddr import MAX_ADDRESS_CHARS, Address, of_socket, parse, parse_dialable, parse_listening

PEER = Identity(bytes(32)).node_id
ID = peer_id_of(PEER)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (f"/ip4/127.0.0.1/tcp/4001/p2p/{ID}", Address("ip4", "127.0.0.1", 4001, PEER)),
        (f"/ip6/::1/tcp/4001/p2p/{ID}", Address("ip6", "::1", 4001, PEER)),
        (f"/dns/node-1/tcp/1/p2p/{ID}", Address("dns", "node-1", 1, PEER)),
        (f"/dns4/node_1.example.org/tcp/65535/p2p/{ID}", Address("dns4", "node_1.example.org", 65535, PEER)),
        (f"/dns6/example.org/tcp/443/p2p/{ID}", Address("dns6", "example.org", 443, PEER)),
        ("/ip4/0.0.0.0/tcp/0", Address("ip4", "0.0.0.0", 0, None)),
    ],
)
def test_parses_and_writes_back(text, address):
    assert parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "ip4/127.0.0.1/tcp/1",
        "/ip4/127.0.0.1",
        "/ip4/127.0.0.1/tcp",
        "/ip4/127.0.0.1/tcp/1/p2p",
        "/ip4/127.0.0.1/udp/1",
        "/ip4/127.0.0.1/tcp/-1",
        "/ip4/127.0.0.1/tcp/65536",
        "/ip4/127.0.0.1/tcp/١",
        "/ip4/127.0.0.256/tcp/1",
        "/ip4/localhost/tcp/1",
        "/ip6/127.0.0.1/tcp/1",
        "/ip6/::g/tcp/1",
        "/dns4/-bad-/tcp/1",
        "/dns4//tcp/1",
        "/dns4/a..b/tcp/1",
        f"/dns4/{'a' * 64}/tcp/1",
        "/onion/abc/tcp/1",
        "/ip4/127.0.0.1/tcp/1/ipfs/" + ID,
        "/ip4/127.0.0.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "/ip4/127.0.0.1/tcp/1/p2p/" + ID[:-1],
        "/ip4/127.0.0.1/tcp/1/p2p/0OIl",
        f"/ip4/127.0.0.1/tcp/1/p2p/{ID}/p2p-circuit",
        "/dns4/" + "a" * MAX_ADDRESS_CHARS + "/tcp/1",
    ],
)
def test_refuses(text):
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize("text", ["/ip4/127.0.0.1/tcp/1", f"/ip4/127.0.0.1/tcp/0/p2p/{ID}"])
def test_a_peer_needs_an_id_and_a_port(text):
    with pytest.raises(ValueError):
        parse_dialable(text)


def test_a_listening_address_is_no_name():
    with pytest.raises(ValueError, match="name"):
        parse_listening("/dns4/example.org/tcp/1")


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("192.0.2.7", "/ip4/192.0.2.7/tcp/9"),
        ("::ffff:192.0.2.7", "/ip4/192.0.2.7/tcp/9"),
        ("fe80::1%eth0", "/ip6/fe80::1/tcp/9"),
    ],
)
def test_of_socket(host, text):
    assert str(of_socket(host, 9)) == text
    assert of_socket(host, 9).with_peer(PEER).peer == PEER
