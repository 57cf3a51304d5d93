"""What the operator is told of this node's privacy."""

from bflcd.api.schema.privacy import JudgingPrivacy, PrivacyView, TrainingPrivacy
from bflcd.learn.private.mechanism import THOUSAND
from bflcd.node.privacy.budget import Budget

ACCOUNTANT = "Renyi, integer orders; a row blanked out; Poisson sampling"
"""How it is added up, in words (`learn.private.accountant`)."""


def privacy_view(budget: Budget | None, judging: JudgingPrivacy | None = None) -> PrivacyView:
    """`training` is None where the node trains without privacy; `judging`: of its score cards (`node.privacy.judging`)."""
    return PrivacyView(training=None if budget is None else _training(budget), judging=judging)


def _training(budget: Budget) -> TrainingPrivacy:
    made = budget.mechanism
    return TrainingPrivacy(
        epsilon=budget.allowed / THOUSAND,
        spent=budget.spent() / THOUSAND,
        delta_exponent=budget.exponent,
        updates=budget.account.updates,
        updates_left=budget.rounds_left(),
        stopped=budget.stopped,
        clip=None if made is None else made.clip,
        noise=None if made is None else made.noise / THOUSAND,
        sampling=None if made is None else 1 / made.lots,
        steps=None if made is None else made.steps,
        accountant=ACCOUNTANT,
    )
