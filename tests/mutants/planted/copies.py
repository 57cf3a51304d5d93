"""Defects of how copies are found and refused."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

ALIKE = "bflcd/learn/checks/alike.py"
COPIES = "bflcd/ledger/trust/alike.py"

COMPARED: Final = selection("learn/checks/test_alike.py")
DECIDED: Final = selection("ledger/trust/test_copies.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "the-opposite-is-alike",
        "an update that takes back another counts as its copy",
        ALIKE,
        "return dot > 0 and (dot * MILLION)",
        "return dot != 0 and (dot * MILLION)",
        COMPARED,
    ),
    mutant(
        "likeness-by-the-root",
        "the limit is compared with the cosine's square: half of all honest updates are copies",
        ALIKE,
        ">= limit**2 * squares",
        ">= limit * MILLION * squares // 2",
        COMPARED,
    ),
    mutant(
        "coordinates-above-their-bound",
        "sums of products are rounded, each machine in its own way",
        ALIKE,
        "shift = BITS - frexp(",
        "shift = BITS + 9 - frexp(",
        COMPARED,
    ),
    mutant(
        "judges-look-at-the-same-places",
        "a copier puts its noise where everybody looks, and nowhere else",
        ALIKE,
        "np.random.PCG64(seed)",
        "np.random.PCG64(0)",
        COMPARED,
    ),
    mutant(
        "f-cards-make-a-copy",
        "f liars refuse any honest offer as a copy",
        COPIES,
        "if _together(said, offer, first) > f:",
        "if _together(said, offer, first) >= f:",
        DECIDED,
    ),
    mutant(
        "f-cards-make-a-replay",
        "f liars refuse any honest offer as the last step",
        COPIES,
        "for offer, count in repeats.items() if count > f}",
        "for offer, count in repeats.items() if count >= f}",
        DECIDED,
    ),
    mutant(
        "copies-bridged-by-refused",
        "liars make an honest offer the copy of another by refused ones between the two",
        COPIES,
        "if _together(said, heir, other) > f:",
        "if _together(said, heir, other) > 0 - f:",
        DECIDED,
    ),
    mutant(
        "a-refused-first-takes-the-place",
        "whoever offers first what is refused takes its twin's place with it",
        "bflcd/ledger/judgement.py",
        "copies(bodies, f, seed_of(state), fine)",
        "copies(bodies, f, seed_of(state), fine and None)",
        DECIDED,
    ),
    mutant(
        "the-last-copy-stays",
        "the copier has the place of the one whom it copied",
        COPIES,
        "(o not in allowed, -votes[o], tie_break(",
        "(o not in allowed, votes[o], tie_break(",
        DECIDED,
    ),
    mutant(
        "copies-of-copies",
        "an offer between two honest ones makes them one",
        COPIES,
        "        if first is None:\n            firsts.append(offer)\n",
        "        firsts.append(offer)\n        if first is None:\n            pass\n",
        DECIDED,
    ),
    mutant(
        "anything-is-a-first",
        "a card names copies of what is itself a copy, or of what nobody offered",
        COPIES,
        "if entry.like is not None and entry.like not in firsts",
        "if entry.like is not None and entry.like == entry.offer",
        DECIDED,
    ),
    mutant(
        "a-copy-has-a-place",
        "whoever copies is packed and paid like the one whom it copied (row 39)",
        "bflcd/ledger/judgement.py",
        "offer.reason is None and offer.offer in gone",
        "offer.reason is None and offer.root in gone",
        DECIDED,
    ),
    mutant(
        "copies-by-when-they-were-scored",
        "whoever is fetched faster comes before the one whom it copied",
        "bflcd/core/round/offers.py",
        "return likes_of(parent, tuple(scores), alike)",
        "return likes_of(parent, tuple(alike)[::-1], alike)",
        selection("core/test_judged_offers.py::test_a_card_names_the_first_of_what_is_alike_by_when_the_offers_came"),
    ),
)
