"""One dial: resolve the host, connect to one of its addresses, and know at which step it failed."""

import socket
from typing import Any, Final

import trio

from bflcd.errors import DialError
from bflcd.net.multiaddr import Address
from bflcd.net.protocol import HostCheck
from bflcd.types import NodeId

_MAX_RESOLVED: Final = 8
"""Addresses of one name that are tried."""


class Attempt:
    """One dial: where it goes, and how far it got."""

    def __init__(self, text: str, address: Address, peer: NodeId, check: HostCheck) -> None:
        """`check` is asked about each address that a name stands for."""
        self.text = text
        self._check = check
        self.address = address
        self.peer = peer
        self.step = "resolve"

    def error(self, reason: str) -> DialError:
        """The failure of the current step."""
        return DialError(self.text, self.step, reason)

    async def open_socket(self) -> trio.SocketStream:
        """Resolve the host and connect to the first of its addresses that answers. Raises DialError."""
        targets = await self._resolve()
        self.step = "connect"
        failures: list[str] = []
        for index, (family, sockaddr) in enumerate(targets):
            # Each address gets its share of what is left, so that a dead first one doesn't use it all.
            share = (trio.current_effective_deadline() - trio.current_time()) / (len(targets) - index)
            with trio.move_on_after(share):
                try:
                    return await _connect_socket(family, sockaddr)
                except OSError as error:
                    failures.append(f"{sockaddr[0]}: {error.strerror or error}")
                    continue
            failures.append(f"{sockaddr[0]}: no answer within {share:.1f} s")
        raise self.error("; ".join(failures))

    async def _resolve(self) -> list[tuple[int, tuple[Any, ...]]]:
        families = {"ip4": socket.AF_INET, "dns4": socket.AF_INET, "ip6": socket.AF_INET6, "dns6": socket.AF_INET6}
        family = families.get(self.address.kind, socket.AF_UNSPEC)
        try:
            found = await trio.socket.getaddrinfo(self.address.host, self.address.port, family, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise self.error(f"the name {self.address.host!r} is not known: {error}") from error
        targets: list[tuple[int, tuple[Any, ...]]] = [
            (found_family, sockaddr) for found_family, _, _, _, sockaddr in found[:_MAX_RESOLVED]
        ]
        return self._checked(targets) if self.address.is_name else targets

    def _checked(self, targets: list[tuple[int, tuple[Any, ...]]]) -> list[tuple[int, tuple[Any, ...]]]:
        """Those that may be connected to. What is checked is what is connected to: the name is not resolved again."""
        refusals = [self._check(sockaddr[0], sockaddr[1]) for _, sockaddr in targets]
        kept = [target for target, refusal in zip(targets, refusals, strict=True) if not refusal]
        if targets and not kept:
            raise self.error(f"the name {self.address.host!r} leads where this node does not dial: {'; '.join(refusals)}")
        return kept


async def _connect_socket(family: int, sockaddr: tuple[Any, ...]) -> trio.SocketStream:
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect(sockaddr)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)
