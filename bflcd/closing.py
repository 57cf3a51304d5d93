"""How what was opened is closed again: the first error is the one that is raised, those that come after it go to the log."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

logger = logging.getLogger(__name__)

Close = Callable[[], Awaitable[None] | None]


@asynccontextmanager
async def closing(what: str, close: Close) -> AsyncIterator[None]:
    """Run the body, then `close`, whatever the body did. If both fail, the body's error is raised.

    A body that is only cancelled has told nothing yet: there the failure of `close` is raised.
    """
    try:
        yield
    except asyncio.CancelledError:
        await _closed(close)
        raise
    except BaseException:
        with aftermath(what):
            await _closed(close)
        raise
    await _closed(close)


@contextmanager
def aftermath(what: str) -> Iterator[None]:
    """For clean-up after an error that is about to be raised: what fails inside is logged, so that it hides nothing."""
    try:
        yield
    except Exception:
        logger.exception("%s could not be closed after the error that ended it", what)


async def _closed(close: Close) -> None:
    done = close()
    if inspect.isawaitable(done):
        await done
