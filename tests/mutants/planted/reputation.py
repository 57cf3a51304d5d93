"""Defects of reputations: whose harm is remembered, what pays for it, and who is seated first."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

REPUTATION = "bflcd/ledger/trust/reputation.py"

DECIDES: Final = selection("ledger/test_reputation.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "reputation-forgives-by-waiting",
        "eight quiet rounds and a flipped update is packed again (design 5, Reputation)",
        REPUTATION,
        "found if before < 0 <= found else found - before",
        "found - before",
        DECIDES,
    ),
    mutant(
        "reputation-harm-is-nothing",
        "who harms in turn with helping is packed as before",
        REPUTATION,
        "found = -(measure.margin // HARM_PART) if gain < 0 else min(gain, measure.most)",
        "found = max(gain, 0)",
        DECIDES,
    ),
    mutant(
        "reputation-unmeasured-is-harm",
        "whose update most judges could not fetch is in debt for it",
        REPUTATION,
        "    if gain is None or (before < 0 <= gain < measure.least):\n        return before\n    found = -(measure.margin // HARM_PART) if gain < 0 else min(gain, measure.most)",
        "    found = -(measure.margin // HARM_PART) if gain is None or gain < 0 else min(gain, measure.most)",
        DECIDES,
    ),
    mutant(
        "reputation-noise-pays",
        "where judges add noise, chance pays the debts of who flips its updates",
        REPUTATION,
        "or (before < 0 <= gain < measure.least)",
        "",
        DECIDES,
    ),
    mutant(
        "reputation-debts-of-all",
        "a round that liars decided stops learning for good",
        REPUTATION,
        "MicroNats(min(0, middle))",
        "MicroNats(0)",
        DECIDES,
    ),
    mutant(
        "reputation-f-cards-help",
        "f liars pack each other's offers however deep in debt",
        REPUTATION,
        "helps > faults(m)",
        "helps > 0",
        DECIDES,
    ),
    mutant(
        "reputation-debt-ignored",
        "what harms within the margin is packed round after round",
        "bflcd/ledger/judgement.py",
        "if offer.reason is None and not repute.takes(",
        "if offer.reason is None and offer.norm == 0 and not repute.takes(",
        DECIDES,
    ),
    mutant(
        "reputation-seats-by-lot-alone",
        "liars whose offers never help sit as often as others",
        "bflcd/ledger/election.py",
        "(account.reputation >= floor and",
        "(account.reputation >= 0 and",
        DECIDES,
    ),
    mutant(
        "reputation-of-the-refused",
        "whom one committee of liars has praised sits again, though all judges since refuse it",
        "bflcd/ledger/election.py",
        "account.reputation >= floor and account.refusals == 0",
        "account.reputation >= floor and account.refusals < 99",
        DECIDES,
    ),
    mutant(
        "reputation-young-harm-is-free",
        "who harms from the first round on, where all others help, owes nothing for it",
        REPUTATION,
        "MicroNats(max(usual.margin, middle // HELP_PART))",
        "usual.margin",
        DECIDES,
    ),
    mutant(
        "reputation-young-praise-is-believed",
        "one round of liars' praise is worth more than all that honest members gain while the model is young",
        REPUTATION,
        "most=MicroNats(min(MIDDLE_GAINS * max(middle, LEAST_GAIN), GAIN_LEVELS[-1])),",
        "most=GAIN_LEVELS[-1],",
        DECIDES,
    ),
    mutant(
        "reputation-framed-by-medians",
        "f liars and one honest judge bring whom they like into debt",
        "bflcd/ledger/accounts.py",
        "if gain is not None and gain < 0 and not harm_is_shown(offer.refusals, m):",
        "if gain is not None and gain < 0 and not harm_is_shown(state.round * 0 + m, m):",
        DECIDES,
    ),
    mutant(
        "reputation-harm-pays",
        "once the margin has shrunk, harm pays what harm has cost",
        REPUTATION,
        "if gain < 0 and before < found:",
        "if gain < 0 and before > 0:",
        DECIDES,
    ),
)
