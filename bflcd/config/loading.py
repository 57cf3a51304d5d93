"""A configuration from `config.toml` in the data directory, environment `BFLCD_*` and flags, in rising order (design 11)."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bflcd.config.checks import check_together, checked
from bflcd.config.refusals import bad, nearest, printed
from bflcd.config.sections import Config
from bflcd.config.settings import ENV_PREFIX, FIXED, FLAGS, PATHS, SETTINGS, Setting, build, section_names
from bflcd.faults import refused
from bflcd.files import read_regular
from bflcd.limits import unreadable_start

CONFIG_FILE: Final = "config.toml"

MAX_CONFIG_BYTES: Final = 1024 * 1024
"""Largest configuration file that is read."""

_OTHER_VARIABLES: Final = ("BFLCD_DATADIR",)
"""Variables of the commands that are no setting of a section."""

_TYPOGRAPHIC: Final = tuple(mark.encode() for mark in "\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019\u201a")
"""Quotation marks that text programs put in the place of plain ones."""

_PLAIN_QUOTES: Final = 'mend that line; its quotation marks must be plain ones (")'

_SERVICE_LINK: Final = re.compile(
    r"BFLCD_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
"""Names that Kubernetes and Docker give a process for each service beside it, here of one called bflcd or bflcd-something."""

_SERVICE_ADDRESS: Final = re.compile(r"(?:tcp|udp|sctp)://\S+")
"""What they put into BFLCD_PORT, or into BFLCD_API_PORT for a service called bflcd-api."""

_BY_VARIABLE: Final = {setting.variable: setting for key, setting in SETTINGS.items() if key != FIXED}

_SECTIONS: Final = tuple(f"{ENV_PREFIX}{name.upper()}_" for name in section_names())
"""A variable that begins so is meant for us: its name is no chance, but a mistake."""

_TRUE: Final = frozenset(("1", "true", "yes", "on"))
_FALSE: Final = frozenset(("0", "false", "no", "off"))


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration, and for each `section.key` where its value came from: a file, a variable, a flag, or `default`."""

    config: Config
    origins: dict[str, str]
    warnings: tuple[str, ...] = ()
    """Of what may have been meant for bflcd and says nothing to it."""


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
            values[key] = checked(key, raw, origin)
            origins[key] = origin
    values[FIXED], origins[FIXED] = datadir.absolute(), "flag --datadir"
    config = build(values)
    check_together(config, origins)
    return LoadedConfig(config, origins, _unknown(env))


def _from_file(path: Path, datadir: Path) -> dict[str, tuple[object, str]]:
    try:
        raw = read_regular(path, MAX_CONFIG_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise bad(f"{path}: cannot be read: {error.strerror}", refused("", error).hint) from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise bad(f"{path}: above {MAX_CONFIG_BYTES} bytes", "this is no configuration of bflcd")
    trouble = unreadable_start(raw)
    if trouble:
        raise bad(f"{path}: no valid TOML", trouble)
    try:
        tables = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: also of a number with thousands of digits
        typographic = any(mark in raw for mark in _TYPOGRAPHIC)
        raise bad(f"{path}: no valid TOML: {error}", _PLAIN_QUOTES if typographic else "mend that line") from error
    found: dict[str, tuple[object, str]] = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise bad(
                f"{path}: {section} stands outside a section",
                f"put it under one of {', '.join(f'[{name}]' for name in section_names())}",
            )
        for name, value in table.items():
            key = f"{section}.{name}"
            _known(key, f"{path}", section)
            found[key] = (_anchored(key, value, datadir), str(path))
    return found


def _known(key: str, where: str, section: str) -> None:
    if key == FIXED:
        raise bad(f"{where}: {key} is no key of the file", "give the data directory with --datadir")
    if section not in section_names():
        raise bad(f"{where}: [{section}] is no section", f"sections: {', '.join(section_names())}")
    if key not in SETTINGS:
        raise bad(f"{where}: {key} is no setting of bflcd", nearest(key, SETTINGS))


def _anchored(key: str, value: object, datadir: Path) -> object:
    if key in PATHS and isinstance(value, str) and value and not value.startswith("~"):
        return str(datadir.absolute() / value)
    return value


def _from_environment(env: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    found: dict[str, tuple[object, str]] = {}
    for variable in _ours(env):
        setting = _BY_VARIABLE.get(variable)
        if setting is not None:
            found[setting.key] = (_parsed(setting, env[variable]), f"environment variable {variable}")
        elif variable.startswith(_SECTIONS):
            raise bad(f"environment variable {variable} is no setting of bflcd", nearest(variable, _BY_VARIABLE))
    return found


def _unknown(env: Mapping[str, str]) -> tuple[str, ...]:
    """A warning for each variable that has our prefix, and neither is a setting nor says which section it is meant for."""
    names = (name for name in _ours(env) if name not in _BY_VARIABLE)
    return tuple(printed(f"environment variable {name} is no setting of bflcd and is ignored; {_meant(name)}") for name in names)


def _meant(variable: str) -> str:
    """What a variable's name may be a slip of; the prefix, which all share, would make any two alike."""
    known = {name.removeprefix(ENV_PREFIX): name for name in _BY_VARIABLE}
    near = difflib.get_close_matches(variable.removeprefix(ENV_PREFIX), known, n=1)
    return f"did you mean {known[near[0]]}?" if near else "a setting's is BFLCD_SECTION_KEY"


def _ours(env: Mapping[str, str]) -> list[str]:
    """The variables that have our prefix, but for those of the commands and those that a platform gives."""
    named = (name for name in sorted(env) if name.startswith(ENV_PREFIX) and name not in _OTHER_VARIABLES)
    return [name for name in named if not _is_service_link(name, env[name])]


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value)))


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
