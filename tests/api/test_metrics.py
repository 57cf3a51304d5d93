import math

from prometheus_client.parser import text_string_to_metric_families

from bflcd.api.metrics import Metrics
from bflcd.errors import Rejection
from tests.helpers.fake_node import status_of


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_counts_what_it_is_told_and_reads_the_rest_from_the_status():
    metrics = Metrics()
    metrics.committed(packed=6, seconds=1.5)
    metrics.committed(packed=0, seconds=9.0)
    metrics.refused(Rejection.BAD_CARD)
    metrics.message(outgoing=True, kind="Offer", way="push", size=300, again=False)
    metrics.message(outgoing=True, kind="Offer", way="push", size=300, again=False)
    metrics.message(outgoing=True, kind="Offer", way="gossip", size=300, again=True)
    metrics.message(outgoing=False, kind="Commit", way="gossip", size=90, again=False)
    metrics.totals(received=2**19, sent=7, worker_starts=1)
    metrics.totals(received=2**20, sent=7, worker_starts=2)
    found = samples(metrics.render(status_of()))
    assert found["bflc_commits_total", ()] == 2
    assert found["bflc_rounds_empty_total", ()] == 1
    assert found["bflc_round_seconds_sum", ()] == 10.5
    assert found["bflc_round_seconds_bucket", (("le", "2.0"),)] == 1
    assert found["bflc_refusals_total", (("rejection", "bad_card"),)] == 1
    messages = {labels: value for (name, labels), value in found.items() if name == "bflc_messages_total"}
    assert messages == {
        (("direction", "out"), ("kind", "Offer"), ("said", "first"), ("way", "push")): 2,
        (("direction", "out"), ("kind", "Offer"), ("said", "again"), ("way", "gossip")): 1,
        (("direction", "in"), ("kind", "Commit"), ("said", "first"), ("way", "gossip")): 1,
    }
    assert found["bflc_bytes_total", (("channel", "push"), ("direction", "out"))] == 600
    assert found["bflc_bytes_total", (("channel", "gossip"), ("direction", "out"))] == 300
    assert found["bflc_bytes_total", (("channel", "payload"), ("direction", "in"))] == 2**20
    assert found["bflc_worker_restarts_total", ()] == 1
    assert found["bflc_round", ()] == 5
    assert (found["bflc_accuracy", ()], found["bflc_accuracy_worst", ()]) == (0.875, 0.25)
    assert found["bflc_height", ()] == 35
    assert found["bflc_store_bytes", ()] == 1_234_567
    assert found["bflc_memory_rss_bytes", ()] > 10_000_000
    assert found["bflc_open_fds", ()] > 3
    assert found["bflc_tasks", ()] >= 1


async def test_every_rejection_is_there_from_the_start():
    found = samples(Metrics().render(status_of()))
    named = {labels[0][1] for name, labels in found if name == "bflc_refusals_total"}
    assert named == {rejection.value for rejection in Rejection}


async def test_what_is_unknown_is_not_a_number():
    found = samples(Metrics().render(status_of(accuracy=None, worst_accuracy=None)))
    assert math.isnan(found["bflc_accuracy", ()])
    assert math.isnan(found["bflc_accuracy_worst", ()])


async def test_the_age_of_the_last_commit_counts_from_the_start_until_there_is_one():
    """An alarm on it must also ring on a node that was started again and has seen nothing decided since."""
    found = samples(Metrics().render(status_of(last_commit_age=None, uptime=61.0)))
    assert found["bflc_last_commit_age_seconds", ()] == 61.0
    assert samples(Metrics().render(status_of(last_commit_age=1.5)))["bflc_last_commit_age_seconds", ()] == 1.5


async def test_two_nodes_in_one_process_do_not_share_counters():
    first, second = Metrics(), Metrics()
    first.commits.inc()
    assert samples(second.render(status_of()))["bflc_commits_total", ()] == 0
