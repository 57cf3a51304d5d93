"""A port of this machine alone, as the operator writes it."""

import ipaddress
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port of a loopback address; 0 for any that is free."""

    host: str
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `HOST:PORT` says, [HOST]:PORT for IPv6. Raises ValueError."""
        host, separator, number = text.rpartition(":")
        if not (separator and number.isascii() and number.isdigit() and len(number) <= 5 and int(number) <= 65_535):
            raise ValueError("it must be HOST:PORT, with a port from 0 to 65535")
        if host == "localhost":
            return cls("127.0.0.1", int(number))
        bracketed = host.startswith("[") and host.endswith("]")
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        if bracketed != (address.version == 6):
            raise ValueError("an IPv6 address stands in brackets, and nothing else does")
        if not address.is_loopback:
            raise ValueError("the control interface never leaves the machine: a loopback address, such as 127.0.0.1")
        return cls(str(address), int(number))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.number}"
