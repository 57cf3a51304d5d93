"""A slice of `make border`: each attack for a moment, in the community that the other tests use."""

import asyncio

import pytest

from tests.border.attack import Net, catalogue
from tests.border.figures import LOG_MIB, RSS_MIB
from tests.border.measuring import Watch
from tests.e2e.conftest import MEMBERS, STARTED
from tests.helpers.daemons import Community

SECONDS = 0.8
"""Of each attack; the figures that need a minute are those of `make border`."""

GO_ON_SECONDS = 60.0


@pytest.mark.timeout(180)
def test_a_community_goes_on_under_every_attack(living: Community) -> None:
    """Given a running community, When one stranger or member after the other does its worst for a moment,
    Then rounds go on closing, memory and log stay within their limits, and honest peers get in.
    """
    net = Net(living.path, spare=MEMBERS - STARTED)
    watch = Watch(living, living.nodes[:STARTED])

    with watch.watching():
        quick = [attack for attack in catalogue().values() if attack.quick]
        complaints = [said for attack in quick for said in asyncio.run(attack.run(net, SECONDS))]
        living.wait_rounds(1, GO_ON_SECONDS)

    found = watch.figures()
    assert complaints == []
    assert (found.rss_mib <= RSS_MIB, found.log_mib <= LOG_MIB) == (True, True), found
