"""Flags that several commands share."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

from bflcd.files import named
from bflcd.limits import LARGEST_NUMBER
from bflcd.setup.options import CommunityOptions

DataDirOption = Annotated[
    Path, typer.Option("--datadir", envvar="BFLCD_DATADIR", parser=named, metavar="DIRECTORY", help="The node's data directory.")
]
ListenOption = Annotated[list[str] | None, typer.Option("--listen", help="Multiaddr to listen on; repeat for more.")]
AnnounceOption = Annotated[list[str] | None, typer.Option("--announce", help="Multiaddr at which others reach this node.")]
BootstrapOption = Annotated[
    list[str] | None, typer.Option("--bootstrap", help="Multiaddr of a first peer, ending in /p2p/PEERID.")
]
ChainOption = Annotated[str | None, typer.Option("--chain-id", help="The only chain to join, 64 hexadecimal digits.")]
TrustOption = Annotated[
    bool, typer.Option("--trust-first-peer", help="Without --chain-id: take the genesis that the first peer gives, unasked.")
]
TrustedHeadOption = Annotated[
    str | None, typer.Option("--trusted-head", help="ROUND:HASH that the history must contain, as a member's status shows it.")
]
AllowTaskOption = Annotated[
    list[str] | None, typer.Option("--allow-task", help="A task that may run though it is not shipped; repeat for more.")
]
NameOption = Annotated[str | None, typer.Option("--name", help="A name for people.")]
PassphraseOption = Annotated[Path | None, typer.Option("--passphrase-file", help="File whose first line opens node.key.")]
ApiOption = Annotated[
    str | None, typer.Option("--api-listen", help="HOST:PORT on loopback where the control interface answers as well.")
]
TaskOption = Annotated[str, typer.Option("--task", help="digits, femnist, an installed task, or module:attribute.")]
TaskOptions = Annotated[list[str] | None, typer.Option("--option", help="KEY=VALUE: an option of the task; repeat for more.")]
TrialOption = Annotated[
    bool, typer.Option("--trial/--no-trial", help="Train and judge a step first with a task that is not shipped.")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="File or folder with the data, for tasks that need one.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=LARGEST_NUMBER, help="Draws the first model and deals the data.")]

_COMMUNITY: Final = "community"
"""The parameter that `community_flags` takes the place of."""


def community_flags(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with a flag for each field of CommunityOptions in the place of its parameter `community`."""
    hints = get_type_hints(CommunityOptions, include_extras=True)
    shared = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(CommunityOptions)
    ]

    def flags() -> Iterator[Parameter]:
        for own in signature(command).parameters.values():
            yield from shared if own.name == _COMMUNITY else (own,)

    @wraps(command)
    def flagged(**given: Any) -> None:
        options = CommunityOptions(**{flag.name: given.pop(flag.name) for flag in shared})
        command(**given, **{_COMMUNITY: options})

    flagged.__signature__ = Signature(list(flags()))  # type: ignore[attr-defined]
    flagged.__annotations__ = {flag.name: flag.annotation for flag in flags()}
    return flagged
