"""A node whose key is to be another: what it signs, what it is told, and how it finds first peers that have rotated theirs."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bflcd.api.schema.alliance import OperationRequest
from bflcd.crypto.identity import peer_id_of
from bflcd.errors import OperatorError, UsageError
from bflcd.ledger.alliance.keys import replaced, rotated
from bflcd.ledger.alliance.membership import Membership, membership_of
from bflcd.ledger.operations.application import apply_operations
from bflcd.ledger.operations.keys import REPLACE, ROTATE
from bflcd.ledger.state import Applicant, State, account_of, is_member, with_accounts
from bflcd.node.alliance import newcomer, watch
from bflcd.node.alliance.belonging import Belonging
from bflcd.node.alliance.newcomer import UNDER_A_TRIED_KEY, WITH_OTHER_KEYS, Patience
from bflcd.node.alliance.service import AllianceService
from bflcd.node.anew import ExcludedError, KeyReplacedError
from bflcd.node.first_peers import with_last_keys
from bflcd.node.following import RoundClaims
from bflcd.node.load.overload import Overload
from bflcd.node.standing import NodeOfChain
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.envelope import verify_envelope
from tests.helpers.alliance import CHAIN, MANAGERS, MEMBER, STATE, STRANGER, Core, Members, Newcomers, context_of, watched

HOST = "/ip4/10.0.0.1/tcp/4001/p2p/"


def ledger(change: Any, node: NodeId = MEMBER.node_id) -> State:
    account = account_of(STATE, node)
    assert account is not None
    changed: State = change(STATE, account, STRANGER.node_id)
    return changed


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomer, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(watch, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(watch, "LEAST_PAUSE", 0.0)


def signer(core: Core, who: Any, coming: Any = lambda _: STRANGER) -> AllianceService:
    return AllianceService(core, who, core.say, lambda: None, models=None, coming=coming)  # type: ignore[arg-type, return-value]


async def test_both_keys_sign_a_rotation() -> None:
    core = Core(STATE, MEMBER.node_id)
    view = await signer(core, MEMBER).sign(OperationRequest(kind="rotate"))
    (operation,) = core.waiting
    assert [envelope.author for envelope in operation.signed] == [MEMBER.node_id, STRANGER.node_id]
    assert all(map(verify_envelope, operation.signed))
    body = ROTATE.body(operation)
    assert (view.kind, view.number, body.chain, body.node) == ("rotate", 1, CHAIN, STRANGER.node_id)
    after = apply_operations(STATE, core.waiting)
    found = account_of(after, STRANGER.node_id)
    assert found is not None
    assert is_member(found)


async def test_a_key_that_can_not_be_made_is_told() -> None:
    def full(_: State) -> Any:
        raise OperatorError("node.key.next: no space", hint="free some", code="disk_full")

    core = Core(STATE, MEMBER.node_id)
    with pytest.raises(OperatorError, match="no space"):
        await signer(core, MEMBER, full).sign(OperationRequest(kind="rotate"))
    assert core.waiting == []


APPLIED = replace(STATE, applicants=(Applicant(STRANGER.node_id, Round(0), ""),))


async def test_a_manager_replaces_a_key_by_the_beginnings_of_both_ids() -> None:
    core = Core(APPLIED, MANAGERS[0].node_id)
    request = OperationRequest(kind="replace", node=MEMBER.node_id.hex()[:8], by=STRANGER.node_id.hex()[:8])
    await signer(core, MANAGERS[0]).sign(request)
    body = REPLACE.body(core.waiting[0])
    assert (body.node, body.by) == (MEMBER.node_id, STRANGER.node_id)
    state = apply_operations(APPLIED, core.waiting)
    (shown,) = signer(Core(state, MANAGERS[1].node_id), MANAGERS[1]).view().motions
    assert (shown.kind, shown.node_id, shown.needed) == ("replace", MEMBER.node_id.hex(), 3)
    assert shown.text == f"by {STRANGER.node_id.hex()[:8]}"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"node": MEMBER.node_id.hex()}, "replace needs a node in `by`"),
        ({"node": MEMBER.node_id.hex(), "by": "zz" * 32}, "by: 'zz"),
        ({"node": MEMBER.node_id.hex(), "by": "a\nb"}, "by has characters that can't be printed"),
        ({"node": MEMBER.node_id.hex(), "by": "ffffffff"}, "by: none is known that begins with ffffffff"),
    ],
)
async def test_a_replacement_that_means_nothing_is_refused(fields: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        await signer(Core(APPLIED, MANAGERS[0].node_id), MANAGERS[0]).sign(OperationRequest(kind="replace", **fields))


@pytest.mark.parametrize("change", [rotated, replaced])
async def test_who_was_replaced_hears_by_which_key_and_starts_anew(change: Any) -> None:
    state = ledger(change)
    standing, text = membership_of(state, MEMBER.node_id)
    assert (standing, STRANGER.node_id.hex()[:8] in text) == (Membership.REPLACED, True)
    with pytest.raises(KeyReplacedError, match="its key was replaced by"):
        await watched(Members([(standing, text)]), 0)
    shown = signer(Core(state, MANAGERS[0].node_id), MANAGERS[0]).view().former
    assert [(one.node_id, one.standing, one.successor) for one in shown] == [
        (MEMBER.node_id.hex(), "replaced", STRANGER.node_id.hex())
    ]


REPLACED = (Membership.REPLACED, "its key was replaced")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([REPLACED, REPLACED, (Membership.KICKED, "")], KeyReplacedError),
        ([(Membership.KICKED, ""), REPLACED, REPLACED], KeyReplacedError),
        ([REPLACED, (Membership.KICKED, ""), (Membership.KICKED, "")], ExcludedError),
    ],
)
async def test_most_members_say_why_it_is_out_whoever_is_the_boldest(answers: list[Any], why: type[Exception]) -> None:
    """Given members of which one lies about why this node is none, then it starts anew for what the others say."""
    with pytest.raises(why):
        await watched(Members(*([one] for one in answers)), 0)


@pytest.mark.parametrize(
    ("patience", "standing"),
    [(UNDER_A_TRIED_KEY, Membership.UNKNOWN), (UNDER_A_TRIED_KEY, Membership.KICKED), (WITH_OTHER_KEYS, Membership.REPLACED)],
)
async def test_who_has_other_keys_does_not_wait_for_ever_under_one_that_is_denied(
    patience: Patience, standing: Membership
) -> None:
    """Given a node that members deny so often in a row, then it tries another of its keys; a word in between begins anew."""
    words = [standing] * (patience.times - 1) + [Membership.MEMBER] + [standing] * patience.times
    members = Members(words, [standing])
    seen = Newcomers(members, applies=False, patience=patience)
    with pytest.raises(KeyReplacedError, match="is none under this key"):
        async with asyncio.timeout(10):
            await seen.node.until_admitted()
    assert len(members.asked) == 2 * len(words)
    async with asyncio.timeout(10):
        await Newcomers(
            Members([standing] * 99, [Membership.MEMBER], [Membership.MEMBER]), patience=patience
        ).node.until_admitted()


@pytest.mark.parametrize(("tried", "others", "ends"), [(True, False, True), (False, True, True), (False, False, False)])
async def test_a_key_on_members_word_alone_neither_waits_nor_applies(tried: bool, others: bool, ends: bool) -> None:
    """Given a node that members don't know under its key, then it gives up if it is a trial or has others, and applies with none
    that is tried, which would then have an account of its own."""

    class Keys:
        def __init__(self) -> None:
            self.tried = tried

        def has_others(self, _: State) -> bool:
            return others

        def voucher(self) -> None:
            return None

    members = Members([Membership.UNKNOWN, REPLACED])
    peers: Any = SimpleNamespace(members=lambda: tuple(members.nodes))
    core: Any = Core(STATE, STRANGER.node_id)
    belonging = Belonging(core, STRANGER, peers, members, tell=lambda *_: None, held=lambda _: None)
    settings: Any = SimpleNamespace(apply=True, name="")
    with pytest.raises(KeyReplacedError if ends else TimeoutError):
        async with asyncio.timeout(10 if ends else 0.05):
            await belonging.until_member(settings, Keys(), doubted=False)
    assert any(request.application is not None for request in members.asked) is not tried


@pytest.mark.parametrize(("change", "why"), [(rotated, KeyReplacedError), (None, ExcludedError)])
async def test_its_own_ledger_tells_it_the_same(change: Any, why: type[Exception]) -> None:
    """Given a node that sees the block by which its key was replaced, or by which it went, then it starts anew for that."""
    gone = replace(STATE, accounts=tuple(one for one in STATE.accounts if one.node != MEMBER.node_id))
    state = gone if change is None else ledger(change)
    core = Core(STATE, MEMBER.node_id)
    dropped: list[NodeId] = []
    renamed: list[tuple[NodeId, NodeId]] = []

    class Peers:
        def renamed(self, *keys: NodeId) -> None:
            renamed.append(keys)  # type: ignore[arg-type]

        def drop(self, node: NodeId) -> None:
            dropped.append(node)

        def members(self) -> tuple[NodeId, ...]:
            return ()

    belonging = Belonging(core, MEMBER, Peers(), Members(), tell=lambda *_: None, held=lambda _: None)  # type: ignore[arg-type]
    core.context = context_of(state, MEMBER.node_id)
    belonging.closed(state)
    assert dropped == [MEMBER.node_id]
    assert renamed == ([] if change is None else [(MEMBER.node_id, STRANGER.node_id)])
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(10):
            await belonging.watch()
    assert [type(one) for one in caught.value.exceptions] == [why]


def standing_of(state: State, me: NodeId, sponsors: list[NodeId], claims: RoundClaims) -> NodeOfChain:
    core: Any = Core(state, me)
    service: Any = SimpleNamespace(handlers=dict, may_serve=lambda *_: True)
    training: Any = SimpleNamespace(note=lambda *_: None)
    nothing: Any = None
    named = frozenset(map(peer_id_of, sponsors))
    return NodeOfChain(core, service, claims, nothing, nothing, training=training, overload=Overload(), sponsors=named)


def test_who_was_away_while_all_others_rotated_follows_the_first_peers_that_its_operator_names() -> None:
    """Given a member whose ledger knows none of its peers, when its operator names one by its new id, then that one's word on where
    it stands is heard, and it gets no payload; nobody else is, nor a key that the ledger knows to be no member any more."""
    claims = RoundClaims(lambda: None)
    named, other, gone = STRANGER.node_id, NodeId(bytes(range(32))), MANAGERS[3].node_id
    state = with_accounts(STATE, replace(account_of(STATE, gone), kicked_round=Round(0)))  # type: ignore[type-var]
    standing = standing_of(state, MEMBER.node_id, [named, gone], claims)
    status: Any = SimpleNamespace(chain=CHAIN, round=Round(9), training=None)
    for node in (named, other, gone):
        standing.heard_of(node, status)
    assert claims.all() == {named: 9}
    assert [standing.may_serve(node, Digest(bytes(32)), ()) for node in (named, MANAGERS[0].node_id)] == [False, True]


@pytest.mark.parametrize("change", [rotated, replaced])
def test_first_peers_are_dialled_under_the_keys_that_they_have_now(change: Any) -> None:
    addresses = tuple(HOST + peer_id_of(node) for node in (MEMBER.node_id, MANAGERS[0].node_id, STRANGER.node_id))
    assert with_last_keys(addresses, STATE) == addresses
    assert with_last_keys(addresses, ledger(change)) == (addresses[2], addresses[1], addresses[2])
