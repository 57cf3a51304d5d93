"""Where a node connects on the word of others: tables of the rule, and what holds for every address."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.crypto.identity import peer_id_of
from bflcd.net.dialing.rule import PRIVILEGED, Allowed, DialRule, Reach, ip_of, parse_allowed, reach_of
from bflcd.net.multiaddr import of_socket, parse_listening
from tests.helpers.network import identity

PEER = f"/p2p/{peer_id_of(identity(2).node_id)}"
PUBLIC, OTHER = "/ip4/93.184.216.34/tcp/4001", "/ip4/8.8.8.8/tcp/4001"


def rule(*allowed: str, listen: str = "/ip4/0.0.0.0/tcp/4001") -> DialRule:
    return DialRule((parse_listening(listen),), parse_allowed(allowed))


@pytest.mark.parametrize(
    ("address", "seen", "why"),
    [
        (PUBLIC, "/ip4/93.184.216.34/tcp/50000", ""),
        (OTHER, "/ip4/93.184.216.34/tcp/50000", "seen at"),
        ("/ip4/10.0.0.7/tcp/4001", "/ip4/10.0.0.7/tcp/50000", ""),
        ("/ip4/10.0.0.7/tcp/4001", "/ip4/10.0.0.8/tcp/50000", "seen at"),
        ("/ip6/::ffff:10.0.0.7/tcp/4001", "/ip4/10.0.0.7/tcp/50000", ""),
        ("/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/50000", "does not listen"),
        ("/ip6/::1/tcp/4001", "/ip6/::1/tcp/50000", "does not listen"),
        ("/ip4/169.254.169.254/tcp/4001", "/ip4/169.254.169.254/tcp/50000", "does not listen"),
        ("/ip6/fe80::1/tcp/4001", "/ip6/fe80::1/tcp/50000", "does not listen"),
        ("/ip4/224.0.0.1/tcp/4001", "/ip4/224.0.0.1/tcp/50000", "no address of one machine"),
        ("/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/tcp/50000", "no address of one machine"),
        ("/ip4/255.255.255.255/tcp/4001", "/ip4/255.255.255.255/tcp/1", "no address of one machine"),
        ("/ip6/::/tcp/4001", "/ip6/::/tcp/50000", "no address of one machine"),
        ("/ip6/64:ff9b::7f00:1/tcp/4001", "/ip6/64:ff9b::7f00:1/tcp/50000", "no address of one machine"),
        ("/ip6/2002:7f00:1::/tcp/4001", "/ip6/2002:7f00:1::/tcp/50000", "no address of one machine"),
        ("/ip4/93.184.216.34/tcp/1023", "/ip4/93.184.216.34/tcp/50000", "below 1024"),
        ("/ip4/93.184.216.34/tcp/1024", "/ip4/93.184.216.34/tcp/50000", ""),
        ("/ip4/93.184.216.34/tcp/0", "/ip4/93.184.216.34/tcp/50000", "port 0"),
        ("/dns4/localhost/tcp/4001", "/ip4/127.0.0.1/tcp/50000", "names"),
        ("/dns4/node.example.org/tcp/4001", "/ip4/93.184.216.34/tcp/50000", "names"),
        ("/dns4/node.example.org/tcp/4001", "/dns4/node.example.org/tcp/4001", ""),
        ("/ip4/10.0.0.7/tcp/4001", "/dns4/node.example.org/tcp/4001", "seen at"),
    ],
)
def test_what_a_peer_says_of_itself(address: str, seen: str, why: str) -> None:
    """Given a node that listens on all interfaces and allows nothing, then a peer is dialled only where it is seen."""
    found = rule().own_word(address + PEER, seen + PEER)
    assert (why in found) if why else (found == "")


@pytest.mark.parametrize(
    ("listen", "address", "dialled"),
    [
        ("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/4001", True),
        ("/ip4/127.0.0.1/tcp/0", "/ip4/169.254.169.254/tcp/4001", False),
        ("/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/4001", False),
        ("/ip6/::1/tcp/0", "/ip6/::1/tcp/4001", True),
        ("/ip4/169.254.3.4/tcp/0", "/ip4/169.254.169.254/tcp/4001", True),
        ("/ip4/0.0.0.0/tcp/4001", "/ip4/127.0.0.1/tcp/4001", False),
        ("/ip4/0.0.0.0/tcp/443", "/ip4/93.184.216.34/tcp/443", True),
        ("/ip4/0.0.0.0/tcp/443", "/ip4/93.184.216.34/tcp/22", False),
        ("/ip4/0.0.0.0/tcp/4001", "/ip4/10.0.0.7/tcp/4001", False),
        ("/ip4/10.1.2.3/tcp/4001", "/ip4/10.0.0.7/tcp/4001", True),
        ("/ip4/10.1.2.3/tcp/4001", "/ip4/192.168.0.7/tcp/4001", False),
        ("/ip4/10.1.2.3/tcp/4001", PUBLIC, True),
    ],
)
def test_ranges_beside_a_node_are_open_where_it_listens_itself(listen: str, address: str, dialled: bool) -> None:
    """However many tell of it."""
    assert (rule(listen=listen).hearsay(address + PEER) == "") is dialled


@pytest.mark.parametrize(
    ("allowed", "address", "dialled"),
    [
        ("10.0.0.0/8", "/ip4/10.0.0.7/tcp/4001", True),
        ("10.0.0.0/8", "/ip4/10.0.0.7/tcp/22", False),
        ("10.0.0.7", "/ip4/10.0.0.7/tcp/4001", True),
        ("10.0.0.7", "/ip4/10.0.0.8/tcp/4001", False),
        ("fd00::/8", "/ip6/fd00::7/tcp/4001", True),
        ("0.0.0.0/0", "/ip4/224.0.0.1/tcp/4001", False),
        ("127.0.0.0/8", "/ip4/127.0.0.1/tcp/4001", True),
        ("node.example.org", "/dns4/node.example.org/tcp/4001", True),
        ("node.example.org", "/dns4/NODE.example.org./tcp/4001", True),
        ("node.example.org", "/dns4/a.node.example.org/tcp/4001", False),
        (".example.org", "/dns4/a.node.example.org/tcp/4001", True),
        (".example.org", "/dns4/example.org/tcp/4001", False),
        (".example.org", "/dns4/badexample.org/tcp/4001", False),
        (".example.org", "/dns4/node.example.org/tcp/22", False),
    ],
)
def test_what_the_operator_allows(allowed: str, address: str, dialled: bool) -> None:
    for say in (rule(allowed).hearsay, lambda text: rule(allowed).own_word(text, "/ip4/93.184.216.34/tcp/50000" + PEER)):
        assert (say(address + PEER) == "") is dialled


def test_what_an_allowed_name_stands_for_is_checked_too() -> None:
    """Given a name whose owner points it at the inside, then nobody connects there."""
    one = rule(".example.org", "10.0.0.0/8")
    assert one.connecting("93.184.216.34", 4001) == ""
    assert one.connecting("10.0.0.7", 4001) == ""
    assert [bool(one.connecting(host, 4001)) for host in ("127.0.0.1", "::1", "192.168.0.1", "169.254.169.254", "0.0.0.0")] == [
        True
    ] * 5


def test_what_was_written_down_is_checked_again() -> None:
    assert rule().kept("/ip4/10.0.0.7/tcp/4001" + PEER) == ""
    assert [
        bool(rule().kept(text + PEER)) for text in ("/ip4/127.0.0.1/tcp/4001", "/ip4/8.8.8.8/tcp/22", "/dns4/x/tcp/4001")
    ] == [True] * 3


@pytest.mark.parametrize(
    "entry", ["", ".", "10.0.0.1/8", "10.0.0.0/33", "a b", "-x.org", "*.example.org", "/ip4/1.2.3.4", "1.2.3"]
)
def test_what_is_neither_range_nor_name_is_refused(entry: str) -> None:
    with pytest.raises(ValueError):
        parse_allowed((entry,))


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
PORTS = st.integers(1, 65535)


@given(ADDRESSES, PORTS, ADDRESSES, st.integers(1024, 65535))
def test_nothing_but_the_own_host_of_a_peer_and_public_addresses_is_ever_dialled(ip, port, seen, other_port) -> None:
    """Whatever is said, by whomever."""
    address, here = f"/ip{ip.version}/{ip}/tcp/{port}{PEER}", str(of_socket(str(seen), other_port)) + PEER
    said = rule().own_word(address, here) == ""
    assert not said or (ip_of(str(ip)) == ip_of(str(seen)))
    for dialled in (said and port != other_port, rule().hearsay(address) == "", rule().connecting(str(ip), port) == ""):
        assert not dialled or (port >= PRIVILEGED and reach_of(ip_of(str(ip))) in {Reach.PUBLIC, Reach.INSIDE})
    assert rule().hearsay(address) != "" or reach_of(ip_of(str(ip))) is Reach.PUBLIC


@given(ADDRESSES)
def test_public_means_what_the_registry_calls_global(ip) -> None:
    if reach_of(ip_of(str(ip))) is Reach.PUBLIC:
        assert ip_of(str(ip)).is_global
        assert not ip_of(str(ip)).is_multicast


@given(ADDRESSES, PORTS)
def test_allowing_a_range_never_forbids(ip, port) -> None:
    address = f"/ip{ip.version}/{ip}/tcp/{port}{PEER}"
    wide = DialRule((), Allowed((ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))))
    assert rule().hearsay(address) != "" or wide.hearsay(address) == ""
