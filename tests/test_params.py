"""The genesis: every contradiction is named, all of them at once."""

from dataclasses import fields, replace

import pytest

from bflcd.errors import UsageError
from bflcd.params import AGGREGATIONS, ELECTIONS, SCORE_RULES, Genesis, GenesisMember, Params, TensorSpec, check_genesis
from bflcd.types import Amount, NodeId
from bflcd.wire.blocks import chain_id_of
from bflcd.wire.codec import decode, encode
from tests.helpers.ledger import make_genesis
from tests.helpers.schema import Integer, schema_of

GOOD, _ = make_genesis(nodes=10, committee=4, places=6)
IDS = tuple(member.node for member in GOOD.members)
STRANGER = NodeId(b"\x01" * 32)


def with_params(**changed):
    return replace(GOOD, params=replace(GOOD.params, **changed))


def with_task(**changed):
    return replace(GOOD, task=replace(GOOD.task, **changed))


SPEC = GOOD.task.tensors[0]
TENSORS = (TensorSpec("a", (1,), "F32"), TensorSpec("b", (), "I64"))

CONTRADICTIONS = [
    ("members twice", replace(GOOD, members=(GOOD.members[0], *GOOD.members)), "members must be distinct and sorted"),
    ("members unsorted", replace(GOOD, members=GOOD.members[::-1]), "members must be distinct and sorted"),
    ("managers twice", replace(GOOD, managers=(IDS[0], IDS[0])), "managers must be distinct members"),
    ("managers unsorted", replace(GOOD, managers=(IDS[1], IDS[0])), "managers must be distinct members"),
    ("a manager from outside", replace(GOOD, managers=(STRANGER,)), "managers must be distinct members"),
    ("a seat too few", replace(GOOD, committee=IDS[:3]), "the first committee must be 4 distinct members"),
    ("a seat too many", replace(GOOD, committee=IDS[:5]), "the first committee must be 4 distinct members"),
    ("a member on two seats", replace(GOOD, committee=(*IDS[:3], IDS[0])), "the first committee must be 4 distinct members"),
    ("a seat for a stranger", replace(GOOD, committee=(*IDS[:3], STRANGER)), "the first committee must be 4 distinct members"),
    (
        "three seats",
        replace(with_params(committee_size=3), committee=IDS[:3]),
        "10 members with a committee of 3: at least 4 seats",
    ),
    ("as many seats as members", replace(GOOD, members=GOOD.members[:4]), "4 members with a committee of 4"),
    ("fewer places than seats", with_params(places=3), "places (k = 3) must be at least committee_size (M = 4)"),
    ("an unknown aggregation", with_params(aggregation="krum"), "aggregation must be one of fedavg, median"),
    ("an unknown election", with_params(election="dice"), "election must be one of score, random, top-half, multi-factor"),
    ("an unknown score rule", with_params(score_rule="loss"), "score_rule must be one of gain, accuracy"),
    ("tensors unsorted", with_task(tensors=TENSORS[::-1]), "tensors must have distinct names, sorted"),
    ("a tensor twice", with_task(tensors=(SPEC, SPEC)), "tensors must have distinct names, sorted"),
    ("an unknown dtype", with_task(tensors=(replace(SPEC, dtype="F16"),)), "tensor dtypes must be among F32, I64"),
    ("options unsorted", with_task(options=(("b", ""), ("a", ""))), "task options must have distinct keys, sorted"),
    ("an option twice", with_task(options=(("a", "1"), ("a", "2"))), "task options must have distinct keys, sorted"),
]


def complaint_of(genesis):
    with pytest.raises(UsageError) as caught:
        check_genesis(genesis)
    assert caught.value.code == "bad_genesis"
    return str(caught.value)


@pytest.mark.parametrize(("genesis", "text"), [case[1:] for case in CONTRADICTIONS], ids=[case[0] for case in CONTRADICTIONS])
def test_every_contradiction_is_named_and_nothing_else(genesis, text):
    found = complaint_of(genesis)
    assert found.startswith("the genesis contradicts itself: ")
    assert text in found
    assert found.count("; ") == 0


def test_all_contradictions_are_named_at_once():
    """Given a genesis with one of each, when it is checked, then the operator mends all of them in one go."""
    bad = replace(
        GOOD,
        members=GOOD.members[::-1],
        managers=(STRANGER,),
        committee=(STRANGER,),
        params=replace(GOOD.params, committee_size=3, places=2, aggregation="x", election="x", score_rule="x"),
        task=replace(GOOD.task, tensors=(SPEC, replace(SPEC, dtype="F64")), options=(("a", ""), ("a", ""))),
    )
    found = complaint_of(bad)
    for part in ("members must", "managers must", "first committee", "at least 4 seats", "places (k", "aggregation", "election"):
        assert part in found
    for part in ("score_rule", "distinct names", "dtypes", "distinct keys"):
        assert part in found


@pytest.mark.parametrize(
    "genesis",
    [
        GOOD,
        *(with_params(aggregation=rule) for rule in AGGREGATIONS),
        *(with_params(score_rule=rule) for rule in SCORE_RULES),
        *(with_params(election=rule) for rule in ELECTIONS),
        with_params(places=4),
        with_task(tensors=TENSORS, options=(("a", "1"), ("b", "2"))),
        replace(GOOD, committee=IDS[3::-1]),
        replace(GOOD, managers=IDS),
    ],
)
def test_a_sound_genesis_passes(genesis):
    check_genesis(genesis)


@pytest.mark.parametrize(("nodes", "committee", "places"), [(1, 1, 1), (2, 4, 2), (3, 3, 1), (4, 4, 4), (7, 4, 1)])
def test_a_small_community_says_so(nodes, committee, places):
    genesis, _ = make_genesis(nodes=nodes, committee=committee, places=places, small_community=True)
    assert len(genesis.committee) == min(committee, nodes)
    complaint = complaint_of(replace(genesis, params=replace(genesis.params, small_community=False)))
    assert "small_community" in complaint or "places" in complaint


def test_every_parameter_is_part_of_the_chain_id():
    for name, limits in zip(schema_of(Params).names, schema_of(Params).items, strict=True):
        value = getattr(GOOD.params, name)
        if isinstance(limits, Integer):
            changed = value + 1 if value < limits.high else value - 1
        else:
            changed = not value if isinstance(value, bool) else value + "x"
        assert chain_id_of(with_params(**{name: changed})) != chain_id_of(GOOD), name
    assert {field.name for field in fields(Params)} == set(schema_of(Params).names)


def test_the_defaults_are_within_their_limits_and_sound():
    genesis = replace(GOOD, params=Params())
    check_genesis(genesis)
    assert decode(encode(genesis), Genesis) == genesis


def test_a_balance_beyond_its_limit_has_no_encoding():
    poor = replace(GOOD, members=(GenesisMember(IDS[0], Amount(2**53 + 1)), *GOOD.members[1:]))
    with pytest.raises(ValueError, match="balance"):
        encode(poor)
