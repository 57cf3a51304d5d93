"""Files that a running node opened: once they are others, or elsewhere, what it writes is lost, and it says so and ends."""

import asyncio
import re

import pytest

from bflcd.errors import MachineError
from bflcd.setup.datadir import DataDir
from bflcd.setup.own_files import watch_own_files


def removed(place):
    place.chain.unlink()


def moved_aside(place):
    place.marks.rename(place.path / "marks.old")


def replaced_by_a_backup(place):
    (place.path / "backup").write_bytes(b"older")
    (place.path / "backup").replace(place.chain)


def moved_with_the_directory(place):
    place.path.rename(place.path.with_name("elsewhere"))


def replaced_by_a_file(place):
    moved_with_the_directory(place)
    place.path.touch()


@pytest.fixture
def place(tmp_path):
    place = DataDir(tmp_path / "node")
    place.make()
    for path in (place.chain, place.marks):
        path.write_bytes(b"as opened")
    return place


@pytest.mark.parametrize(
    ("meddle", "name", "how"),
    [
        (removed, "chain.sqlite3", "removed"),
        (moved_aside, "marks", "removed"),
        (replaced_by_a_backup, "chain.sqlite3", "replaced"),
        (moved_with_the_directory, "chain.sqlite3", "removed"),
        (replaced_by_a_file, "chain.sqlite3", "removed"),
    ],
)
async def test_a_node_whose_files_are_gone_ends_and_names_them(place, meddle, name, how):

    async def later():
        await asyncio.sleep(0.1)
        meddle(place)

    with pytest.raises(MachineError, match=re.escape(f"{place.path / name} was {how} while this node runs")) as caught:
        async with asyncio.timeout(10):
            await asyncio.gather(watch_own_files(place, pause=0.02), later())
    assert (caught.value.code, bool(caught.value.hint)) == ("files_gone", True)


async def test_a_node_that_writes_into_its_own_files_goes_on(place):
    async def later():
        place.chain.write_bytes(b"longer than as opened")
        (place.path / "chain.sqlite3-wal").touch()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await asyncio.gather(watch_own_files(place, pause=0.02), later())


async def test_a_log_that_is_removed_is_told_as_its_database_is(place):
    """What was committed since the last checkpoint stands in it alone."""
    log = place.path / "chain.sqlite3-wal"
    log.write_bytes(b"as opened")

    async def later():
        await asyncio.sleep(0.1)
        log.unlink()

    with pytest.raises(MachineError, match="was removed while this node runs"):
        async with asyncio.timeout(1):
            await asyncio.gather(watch_own_files(place, pause=0.02), later())


async def test_what_is_gone_before_the_first_look_is_told_too(place):
    """Network and API start between the opening of the store and the first look."""
    place.chain.unlink()
    with pytest.raises(MachineError, match="was removed while this node runs"):
        async with asyncio.timeout(1):
            await watch_own_files(place, pause=0.02)


async def test_what_cannot_be_looked_at_is_told_as_a_fault_of_the_machine(place):
    async def later():
        await asyncio.sleep(0.1)
        place.chain.unlink()
        place.chain.symlink_to(place.chain)  # stands for a failing disk or share: the system says neither yes nor no

    with pytest.raises(MachineError):
        async with asyncio.timeout(1):
            await asyncio.gather(watch_own_files(place, pause=0.02), later())
