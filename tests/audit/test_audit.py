"""The auditor's folder: what stands in it, and that a program which shares nothing with ours finds every change in it."""

import csv
import json
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from bflc_cli.audit.folder import CHAIN_FILE, TABLES, _cell, new_folder
from bflc_cli.main import main
from bflcd.crypto.identity import Identity
from bflcd.errors import BflcError, MachineError, OperatorError
from bflcd.inspect.audit import AuditedChain, audit_chain
from bflcd.ledger.operations.registry import KINDS
from bflcd.ledger.state import NEVER, account_of
from bflcd.params import MILLION, Genesis, Terms
from bflcd.setup.datadir import DataDir
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Amount, Round
from bflcd.wire.alliance import Admit, Join, Kick, Leave, Transfer, Vouch
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.envelope import seal
from bflcd.wire.governance import Appoint, Dismiss, SetParameter
from bflcd.wire.keys import Rotate
from bflcd.wire.money import Pay
from bflcd.wire.operation import Operation
from tests.helpers.chains import Chain, begin_chain, fill, goes_back, next_segment
from tests.helpers.ledger import BALANCE

VERIFIER = Path(__file__).with_name("verify.py")
NEWCOMER, ROTATED, JOINED, VOUCHER = (Identity(letter * 32) for letter in (b"n", b"r", b"j", b"v"))
GIVEN = 7


class Held:
    """A `SegmentReader` over what a test has made."""

    def __init__(self, genesis: Genesis | None, segments: list[CertifiedSegment]) -> None:
        self.held, self.segments = genesis, segments

    async def genesis(self) -> Genesis | None:
        return self.held

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        return self.segments[round_ - 1] if round_ <= len(self.segments) else None


class Writer:
    """What members sign in one round, and the segments that carry it."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.segments, self.said = chain, [], []

    def says(self, author: Identity, body: type, *by: Identity, **fields: Any) -> None:
        """`by`: who signs the same beside its author."""
        state = self.chain.state
        account = account_of(state, author.node_id)
        assert account is not None
        number = account.operations + 1 + sum(one.author == author.node_id for one in self.said)
        made = body(chain=state.chain, round=state.round, number=number, **fields)
        kind = next(name for name, kind in KINDS.items() if kind.bodies == (body,))
        self.said.append(Operation(kind, tuple(seal(made, one).envelope for one in (author, *by))))

    def joins(self, newcomer: Identity, voucher: Identity) -> None:
        """A stranger shows a voucher."""
        made = Join(self.chain.state.chain, self.chain.state.round, newcomer.node_id, voucher.node_id)
        self.said.append(Operation("join", tuple(seal(made, one).envelope for one in (newcomer, voucher))))

    def closes(self) -> None:
        """A block carries all of it."""
        self.segments.append(next_segment(self.chain, tuple(sorted(self.said, key=lambda one: one.author))))
        self.said = []


def a_history() -> tuple[Chain, list[CertifiedSegment]]:
    """Rounds of learning; in between somebody is admitted and paid for, another joins by a voucher, somebody gives, takes another key, manages, is put out; managers
    set what is paid, and go back."""
    chain = begin_chain(Terms(entry_fee=3, period_fee=2, deposit=11), card_share=250_000)
    keys = {**chain.community.keys, **{one.node_id: one for one in (NEWCOMER, ROTATED, JOINED)}}
    chain.community = replace(chain.community, keys=keys)
    managers = [keys[node] for node in chain.state.managers]
    plain = [keys[node] for node in chain.community.members if node not in chain.state.managers]
    written = Writer(chain)
    written.closes()
    written.says(managers[0], Admit, node=NEWCOMER.node_id)
    written.says(plain[0], Transfer, to=plain[1].node_id, amount=Amount(GIVEN))
    written.says(managers[1], Vouch, node=VOUCHER.node_id, until=Round(90), opens=True)
    written.closes()
    written.joins(JOINED, VOUCHER)
    written.says(plain[1], Pay, node=NEWCOMER.node_id, paid=NEVER, fee=Amount(5), deposit=Amount(11))
    for manager in managers[:3]:
        written.says(manager, SetParameter, name="reward_share", value=5_000)
    written.closes()
    written.says(plain[2], Rotate, ROTATED, node=ROTATED.node_id, old=plain[2].node_id)
    for manager in managers[:2]:
        written.says(manager, Appoint, node=plain[3].node_id)
    written.closes()
    written.says(managers[2], Appoint, node=plain[3].node_id)
    written.closes()
    for manager in (*managers[:3], plain[3]):
        written.says(manager, Kick, node=plain[4].node_id, reason="=cmd")
    written.closes()
    written.said = list(goes_back(chain, 1))
    written.closes()
    written.closes()
    return chain, written.segments


async def written(reader: Held, path: Path) -> AuditedChain:
    with new_folder(path) as folder:
        async for item in audit_chain(reader):
            if isinstance(item, AuditedChain):
                folder.end(item)
                return item
            folder.add(item)
    raise AssertionError


@pytest.fixture(scope="module")
def history() -> tuple[Chain, list[CertifiedSegment]]:
    return a_history()


@pytest.fixture
async def folder(history: tuple[Chain, list[CertifiedSegment]], tmp_path: Path) -> Path:
    chain, segments = history
    await written(Held(chain.genesis, segments), tmp_path / "audit")
    return tmp_path / "audit"


def verdict(folder: Path, chain_id: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(VERIFIER), str(folder), chain_id], capture_output=True, text=True, check=False
    )


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("active", "harmful", "paid"), [(MILLION, 4, False), (MILLION, 3, True), (999_999, 3, False), (999_999, 2, True)]
)
async def test_a_round_that_proves_nothing_pays_nobody_and_the_verifier_knows_it(
    active: int, harmful: int, paid: bool, tmp_path: Path
) -> None:
    """Given two offers that help and more that harm, then whether trainers are paid follows from how many can be liars'."""
    chain = begin_chain(Terms(), active_fraction=active)
    segments = [next_segment(chain), next_segment(chain, harmful=harmful), next_segment(chain)]
    await written(Held(chain.genesis, segments), tmp_path / "audit")
    earned = [int(row["rewards"]) > 0 for row in rows(tmp_path / "audit", "rounds")]
    assert earned == [True, paid, True]
    said = verdict(tmp_path / "audit", chain.state.chain.hex())
    assert said.returncode == 0, said.stdout + said.stderr


def test_what_stands_in_it(history, folder):
    chain, segments = history
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [CHAIN_FILE, "index.html", *(f"{name}.{ending}" for name in TABLES for ending in ("csv", "json"))]
    )
    assert [row["block"] for row in rows(folder, "rounds")] == [one.certificate.digest.hex() for one in segments]
    assert Counter(row["kind"] for row in rows(folder, "operations")) == Counter(
        admit=1, vouch=1, join=1, transfer=1, pay=1, set=3, rotate=1, appoint=3, kick=4, rollback=len(goes_back(chain, 1))
    )
    packed = [row for row in rows(folder, "contributions") if row["place"]]
    assert len(packed) == 2 * len(segments)
    assert all(not row["reason"] for row in packed)
    members = {row["node"]: row for row in rows(folder, "members")}
    assert members[NEWCOMER.node_id.hex()]["standing"] == "member"
    assert members[NEWCOMER.node_id.hex()]["first"] == "2"
    assert (members[JOINED.node_id.hex()]["standing"], members[JOINED.node_id.hex()]["first"]) == ("member", "3")
    newcomer = members[NEWCOMER.node_id.hex()]
    assert int(newcomer["earned"]) > 0
    assert (int(newcomer["held"]) - int(newcomer["earned"]), newcomer["deposit"]) == (11, "11")
    assert members[ROTATED.node_id.hex()]["standing"] == "member"
    out = [row for row in members.values() if row["standing"] == "kicked"]
    assert [(row["deposit"], int(row["held"])) for row in out] == [("0", BALANCE - 11 + int(out[0]["earned"]))]
    assert int(rows(folder, "rounds")[-1]["burnt"]) == 11
    assert sum(int(row["packed"]) for row in members.values()) == len(packed)
    for name in TABLES:
        assert len(json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))) == len(rows(folder, name))
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert chain.state.chain.hex() in page
    assert "<svg" in page


async def test_in_a_data_directory_the_folder_is_its_owners_alone(
    history: tuple[Chain, list[CertifiedSegment]], tmp_path: Path
) -> None:
    """Given an operator who has the folder made there / Then the node starts again: nothing in it may be read by others."""
    node = tmp_path / "node"
    node.mkdir(mode=0o700)
    await written(Held(history[0].genesis, history[1]), node / "audit")
    DataDir(node).check()


async def test_two_at_once_make_one_folder_and_leave_nothing(
    history: tuple[Chain, list[CertifiedSegment]], tmp_path: Path
) -> None:
    """Given a second command that makes the same folder meanwhile / Then the first one is told that it is there."""
    with pytest.raises(OperatorError, match="cannot be written") as caught, new_folder(tmp_path / "folder"):
        await written(Held(history[0].genesis, history[1]), tmp_path / "folder")
    assert caught.value.hint == "it is there already: choose another path"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_it_holds_for_a_program_that_shares_nothing_with_ours(history, folder):
    chain, segments = history
    found = verdict(folder, chain.state.chain.hex())
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == f"holds: {len(segments)} rounds, block {segments[-1].certificate.digest.hex()}\n"
    assert "another chain" in verdict(folder, "00" * 32).stderr


def test_the_program_is_short_and_its_own():
    text = VERIFIER.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 220
    imported = {line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imported <= {"csv", "json", "sys", "collections", "hashlib", "pathlib", "msgpack", "nacl"}


def change_cell(name: str, column: str, value: Callable[[str], str], where: int = 0) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        found = rows(folder, name)
        found[where][column] = value(found[where][column])
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]))
            writer.writeheader()
            writer.writerows(found)

    return change


def change_chain(change: Callable[[list], None]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        with (folder / CHAIN_FILE).open("rb") as file:
            parts = list(msgpack.Unpacker(file))
        change(parts)
        (folder / CHAIN_FILE).write_bytes(b"".join(msgpack.packb(part, use_bin_type=True) for part in parts))

    return rewrite


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def forge_vote(parts: list) -> None:
    signatures = parts[3][3][7]
    signatures[0][1] = flip(signatures[0][1])


def too_few_votes(parts: list) -> None:
    parts[3][3][7].pop()


def one_vote_twice(parts: list) -> None:
    parts[3][3][7][1] = parts[3][3][7][0]


def forge_card(parts: list) -> None:
    card = parts[3][2][2][0][0]
    card[2] = flip(card[2])


def forge_operation(parts: list) -> None:
    envelope = parts[3][2][2][4][0][1][0]
    envelope[2] = flip(envelope[2])


def pay_another(parts: list) -> None:
    rewards = parts[1][2][2][3]
    rewards[0][1] += 1


def own_ledger(parts: list) -> None:
    accounts = parts[4][9]
    accounts[0][1] += 1
    accounts[1][1] -= 1


def drop_a_round(parts: list) -> None:
    del parts[3:5]


def drop_the_last(parts: list) -> None:
    del parts[-2:]


def add_a_manager(parts: list) -> None:
    parts[0][6].append(b"m" * 32)


def plus(amount: int) -> Callable[[str], str]:
    return lambda value: str(int(value) + amount)


CHANGES = {
    "a vote that is not its author's": (change_chain(forge_vote), "BadSignatureError"),
    "a vote less": (change_chain(too_few_votes), "no quorum"),
    "a vote counted twice": (change_chain(one_vote_twice), "no quorum"),
    "a card that is not its author's": (change_chain(forge_card), "BadSignatureError"),
    "an operation that is not its author's": (change_chain(forge_operation), "BadSignatureError"),
    "a unit more paid": (change_chain(pay_another), "another body"),
    "another ledger": (change_chain(own_ledger), "another ledger than its block says"),
    "a round left out": (change_chain(drop_a_round), "round 3 stands here"),
    "the last round left out": (change_chain(drop_the_last), "rows in the table rounds, 7 follow from the chain"),
    "another genesis": (change_chain(add_a_manager), "another chain"),
    "another gain": (change_cell("contributions", "gain", plus(1)), "another gain in line 0 of the table contributions"),
    "another uploader": (change_cell("contributions", "uploader", lambda _: "00" * 32), "another uploader in line 0"),
    "a reward told higher": (change_cell("contributions", "reward", plus(1)), "another reward in line 0"),
    "more cards than there were": (change_cell("contributions", "entries", plus(1)), "another entries in line 0"),
    "another model": (change_cell("rounds", "root", lambda _: "00" * 32), "another root in line 0 of the table rounds"),
    "another signer": (change_cell("rounds", "signers", lambda _: "00" * 32), "another signers in line 0"),
    "another committee": (change_cell("rounds", "committee", lambda _: "00" * 32), "another committee in line 0"),
    "an operation of another's": (
        change_cell("operations", "author", lambda _: "00" * 32),
        "another author in line 0 of the table operations",
    ),
    "units from nowhere": (change_cell("movements", "by_rewards", plus(1)), "in line 0 of the table movements"),
    "units moved by nobody": (change_cell("movements", "by_operations", plus(1)), "in line 0 of the table movements"),
    "more held": (change_cell("movements", "held", plus(1)), "in line 0 of the table movements"),
    "a sum of its own": (change_cell("members", "packed", plus(1)), "another packed in line 0 of the table members"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_found(name, history, folder):
    change, told = CHANGES[name]
    change(folder)
    found = verdict(folder, history[0].state.chain.hex())
    assert found.returncode == 1
    assert told in found.stderr


UNPROVED = {"contributions": {"reason"}, "operations": {"text"}, "members": {"standing"}}
"""What the program reads and can't hold against anything (docs/audit.md)."""


def judged(folder: Path, chain: Chain) -> None:
    """What the program does, in this process. Raises ValueError, and whatever else it meets."""
    runpy.run_path(str(VERIFIER))["Audit"](folder, chain.state.chain)


def rewrite(folder: Path, name: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """A table changed in both its forms alike."""
    found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    change(found)
    (folder / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows({column: _cell(value) for column, value in row.items()} for row in found)


def other(value: Any) -> Any:
    """Of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return value[1:]
    return "other" if isinstance(value, str) else 7 if value is None else value + 1


@pytest.mark.parametrize("name", TABLES)
def test_no_cell_and_no_row_of_a_table_says_something_else(name: str, history, folder) -> None:
    """Given a folder in which one cell or one row is another, in CSV and JSON alike, then the program finds it."""
    chain, _ = history
    count = len(rows(folder, name))
    whole = {path: path.read_bytes() for path in folder.glob(f"{name}.*")}
    columns = set(json.loads(whole[folder / f"{name}.json"])[0]) - UNPROVED.get(name, set())
    changes: list[Callable[[list[dict[str, Any]]], None]] = [lambda found: found.pop(), lambda found: found.append(found[-1])]
    changes += [lambda found, at=column: found[count // 2].update({at: other(found[count // 2][at])}) for column in columns]
    for change in changes:
        rewrite(folder, name, change)
        with pytest.raises((ValueError, KeyError)):
            judged(folder, chain)
        for path, data in whole.items():
            path.write_bytes(data)
    judged(folder, chain)
    (folder / f"{name}.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match=f"{name}.json says other things"):
        judged(folder, chain)


def motions_and_deposits() -> tuple[Chain, list[CertifiedSegment]]:
    """Motions that run out, that fall with another one, whose manager is dismissed; who leaves, comes back, and is kept out."""
    chain = begin_chain(Terms(deposit=11, deposit_rounds=3, motion_rounds=2))
    keys, written = chain.community.keys, Writer(chain)
    managers = [keys[node] for node in chain.state.managers]
    plain = [keys[node] for node in chain.community.members if node not in chain.state.managers]

    def say(body: type, *by: Identity, **fields: Any) -> None:
        for manager in by:
            written.says(manager, body, **fields)

    def share(value: int, *by: Identity) -> None:
        say(SetParameter, *by, name="reward_share", value=value)

    # Two are for it, and two more when the word of those is gone: nothing is set.
    share(5_000, *managers[:2])
    written.says(plain[0], Leave)
    written.says(plain[1], Leave, heir=plain[4].node_id)
    written.closes()
    written.closes()
    share(5_000, *managers[2:])
    written.closes()
    # What two were for falls when three set something else.
    share(7_000, *managers[:2])
    written.closes()
    share(6_000, *managers[:3])
    share(7_000, managers[3])
    written.closes()
    written.closes()
    # The word of who was dismissed is gone, also when it manages again.
    say(SetParameter, *managers[:3], name="motion_rounds", value=50)
    written.closes()
    share(8_000, *managers[:2])
    say(Dismiss, managers[0], node=managers[0].node_id, reason="")
    written.closes()
    say(Appoint, *managers[1:], node=managers[0].node_id)
    written.closes()
    share(8_000, managers[2])
    written.closes()
    # One has its deposit again, and comes back to pay another; one is kept out while it is held, and loses it.
    say(Admit, managers[0], node=plain[0].node_id)
    written.says(plain[2], Leave)
    written.closes()
    say(Kick, *managers[:3], node=plain[2].node_id, reason="")
    written.says(plain[3], Pay, node=plain[0].node_id, paid=NEVER, fee=Amount(0), deposit=Amount(11))
    written.closes()
    return chain, written.segments


async def test_it_follows_motions_and_deposits_that_end_in_every_way(tmp_path: Path) -> None:
    """Given a chain in which motions and deposits end in every way, then the program follows, and finds units that a kick moved
    by the table alone."""
    chain, segments = motions_and_deposits()
    assert (dict(chain.state.changed), chain.state.burnt) == ({"reward_share": 6_000}, 11)
    await written(Held(chain.genesis, segments), folder := tmp_path / "audit")
    judged(folder, chain)
    out = next(one.node.hex() for one in chain.state.accounts if one.kicked_round != NEVER)

    def burn(found: list[dict[str, Any]]) -> None:
        for row in found[-len(chain.state.accounts) :]:
            if row["model"] == len(segments) and row["holder"] in {out, "burnt"}:
                more = 1 if row["holder"] == "burnt" else -1
                row.update(by_operations=row["by_operations"] + more, held=row["held"] + more)

    rewrite(folder, "movements", burn)
    with pytest.raises(ValueError, match="of the table movements"):
        judged(folder, chain)


async def test_a_chain_that_does_not_hold_leaves_no_folder(history, tmp_path):
    chain, segments = history
    broken = replace(segments[1], certificate=segments[2].certificate)
    with pytest.raises(MachineError, match="round 2 does not hold"):
        await written(Held(chain.genesis, [segments[0], broken]), tmp_path / "audit")
    with pytest.raises(MachineError, match="no genesis"):
        await written(Held(None, []), tmp_path / "audit")
    assert list(tmp_path.iterdir()) == []


async def test_what_is_there_is_not_touched(history, tmp_path):
    (tmp_path / "audit").mkdir()
    with pytest.raises(OperatorError, match="exists"):
        await written(Held(history[0].genesis, []), tmp_path / "audit")
    with pytest.raises(BflcError, match="cannot be written"):
        await written(Held(history[0].genesis, []), Path(__file__) / "audit")


def test_the_command(tmp_path, capsys):
    import asyncio

    async def store() -> Chain:
        held = await SqliteStore.open(tmp_path / "node")
        chain = begin_chain()
        await fill(held, chain, 2)
        await held.close()
        return chain

    (tmp_path / "node").mkdir(mode=0o700)
    chain = asyncio.run(store())
    output = tmp_path / "audit"
    assert main(["--json", "--datadir", str(tmp_path / "node"), "audit", "--output", str(output)]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert data == {
        "folder": str(output),
        "chain_id": chain.state.chain.hex(),
        "head": chain.community.head.hex(),
        "rounds": 2,
    }
    assert verdict(output, data["chain_id"]).returncode == 0
    assert main(["--datadir", str(tmp_path / "node"), "audit", "--output", str(output)]) == 1
