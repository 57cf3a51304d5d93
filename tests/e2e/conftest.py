"""One community that many tests share: starting daemons costs most of a test's time."""

from collections.abc import Generator, Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.helpers.daemons import Community, Daemon, community

MEMBERS = 8
"""Two more than run from the start: one lends its key to attackers, and is shunned for it; the last is the late joiner."""

STARTED = 6

KEEP = 2
"""Rounds whose payloads the pruned one keeps."""

SHARING = (
    "test_alliance.py",
    "test_border_slice.py",
    "test_crashes.py",
    "test_foreign_peers.py",
    "test_full_disk.py",
    "test_intruders.py",
    "test_joining.py",
)
"""Files whose tests use the shared community: with several processes, all of them go to the same."""

SHARED: pytest.StashKey[Community] = pytest.StashKey()

START_SECONDS = 120.0
"""Six daemons and six workers importing torch, on two busy cores; an idle machine needs 10 to 15."""


class ByCommunity(LoadScopeScheduling):
    """What `pytest -n` hands out at once: the tests of the shared community together, the others by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0].rsplit("/", 1)[-1]
        return "shared" if file in SHARING else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByCommunity:
    """The hook of pytest-xdist. (Its groups would do the same, but pytest 9.2 keeps no mark of them in a test's id.)"""
    return ByCommunity(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the tests of the shared community, one after the other."""
    items.sort(key=lambda item: item.path.name not in SHARING)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """End the shared community with its last test: it would go on closing rounds beside the others'."""
    yield
    last = nextitem is None or nextitem.path.name not in SHARING
    if last and item.config.stash.get(SHARED, None) is not None:
        item.config.stash[SHARED].close()


def configure(node: Daemon, default: str, wanted: str) -> None:
    """Put a setting in the place of its commented default in a node's configuration."""
    path = node.datadir / "config.toml"
    before = path.read_text()
    assert before.count(default) == 1, f"{path}: no place for {wanted}"
    path.write_text(before.replace(default, wanted))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Community]:
    """Eight members, six of them running, a committee of four, rounds without end. The first one's API listens on a port too, the fifth
    keeps the payloads of `KEEP` rounds only: in their files, so that they do however they are started.
    """
    with community(tmp_path_factory.mktemp("shared") / "net", MEMBERS, "--committee-size", "4") as made:
        configure(made[0], '# listen = ""', 'listen = "127.0.0.1:0"')
        configure(made[4], '# mode = "archive"', 'mode = "pruned"')
        configure(made[4], "# keep = 2", f"keep = {KEEP}")
        made.start(made.nodes[:STARTED])
        made.wait_round(1, START_SECONDS)
        pytestconfig.stash[SHARED] = made
        yield made


@pytest.fixture
def living(shared: Community, request: pytest.FixtureRequest) -> Iterator[Community]:
    """The shared community, all of the first six running and in step; afterwards there is no fork and no trace of a bug."""
    assert request.path.name in SHARING, f"add {request.path.name} to SHARING, or a second community is started for it"
    for stray in shared.nodes[STARTED:]:
        shared.expected.discard(stray.name)
        stray.sweep()
    down = [node for node in shared.nodes[:STARTED] if not node.running]
    for node in shared:
        node.resume()
    shared.start(down)
    shared.wait_rounds(0, START_SECONDS)
    known = set(shared.faults())
    yield shared
    shared.wait_for(
        lambda: shared.hashes([node for node in shared.running() if node.name in shared.expected]), START_SECONDS, "hashes"
    )
    assert [line for line in shared.faults() if line not in known] == []
