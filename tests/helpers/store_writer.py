"""A process that writes to a store without end and says on stdout what is durable: killed by the crash tests."""

import asyncio
import sys
from pathlib import Path

from bflcd.store.marks import Mark, MarkFile
from bflcd.store.protocol import Pin
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Round
from bflcd.wire.messages import Commit
from tests.helpers.store import Chain, begin, make_vote, payload, put_in_chunks, ref, round_payloads

SIZE = 40_000


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
        await store.put_blob(payload(f"offer {chain.round}", SIZE))
        chain, certified = chain.next(*blobs)
        await store.commit(certified, chain.state)
        say("commit", chain.round)
        await store.discard_stale(Round(chain.round))
        if prune:
            await store.prune(3, dry_run=False)
            say("prune", chain.round)


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), prune=sys.argv[2] == "prune"))
