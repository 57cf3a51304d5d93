"""Who has what and who owes what, as the API shows it, and what this node's operator has to know of it."""

from bflcd.api.schema.money import LedgerMember, LedgerTerms, LedgerView
from bflcd.core.round.context import RoundContext
from bflcd.ledger.alliance.fees import dues_of, ends_soon, owed_text, price_of
from bflcd.ledger.alliance.membership import membership_of
from bflcd.ledger.state import NEVER, is_member, member_of
from bflcd.params import MILLION


def ledger_view(context: RoundContext) -> LedgerView:
    """All units, by the ledger of the running round."""
    state, terms = context.state, context.state.terms
    members = []
    for account in state.accounts:
        payable = is_member(account) and account.punished_round == NEVER
        members.append(
            LedgerMember(
                node_id=account.node.hex(),
                balance=account.balance,
                deposit=account.deposit,
                paid_round=account.paid_round,
                owes=dues_of(terms, account, state.round).total if payable else 0,
                owes_text=owed_text(state, account.node) if payable else "",
                price=price_of(terms, account).total if payable else 0,
                left_out=payable and account.node in context.owing,
                standing=membership_of(state, account.node)[0].value,
                me=account.node == context.me,
            )
        )
    return LedgerView(
        round=state.round,
        supply=state.supply,
        pool=state.pool,
        burnt=state.burnt,
        balances=sum(account.balance for account in state.accounts),
        deposits=sum(account.deposit for account in state.accounts),
        terms=LedgerTerms(
            entry_fee=terms.entry_fee,
            period_fee=terms.period_fee,
            period_rounds=terms.period_rounds,
            deposit=terms.deposit,
            deposit_rounds=terms.deposit_rounds,
            reward_share=context.params.reward_share / MILLION,
        ),
        members=members,
    )


def dues_warnings(context: RoundContext, fee_limit: int) -> list[str]:
    """What this node owes and how it is paid, and that its period ends soon, unless it pays that by itself (`fee_limit`)."""
    state, account = context.state, member_of(context.state, context.me)
    if account is None or account.punished_round != NEVER:
        return []
    owed, price = dues_of(state.terms, account, state.round), price_of(state.terms, account)
    able = account.balance >= price.total
    short_of = "" if able else f"; its balance is {account.balance}"
    ways = f"`bflc-cli pay`, or a member pays for it: `bflc-cli pay --for {context.me.hex()}`"
    if owed.total:
        meanwhile = (
            "until then it takes no part and gets no model"
            if context.owes
            else "it takes part meanwhile, since too few members have paid"
        )
        return [f"this node owes {owed}{short_of}; {meanwhile}: {ways}"]
    if not ends_soon(state.terms, account, state.round) or (able and price.total <= fee_limit):
        return []
    return [f"this node has paid through round {account.paid_round}, and its next period costs {price}{short_of}: {ways}"]
