"""A node's configuration: `config.toml` in its data directory, environment `BFLCD_*`, flags, in rising order (design 11)."""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints

import msgspec
import tomli_w
from msgspec import Meta

from bflcd.errors import MachineError, UsageError
from bflcd.learn.attacks import AttackConfig, LiesName, for_daemon
from bflcd.learn.data import DataConfig
from bflcd.net import multiaddr
from bflcd.types import MAX_MEMBERS, NodeId

CONFIG_FILE: Final = "config.toml"
ENV_PREFIX: Final = "BFLCD_"

MAX_CONFIG_BYTES: Final = 1024 * 1024
"""Largest configuration file that is read."""

_SHOWN_CHARS: Final = 200
"""Of a refused value, in a message."""

_MESSAGE_CHARS: Final = 1000
"""Of a message: a file may hold a name of a mebibyte."""

_OTHER_VARIABLES: Final = ("BFLCD_DATADIR",)
"""Variables of the commands that are no setting of a section."""

_TRUE: Final = frozenset(("1", "true", "yes", "on"))
_FALSE: Final = frozenset(("0", "false", "no", "off"))

_ADDRESS_READERS: Final[dict[str, Callable[[str], object]]] = {
    "node.listen": multiaddr.parse_listening,
    "node.bootstrap": multiaddr.parse_dialable,
    "node.announce": multiaddr.parse,
}

Addresses = Annotated[tuple[str, ...], Meta(max_length=64)]
NodeIdText = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Text = Annotated[str, Meta(max_length=4096, pattern=r"^[^\x00]*$")]


class NodeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who the node is and whom it meets. `datadir` is where the file stands, so no key of the file."""

    datadir: Annotated[Path, Meta(description="the data directory")] = Path()
    name: Annotated[str, Meta(max_length=64, description="a name for people, up to 64 characters")] = ""
    listen: Annotated[Addresses, Meta(description="multiaddrs to listen on: /ip4/ADDRESS/tcp/PORT, port 0 for any free one")] = (
        "/ip4/127.0.0.1/tcp/0",
    )
    bootstrap: Annotated[Addresses, Meta(description="multiaddrs of first peers, each ending in /p2p/PEERID")] = ()
    announce: Annotated[Addresses, Meta(description="multiaddrs that others can reach this node at, if not those of listen")] = ()
    chain_id: Annotated[
        str,
        Meta(
            pattern=r"^([0-9a-f]{64})?$", description="the only chain to join, 64 hexadecimal digits; empty: trust the first peer"
        ),
    ] = ""
    passphrase_file: Annotated[Text, Meta(description="file with the passphrase of node.key; empty: the key has none")] = ""


class StoreSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the node keeps (design 9)."""

    mode: Annotated[
        Literal["archive", "pruned"], Meta(description="archive (keep everything) or pruned (payloads of the last rounds)")
    ] = "archive"
    keep: Annotated[int, Meta(ge=1, le=2**31, description="rounds whose payloads a pruned node keeps, 1 to 2^31")] = 2


class ApiSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The control interface; loopback only."""

    host: Annotated[
        Literal["127.0.0.1", "::1"], Meta(description="127.0.0.1 or ::1: the control interface never leaves the machine")
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="0 to 65535; 0 takes a free one, which api.json then names")] = 0


class ComputeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The worker process that trains and scores (design 10)."""

    device: Annotated[Literal["auto", "cpu", "cuda"], Meta(description="auto, cpu or cuda")] = "auto"
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads of the worker, 1 to 1024")] = 1
    train: Annotated[bool, Meta(description="true or false; false only follows the chain (an observer)")] = True


class DataSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """This node's share of a data set; same fields as `bflcd.learn.data.DataConfig`."""

    path: Annotated[Text, Meta(description="file or folder with the data; empty for tasks that bring theirs")] = ""
    partition: Annotated[
        Literal["writer", "dirichlet", "equal"],
        Meta(description="how the data is dealt to the nodes: writer, dirichlet or equal"),
    ] = "equal"
    index: Annotated[int, Meta(ge=0, lt=2**20, description="this node's part, 0 to data.count - 1")] = 0
    count: Annotated[int, Meta(ge=1, le=2**20, description="parts that the data is dealt into, 1 to 2^20")] = 1
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed of the deal, 0 to 2^63 - 1, the same on every node")] = 0
    alpha: Annotated[
        float, Meta(ge=1e-3, le=1e6, description="label skew of dirichlet, 0.001 (few labels each) to 1000000 (none)")
    ] = 0.5
    limit: Annotated[int, Meta(ge=0, le=2**40, description="at most this many rows, 0 for all")] = 0

    def for_worker(self) -> DataConfig:
        """The same, as the worker takes it."""
        return DataConfig(self.path or None, self.partition, self.index, self.count, self.seed, self.alpha, self.limit)


class AttackSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node of a testnet plays against the others (`bflcd.learn.attacks`); without a name the rest says nothing."""

    name: Annotated[str, Meta(max_length=64, description="a learning attack to play, on a testnet only; empty: be honest")] = ""
    accomplices: Annotated[
        tuple[NodeIdText, ...],
        Meta(max_length=MAX_MEMBERS, description="node ids of the other liars, 64 hexadecimal digits each"),
    ] = ()
    strength: Annotated[
        float, Meta(ge=0.0, le=1e9, description="strength in the attack's own unit, up to 1000000000; 0: the usual one")
    ] = 0.0
    lies: Annotated[
        Literal["usual", "none", "promote", "smear"],
        Meta(description="usual (as the attack has it), or what a liar in the committee says: none, promote or smear"),
    ] = "usual"

    def for_worker(self, me: NodeId) -> AttackConfig | None:
        """The same, as the worker of node `me` takes it; None for an honest one."""
        if not self.name:
            return None
        adversaries = (me, *(NodeId(bytes.fromhex(node)) for node in self.accomplices))
        lies: LiesName | None = None if self.lies == "usual" else self.lies
        return AttackConfig(self.name, tuple(dict.fromkeys(adversaries)), self.strength or None, lies)


class LogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written to the terminal; the file under `log/` always has JSON lines."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="debug, info, warning or error")] = "info"
    format: Annotated[Literal["auto", "text", "json"], Meta(description="auto (colour on a terminal), text or json")] = "auto"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a node's operator decides; genesis decides the rest (`bflcd.params`)."""

    node: NodeSection = NodeSection()
    store: StoreSection = StoreSection()
    api: ApiSection = ApiSection()
    compute: ComputeSection = ComputeSection()
    data: DataSection = DataSection()
    attack: AttackSection = AttackSection()
    log: LogSection = LogSection()


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its type as msgspec reads it, its default, and what is allowed, for people."""

    key: str
    type: Any
    default: object
    allowed: str

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENV_PREFIX + self.key.replace(".", "_").upper()

    @property
    def is_list(self) -> bool:
        """Whether it holds several values."""
        return isinstance(self.default, tuple)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration, and for each `section.key` where its value came from: a file, a variable, a flag, or `default`."""

    config: Config
    origins: dict[str, str]


def _settings() -> dict[str, Setting]:
    found = {}
    for section in msgspec.structs.fields(Config):
        hints = get_type_hints(section.type, include_extras=True)
        for field in msgspec.structs.fields(section.type):
            key, hint = f"{section.name}.{field.name}", hints[field.name]
            allowed = next((m.description for m in reversed(hint.__metadata__) if isinstance(m, Meta) and m.description), "")
            found[key] = Setting(key, hint, field.default, allowed)
    return found


SETTINGS: Final = _settings()
"""Every setting by `section.key`, in the order of the file."""

_PATHS: Final = ("data.path", "node.passphrase_file")

_FIXED: Final = "node.datadir"
"""Known before anything is read."""

FLAGS: Final = {
    "node.listen": "--listen",
    "node.bootstrap": "--bootstrap",
    "node.announce": "--announce",
    "node.chain_id": "--chain-id",
    "node.name": "--name",
    "node.passphrase_file": "--passphrase-file",
    "store.mode": "--archive or --prune-keep",
    "store.keep": "--prune-keep",
    "api.port": "--api-port",
    "compute.device": "--device",
    "compute.threads": "--threads",
    "compute.train": "--observe",
    "data.path": "--data",
    "attack.name": "--attack",
    "log.level": "--log-level",
    "log.format": "--log-format",
}
"""The flag of `bflcd start` that sets a key, for messages and for `config show`."""


def load_config(datadir: Path, env: Mapping[str, str], flags: Mapping[str, object]) -> LoadedConfig:
    """The configuration of the data directory `datadir`: its file (if any), then `env`, then `flags` (by `section.key`).

    A relative path in the file starts at the data directory, one in a variable or flag at the working directory. Raises
    UsageError naming the file, variable or flag, the key, and what is allowed.
    """
    values: dict[str, object] = {}
    origins = dict.fromkeys(SETTINGS, "default")
    path = datadir / CONFIG_FILE
    layers = (
        _from_file(path, datadir),
        _from_environment(env),
        {key: (value, f"flag {FLAGS.get(key, key)}") for key, value in flags.items()},
    )
    for layer in layers:
        for key, (raw, origin) in layer.items():
            values[key] = _checked(key, raw, origin)
            origins[key] = origin
    values[_FIXED], origins[_FIXED] = datadir.absolute(), "flag --datadir"
    config = _build(values)
    _check_together(config, origins)
    return LoadedConfig(config, origins)


def announced(config: Config, node: NodeId) -> tuple[str, ...]:
    """The addresses that the operator wants told to others, each with this node's own id at its end."""
    return tuple(str(multiaddr.parse(address).with_peer(node)) for address in config.node.announce)


def set_values(config: Config, changes: Mapping[str, object]) -> Config:
    """`config` with some settings (by `section.key`) replaced. Raises UsageError as `load_config` does."""
    values = {key: value_of(config, key) for key in SETTINGS}
    values |= {key: _checked(key, value, "given") for key, value in changes.items()}
    return _build(values)


def value_of(config: Config, key: str) -> Any:
    """The value of a `section.key`."""
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def config_text(config: Config) -> str:
    """The file for `config`: what differs from the defaults is set, the rest stands beside it as comments."""
    lines = [
        "# Configuration of a bflcd node. Lines that begin with `#` show the defaults.",
        "# Environment variables (BFLCD_SECTION_KEY) and flags override this file.",
    ]
    section = ""
    for key, setting in SETTINGS.items():
        if key == _FIXED:
            continue
        name, field = key.split(".")
        if name != section:
            section = name
            lines += ["", f"[{name}]"]
        value = value_of(config, key)
        text = tomli_w.dumps({field: list(value) if setting.is_list else value}).rstrip("\n").split("\n")
        lines.append(f"# {setting.allowed}")
        lines += text if value != setting.default else [f"# {line}" for line in text]
    return "\n".join(lines) + "\n"


def write_config(path: Path, config: Config) -> None:
    """Write `config_text` to `path`. Raises MachineError."""
    try:
        path.write_text(config_text(config), encoding="utf-8")
    except OSError as error:
        raise MachineError(
            f"{path}: cannot be written: {error.strerror}", hint="check its folder's owner and free space"
        ) from error


def _build(values: Mapping[str, object]) -> Config:
    sections: dict[str, dict[str, object]] = {}
    for key, value in values.items():
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = value
    return Config(**{field.name: field.type(**sections.get(field.name, {})) for field in msgspec.structs.fields(Config)})


def _from_file(path: Path, datadir: Path) -> dict[str, tuple[object, str]]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise _bad(f"{path}: cannot be read: {error.strerror}", "check its owner and mode") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise _bad(f"{path}: above {MAX_CONFIG_BYTES} bytes", "this is no configuration of bflcd")
    try:
        tables = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: also of a number with thousands of digits
        raise _bad(f"{path}: no valid TOML: {error}", "mend that line") from error
    found: dict[str, tuple[object, str]] = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise _bad(
                f"{path}: {section} stands outside a section",
                f"put it under one of {', '.join(f'[{name}]' for name in _section_names())}",
            )
        for name, value in table.items():
            key = f"{section}.{name}"
            _known(key, f"{path}", section)
            found[key] = (_anchored(key, value, datadir), str(path))
    return found


def _anchored(key: str, value: object, datadir: Path) -> object:
    if key in _PATHS and isinstance(value, str) and value and not value.startswith("~"):
        return str(datadir.absolute() / value)
    return value


def _from_environment(env: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    by_variable = {setting.variable: setting for key, setting in SETTINGS.items() if key != _FIXED}
    found: dict[str, tuple[object, str]] = {}
    for variable in sorted(name for name in env if name.startswith(ENV_PREFIX)):
        if variable in _OTHER_VARIABLES:
            continue
        setting = by_variable.get(variable)
        if setting is None:
            raise _bad(f"environment variable {variable} is no setting of bflcd", _nearest(variable, by_variable))
        found[setting.key] = (_parsed(setting, env[variable]), f"environment variable {variable}")
    return found


def _parsed(setting: Setting, text: str) -> object:
    """A variable's text as the file would hold it; what does not parse is left for the check to refuse."""
    if setting.is_list:
        return [part for part in re.split(r"[,\s]+", text) if part]
    if isinstance(setting.default, bool):
        lowered = text.strip().lower()
        return True if lowered in _TRUE else False if lowered in _FALSE else text
    try:
        if isinstance(setting.default, int):
            return int(text)
        if isinstance(setting.default, float):
            return float(text)
    except ValueError:
        return text
    return text


def _checked(key: str, raw: object, origin: str) -> object:
    setting = SETTINGS.get(key)
    if setting is None:
        raise _bad(f"{origin}: {key} is no setting of bflcd", _nearest(key, SETTINGS))
    if isinstance(raw, bool) and not isinstance(setting.default, bool):
        raise _not_allowed(setting, raw, origin)
    try:
        value: object = msgspec.convert(raw, setting.type)
    except ValueError as error:  # msgspec's, or a variable whose bytes are no UTF-8
        raise _not_allowed(setting, raw, origin) from error
    if key in _ADDRESS_READERS:
        assert isinstance(value, tuple)
        for address in value:
            _check_address(key, address, origin)
    return _absolute(setting, str(value), origin) if key in _PATHS and value else value


def _absolute(setting: Setting, text: str, origin: str) -> str:
    try:
        return str(Path(text).expanduser().absolute())
    except RuntimeError as error:  # ~somebody whom this machine does not know
        raise _not_allowed(setting, text, origin) from error


def _not_allowed(setting: Setting, raw: object, origin: str) -> UsageError:
    return _bad(f"{origin}: {setting.key} = {_shown(raw)} is not allowed", f"{setting.key}: {setting.allowed}")


def _shown(raw: object) -> str:
    """A refused value for people: cut where nobody reads on."""
    try:
        text = repr(raw)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _check_together(config: Config, origins: Mapping[str, str]) -> None:
    if config.data.index >= config.data.count:
        raise _bad(
            f"{origins['data.index']}: data.index = {config.data.index} is no part of data.count = {config.data.count}",
            f"data.index: 0 to {config.data.count - 1}",
        )
    if not config.node.listen:
        raise _bad(f"{origins['node.listen']}: node.listen is empty", f"node.listen: {SETTINGS['node.listen'].allowed}")
    if config.attack.name:
        try:
            for_daemon(config.attack.name)
        except UsageError as error:
            raise UsageError(_cut(f"{origins['attack.name']}: attack.name: {error}"), hint=error.hint, code=error.code) from error


def _check_address(key: str, address: str, origin: str) -> None:
    try:
        _ADDRESS_READERS[key](address)
    except ValueError as error:
        text = f"{origin}: {key}: {_shown(address)} is no usable address: {_cut(str(error))}"
        raise _bad(text, f"{key}: {SETTINGS[key].allowed}") from error


def _bad(message: str, hint: str) -> UsageError:
    # What is no UTF-8 in a variable's name must not keep the message from the terminal.
    return UsageError(_cut(message).encode(errors="backslashreplace").decode(), hint=hint, code="bad_config")


def _cut(text: str) -> str:
    return text if len(text) <= _MESSAGE_CHARS else f"{text[:_MESSAGE_CHARS]}..."


def _section_names() -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(Config))


def _known(key: str, where: str, section: str) -> None:
    if key == _FIXED:
        raise _bad(f"{where}: {key} is no key of the file", "give the data directory with --datadir")
    if section not in _section_names():
        raise _bad(f"{where}: [{section}] is no section", f"sections: {', '.join(_section_names())}")
    if key not in SETTINGS:
        raise _bad(f"{where}: {key} is no setting of bflcd", _nearest(key, SETTINGS))


def _nearest(name: str, known: Mapping[str, Setting]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(key for key in known if key != _FIXED)}"
