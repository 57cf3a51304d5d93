"""How a node comes by its community: nobody's word is taken unasked, and no genesis makes the machine do what it was not told."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bflcd.config import Config, set_values
from bflcd.crypto.identity import peer_id_of
from bflcd.errors import OperatorError
from bflcd.node.admission import MEBIBYTE, check_admissible
from bflcd.node.joining import find_genesis, summary_of
from bflcd.params import BlobRef, Genesis, TensorSpec, Terms
from bflcd.setup.datadir import DataDir
from bflcd.setup.genesis_file import write_genesis
from bflcd.store.memory import MemoryStore
from bflcd.types import Amount, Digest
from bflcd.wire.blocks import chain_id_of
from bflcd.wire.requests import GenesisReply, GetGenesis
from bflcd.wire.tensors import payload_size
from tests.helpers.ledger import make_genesis


def sized(genesis: Genesis) -> Genesis:
    """With a model of the size that its tensors take."""
    return replace(genesis, model=BlobRef(Digest(bytes([1]) * 32), payload_size(genesis.task.tensors, None)))


MADE, IDENTITIES = make_genesis()
GENESIS = sized(MADE)
FIRST, OTHER, ME = (IDENTITIES[index].node_id for index in (0, 1, 9))
BY_NAME = replace(GENESIS, task=replace(GENESIS.task, factory="hospital.scans:ScanTask"))


class Asked:
    """A terminal whose operator says `answer`; remembers what it showed."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.shown: list[str] = []

    async def __call__(self, summary: str) -> bool:
        self.shown.append(summary)
        return self.answer


async def join(
    tmp_path: Path,
    served: Any = GENESIS,
    *,
    consent: Asked | None = None,
    peers: Any = (FIRST,),
    named: Any = (FIRST,),
    earlier: Any = None,
    **settings: Any,
):
    """What a node with an empty data directory joins whose connected peers serve a genesis, all the same or each its own; and whom
    it asked. `named`: whom its operator named; `earlier`: who alone is connected at the first look; a peer without a genesis of its
    own never answers."""
    looks = iter(() if earlier is None else (earlier,))
    asked: list[bytes] = []

    async def ask(peer: Any, request: GetGenesis, *, deadline: float) -> GenesisReply:
        assert deadline > 0
        asked.append(peer)
        genesis = served.get(peer) if isinstance(served, dict) else served
        if genesis is None:
            await asyncio.Event().wait()
        return GenesisReply(genesis)

    bootstrap = [f"/ip4/127.0.0.1/tcp/4001/p2p/{peer_id_of(node)}" for node in named]
    changes = {"node.bootstrap": bootstrap, **{key.replace("__", "."): value for key, value in settings.items()}}
    config = set_values(Config(node=Config().node.__class__(datadir=tmp_path)), changes)
    connected = SimpleNamespace(peers=lambda: [SimpleNamespace(node=node) for node in next(looks, peers)])
    exchange: Any = SimpleNamespace(ask=ask)
    genesis, _ = await find_genesis(config, MemoryStore(), exchange, connected, me=ME, consent=consent)  # type: ignore[arg-type]
    return genesis, asked


async def refusal(*arguments: Any, **settings: Any) -> OperatorError:
    with pytest.raises(OperatorError) as refused:
        await join(*arguments, **settings)
    return refused.value


async def test_without_a_chain_id_and_without_a_terminal_nobody_is_asked_for_a_genesis(tmp_path: Path) -> None:
    """Given a newcomer with a first peer alone, when nothing pins its chain, then it is refused and told both ways out."""
    error = await refusal(tmp_path)
    assert error.code == "unpinned_chain"
    assert "--chain-id" in error.hint
    assert "--trust-first-peer" in error.hint


async def test_a_pinned_chain_is_joined_without_a_question(tmp_path: Path) -> None:
    asked = Asked(answer=False)
    genesis, _ = await join(tmp_path, consent=asked, node__chain_id=chain_id_of(GENESIS).hex())
    assert genesis == GENESIS
    assert asked.shown == []
    assert (await refusal(tmp_path, node__chain_id="ab" * 32)).code == "wrong_chain"


async def test_at_a_terminal_the_community_is_shown_and_only_a_yes_joins_it(tmp_path: Path) -> None:
    """Given no pinned chain and somebody at the terminal, then they see whose community it is before anything is taken."""
    yes, no = Asked(answer=True), Asked(answer=False)
    assert (await join(tmp_path, consent=yes))[0] == GENESIS
    assert yes.shown == [summary_of(GENESIS, ME, FIRST)]
    assert (await refusal(tmp_path, consent=no)).code == "declined"


async def test_trust_in_the_first_peer_is_for_the_one_that_the_operator_named(tmp_path: Path) -> None:
    """Given --trust-first-peer and two peers of which one has called itself, then only the named one is asked."""
    genesis, asked = await join(tmp_path, peers=(OTHER, FIRST), node__trust_first_peer=True)
    assert (genesis, asked) == (GENESIS, [FIRST])


FOREIGN = replace(GENESIS, name="another community")


async def test_no_stranger_ends_a_newcomer_or_keeps_it_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a pinned chain, and two peers that have called themselves, of which one is on another chain and one never answers, when
    the peer that the operator named is there too, then its genesis is taken; and it is asked first where it is there already."""
    monkeypatch.setattr("bflcd.node.joining.GENESIS_PATIENCE", 0.01)
    silent, pinned = IDENTITIES[2].node_id, chain_id_of(GENESIS).hex()
    served, everybody = {OTHER: FOREIGN, FIRST: GENESIS}, (silent, OTHER, FIRST)
    for stranger in (OTHER, silent):
        genesis, asked = await join(tmp_path, served, peers=everybody, earlier=(stranger,), node__chain_id=pinned)
        assert (genesis, asked) == (GENESIS, [stranger, FIRST])
    assert (await join(tmp_path, served, peers=everybody, node__chain_id=pinned))[1] == [FIRST]


async def test_without_a_chain_id_only_a_named_peer_is_asked_however_late_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bflcd.node.joining.GENESIS_RETRY", 0.0)
    genesis, asked = await join(tmp_path, peers=(OTHER, FIRST), earlier=(OTHER,), node__trust_first_peer=True)
    assert (genesis, asked) == (GENESIS, [FIRST])


async def test_one_of_several_named_peers_does_not_end_a_newcomer(tmp_path: Path) -> None:
    """Given two peers that the operator named, when the first is on another chain than the pinned one, then the other is asked; and
    only when both are, the operator has to look at what was given."""
    pinned = chain_id_of(GENESIS).hex()
    both: Any = {"peers": (OTHER, FIRST), "named": (OTHER, FIRST)}
    genesis, asked = await join(tmp_path, {OTHER: FOREIGN, FIRST: GENESIS}, node__chain_id=pinned, **both)
    assert (genesis, asked) == (GENESIS, [OTHER, FIRST])
    assert (await refusal(tmp_path, FOREIGN, node__chain_id=pinned, **both)).code == "wrong_chain"


def test_the_summary_names_members_managers_task_size_and_giver() -> None:
    made, identities = make_genesis(nodes=40)
    lines = summary_of(sized(made), identities[39].node_id, identities[1].node_id).splitlines()
    facts = {line[:10].strip(): line[11:] for line in lines}
    assert facts["chain id"] == chain_id_of(sized(made)).hex()
    assert facts["community"] == "test"
    assert facts["members"].startswith(f"40: {identities[0].node_id.hex()[:8]} ")
    assert facts["members"].endswith(" and 28 more; this node is one of them")
    assert facts["fees"] == "none, unless managers have set others since"
    asking = replace(made, terms=Terms(entry_fee=Amount(50), deposit=Amount(200)))
    told = "fees       entry 50, 0 for each 1000 rounds, deposit 200, unless managers have set others since"
    assert told in summary_of(asking, ME, FIRST).splitlines()
    assert facts["managers"] == "4: " + " ".join(identity.node_id.hex()[:8] for identity in identities[:4])
    assert facts["task"] == "digits, no options"
    assert facts["model"] == "0.00 MiB, 1 tensors"
    assert facts["given by"] == f"{identities[1].node_id.hex()[:8]} ({peer_id_of(identities[1].node_id)})"


async def test_a_task_that_is_not_shipped_runs_only_if_the_operator_allowed_it_by_name(tmp_path: Path) -> None:
    """Given a genesis that names a module, then it is refused before anything imports it, and the refusal names the setting."""
    pinned = chain_id_of(BY_NAME).hex()
    error = await refusal(tmp_path, BY_NAME, node__chain_id=pinned)
    assert error.code == "task_not_allowed"
    assert 'tasks.allow = ["hospital.scans:ScanTask"]' in error.hint
    assert (await refusal(tmp_path, BY_NAME, node__chain_id=pinned, tasks__allow=["hospital.scans:Other"])).code == error.code
    allowed, _ = await join(tmp_path, BY_NAME, node__chain_id=pinned, tasks__allow=["hospital.scans:ScanTask"])
    assert allowed == BY_NAME


async def test_a_genesis_of_ones_own_directory_is_held_to_the_same(tmp_path: Path) -> None:
    write_genesis(DataDir(tmp_path).genesis, BY_NAME)
    assert (await refusal(tmp_path)).code == "task_not_allowed"
    assert (await join(tmp_path, tasks__allow=[BY_NAME.task.factory]))[0] == BY_NAME


async def test_what_is_not_admitted_is_not_even_shown(tmp_path: Path) -> None:
    asked = Asked(answer=True)
    assert (await refusal(tmp_path, BY_NAME, consent=asked)).code == "task_not_allowed"
    assert asked.shown == []


def test_a_model_of_another_size_than_its_tensors_take_is_refused() -> None:
    """Given a genesis of 32 bytes of weights, when it names a model of 1.5 GiB, or one byte less, then it is refused."""
    tasks = Config().tasks
    check_admissible(GENESIS, tasks)
    for size in (1536 * MEBIBYTE, GENESIS.model.size - 1, GENESIS.model.size + 1):
        with pytest.raises(OperatorError) as refused:
            check_admissible(replace(GENESIS, model=replace(GENESIS.model, size=size)), tasks)
        assert refused.value.code == "bad_genesis"


def test_a_model_above_the_nodes_own_limit_is_refused_and_the_setting_named() -> None:
    wide = replace(GENESIS.task, tensors=(TensorSpec("weight", (MEBIBYTE // 4, 513), "F32"),))
    large = sized(replace(GENESIS, task=wide))
    with pytest.raises(OperatorError) as refused:
        check_admissible(large, Config().tasks)
    assert refused.value.code == "model_too_large"
    assert "tasks.max_model_mib = 514" in refused.value.hint
    check_admissible(large, set_values(Config(), {"tasks.max_model_mib": 514}).tasks)
