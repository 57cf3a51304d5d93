"""A configuration changed, and written as a file that says what is allowed."""

from collections.abc import Mapping
from pathlib import Path

import tomli_w

from bflcd.config.checks import checked
from bflcd.config.sections import Config
from bflcd.config.settings import FIXED, SETTINGS, build, value_of
from bflcd.files import write_whole


def set_values(config: Config, changes: Mapping[str, object]) -> Config:
    """`config` with some settings (by `section.key`) replaced. Raises UsageError as `load_config` does."""
    values = {key: value_of(config, key) for key in SETTINGS}
    values |= {key: checked(key, value, "given") for key, value in changes.items()}
    return build(values)


def config_text(config: Config) -> str:
    """The file for `config`: what differs from the defaults is set, the rest stands beside it as comments."""
    lines = [
        "# Configuration of a bflcd node. Lines that begin with `#` show the defaults.",
        "# Environment variables (BFLCD_SECTION_KEY) and flags override this file.",
    ]
    section = ""
    for key, setting in SETTINGS.items():
        if key == FIXED:
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
    """Write `config_text` to `path`. Raises OperatorError, MachineError."""
    write_whole(path, config_text(config).encode())
