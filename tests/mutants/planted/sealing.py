"""Defects of sealed cards: a card that can be copied or guessed, one that is packed though it was, one that is never shown."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

SEALING = "bflcd/core/round/sealing.py"
INTAKE = "bflcd/core/round/intake.py"
WORK = "bflcd/core/round/local_work.py"

WHEN: Final = selection("core/test_sealing.py")
RESTARTED: Final = selection("core/test_core_rules.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "shown-before-a-quorum-is-bound",
        "a card can be copied by whoever has yet to bind itself (section 5.3)",
        SEALING,
        "if self._bound_from is None and len(self._bound()) >= self._context.q:",
        "if self._bound_from is None and len(self._bound()) >= self._context.f:",
        WHEN,
    ),
    mutant(
        "shown-with-its-seal",
        "a seal binds nobody before a card is seen (section 5.3)",
        WORK,
        "or not self._collection.sealing.may_show(now.mono):",
        "or not self._collection.sealing.enabled:",
        WHEN,
    ),
    mutant(
        "sealed-card-is-given-away",
        "whoever guesses a sealed card's digest is given the card (section 5.3)",
        "bflcd/core/round/collection.py",
        "        if not self.sealing.enabled:\n            self.add_card(card)",
        "        self.add_card(card)",
        WHEN,
    ),
    mutant(
        "seal-can-be-guessed",
        "a seal tells who tries all that a card can say which it is (section 5.3)",
        "bflcd/wire/envelope.py",
        "digest(Domain.SEAL, envelope.author, envelope.payload, envelope.signature)",
        "digest(Domain.SEAL, envelope.author, envelope.payload)",
        WHEN,
    ),
    mutant(
        "late-seal-counts",
        "who seals after it has seen a card is packed by honest leaders (section 5.3)",
        SEALING,
        "            if not self._may_be_copied(now):\n                self._in_time.add(seal.author)",
        "            self._in_time.add(seal.author)",
        WHEN,
    ),
    mutant(
        "another-card-than-the-sealed-one-counts",
        "a copier seals anything in time and shows another's words (section 5.3)",
        SEALING,
        "return card.author in self._in_time and self._is_of(self.seals[card.author], card)",
        "return card.author in self._in_time",
        WHEN,
    ),
    mutant(
        "leader-takes-what-comes-first",
        "a copier that is faster than an honest seat is packed (section 5.4)",
        "bflcd/core/round/agreement.py",
        " and not self._cards_told and not self._waits(now):",
        " and not self._cards_told:",
        WHEN,
    ),
    mutant(
        "unsealed-by-lot",
        "cards that were not sealed are packed before some that were (section 5.4)",
        SEALING,
        "return sorted(cards, key=lambda card: self.enabled and not self._was_in_time(card))",
        "return list(cards)",
        WHEN,
    ),
    mutant(
        "two-seals-convict-nobody",
        "a seat may seal one thing to some and another to others (rule 9)",
        INTAKE,
        'return self._equivocation.conflict(round_, held, seal, "two seals in one round")',
        "return []",
        WHEN,
    ),
    mutant(
        "broken-seal-is-kept-to-oneself",
        "nobody ever holds both seals of a seat that gave out two (section 5.3)",
        INTAKE,
        "return effects if broken is None else [*effects, Send(broken.envelope, self._context.judges_but_me)]",
        "return effects",
        WHEN,
    ),
    mutant(
        "seal-is-not-durable",
        "a restarted seat may seal another card (rule 3)",
        WORK,
        "Persist((before, own, *named, *pins), blobs, told)",
        "Persist((own, *named, *pins), blobs, told)",
        WHEN,
    ),
    mutant(
        "seal-of-a-trainer-counts",
        "strangers to the committee make its seats show their cards (section 5.3)",
        "bflcd/ledger/cards.py",
        '    _check_seat(state, "seal", seal.author)',
        '    _check_member(state, "seal", seal.author)',
        WHEN,
    ),
    mutant(
        "sealed-card-forgotten-at-a-restart",
        "a restarted seat never shows the card that it had sealed (row 44)",
        "bflcd/core/restart.py",
        "            round_.collection.sealing.add(Signed(signed.body, record.envelope), now.mono)",
        "            pass",
        RESTARTED,
    ),
)
