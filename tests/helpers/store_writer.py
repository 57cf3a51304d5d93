"""A process that writes to a store without end and says on stdout what is durable: killed by the crash tests, which judge it."""

import asyncio
import sys
from pathlib import Path

from bflcd.core.records import Pin
from bflcd.core.signing_guard import Mark, holds, signing_floor
from bflcd.store.blobs import GROUP_CHUNKS
from bflcd.store.marks import MarkFile, read
from bflcd.store.sqlite import SqliteStore
from bflcd.types import CHUNK_BYTES, Round
from bflcd.wire.messages import Commit
from tests.helpers.store import Chain, begin, make_vote, payload, put_in_chunks, ref, round_payloads

SIZE = 40_000

LARGE = GROUP_CHUNKS * CHUNK_BYTES + 1
"""More than one transaction takes."""


def say(*words: object) -> None:
    """One acknowledgement, out before the next write begins."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def write(directory: Path, *, prune: bool) -> None:
    store, marks = await SqliteStore.open(directory), MarkFile(directory / "marks")
    if await store.genesis() is None:
        await begin(store)
    head = await store.head()
    chain = Chain(await store.genesis(), head.header, head.state)  # type: ignore[arg-type]
    say("open", chain.round)
    while True:
        blobs = round_payloads(chain.round, SIZE)
        await store.put_blob(blobs[0])
        say("blob", chain.round, 0)
        for data in blobs[1:]:
            await put_in_chunks(store, data)
        vote = make_vote(chain.round)
        await store.persist([vote, *(Pin(ref(data).root, chain.round) for data in blobs)])
        say("vote", chain.round, vote.phase)
        await marks.write(Mark(vote.epoch, vote.round, vote.view, vote.phase, vote.digest))
        say("mark", chain.round, vote.phase)
        await store.persist([make_vote(chain.round, kind=Commit)])
        say("vote", chain.round, 35)
        await store.put_blob(payload(f"offer {chain.round}", LARGE))
        chain, certified = chain.next(*blobs)
        await store.commit(certified, chain.state)
        say("commit", chain.round)
        await store.remember_address(chain.state.committee[0], f"/ip4/127.0.0.1/tcp/{chain.round}")
        await store.discard_stale(Round(chain.round))
        if prune:
            await store.prune(3, dry_run=False)
            say("prune", chain.round)


async def check_acknowledged(directory: Path, lines: list[str], kept: int) -> None:
    """Everything that the lines say is durable is in the store; the payloads of the last `kept` rounds too."""
    store = await SqliteStore.open(directory)
    try:
        head = await store.head()
        words = [line.split() for line in lines if line.endswith(tuple("0123456789"))]
        committed = max(int(rest[0]) for kind, *rest in words if kind in ("commit", "open"))
        assert head.header.round in (committed, committed + 1)
        assert len(await store.headers(Round(1), 1000)) == head.header.round
        assert await store.check(deep=True) == ()
        votes = {(int(rest[0]), int(rest[1])) for kind, *rest in words if kind == "vote"}
        records = await store.records(head.header.round)
        assert {place for place in votes if place[0] == head.header.round} <= {(v.round, v.phase) for v in records.votes}
        for round_ in range(max(0, head.header.round - kept + 1), head.header.round):
            assert [await store.blob(ref(data).root) for data in round_payloads(round_, SIZE)[:1]] == [
                round_payloads(round_, SIZE)[0]
            ]
        marks = [int(rest[0]) for kind, *rest in words if kind == "mark"]
        mark = read(directory / "marks")[1]
        assert not marks or (mark is not None and mark.round >= marks[-1])
        assert signing_floor(mark, head.header.round, has_record=mark is not None and holds(mark, records)) is None
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), prune=sys.argv[2] == "prune"))
