"""`testnet.json`: what `bflcd testnet` tells the control command of the directory that it made."""

import json
from typing import Final, Literal

import msgspec

FILE_NAME: Final = "testnet.json"

Mode = Literal["loopback", "compose"]


class NodeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One node; `datadir` is relative to the testnet's directory. What follows `node_id` is for people and their scripts."""

    name: str
    datadir: str
    node_id: str
    peer_id: str = ""
    port: int = 0
    address: str = ""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The whole testnet."""

    schema: int = 1
    name: str
    mode: Mode
    chain_id: str
    task: str
    last_round: int
    nodes: list[NodeEntry]


def overview_text(overview: Overview) -> str:
    """The file's text."""
    return json.dumps(msgspec.to_builtins(overview), indent=2) + "\n"
