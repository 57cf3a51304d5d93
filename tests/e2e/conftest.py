"""One community that many tests share: starting daemons costs most of a test's time."""

from collections.abc import Iterator

import pytest

from tests.helpers.daemons import Community, community

MEMBERS = 7
"""One more than run from the start: the last is the late joiner."""

STARTED = 6

LASTING = ("shared", "finished", "serious", "directories")
"""Fixtures that outlast a test: with several processes of pytest-xdist, all tests of one go to the same."""

START_SECONDS = 120.0
"""Six daemons and six workers importing torch, on two busy cores; an idle machine needs 10 to 15."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the group that each test belongs to, for `--dist loadgroup`."""
    for item in items:
        for fixture in LASTING:
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(fixture))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
    """Seven members, six of them running, a committee of four, rounds without end."""
    with community(tmp_path_factory.mktemp("shared") / "net", MEMBERS, "--committee-size", "4") as made:
        made.start(made.nodes[:STARTED])
        made.wait_round(1, START_SECONDS)
        yield made


@pytest.fixture
def living(shared: Community) -> Iterator[Community]:
    """The shared community, all of the first six running and moving; afterwards there is no fork and no trace of a bug."""
    for stray in shared.nodes[STARTED:]:
        shared.expected.discard(stray.name)
        stray.sweep()
    down = [node for node in shared.nodes[:STARTED] if not node.running]
    for node in shared:
        node.resume()
    shared.start(down)
    shared.wait_rounds(1, START_SECONDS)
    known = set(shared.faults())
    yield shared
    shared.wait_for(
        lambda: shared.hashes([node for node in shared.running() if node.name in shared.expected]), START_SECONDS, "hashes"
    )
    assert [line for line in shared.faults() if line not in known] == []
