"""Multiaddrs of TCP peers: checked, parsed and written, without any I/O and without libp2p."""

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from bflcd.crypto.identity import node_id_of, peer_id_of
from bflcd.types import NodeId

HostKind = Literal["ip4", "ip6", "dns4", "dns6", "dns"]
"""The first part of an address; `dns` takes either family."""

MAX_ADDRESS_CHARS: Final = 512
"""Longest address that is looked at: a host name has at most 253 characters, a peer id 52."""

_MAX_HOST_CHARS: Final = 253
"""RFC 1035."""

_MAX_PORT: Final = 65_535

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
"""One label of a host name (RFC 1123); the underscore is what container networks add."""

_BARE_PARTS: Final = 4
"""Kind, host, "tcp", port."""

_PEER_PARTS: Final = 6
"""The same with "p2p" and the peer id."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address: where to connect, and whom to expect there."""

    kind: HostKind
    host: str
    port: int
    peer: NodeId | None

    @property
    def is_name(self) -> bool:
        """Whether the host must be resolved."""
        return self.kind in ("dns", "dns4", "dns6")

    def with_peer(self, peer: NodeId) -> "Address":
        """The same place, with the id of who is there."""
        return replace(self, peer=peer)

    def __str__(self) -> str:
        tail = "" if self.peer is None else f"/p2p/{peer_id_of(self.peer)}"
        return f"/{self.kind}/{self.host}/tcp/{self.port}{tail}"


def parse(text: str) -> Address:
    """Read `/ip4|ip6|dns4|dns6|dns/HOST/tcp/PORT[/p2p/ID]`. Raises ValueError saying which part is wrong."""
    if len(text) > MAX_ADDRESS_CHARS:
        raise ValueError(f"an address has at most {MAX_ADDRESS_CHARS} characters, not {len(text)}")
    lead, *parts = text.split("/")
    if lead or len(parts) not in (_BARE_PARTS, _PEER_PARTS):
        raise ValueError(f"{text!r} is not of the form /ip4/HOST/tcp/PORT/p2p/ID")
    kind = _kind(parts[0])
    if parts[2] != "tcp":
        raise ValueError(f"{text!r}: only tcp is spoken, not {parts[2]!r}")
    peer = None
    if len(parts) == _PEER_PARTS:
        if parts[4] != "p2p":
            raise ValueError(f"{text!r}: expected /p2p/ID at the end, not /{parts[4]}/")
        peer = node_id_of(parts[5])
    return Address(kind, _host(kind, parts[1]), _port(parts[3]), peer)


def parse_dialable(text: str) -> tuple[Address, NodeId]:
    """Read the address of a peer: a real port, and its id at the end. Raises ValueError."""
    address = parse(text)
    if address.peer is None:
        raise ValueError(f"{text!r} does not end in /p2p/ID: nobody could be authenticated there")
    if address.port == 0:
        raise ValueError(f"{text!r}: port 0 can't be dialled")
    return address, address.peer


def parse_listening(text: str) -> Address:
    """Read an address to listen on: an IP address of this machine and a port (0: any free one). Raises ValueError."""
    address = parse(text)
    if address.is_name:
        raise ValueError(f"{text!r}: listen on an IP address (/ip4/0.0.0.0/tcp/PORT for all), not on a name")
    return address


def of_socket(host: str, port: int, peer: NodeId | None = None) -> Address:
    """The address of a connected or listening socket; an IPv4 address inside IPv6 is written as IPv4."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return Address("ip4" if ip.version == 4 else "ip6", str(ip), port, peer)


def host_name(text: str) -> str:
    """A host name without the dot of the root. Raises ValueError."""
    name = text.removesuffix(".")
    if len(name) > _MAX_HOST_CHARS or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{text!r} is no host name")
    return name


def _kind(text: str) -> HostKind:
    for kind in get_args(HostKind):
        if kind == text:
            return kind  # type: ignore[no-any-return]
    raise ValueError(f"an address starts with one of {', '.join(get_args(HostKind))}, not {text!r}")


def _host(kind: HostKind, text: str) -> str:
    if kind == "ip4":
        return str(ipaddress.IPv4Address(text))
    if kind == "ip6":
        return str(ipaddress.IPv6Address(text))
    return host_name(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT)) and int(text) <= _MAX_PORT):
        raise ValueError(f"{text!r} is no port (0 to {_MAX_PORT})")
    return int(text)
