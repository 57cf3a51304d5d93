"""What several suites are run against."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bflcd.store.database import FILE_NAME, Database
from bflcd.store.memory import MemoryChain
from bflcd.store.protocol import ChainSide
from bflcd.store.sqlite_chain import SqliteChain


@pytest.fixture(params=["memory", "sqlite"])
async def chain_side(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ChainSide]:
    """Every chain side, empty; closed twice at the end, since closing is idempotent."""
    opened: ChainSide = MemoryChain() if request.param == "memory" else SqliteChain(await Database.open(tmp_path / FILE_NAME))
    yield opened
    await opened.close()
    await opened.close()
