"""Errors: whose fault it is shows in the type, and every reason to refuse is explained."""

import ast
import inspect
import itertools

import pytest

from bflcd import errors
from bflcd.errors import (
    BflcError,
    DialError,
    InvariantError,
    MachineError,
    OperatorError,
    PeerError,
    Rejection,
    RequestError,
    UsageError,
)


def test_every_rejection_is_documented():
    body = next(
        node.body
        for node in ast.parse(inspect.getsource(errors)).body
        if isinstance(node, ast.ClassDef) and node.name == "Rejection"
    )
    documented = {
        member.targets[0].id
        for member, text in itertools.pairwise(body)
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    assert documented == set(Rejection.__members__)


def test_rejections_are_distinct_and_named_as_their_members():
    assert {member.value for member in Rejection} == {name.lower() for name in Rejection.__members__}


@pytest.mark.parametrize("rejection", Rejection)
def test_a_peer_error_says_why(rejection):
    error = PeerError(rejection, "the details")
    assert error.rejection is rejection
    assert str(error) == f"{rejection.value}: the details"


@pytest.mark.parametrize(
    ("error", "hint", "code"),
    [
        (OperatorError("no such file"), "", "operator_error"),
        (OperatorError("no such file", hint="make it", code="missing"), "make it", "missing"),
        (UsageError("unknown flag"), "", "usage"),
        (UsageError("unknown flag", hint="see --help", code="flag"), "see --help", "flag"),
        (MachineError("disk full"), "", "machine_error"),
        (MachineError("disk full", hint="free some", code="disk"), "free some", "disk"),
    ],
)
def test_faults_of_operator_and_machine_carry_a_hint_and_a_code(error, hint, code):
    assert (error.hint, error.code) == (hint, code)
    assert str(error) in {"no such file", "unknown flag", "disk full"}


def test_a_dial_error_names_address_step_and_reason():
    error = DialError("/ip4/127.0.0.1/tcp/1", "connect", "refused")
    assert (error.address, error.step, error.reason) == ("/ip4/127.0.0.1/tcp/1", "connect", "refused")
    assert str(error) == "cannot reach /ip4/127.0.0.1/tcp/1: failed at connect: refused"


def test_nobody_is_blamed_for_another():
    """Only a usage error is an operator's error; a peer's fault is caught neither as ours nor as the machine's."""
    kinds = (OperatorError, MachineError, InvariantError, PeerError, DialError, RequestError)
    for one in kinds:
        assert issubclass(one, BflcError)
        assert [other for other in kinds if issubclass(one, other)] == [one]
    assert issubclass(UsageError, OperatorError)
    assert not issubclass(BflcError, (ValueError, OSError, RuntimeError))
