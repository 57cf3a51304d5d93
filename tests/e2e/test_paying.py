"""Daemons whose terms ask for money: some pay by themselves, one does not, and its sponsor pays for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bflc_cli.main import main
from tests.e2e.conftest import START_SECONDS, configure
from tests.e2e.test_crashes import takes_part
from tests.helpers.daemons import Community, community

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PERIOD = 20


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Community]:
    """Six members, five of which may pay by themselves."""
    asked = ("period_fee=10", f"period_rounds={PERIOD}", "deposit=100")
    options = [word for part in asked for word in ("--param", part)]
    with community(tmp_path / "net", 6, "--committee-size", "4", *options) as made:
        for node in made.nodes[:5]:
            configure(node, "# fee_limit = 0", "fee_limit = 100")
        made.start()
        made.wait_round(1, START_SECONDS)
        yield made


def test_who_does_not_pay_gets_no_model_until_a_member_pays_for_it(net: Community, capsys: pytest.CaptureFixture[str]) -> None:
    """Given five nodes that pay by themselves and one that does not, when the first period ends, then rounds go on among the five;
    the sixth stores every block, has no newer model, runs on and says what it owes; when another pays for it, it works again
    without a restart.
    """
    late = net[5]
    net.wait_for(lambda: late.status()["phase"] == "payment due", START_SECONDS, "the sixth is left out")
    warned = [text for text in late.status()["warnings"] if "owes 10 units (period's fee 10)" in text]
    assert [f"bflc-cli pay --for {late.node_id}" in text for text in warned] == [True]
    begun = late.round()
    net.wait_for(lambda: late.round() >= begun + 4, START_SECONDS, "it follows")
    model = late.request("GET", "/v1/model")
    assert (model.status_code, model.json()["code"]) == (404, "pruned")
    assert main(["--datadir", str(net[0].datadir), "pay", "--for", late.node_id, "--wait-for", str(START_SECONDS)]) == 0
    assert "a block has carried it" in capsys.readouterr().out
    paid = net[0].round()
    net.wait_for(lambda: late.request("GET", "/v1/model").status_code == 200, START_SECONDS, "it has a model again")
    net.wait_for(lambda: takes_part(late, paid), START_SECONDS, "it is packed or seated")
    view = net[0].get("/v1/ledger")
    assert view["balances"] + view["deposits"] + view["pool"] + view["burnt"] == view["supply"]
    assert [one["deposit"] for one in view["members"]] == [100] * 6
    assert sum(row["fees"] for row in net[0].get("/v1/earnings")) >= 60
    net.wait_for(lambda: net.hashes(net.running()), START_SECONDS, "hashes")
