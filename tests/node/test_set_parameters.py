"""What the running round says reaches what a node does beside its core: the jobs of its worker."""

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

from bflcd.core.effects import Score
from bflcd.node.runtime.compute import ComputeJobs
from bflcd.params import BlobRef, Params
from bflcd.types import Digest, NodeId, PartsPerMillion, Round


def test_a_judge_scores_on_as_many_rows_as_the_running_round_says() -> None:
    """Given a node that runs, when the next round has other parameters, then its worker's next job has them."""
    now = [Params(score_rows=64)]
    ports = dict.fromkeys(
        ("scheduler", "inbox", "store", "payloads", "unpublished", "numbers", "network", "fetcher"),
    )
    jobs = ComputeJobs(chain=Digest(bytes(32)), me=NodeId(bytes(32)), params=lambda: now[0], **ports)  # type: ignore[arg-type]
    job = Score(Round(1), BlobRef(Digest(bytes(32)), 1), (), 7)
    assert jobs._score_job(job, b"", ()).rows == 64
    now[0] = replace(now[0], score_rows=128)
    assert jobs._score_job(job, b"", ()).rows == 128


class Store:
    """Certified headers of the models of rounds 1, 2, ... and payloads; that of round 2 is gone."""

    held: ClassVar = {0: b"first", 1: b"second", 2: None, 3: b"fourth"}

    async def headers(self, first: Round, count: int) -> tuple[object, ...]:
        assert count == 1
        assert first >= 1, "certified headers begin with round 1"
        return (SimpleNamespace(header=SimpleNamespace(blob=model_of(first))),)

    async def blob(self, root: Digest) -> bytes | None:
        return self.held[root[0]]


def model_of(round_: int) -> BlobRef:
    return BlobRef(Digest(bytes([round_]) * 32), 5)


async def test_the_model_before_goes_with_the_first_scoring_of_a_round() -> None:
    """Given a node that scores in several jobs a round, then the first that succeeds of each has the model of the round before, if it is
    still here, that of the first round if it worked on it, and none where genesis wants no copies found."""
    params = [Params()]
    ports = dict.fromkeys(("scheduler", "inbox", "payloads", "unpublished", "numbers", "network", "fetcher"))

    def jobs() -> ComputeJobs:
        return ComputeJobs(
            chain=Digest(bytes(32)),
            me=NodeId(bytes(32)),
            params=lambda: params[0],
            store=Store(),  # type: ignore[arg-type]
            **ports,  # type: ignore[arg-type]
        )

    def score(number: int, known: int = 0) -> Score:
        return Score(Round(number), model_of(number), (), 7, known=PartsPerMillion(known))

    async def before(of: ComputeJobs, number: int) -> bytes:
        found = await of._model_before(score(number))
        assert await of._model_before(score(number)) == found, "a job that failed has compared nothing"
        of._compared = Round(number)
        return found

    new = jobs()
    assert [await before(new, number) for number in (0, 1, 1, 2, 3, 4, 4)] == [
        b"",
        b"",
        b"",
        b"second",
        b"",
        b"fourth",
        b"",
    ]
    old = jobs()
    old._works_on(Round(0), model_of(0))
    old._works_on(Round(1), model_of(1))
    assert [await before(old, number) for number in (1, 2)] == [b"first", b"second"]
    params[0] = Params(copy_likeness=PartsPerMillion(0))
    assert await jobs()._model_before(score(2)) == b""
    assert await jobs()._model_before(score(2, 600_000)) == b"second"
    job = new._score_job(score(1), b"", (), b"past")
    assert (job.alike, job.before, job.fresh) == (0, b"past", False)
    assert new._score_job(score(1, 600_000), b"", (), b"past").fresh
    assert job.balanced
    params[0] = Params(balanced_gains=False)
    assert not new._score_job(score(1), b"", ()).balanced
