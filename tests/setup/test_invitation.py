"""Invitations: one string there and back, and what is refused of those that are none."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import UsageError
from bflcd.setup.invitation import MAX_TEXT, PREFIX, Invitation, invitation_text, read_invitation
from bflcd.types import Digest, Millis, Round

ADDRESS = "/dns4/node.example.org/tcp/4001/p2p/12D3KooWQx94YDb67eU5WtNmdcsTGMSfcJw5HpnYuGSxsUwDGen8"
NOW = Millis(1_700_000_000_000)
GIVEN = Invitation(Digest(b"c" * 32), Round(7), Digest(b"h" * 32), (ADDRESS,), Millis(NOW + 1000))


def test_what_was_written_is_read_with_blanks_around_it():
    assert read_invitation(f"  {invitation_text(GIVEN)}\n", NOW) == GIVEN
    admits = replace(GIVEN, voucher=b"v" * 32)
    assert read_invitation(invitation_text(admits), NOW) == admits
    assert GIVEN.trusted_head == f"7:{'68' * 32}"


def test_at_the_genesis_there_is_no_head_to_trust():
    early = Invitation(GIVEN.chain, Round(0), Digest(bytes(32)), (ADDRESS,))
    assert (read_invitation(invitation_text(early), NOW).trusted_head, early.expires) == ("", 0)


def test_an_old_one_is_refused():
    with pytest.raises(UsageError, match="has expired") as caught:
        read_invitation(invitation_text(GIVEN), Millis(NOW + 1001))
    assert caught.value.code == "expired"


@given(st.integers(0, len(invitation_text(GIVEN)) - 1), st.sampled_from("Ab3-_ xé\x1b"))
def test_one_wrong_character_is_noticed(at: int, other: str):
    text = invitation_text(GIVEN)
    changed = text[:at] + other + text[at + 1 :]
    if changed.strip() != text:
        with pytest.raises(UsageError, match="this is no invitation"):
            read_invitation(changed, NOW)


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda raw: PREFIX + base64.urlsafe_b64encode(raw).decode())))
def test_anything_else_is_refused(text: str):
    with pytest.raises(UsageError, match="this is no invitation") as caught:
        read_invitation(text, NOW)
    assert "bflc-cli invite" in caught.value.hint


def test_more_than_an_invitation_can_have_is_not_decoded():
    with pytest.raises(UsageError, match="too long"):
        read_invitation(PREFIX + "A" * MAX_TEXT, NOW)
