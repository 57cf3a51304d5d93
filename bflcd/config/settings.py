"""The table of settings: every key of the configuration, its variable, its flag, and a configuration from its values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Meta

from bflcd.config.sections import Config

ENV_PREFIX: Final = "BFLCD_"


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

PATHS: Final = ("data.path", "node.passphrase_file")
"""Keys that hold a path."""

FIXED: Final = "node.datadir"
"""Known before anything is read."""

FLAGS: Final = {
    "node.listen": "--listen",
    "node.bootstrap": "--bootstrap",
    "node.announce": "--announce",
    "node.chain_id": "--chain-id",
    "node.trust_first_peer": "--trust-first-peer",
    "node.trusted_head": "--trusted-head",
    "node.name": "--name",
    "node.passphrase_file": "--passphrase-file",
    "store.mode": "--archive or --prune-keep",
    "store.keep": "--prune-keep",
    "api.listen": "--api-listen",
    "compute.device": "--device",
    "compute.threads": "--threads",
    "compute.train": "--observe",
    "data.path": "--data",
    "tasks.allow": "--allow-task",
    "attack.name": "--attack",
    "log.level": "--log-level",
    "log.format": "--log-format",
}
"""The flag of `bflcd start` that sets a key, for messages and for `config show`."""


def section_names() -> tuple[str, ...]:
    """In the order of the file."""
    return tuple(field.name for field in msgspec.structs.fields(Config))


def value_of(config: Config, key: str) -> Any:
    """The value of a `section.key`."""
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def build(values: Mapping[str, object]) -> Config:
    """The configuration of checked values by `section.key`; defaults for all others."""
    sections: dict[str, dict[str, object]] = {}
    for key, value in values.items():
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = value
    return Config(**{field.name: field.type(**sections.get(field.name, {})) for field in msgspec.structs.fields(Config)})
