"""What holds for all tests."""

import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import settings

from bflcd.process import OWNER_ONLY

# Data directories that tests write are as those that a node makes: closed to others, or it would refuse them.
os.umask(OWNER_ONLY)

# How long an example takes is no property of the code: on a busy machine one that is right would be called too slow.
settings.register_profile("bflcd", deadline=None)
settings.load_profile("bflcd")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without Python's garbage collector, a third of the time of it: nothing goes away there. What stands then is never looked
    at again.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
