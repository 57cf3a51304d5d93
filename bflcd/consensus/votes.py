"""Bounded buffers of prepares, commits and view-changes: one message per author, kind and view (design 6.5 and 6.6)."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from bflcd.consensus.events import Prepared
from bflcd.types import Digest, NodeId, View
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import Commit, JustifiedViewChange, Prepare, ViewChange

WINDOW: Final = 8
"""Views above the current one whose prepares and commits are kept; further ones are refused."""

VOTES_PER_AUTHOR: Final = 16
"""Votes of one kind kept per author, the highest views first: commits of views that we have left still count."""

VIEW_CHANGES_PER_AUTHOR: Final = 4
"""View-changes kept per author: its highest, and the lowest of the views that are still to come."""

V = TypeVar("V", Prepare, Commit)

Subject = tuple[View, Digest, Digest | None]
"""What a vote is for: view, segment, and for a prepare the proposal's id. Votes count together only if all of it is the same."""


def subject_of(vote: Prepare | Commit) -> Subject:
    """What a vote is for."""
    return vote.view, vote.digest, vote.proposal if isinstance(vote, Prepare) else None


class VoteBuffer(Generic[V]):
    """Verified votes of one kind, grouped by what they are for."""

    __slots__ = ("_groups", "_slots")

    def __init__(self) -> None:
        self._slots: dict[NodeId, dict[View, Signed[V]]] = {}
        self._groups: dict[Subject, dict[NodeId, Signed[V]]] = {}

    def held(self, author: NodeId, view: View) -> Signed[V] | None:
        """The author's vote in this view."""
        return self._slots.get(author, {}).get(view)

    def add(self, vote: Signed[V]) -> None:
        """Keep a verified vote, unless the author's slot of this view is taken or the author has enough higher ones."""
        body, slots = vote.body, self._slots.setdefault(vote.author, {})
        if body.view in slots:
            return
        slots[body.view] = vote
        self._groups.setdefault(subject_of(body), {})[vote.author] = vote
        if len(slots) > VOTES_PER_AUTHOR:
            self._drop(vote.author, min(slots))

    def count(self, subject: Subject) -> int:
        """Distinct authors that voted for exactly this."""
        return len(self._groups.get(subject, ()))

    def votes(self, subject: Subject) -> tuple[Signed[V], ...]:
        """The votes for exactly this, sorted by author."""
        group = self._groups.get(subject, {})
        return tuple(group[author] for author in sorted(group))

    def quorum(self, q: int) -> Subject | None:
        """What at least q authors voted for, if anything."""
        return next((subject for subject in self._groups if self.count(subject) >= q), None)

    def forget_below(self, view: View) -> None:
        """Drop every vote of a lower view."""
        for author, slots in self._slots.items():
            for old in [held for held in slots if held < view]:
                self._drop(author, old)

    def _drop(self, author: NodeId, view: View) -> None:
        vote = self._slots[author].pop(view)
        subject = subject_of(vote.body)
        del self._groups[subject][author]
        if not self._groups[subject]:
            del self._groups[subject]


@dataclass(frozen=True, slots=True)
class Claim:
    """A verified view-change with the prepared certificate that it names."""

    view_change: Signed[ViewChange]
    prepared: Prepared | None

    @property
    def author(self) -> NodeId:
        """Who asks for the view."""
        return self.view_change.author

    @property
    def view(self) -> View:
        """Which view it asks for."""
        return self.view_change.body.view

    @property
    def prepared_view(self) -> int:
        """View of its prepared certificate, -1 without one."""
        return -1 if self.prepared is None else self.prepared.view

    @property
    def message(self) -> JustifiedViewChange:
        """As it is gossiped."""
        if self.prepared is None:
            return JustifiedViewChange(self.view_change.envelope, (), None)
        return JustifiedViewChange(self.view_change.envelope, self.prepared.prepares, self.prepared.proposal)


class ViewChanges:
    """Each author's highest view-change, whatever its view, and a few of the views between (design 6.5)."""

    __slots__ = ("_by_author",)

    def __init__(self) -> None:
        self._by_author: dict[NodeId, dict[View, Claim]] = {}

    def held(self, author: NodeId, view: View) -> Claim | None:
        """The author's view-change for exactly this view."""
        return self._by_author.get(author, {}).get(view)

    def add(self, claim: Claim) -> None:
        """Keep a verified view-change; the author's highest is never dropped in favour of a lower one."""
        claims = self._by_author.setdefault(claim.author, {})
        claims.setdefault(claim.view, claim)
        if len(claims) > VIEW_CHANGES_PER_AUTHOR:
            del claims[sorted(claims)[-2]]

    def highest(self) -> dict[NodeId, View]:
        """The highest view that each author asked for."""
        return {author: max(claims) for author, claims in self._by_author.items() if claims}

    def nth_highest(self, n: int) -> View:
        """The n-th highest view that distinct authors ask for; 0 with fewer than n authors."""
        views = sorted(self.highest().values(), reverse=True)
        return views[n - 1] if len(views) >= n else View(0)

    def count_from(self, view: View) -> int:
        """Authors that ask for this view or a higher one."""
        return sum(highest >= view for highest in self.highest().values())

    def for_view(self, view: View) -> tuple[Claim, ...]:
        """The view-changes for exactly this view, sorted by author."""
        return tuple(claims[view] for _, claims in sorted(self._by_author.items()) if view in claims)

    def forget_below(self, view: View) -> None:
        """Drop every view-change for a lower view: it can't move us any more."""
        for claims in self._by_author.values():
            for old in [held for held in claims if held < view]:
                del claims[old]
