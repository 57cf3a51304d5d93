"""What holds for all tests."""

import gc
import os
import signal
from collections.abc import Generator, Iterator

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


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """A node that ends within a test ignores signals from then on, and the processes of later tests would inherit that."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler and handler is not None:
            signal.signal(number, handler)
