"""Stalls, halts and returns, as seen from statuses."""

from typing import Any

from tests.manifests.watching import Back, Progress


def status(round_: int, *, syncing: bool = False) -> dict[str, Any]:
    return {"round": round_, "syncing": syncing, "done": False}


def test_the_longest_stall_includes_the_last_one() -> None:
    progress = Progress(round=1, moved=0.0)

    for now, round_ in ((1.0, 1), (2.0, 2), (7.0, 3), (8.0, 4)):
        progress.look(now, {0: status(round_), 1: status(round_ - 1)})
    assert (progress.longest_stall, progress.stall_round) == (5.0, 2)
    progress.finish(20.0)
    assert (progress.longest_stall, progress.stall_round) == (12.0, 4)


def test_a_halt_is_no_stall_and_its_end_is_timed() -> None:
    progress = Progress(round=3, moved=10.0)

    progress.halt()
    progress.look(30.0, {0: status(3)})
    progress.look(31.0, {0: status(4)})  # was in flight
    progress.heal(40.0)
    progress.look(42.5, {0: status(5)})

    assert progress.resumes == [2.5]
    assert progress.longest_stall == 0.0
    progress.look(46.5, {0: status(6)})
    assert progress.longest_stall == 4.0


def test_back_is_who_has_a_round_that_closed_since() -> None:
    progress = Progress(round=8, moved=0.0)

    progress.released(1, "kill", 10.0)
    progress.look(11.0, {0: status(9)})
    progress.look(12.0, {0: status(11), 1: status(8)})
    progress.look(12.5, {0: status(11), 1: status(9)})
    progress.look(13.0, {0: status(12), 1: status(12, syncing=True)})
    assert [awaited.node for awaited in progress.awaited] == [1]
    progress.look(14.0, {0: status(15), 1: status(12)})

    assert progress.back == [Back(1, "kill", 4.0)]
    assert progress.awaited == []


def test_who_is_hit_again_is_not_waited_for() -> None:
    progress = Progress()
    progress.released(1, "kill", 10.0)
    progress.disturbed(1)

    progress.look(14.0, {1: status(11)})

    assert progress.back == []
