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
    """Headers of three models; the payload of the second is gone."""

    held: ClassVar = {0: b"first", 1: None, 2: b"third"}

    async def headers(self, first: Round, count: int) -> tuple[object, ...]:
        assert count == 1
        blob = BlobRef(Digest(bytes([first]) * 32), 5)
        return (SimpleNamespace(header=SimpleNamespace(blob=blob)),)

    async def blob(self, root: Digest) -> bytes | None:
        return self.held[root[0]]


async def test_the_model_before_goes_with_the_first_scoring_of_a_round() -> None:
    """Given a node that scores in several jobs a round, then the first of each has the model of the round before, if it is still
    here, and none where genesis wants no copies found, or in the first round."""
    params = [Params()]
    ports = dict.fromkeys(("scheduler", "inbox", "payloads", "unpublished", "numbers", "network", "fetcher"))
    jobs = ComputeJobs(chain=Digest(bytes(32)), me=NodeId(bytes(32)), params=lambda: params[0], store=Store(), **ports)  # type: ignore[arg-type]
    assert [await jobs._model_before(Round(number)) for number in (0, 1, 1, 2, 3, 3)] == [b"", b"first", b"", b"", b"third", b""]
    params[0] = Params(copy_likeness=PartsPerMillion(0))
    assert await jobs._model_before(Round(1)) == b""
    job = jobs._score_job(Score(Round(1), BlobRef(Digest(bytes(32)), 1), (), 7), b"", (), b"past")
    assert (job.alike, job.before) == (0, b"past")
