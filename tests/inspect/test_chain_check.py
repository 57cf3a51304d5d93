"""The walk finds nothing in a good chain, and names each thing that is wrong in a bad one."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bflcd.errors import MachineError, OperatorError
from bflcd.inspect.chain_check import CheckProgress, Finding, VerifyReport, verify_store
from bflcd.inspect.reader import open_reader
from bflcd.params import Genesis
from bflcd.store.protocol import Damage
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Digest, PartsPerMillion, Round
from bflcd.wire.blocks import CertifiedHeader, CertifiedSegment
from tests.helpers.chains import Chain, begin_chain, certify, fill, goes_back, next_segment, payload_of, ref

ROUNDS = 3


class Memory:
    """A `ChainReader` over what a test has made, however wrong."""

    def __init__(self, genesis: Genesis | None, segments: Sequence[CertifiedSegment], payloads: dict[bytes, bytes]) -> None:
        self.held, self.segments, self.payloads = genesis, list(segments), payloads
        self.without_bodies: set[int] = set()

    async def genesis(self) -> Genesis | None:
        return self.held

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        return None if round_ in self.without_bodies else self._at(round_)

    async def headers(self, first: Round, count: int) -> tuple[CertifiedHeader, ...]:
        found = self._at(first)
        return () if found is None else (CertifiedHeader(found.segment.model_header, found.certificate),)

    async def blob(self, root: Digest) -> bytes | None:
        return self.payloads.get(root)

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        return (Damage("the file", "deep", None),) if deep else ()

    def _at(self, round_: int) -> CertifiedSegment | None:
        return self.segments[round_ - 1] if round_ <= len(self.segments) else None


async def walk(reader: object, *, deep: bool = False) -> VerifyReport:
    seen = [item async for item in verify_store(reader, deep=deep)]  # type: ignore[arg-type]
    assert all(isinstance(item, CheckProgress) for item in seen[:-1])
    assert isinstance(seen[-1], VerifyReport)
    return seen[-1]


async def test_a_rollback_is_no_aggregate_and_its_model_is_held_against_the_round_that_it_names(chain, made):
    """Given managers who went back to model 1, then nothing is found, and the rounds after it are walked from there; where they
    named another payload as model 1, that is found, though a quorum of the committee has signed it."""
    made.segments.append(next_segment(chain, goes_back(chain, 1)))
    made.segments.append(next_segment(chain))
    report = await walk(made)
    assert (report.findings, report.rollbacks, report.aggregates) == ((), 1, ROUNDS + 1)
    poison = payload_of(chain.genesis, 3.0, None)
    chain.payloads[ref(poison).root] = poison
    made.segments.append(next_segment(chain, goes_back(chain, 1, ref(poison))))
    found = await walk(made)
    height = (ROUNDS + 3) * (chain.genesis.params.places + 1)
    assert found.findings == (Finding(f"block #{height}", "its model is not that of round 1, to which managers went back"),)


@pytest.fixture
def chain() -> Chain:
    return begin_chain()


@pytest.fixture
def made(chain: Chain) -> Memory:
    segments = [next_segment(chain) for _ in range(ROUNDS)]
    return Memory(chain.genesis, segments, chain.payloads)


async def test_a_good_chain(chain, made):
    report = await walk(made)
    assert report == VerifyReport(
        chain_id=chain.state.chain.hex(),
        round=ROUNDS,
        height=ROUNDS * (chain.genesis.params.places + 1),
        head_hash=chain.community.head.hex(),
        state_hash=chain.community.header.model.state.hex(),
        model_hash=ref(chain.model).root.hex(),
        accuracy=report.accuracy,
        accuracy_round=ROUNDS - 1,
        headers_only=0,
        payloads=1 + 3 * ROUNDS,
        payload_bytes=sum(map(len, chain.payloads.values())),
        missing=0,
        model_held=True,
        aggregates=ROUNDS,
        rollbacks=0,
        findings=(),
    )
    assert 0 <= report.accuracy <= 1
    assert report.ok


async def test_only_the_genesis(chain):
    report = await walk(Memory(chain.genesis, [], chain.payloads))
    assert (report.round, report.height, report.ok, report.accuracy) == (0, 0, True, None)


async def test_no_genesis():
    with pytest.raises(MachineError, match="no genesis"):
        await walk(Memory(None, [], {}))


async def test_deep_asks_the_store_for_more(made):
    assert (await walk(made, deep=True)).findings == (Finding("the file", "deep"),)


async def test_a_pruned_chain_is_whole_and_counts_what_is_gone(chain, made):
    newest = {ref(chain.model).root: chain.model}
    report = await walk(Memory(made.held, made.segments, newest))
    assert (report.ok, report.round, report.payloads, report.missing, report.aggregates) == (True, ROUNDS, 1, 3 * ROUNDS, 0)


async def test_rounds_without_bodies_are_proved_by_their_certificates(made):
    made.without_bodies = {1, 2, 3}
    report = await walk(made)
    assert (report.ok, report.round, report.headers_only, report.aggregates) == (True, ROUNDS, 3, 0)


def changed(made: Memory, at: int, **changes: object) -> None:
    made.segments[at] = replace(made.segments[at], **changes)


async def only_finding(made: Memory) -> tuple[Finding, int]:
    report = await walk(made)
    assert len(report.findings) == 1
    return report.findings[0], report.round


async def test_a_certificate_with_a_wrong_signature(made):
    certificate = made.segments[1].certificate
    (author, _), *others = certificate.signatures
    changed(made, 1, certificate=replace(certificate, signatures=((author, bytes(64)), *others)))
    finding, good = await only_finding(made)
    assert finding.where == "round 2"
    assert "bad_certificate" in finding.text
    assert good == 1


async def test_a_certificate_of_another_round(made):
    changed(made, 1, certificate=made.segments[0].certificate)
    finding, good = await only_finding(made)
    assert (finding.where, good) == ("round 2", 1)


async def test_a_body_that_its_header_does_not_name(made):
    segment = made.segments[1].segment
    changed(made, 1, segment=replace(segment, model=replace(segment.model, rewards=())))
    finding, good = await only_finding(made)
    assert (finding.where, good) == ("round 2", 1)
    assert "bad_segment" in finding.text


async def test_a_missing_round_ends_the_walk(made):
    del made.segments[1]
    finding, good = await only_finding(made)
    assert (finding.where, good) == ("round 2", 1)


async def test_a_model_that_is_no_aggregate(chain):
    """Given a committee that certified another model than the aggregate / When walked / Then the block is named."""
    before = chain.community
    certified = next_segment(chain)
    wrong = payload_of(chain.genesis, 9.0, None)
    *updates, header = certified.segment.headers
    forged = replace(certified.segment, headers=(*updates, replace(header, blob=ref(wrong))))
    reader = Memory(chain.genesis, [certify(before, forged)], {**chain.payloads, ref(wrong).root: wrong})
    finding, round_ = await only_finding(reader)
    assert finding == Finding(f"block #{header.height}", "its model is not the aggregate of the round's updates")
    assert round_ == 1


@pytest.mark.parametrize(("accuracy", "limits"), [(400_000, [-4096, -4096]), (800_000, [-4096, 4])])
async def test_a_step_is_held_to_its_limit_with_the_ledger_or_without_it(accuracy, limits):
    """Given rounds whose steps are cut to next to nothing, or whose updates are while the model is young, when walked, then their
    aggregates are right, also where a missing body leaves the walk without the ledger.
    """
    chain = begin_chain(norm_clip=PartsPerMillion(1000))
    segments = [next_segment(chain, accuracy=accuracy) for _ in range(ROUNDS)]
    reader = Memory(chain.genesis, segments, chain.payloads)
    assert [one.segment.model.step_limit for one in segments[1:]] == limits
    assert (await walk(reader)).aggregates == ROUNDS
    reader.without_bodies = {1}
    report = await walk(reader)
    assert (report.ok, report.aggregates) == (True, ROUNDS - 1)


# On a real store


@pytest.fixture
async def directory(tmp_path: Path, chain: Chain) -> Path:
    store = await SqliteStore.open(tmp_path)
    await fill(store, chain, ROUNDS)
    await store.close()
    return tmp_path


async def test_a_stopped_nodes_store(directory, chain):
    async with open_reader(directory) as reader:
        report = await walk(reader, deep=True)
    assert (report.ok, report.round, report.aggregates, report.missing) == (True, ROUNDS, ROUNDS, 0)
    assert report.head_hash == chain.community.head.hex()


async def test_a_running_nodes_store_is_read_beside_it(directory, chain):
    store = await SqliteStore.open(directory)
    try:
        await fill(store, chain, 1)
        async with open_reader(directory) as reader:
            assert (await walk(reader)).round == ROUNDS + 1
        await fill(store, chain, 1)
        async with open_reader(directory) as reader:
            assert (await walk(reader)).round == ROUNDS + 2
    finally:
        await store.close()


async def test_the_reader_can_write_nothing(directory):
    async with open_reader(directory) as reader:
        with pytest.raises(MachineError):
            await reader.put_blob(b"x")


async def test_no_store(tmp_path):
    with pytest.raises(OperatorError) as refused:
        async with open_reader(tmp_path):
            pass
    assert refused.value.code == "no_store"


async def test_a_flipped_bit_in_a_payload_is_named_and_the_walk_goes_on(directory, chain):
    database = sqlite3.connect(directory / "chain.sqlite3")
    row, data = database.execute("SELECT id, data FROM chunks ORDER BY id LIMIT 1 OFFSET 1").fetchone()
    database.execute("UPDATE chunks SET data = ? WHERE id = ?", (bytes([data[0] ^ 1]) + data[1:], row))
    database.commit()
    database.close()
    async with open_reader(directory) as reader:
        report = await walk(reader)
    assert report.round == ROUNDS
    assert len(report.findings) == 1
    assert "damaged" in report.findings[0].text
    assert "round" in report.findings[0].where


async def test_a_flipped_bit_in_a_segment_ends_the_walk(directory):
    database = sqlite3.connect(directory / "chain.sqlite3")
    data = database.execute("SELECT segment FROM segments WHERE round = 2").fetchone()[0]
    database.execute("UPDATE segments SET segment = ? WHERE round = 2", (data[:-1] + bytes([data[-1] ^ 1]),))
    database.commit()
    database.close()
    async with open_reader(directory) as reader:
        report = await walk(reader)
    assert not report.ok
    assert report.round == 1
    assert any(finding.where == "round 2" for finding in report.findings)
