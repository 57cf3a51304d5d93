"""What a value must be: by its type and limits, as an address or a path, and beside the others."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from bflcd.config.port import Port
from bflcd.config.refusals import bad, cut, nearest, not_allowed, shown
from bflcd.config.sections import Config
from bflcd.config.settings import PATHS, SETTINGS, Setting
from bflcd.errors import UsageError
from bflcd.learn.attacks import for_daemon
from bflcd.learn.private.mechanism import LEAST_NOISE, THOUSAND
from bflcd.net import multiaddr
from bflcd.net.dialing.rule import parse_allowed

_ADDRESS_READERS: Final[dict[str, Callable[[str], object]]] = {
    "node.listen": multiaddr.parse_listening,
    "node.bootstrap": multiaddr.parse_dialable,
    "node.announce": multiaddr.parse,
    "net.dial_allow": lambda entry: parse_allowed((entry,)),
}


def checked(key: str, raw: object, origin: str) -> object:
    """What `raw` means as the value of `key`. Raises UsageError naming `origin`, the key, and what is allowed."""
    setting = SETTINGS.get(key)
    if setting is None:
        raise bad(f"{origin}: {key} is no setting of bflcd", nearest(key, SETTINGS))
    if isinstance(raw, bool) and not isinstance(setting.default, bool):
        raise not_allowed(setting, raw, origin)
    for text in raw if isinstance(raw, list | tuple) else (raw,):
        if isinstance(text, str) and not is_text(text):
            raise bad(f"{origin}: {key} = {shown(text)} has bytes that are no UTF-8", f"give a name in UTF-8: {setting.allowed}")
    try:
        value: object = msgspec.convert(raw, setting.type)
    except ValueError as error:
        raise not_allowed(setting, raw, origin) from error
    if key in _ADDRESS_READERS:
        assert isinstance(value, tuple)
        for address in value:
            _check_address(key, address, origin)
    if key == "api.listen" and value:
        _check_port(str(value), origin)
    return _absolute(setting, str(value), origin) if key in PATHS and value else value


def is_text(text: str) -> bool:
    """Whether `text` can be written as UTF-8: a name whose bytes are none comes from the system as half characters."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _absolute(setting: Setting, text: str, origin: str) -> str:
    try:
        return str(Path(text).expanduser().absolute())
    except RuntimeError as error:  # ~somebody whom this machine does not know
        raise not_allowed(setting, text, origin) from error


def _check_address(key: str, address: str, origin: str) -> None:
    try:
        _ADDRESS_READERS[key](address)
    except ValueError as error:
        text = f"{origin}: {key}: {shown(address)} is no usable address: {cut(str(error))}"
        raise bad(text, f"{key}: {SETTINGS[key].allowed}") from error


def _check_port(text: str, origin: str) -> None:
    try:
        Port.parse(text)
    except ValueError as error:
        key = "api.listen"
        raise bad(f"{origin}: {key} = {shown(text)} is not allowed: {error}", f"{key}: {SETTINGS[key].allowed}") from error


def check_together(config: Config, origins: Mapping[str, str]) -> None:
    """Raise UsageError for values that each alone may be, but not beside the others."""
    if config.data.index >= config.data.count:
        raise bad(
            f"{origins['data.index']}: data.index = {config.data.index} is no part of data.count = {config.data.count}",
            f"data.index: 0 to {config.data.count - 1}",
        )
    if not config.node.listen:
        raise bad(f"{origins['node.listen']}: node.listen is empty", f"node.listen: {SETTINGS['node.listen'].allowed}")
    _check_privacy(config, origins)
    if config.attack.name:
        try:
            for_daemon(config.attack.name)
        except UsageError as error:
            raise UsageError(cut(f"{origins['attack.name']}: attack.name: {error}"), hint=error.hint, code=error.code) from error


def _check_privacy(config: Config, origins: Mapping[str, str]) -> None:
    section = config.privacy
    for key, value in (("epsilon", section.epsilon), ("noise", section.noise)):
        least = 1 if key == "epsilon" else LEAST_NOISE
        if value and round(value * THOUSAND) < least:
            raise not_allowed(SETTINGS[f"privacy.{key}"], value, origins[f"privacy.{key}"])
