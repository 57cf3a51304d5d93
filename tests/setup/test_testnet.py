"""Testnets: directories that belong together, refused before anything is overwritten."""

import json
import os
import re
import socket
import stat
from dataclasses import replace

import pytest

from bflcd.__main__ import main
from bflcd.config import AttackSection, dial_rule, load_config
from bflcd.crypto.identity import peer_id_of
from bflcd.crypto.keystore import read_key
from bflcd.errors import OperatorError, UsageError
from bflcd.learn.data import DataConfig
from bflcd.params import Params
from bflcd.setup.compose import compose_text
from bflcd.setup.datadir import DataDir, local_genesis
from bflcd.setup.genesis_file import read_genesis
from bflcd.setup.testnet import FIRST_PORT, LAST_PORT, create_testnet, free_ports, write_testnet
from bflcd.wire.blocks import chain_id_of
from tests.helpers.testnets import DESCRIPTION, make_plan


def configs(output, nodes):
    return [load_config(output / f"node{index}", {}, {}).config for index in range(nodes)]


def test_every_node_has_key_configuration_genesis_and_model(tmp_path):
    genesis = write_testnet(make_plan(tmp_path, nodes=6), DESCRIPTION)
    members = {member.node for member in genesis.members}
    assert read_genesis(tmp_path / "genesis.json") == genesis
    for index in range(6):
        datadir = DataDir(tmp_path / f"node{index}")
        assert local_genesis(datadir) == (genesis, DESCRIPTION.model)
        assert read_key(datadir.key).node_id in members
        assert stat.S_IMODE(datadir.path.stat().st_mode) == 0o700
        assert stat.S_IMODE(datadir.key.stat().st_mode) == 0o600
    assert len(members) == 6


def test_the_first_nodes_are_committee_and_managers(tmp_path):
    genesis = write_testnet(make_plan(tmp_path, nodes=6), DESCRIPTION)
    first = tuple(read_key(tmp_path / f"node{index}" / "node.key").node_id for index in range(4))
    assert genesis.committee == first
    assert genesis.managers == tuple(sorted(first))


def test_each_node_starts_from_the_next_three(tmp_path):
    write_testnet(make_plan(tmp_path, nodes=6), DESCRIPTION)
    overview = json.loads((tmp_path / "testnet.json").read_text())
    addresses = [node["address"] for node in overview["nodes"]]
    for index, config in enumerate(configs(tmp_path, 6)):
        assert config.node.bootstrap == tuple(addresses[(index + step) % 6] for step in (1, 2, 3))
        assert config.node.listen == (f"/ip4/127.0.0.1/tcp/{overview['nodes'][index]['port']}",)
        peer = peer_id_of(read_key(tmp_path / f"node{index}" / "node.key").node_id)
        assert addresses[index] == f"{config.node.listen[0]}/p2p/{peer}"
    assert len({node["port"] for node in overview["nodes"]}) == 6


def test_a_testnet_without_first_peers(tmp_path):
    write_testnet(make_plan(tmp_path, nodes=5, bootstraps=0), DESCRIPTION)
    assert [config.node.bootstrap for config in configs(tmp_path, 5)] == [()] * 5


def test_the_overview_says_what_the_control_command_needs(tmp_path):
    genesis = write_testnet(make_plan(tmp_path, nodes=5), DESCRIPTION)
    overview = json.loads((tmp_path / "testnet.json").read_text())
    assert {key: overview[key] for key in ("schema", "mode", "chain_id", "task", "last_round")} == {
        "schema": 1,
        "mode": "loopback",
        "chain_id": chain_id_of(genesis).hex(),
        "task": "digits",
        "last_round": 3,
    }
    assert [node["name"] for node in overview["nodes"]] == [f"node{index}" for index in range(5)]
    assert [node["datadir"] for node in overview["nodes"]] == [f"node{index}" for index in range(5)]


def test_the_data_is_dealt_by_index(tmp_path):
    shares = DataConfig(partition="dirichlet", seed=3, alpha=0.1, limit=50)
    write_testnet(make_plan(tmp_path, nodes=5, data=shares), DESCRIPTION)
    found = [config.data.for_worker() for config in configs(tmp_path, 5)]
    assert found == [replace(shares, index=index, count=5) for index in range(5)]


def test_the_last_nodes_attack_together_on_a_testnet(tmp_path):
    genesis = write_testnet(make_plan(tmp_path, nodes=6, attack="sign-flip", attackers=3), DESCRIPTION)
    assert genesis.testnet
    ids = [read_key(tmp_path / f"node{index}" / "node.key").node_id for index in range(6)]
    found = configs(tmp_path, 6)
    assert [config.attack for config in found[:3]] == [AttackSection()] * 3
    assert [config.attack.name for config in found[3:]] == ["sign-flip"] * 3
    for index in (3, 4, 5):
        attack = found[index].attack.for_worker(ids[index])
        assert attack.adversaries[0] == ids[index]
        assert sorted(attack.adversaries) == sorted(ids[3:])


def test_one_attacker_alone_and_all_but_one(tmp_path):
    for name, attackers in (("one", 1), ("most", 5)):
        (tmp_path / name).mkdir()
        write_testnet(make_plan(tmp_path / name, nodes=6, attack="noise", attackers=attackers), DESCRIPTION)
        accomplices = [len(config.attack.accomplices) for config in configs(tmp_path / name, 6) if config.attack.name]
        assert accomplices == [attackers - 1] * attackers


def test_seeded_keys_give_the_same_chain_again_and_others_do_not(tmp_path):
    chains = []
    for name, seeded in (("a", True), ("b", True), ("c", False)):
        (tmp_path / name).mkdir()
        chains.append(chain_id_of(write_testnet(make_plan(tmp_path / name, seeded_keys=seeded), DESCRIPTION)))
    assert chains[0] == chains[1] != chains[2]


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_small_communities_need_their_flag(tmp_path, nodes):
    plan = make_plan(tmp_path, nodes=nodes)
    with pytest.raises(UsageError, match="small_community"):
        write_testnet(replace(plan, params=replace(plan.params, small_community=False)), DESCRIPTION)
    genesis = write_testnet(plan, DESCRIPTION)
    assert len(genesis.committee) == nodes
    assert [len(config.node.bootstrap) for config in configs(tmp_path, nodes)] == [min(3, nodes - 1)] * nodes


def test_a_directory_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "precious").touch()
    with pytest.raises(OperatorError, match="not empty") as caught:
        create_testnet(make_plan(tmp_path))
    assert caught.value.code == "not_empty"
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": 0}, "--nodes 0"),
        ({"nodes": 1001}, "--nodes 1001"),
        ({"data": DataConfig(path="/nowhere/data.npz")}, "/nowhere/data.npz: there is no such file"),
        ({"data": DataConfig(alpha=0.0)}, "data.alpha = 0.0"),
        ({"data": DataConfig(limit=-1)}, "data.limit = -1"),
        ({"attack": "noise", "attackers": 6}, "--attackers 6 of 6 nodes"),
        ({"attack": "noise", "attackers": -1}, "--attackers -1 of 6 nodes"),
        ({"attack": "noise"}, "--attack and --attackers go together"),
        ({"attackers": 2}, "--attack and --attackers go together"),
        ({"attack": "nois", "attackers": 2}, "there is no attack 'nois'"),
        ({"attack": "copycat", "attackers": 2}, "needs to see the updates of others"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_before_anything_is_made(tmp_path, changes, words):
    output = tmp_path / "new"
    with pytest.raises(OperatorError) as caught:
        create_testnet(make_plan(output, **changes))
    assert words in str(caught.value)
    assert not output.exists()


def test_parameters_out_of_range_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"Params\.view_timeout"):
        write_testnet(make_plan(tmp_path, params=Params(committee_size=4, places=6, view_timeout=1)), DESCRIPTION)


def test_free_ports_avoids_what_is_taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {taken} is in use"):
            free_ports(2, taken)
    found = free_ports(20, 0)
    assert len(set(found)) == 20
    assert all(FIRST_PORT <= port < LAST_PORT for port in found)


def test_base_port_gives_consecutive_ports_within_range():
    [base, *_] = free_ports(1, 0)
    assert free_ports(1, base) == [base]
    with pytest.raises(UsageError, match="leaves no room"):
        free_ports(10, 65_530)


def test_a_compose_testnet_speaks_by_service_name(tmp_path):
    data = tmp_path / "data.npz"
    data.touch()
    output = tmp_path / "net"
    output.mkdir()
    write_testnet(make_plan(output, nodes=5, compose=True, data=DataConfig(path=str(data))), DESCRIPTION)
    for index, config in enumerate(configs(output, 5)):
        assert config.node.listen == ("/ip4/0.0.0.0/tcp/4001",)
        assert config.node.announce[0].startswith(f"/dns4/node{index}/tcp/4001/p2p/12D3KooW")
        assert [address.split("/")[2] for address in config.node.bootstrap] == [f"node{(index + step) % 5}" for step in (1, 2, 3)]
        assert config.data.path == "/input/data.npz"
    text = (output / "compose.yaml").read_text()
    assert re.findall(r"^  (node\d):$", text, re.MULTILINE) == [f"node{index}" for index in range(5)]
    source = f'source: "{data}"\n        target: "/input/data.npz"\n        read_only: true\n'
    assert text.count(f"      - type: bind\n        {source}") == 5
    assert text.count(f'user: "{os.getuid()}:{os.getgid()}"') == 5


def test_the_nodes_of_a_compose_testnet_dial_each_other_and_nothing_beside(tmp_path):
    """Given what `--compose` writes, then a service's name and where an engine puts it are dialled, and its host's services are not."""
    output = tmp_path / "net"
    output.mkdir()
    write_testnet(make_plan(output, nodes=5, compose=True), DESCRIPTION)
    found = configs(output, 5)
    rule, address = dial_rule(found[0]), found[4].node.announce[0]
    peer = address.rsplit("/", 1)[1]
    assert (rule.own_word(address, f"/ip4/172.18.0.5/tcp/51000/p2p/{peer}"), rule.hearsay(address)) == ("", "")
    assert [rule.connecting(host, 4001) for host in ("172.18.0.5", "192.168.32.4", "10.0.3.2")] == [""] * 3
    assert [bool(rule.connecting(host, 4001)) for host in ("127.0.0.1", "169.254.169.254")] == [True, True]
    assert rule.hearsay(f"/dns4/database/tcp/5432/p2p/{peer}") != ""
    assert rule.connecting("172.18.0.1", 22) != ""


def test_paths_in_the_compose_file_may_hold_what_compose_reads_otherwise():
    """Given a path with a colon, a variable's sign, quotes and blanks, then compose mounts that path and no other."""
    text = compose_text(["node0"], image="me/$x", data='/a:b/$HOME "x" y.npz', user="1:1")
    assert 'image: "me/$$x"' in text
    assert 'source: "/a:b/$$HOME \\"x\\" y.npz"' in text
    assert 'target: "/input/$$HOME \\"x\\" y.npz"' in text


def test_the_compose_file_has_only_keys_of_both_versions():
    text = compose_text(["node0"], image="bflcd", data=None, user="1:1")
    keys = set(re.findall(r"^ *([a-z_]+):", text, re.MULTILINE))
    assert keys == {
        *("version", "networks", "community", "driver", "internal", "services", "image", "init", "user", "command"),
        *("environment", "volumes", "source", "target", "healthcheck", "test", "interval", "timeout", "retries", "start_period"),
    }
    assert "\t" not in text


def test_a_folder_that_is_not_there_is_the_operators_fault(tmp_path):
    with pytest.raises(OperatorError, match="cannot be written"):
        write_testnet(make_plan(tmp_path / "absent"), DESCRIPTION)


def test_the_command_makes_a_testnet_of_the_shipped_task(tmp_path, capsys):
    """Given an empty place, when `bflcd testnet` runs with the real worker, then the genesis holds the task's own tensors."""
    output = tmp_path / "net"
    arguments = ["testnet", "--nodes", "5", "--output", str(output), "--rounds", "2", "--seed-keys", "--learning-rate", "0.1"]
    assert (
        main(
            [
                *arguments,
                "--param",
                "score_rows=64",
                "--param",
                "batch_size=16",
                "--election",
                "multi-factor",
                "--attack",
                "noise",
                "--attackers",
                "2",
            ]
        )
        == 0
    )
    genesis = read_genesis(output / "genesis.json")
    assert (genesis.task.factory, genesis.task.learning_rate, genesis.task.batch_size) == ("digits", 100_000, 16)
    assert (genesis.params.places, genesis.params.last_round, genesis.params.score_rows) == (4, 2, 64)
    assert genesis.params.election == "multi-factor"
    assert (output / "node0" / "model0.safetensors").stat().st_size == genesis.model.size
    said = capsys.readouterr()
    assert chain_id_of(genesis).hex() in said.out
    assert f"bflc-cli testnet up {output}" in said.out
    assert "attack     noise, played by the last 2" in said.out
    assert [config.attack.name for config in configs(output, 5)] == ["", "", "", "noise", "noise"]
    assert said.err == ""
