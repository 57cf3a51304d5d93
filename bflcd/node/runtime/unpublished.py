"""Updates that no committed block names: they are served to the committee of their round only (design 5.2)."""

from collections.abc import Iterable

from bflcd.types import Digest, Round
from bflcd.wire.blocks import Segment


class Unpublished:
    """Their roots, each with its round."""

    def __init__(self, roots: Iterable[Digest], round_: Round) -> None:
        """`roots`: what the store holds of them at the start, in round `round_`."""
        self._rounds = dict.fromkeys(roots, round_)

    def round_of(self, root: Digest) -> Round | None:
        """The round whose committee may have it; None for what is published, or not known."""
        return self._rounds.get(root)

    def made(self, root: Digest, round_: Round) -> None:
        """This node trained it in `round_`."""
        self._rounds[root] = round_

    def offered(self, root: Digest, round_: Round) -> None:
        """Somebody offered it in `round_`."""
        self._rounds.setdefault(root, round_)

    def published(self, segment: Segment) -> None:
        """A committed block names these."""
        for header in segment.headers:
            if header.blob is not None:
                self._rounds.pop(header.blob.root, None)

    def forget(self, before: Round) -> None:
        """Updates of earlier rounds are gone from the store, or published."""
        self._rounds = {root: of for root, of in self._rounds.items() if of >= before}
