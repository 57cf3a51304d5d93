"""A device that is in no genesis: it applies, is admitted, works, goes, and is kept out; and managers go back to an older model."""

from collections.abc import Iterator
from typing import Any

import pytest

from bflc_cli.main import main
from tests.e2e.conftest import START_SECONDS
from tests.e2e.test_crashes import takes_part
from tests.e2e.test_joining import ROWS, joining
from tests.helpers.daemons import Community, Daemon, bflcd

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def device(living: Community) -> Iterator[Daemon]:
    """A machine with a key, and nothing of the community; ended with the test."""
    datadir = living[0].datadir.with_name("device")
    assert bflcd("init", "--datadir", datadir).returncode == 0
    (datadir / "config.toml").write_text(f'[node]\nname = "a ward\'s machine"\n[data]\nlimit = {ROWS}\n')
    made = Daemon("device", datadir)
    yield made
    end(made)


@pytest.fixture
def invited(living: Community) -> Iterator[Daemon]:
    """A place for a machine that nothing was done on yet; ended with the test."""
    made = Daemon("invited", living[0].datadir.with_name("invited"))
    yield made
    end(made)


def end(made: Daemon) -> None:
    made.sweep()
    if made.process is not None:
        made.process.wait()


def alliance(node: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = node.get("/v1/alliance")
    return found


def managers(net: Community) -> list[Daemon]:
    return [node for node in net.running() if alliance(node)["i_am_manager"]]


def sign(net: Community, manager: Daemon, **request: Any) -> None:
    """Sign, and wait for the block."""
    answer = manager.request("POST", "/v1/operations", json=request)
    assert answer.status_code == 200, answer.text
    number = answer.json()["data"]["number"]
    net.wait_for(lambda: alliance(manager)["my_operations"] >= number, START_SECONDS, f"{request} of {manager.name} in a block")


def test_a_device_joins_in_mid_training_works_leaves_and_is_kept_out(living: Community, device: Daemon, capsys):
    """Given a community in its rounds, when a device that is in no genesis starts with nothing but a key, --bootstrap and the pinned
    chain id, then a manager finds its application and admits it with one command, it trains without a restart on any side, leaves
    when it is told to; and once a quorum of managers keeps it out, nobody connects to it. When a quorum goes back to model 1, all have
    it, and learn on.
    """
    device.start(*joining(living, living[0]))
    applied = living.wait_for(lambda: alliance(living[1])["applicants"], START_SECONDS, "an application on the chain")
    assert [one["note"] for one in applied] == ["a ward's machine"]
    node = applied[0]["node_id"]
    assert node == device.status()["node_id"]
    warned = living.wait_for(lambda: device.status()["warnings"], START_SECONDS, "a warning that it waits")
    assert any("is no member" in text and "bflc-cli admit" in text for text in warned), warned

    seats = managers(living)
    assert main(["--datadir", str(seats[0].datadir), "admit", node[:10], "--for", str(START_SECONDS)]) == 0
    assert "a block has carried it" in capsys.readouterr().out
    admitted_at = living[0].round()
    living.wait_for(lambda: device.status()["round"] >= admitted_at, START_SECONDS, "the device at the round of its admission")
    living.wait_for(lambda: takes_part(device, admitted_at), START_SECONDS, "the device packed or seated")
    assert not [text for text in device.status()["warnings"] if "no member" in text]
    living.hashes([living[0], device])

    assert device.request("POST", "/v1/operations", json={"kind": "leave"}).status_code == 200
    living.wait_for(
        lambda: [one for one in alliance(living[0])["former"] if one["standing"] == "left"], START_SECONDS, "it is gone"
    )
    living.wait_for(
        lambda: any("it left in round" in text for text in device.status()["warnings"]), START_SECONDS, "it says that it left"
    )

    for manager in seats[:3]:
        sign(living, manager, kind="kick", node=node, reason="it was stolen")
    living.wait_for(lambda: [one["standing"] for one in alliance(living[0])["former"]] == ["kicked"], START_SECONDS, "it is out")
    living.wait_for(lambda: device.status()["peers"] == 0, START_SECONDS, "nobody is connected to it")
    living.wait_rounds(2, START_SECONDS)
    assert node not in {peer["node_id"] for peer in living[0].get("/v1/peers")}
    assert node not in {one["node_id"] for one in living[0].get("/v1/members")}

    for manager in seats[:2]:
        sign(living, manager, kind="rollback", round=1, reason="poisoned")
    words = ["rollback", "1", "--reason", "poisoned", "--yes", "--for", str(START_SECONDS)]
    assert main(["--datadir", str(seats[2].datadir), *words]) == 0
    assert "goes back to the model of round 1" in capsys.readouterr().out
    for one in living.running():
        living.wait_for(lambda one=one: alliance(one)["rollback"], START_SECONDS, f"{one.name} at the rollback")
    living.wait_rounds(2, START_SECONDS)
    living.hashes()
    last = alliance(living[0])["rollback"]
    went = [living[0].history()[last["round"] + later]["rolled_back_to"] for later in (1, 2)]
    assert (last["target"], went) == (1, [1, None])
    assert "managers went back to the model of round 1" in living[0].text()


def test_a_machine_with_a_managers_invitation_is_admitted_by_nobodys_further_word(living: Community, invited: Daemon, capsys):
    """Given a manager's invitation that admits, when a new machine is set up with the string alone and starts, then it is a member and
    works, without an application, and the voucher is used up; then it leaves.
    """
    (manager, *_) = managers(living)
    assert main(["--datadir", str(manager.datadir), "invite", "--admit", "--for", str(START_SECONDS)]) == 0
    (text,) = capsys.readouterr().out.split()
    assert [one["needed"] for one in alliance(manager)["vouchers"]] == [1]
    made = bflcd("init", "--datadir", invited.datadir, "--invite", text, "--allow-task", living.task)
    assert (made.returncode, "lets it in, once" in made.stdout) == (0, True), made.stderr
    config = invited.datadir / "config.toml"
    config.write_text(config.read_text().replace("[data]\n", f"[data]\nlimit = {ROWS}\n"))
    invited.start()
    node = living.wait_for(lambda: invited.status()["node_id"], START_SECONDS, "the machine")
    living.wait_for(
        lambda: node in {one["node_id"] for one in manager.get("/v1/members")}, START_SECONDS, "it is a member of the ledger"
    )
    assert alliance(manager)["vouchers"] == []
    assert node not in {one["node_id"] for one in alliance(manager)["applicants"]}
    admitted_at = manager.round()
    living.wait_for(lambda: invited.status()["round"] >= admitted_at, START_SECONDS, "the machine at the round of its admission")
    living.wait_for(lambda: takes_part(invited, admitted_at), START_SECONDS, "the machine packed or seated")
    living.hashes([living[0], invited])

    assert invited.request("POST", "/v1/operations", json={"kind": "leave"}).status_code == 200
    living.wait_for(
        lambda: node not in {one["node_id"] for one in manager.get("/v1/members")}, START_SECONDS, "it is no member any more"
    )
