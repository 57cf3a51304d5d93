"""What managers set reaches what a node does beside its core: the jobs of its worker."""

from dataclasses import replace

from bflcd.core.effects import Score
from bflcd.node.runtime.compute import ComputeJobs
from bflcd.params import BlobRef, Params
from bflcd.types import Digest, NodeId, Round


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
