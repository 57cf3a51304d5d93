"""Justifications and certificates with one part replaced by each other valid message: none is accepted (catalogue 28, 29, 30, 33, 35)."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import pytest

from bflcd.consensus.certificate import certificate_of, verify_certificate
from bflcd.consensus.events import CardsReady, Checked, Instance
from bflcd.consensus.pbft import Pbft
from bflcd.consensus.status import Phase
from bflcd.errors import PeerError, Rejection
from bflcd.types import Digest, Signature, View
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import Envelope, Signed, open_envelope, seal, verify_envelope
from bflcd.wire.messages import Commit, JustifiedPrePrepare, JustifiedViewChange, Prepare, PrePrepare, ViewChange
from tests.helpers.consensus import KEYS, VOTES, Playbook, body_of, make_instance, make_proposal, prepared_by, vote
from tests.helpers.hostile import held

VIEW = 2
PROPOSAL = make_proposal(1)
HERE = make_instance()
ELSEWHERE = {
    "chain": make_instance(name=b"another"),
    "round": make_instance(round_=1),
    "epoch": make_instance(epoch=1),
    "committee": replace(HERE, committee=HERE.committee[::-1]),
    "parent": replace(HERE, parent=Digest(bytes([5]) * 32)),
}
STRANGER = KEYS[9]
DIGEST = prepared_by(HERE, 0, PROPOSAL, range(3)).digest


def signed(instance: Instance, seat: int, kind: type, view: int) -> Envelope:
    """A valid vote of any kind for an instance."""
    extra: dict[str, object] = {} if kind is ViewChange else {"digest": DIGEST}
    extra |= {"proposal": PROPOSAL} if kind is PrePrepare else {}
    return vote(instance, seat, kind, view, **extra)


def wrong_parts(kind: type, view: int, seat: int) -> Iterator[tuple[str, Envelope]]:
    """What must not stand where a vote of `kind` and `view` by `seat` belongs."""
    good = signed(HERE, seat, kind, view)
    for name, instance in ELSEWHERE.items():
        yield f"of another {name}", signed(instance, seat, kind, view)
    for other in VOTES:
        if other is not kind:
            yield f"a {other.__name__}", signed(HERE, seat, other, max(view, 1))
    for other_view in (1, 3, 2**32):
        if other_view != view:
            yield f"of view {other_view}", signed(HERE, seat, kind, other_view)
    if kind in (Prepare, Commit):
        yield "of another digest", vote(HERE, seat, kind, view, digest=Digest(bytes([4]) * 32))
    yield "by a stranger", seal(open_envelope(good, (kind,)).body, STRANGER).envelope
    yield "in a stranger's name", replace(good, author=STRANGER.node_id)
    yield "with another's signature", replace(good, signature=signed(HERE, (seat + 1) % 4, kind, view).signature)
    yield "with a forged signature", replace(good, signature=Signature(bytes(64)))
    yield "with another's payload", replace(good, payload=signed(ELSEWHERE["chain"], seat, kind, view).payload)
    yield "of garbage", replace(good, payload=b"\xc1" * 40)


def spoiled(parts: Sequence[Envelope], kind: type, view: int) -> Iterator[tuple[str, tuple[Envelope, ...]]]:
    """A proof of exactly q parts with one replaced, doubled or missing."""
    for place, good in enumerate(parts):
        for name, wrong in wrong_parts(kind, view, HERE.committee.index(good.author)):
            yield f"part {place} {name}", (*parts[:place], wrong, *parts[place + 1 :])
        yield f"part {place} missing", (*parts[:place], *parts[place + 1 :])
        yield f"part {place} twice", (*parts, good)
        yield f"part {place} in place of the next", tuple(good if p is parts[(place + 1) % len(parts)] else p for p in parts)
    yield "nothing", ()


def judge() -> Playbook:
    book = Playbook(3)
    book.give(CardsReady())
    return book


def leader_of(view: int) -> int:
    return HERE.committee.index(HERE.leader(View(view)))


FREE = tuple(signed(HERE, seat, ViewChange, VIEW) for seat in (0, 1, 2))
PREPARED = prepared_by(HERE, 0, PROPOSAL, (0, 1, 2))
BOUND = tuple(
    vote(HERE, seat, ViewChange, VIEW, prepared_view=View(0), prepared_digest=PREPARED.digest) if seat == 0 else FREE[seat]
    for seat in (0, 1, 2)
)
OTHER = make_proposal(2)


def proposes(view_changes: Sequence[Envelope], prepares: Sequence[Envelope], digest: Digest = DIGEST) -> JustifiedPrePrepare:
    """What was prepared in view 0, or, where the view-changes name nothing, this view's own first proposal."""
    free = all(envelope.payload != BOUND[0].payload for envelope in view_changes)
    proposal = replace(PROPOSAL, view=View(VIEW)) if free else PROPOSAL
    envelope = vote(HERE, leader_of(VIEW), PrePrepare, VIEW, digest=digest, proposal=proposal)
    return JustifiedPrePrepare(envelope, tuple(view_changes), tuple(prepares))


def counted(machine: Pbft) -> dict[str, int]:
    """How much it holds, but for what it remembers of signatures that it has verified."""
    return {path: size for path, size in held(machine).items() if not path.startswith("._auth.")}


def refuses(message: JustifiedPrePrepare | JustifiedViewChange) -> Rejection | None:
    """Why a fresh judge refuses it; nothing may come of it."""
    book = judge()
    before = (book.machine.view, book.machine.phase, counted(book.machine))
    rejection = book.refusal(message)
    if rejection is not None:
        assert (book.machine.view, book.machine.phase, counted(book.machine)) == before
    return rejection


def test_the_untouched_proofs_are_accepted():
    assert refuses(proposes(FREE, ())) is None
    assert refuses(proposes(BOUND, PREPARED.prepares)) is None
    assert refuses(JustifiedViewChange(BOUND[0], PREPARED.prepares, PROPOSAL)) is None


def test_a_pre_prepare_with_a_wrong_view_change_is_refused():
    for view_changes, prepares in ((FREE, ()), (BOUND, PREPARED.prepares)):
        for name, parts in spoiled(view_changes, ViewChange, VIEW):
            assert refuses(proposes(parts, prepares)) is Rejection.BAD_JUSTIFICATION, name


def test_a_pre_prepare_with_a_wrong_prepare_is_refused():
    for name, parts in spoiled(PREPARED.prepares, Prepare, 0):
        assert refuses(proposes(BOUND, parts)) is Rejection.BAD_JUSTIFICATION, name


def test_a_pre_prepare_that_does_not_follow_its_justification_is_refused():
    other = Digest(bytes([3]) * 32)
    later = prepared_by(HERE, 1, PROPOSAL, (0, 1, 2))
    for name, message in {
        "another digest than the prepared": proposes(BOUND, PREPARED.prepares, other),
        "prepares for a free choice": proposes(FREE, PREPARED.prepares),
        "prepares of another view than is named": proposes(BOUND, later.prepares),
        "justified by commits": proposes(tuple(signed(HERE, seat, Commit, VIEW) for seat in range(3)), ()),
    }.items():
        assert refuses(message) is Rejection.BAD_JUSTIFICATION, name


def test_a_view_change_with_a_wrong_proof_is_refused():
    for name, parts in spoiled(PREPARED.prepares, Prepare, 0):
        assert refuses(JustifiedViewChange(BOUND[0], parts, PROPOSAL)) is Rejection.BAD_JUSTIFICATION, name
    for message in (
        JustifiedViewChange(BOUND[0], PREPARED.prepares, None),
        JustifiedViewChange(FREE[0], PREPARED.prepares, PROPOSAL),
        JustifiedViewChange(FREE[0], (), PROPOSAL),
        JustifiedViewChange(
            vote(HERE, 0, ViewChange, 1, prepared_view=View(1), prepared_digest=DIGEST), PREPARED.prepares, PROPOSAL
        ),
    ):
        assert refuses(message) is Rejection.BAD_JUSTIFICATION


@pytest.mark.parametrize("kind", VOTES, ids=lambda kind: kind.__name__)
def test_no_machine_counts_a_vote_of_another_place(kind):
    """Each wrong part, sent as a message of its own."""
    for view in (1, VIEW):
        for name, wrong in wrong_parts(kind, view, leader_of(view)):
            if name.startswith(("of view", "of another digest")) or name == "a ViewChange":
                continue  # honest messages of another view or for another segment
            wrapped = JustifiedViewChange(wrong, (), None) if kind is ViewChange else wrong
            wrapped = JustifiedPrePrepare(wrong, FREE, ()) if kind is PrePrepare else wrapped
            if name.startswith("a ") and isinstance(wrapped, Envelope) and name[2:] in ("Prepare", "Commit"):
                continue  # a prepare where a commit might stand is a prepare
            assert refuses(wrapped) is not None, (name, view)  # type: ignore[arg-type]


def certificate() -> Certificate:
    commits = [Signed(open_envelope(e, (Commit,)).body, e) for e in (signed(HERE, seat, Commit, 0) for seat in range(3))]
    return certificate_of(commits)


def forged() -> Iterator[tuple[str, Certificate]]:
    good = certificate()
    for name, instance in ELSEWHERE.items():
        changed = getattr(instance, "committee_hash" if name == "committee" else name)
        yield f"another {name}", replace(good, **{name: changed})
    yield "another view", replace(good, view=View(1))
    yield "another digest", replace(good, digest=Digest(bytes([3]) * 32))
    pairs = good.signatures
    for place, (author, signature) in enumerate(pairs):
        rest = (*pairs[:place], *pairs[place + 1 :])
        seat = HERE.committee.index(author)
        for name, wrong in wrong_parts(Commit, 0, seat):
            if name not in ("with another's payload", "of garbage"):
                yield f"{place} {name}", replace(good, signatures=tuple(sorted((*rest, (wrong.author, wrong.signature)))))
        yield f"{place} missing", replace(good, signatures=rest)
        yield f"{place} twice", replace(good, signatures=tuple(sorted((*pairs, (author, signature)))))
        yield (
            f"{place} doubled for a quorum",
            replace(good, signatures=tuple(sorted((*rest[:1], (author, signature), (author, signature))))),
        )
    extra = signed(HERE, 3, Commit, 0)
    yield "one too many", replace(good, signatures=tuple(sorted((*pairs, (extra.author, extra.signature)))))
    yield "unsorted", replace(good, signatures=pairs[::-1])


def test_a_certificate_with_anything_swapped_proves_nothing():
    verify_certificate(certificate(), HERE, verify_envelope)
    tried = list(forged())
    for name, wrong in tried:
        with pytest.raises(PeerError) as caught:
            verify_certificate(wrong, HERE, verify_envelope)
        assert caught.value.rejection is Rejection.BAD_CERTIFICATE, name
    assert {name.split()[-1] for name, _ in tried} >= {field.name for field in fields(Commit)}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_valid_certificate_proves_nothing_elsewhere(where):
    with pytest.raises(PeerError):
        verify_certificate(certificate(), ELSEWHERE[where], verify_envelope)


def test_votes_of_an_old_view_never_count_in_a_new_one():
    """Catalogue 30: prepares of view 0 help nothing in view 1, commits of view 0 count for view 0 alone."""
    book = judge()
    for seat in (0, 1):
        book.give(signed(HERE, seat, Prepare, 0))
        book.give(signed(HERE, seat, Commit, 0))
    for seat in (0, 1, 2):
        book.give(JustifiedViewChange(signed(HERE, seat, ViewChange, 1), (), None))
    assert book.machine.view == 1
    for seat in (0, 1, 2):
        book.give(signed(HERE, seat, Prepare, 0))
    first = replace(PROPOSAL, view=View(1))
    led = vote(HERE, leader_of(1), PrePrepare, 1, digest=DIGEST, proposal=first)
    book.give(JustifiedPrePrepare(led, tuple(signed(HERE, s, ViewChange, 1) for s in range(3)), ()))
    assert book.machine.phase is Phase.CHECKING
    book.give(Checked(first, DIGEST, None))
    assert (book.machine.phase, book.machine.missing) == (Phase.PREPARING, HERE.committee[:3])
    for seat in (0, 1):
        book.give(signed(HERE, seat, Commit, 1))
    assert book.machine.certificate is None, "two commits of view 0 and two of view 1 are no quorum"
    assert body_of(HERE, Commit, 0, digest=DIGEST) != body_of(HERE, Commit, 1, digest=DIGEST)
