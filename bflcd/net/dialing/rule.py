"""Where this node connects on the word of others: pure (docs/network.md, Addresses).

Whoever names an address makes this node open a connection there, from inside its own network. So an address counts only where its
owner is seen, where the operator allows it, or where enough others have seen its owner; and in ranges that lead to machines
beside this node, only if this node itself listens there.
"""

import ipaddress
import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from bflcd.net.multiaddr import Address, host_name, of_socket, parse

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVILEGED: Final = 1024
"""Ports below belong to services of the system (RFC 6335); no community listens there without its operator's will."""

HINT: Final = "allow it with net.dial_allow, or give the peer's address with --bootstrap"


class Reach(Enum):
    """What kind of range an address is in."""

    NOWHERE = "no address of one machine"
    """Unspecified, multicast, reserved, or an IPv4 address in the clothes of an IPv6 one."""
    HERE = "on this machine or on its own wire"
    """Loopback and link-local."""
    INSIDE = "in a private range"
    """Of one network's own: private, shared, for documentation."""
    PUBLIC = "public"


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NOWHERE: Final = _networks(
    "0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/96", "ff00::/8", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"
)
"""RFC 6890; the last four carry an IPv4 address, which a translator on the way would connect to."""

_HERE: Final = _networks("127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10")

_INSIDE: Final = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
"""RFC 1918, 6598, 4193."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator allows beside the rule: ranges, and names. A name that begins with a dot stands for all below it."""

    networks: tuple[Network, ...] = ()
    names: tuple[str, ...] = ()

    def has_name(self, name: str) -> bool:
        """Whether this host name may be looked up and dialled."""
        name = name.lower()
        return any(name.endswith(one) if one.startswith(".") else name == one for one in self.names)

    def has_ip(self, ip: Ip) -> bool:
        """Whether this address is in an allowed range."""
        return any(ip in network for network in self.networks)


def parse_allowed(entries: tuple[str, ...]) -> Allowed:
    """Read `net.dial_allow`: ranges such as 10.1.0.0/16 or fd00::/8, names such as node.example.org or .example.org.

    Raises ValueError naming the entry.
    """
    networks, names = [], []
    for entry in entries:
        if ":" in entry or re.fullmatch(r"[\d./]+", entry, re.ASCII):
            networks.append(ipaddress.ip_network(entry))
        else:
            names.append(("." if entry.startswith(".") else "") + host_name(entry.removeprefix(".")).lower())
    return Allowed(tuple(networks), tuple(names))


@dataclass(frozen=True, slots=True)
class DialRule:
    """The rule of one node: where it listens itself, as its configuration says, and what its operator allows."""

    listening: tuple[Address, ...]
    allowed: Allowed = Allowed()

    def own_word(self, text: str, seen: str) -> str:
        """Why not to dial an address that a peer announces of itself while it is connected from the address `seen`.

        Empty if it may be dialled. Raises ValueError if one of them can't be read.
        """
        address, here = parse(text), parse(seen)
        if replace(address, peer=None) == replace(here, peer=None):
            return ""  # this node has just been there
        if address.is_name:
            return self._named(address)
        if not self._allows(address) and (here.is_name or ip_of(here.host) != ip_of(address.host)):
            return f"the peer is seen at {here.host}; {HINT}"
        return self._not_here(address, inside=True)

    def hearsay(self, text: str) -> str:
        """Why not to dial an address that members tell of another, however many; empty if it may be. Raises ValueError."""
        address = parse(text)
        return self._named(address) if address.is_name else self._not_here(address)

    def kept(self, text: str) -> str:
        """Why not to dial an address that this node wrote down after it had been there; empty if it may. Raises ValueError."""
        address = parse(text)
        return self._named(address) if address.is_name else self._not_here(address, inside=True)

    def connecting(self, host: str, port: int) -> str:
        """Why not to connect to what an allowed name was resolved to, or nothing: whoever owns the name chose it."""
        return self._not_here(of_socket(host, port))

    def _named(self, address: Address) -> str:
        if not self.allowed.has_name(address.host):
            return f"host names are looked up only where they are allowed; {HINT}"
        return self._bad_port(address.port)

    def _not_here(self, address: Address, *, inside: bool = False) -> str:
        """What stands against the range; `inside`: whether private ones count as any other."""
        ip = ip_of(address.host)
        reach = reach_of(ip)
        if reach is Reach.NOWHERE:
            return f"{ip} is {reach.value}"
        if self._allows(address) or reach is Reach.PUBLIC or (inside and reach is Reach.INSIDE) or self._listens_beside(ip):
            return self._bad_port(address.port)
        return f"{ip} is {reach.value}, where this node does not listen; {HINT}"

    def _bad_port(self, port: int) -> str:
        if 0 < port < PRIVILEGED and port not in {address.port for address in self.listening}:
            return f"port {port} is below {PRIVILEGED}, and this node does not listen there itself"
        return "" if port else "port 0 can't be dialled"

    def _allows(self, address: Address) -> bool:
        return self.allowed.has_ip(ip_of(address.host))

    def _listens_beside(self, ip: Ip) -> bool:
        """Whether an address that this node listens on is in the same range."""
        around = next((network for network in (*_HERE, *_INSIDE) if ip in network), None)
        return around is not None and any(ip_of(own.host) in around for own in self.listening)


def ip_of(host: str) -> Ip:
    """An IP address; one of IPv4 that is written as IPv6 is the IPv4 one. Raises ValueError."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    return ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None else ip


def reach_of(ip: Ip) -> Reach:
    """The kind of range that an address is in."""
    for reach, networks in ((Reach.HERE, _HERE), (Reach.NOWHERE, _NOWHERE)):
        if any(ip in network for network in networks):
            return reach
    return Reach.PUBLIC if ip.is_global else Reach.INSIDE
