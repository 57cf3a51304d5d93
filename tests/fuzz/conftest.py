"""What the harnesses silence in a process of their own must speak again for the other tests of this one."""

import logging
from collections.abc import Iterator

import pytest

SILENCED = ("aiohttp.server", "bflcd.net", "bflcd.net.exchange", "bflcd.api.envelope")


@pytest.fixture(autouse=True)
def _loud_again() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in SILENCED}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
