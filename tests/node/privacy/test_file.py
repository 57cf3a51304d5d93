"""The account of what updates have told: durable, its owner's alone, and never empty because it can't be read."""

import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import MachineError, OperatorError
from bflcd.learn.private.mechanism import Mechanism, Spent
from bflcd.node.privacy.file import ANEW, Account, AccountFile

MADE = Mechanism(noise=1500, clip=1.0, lots=4, steps=8)
OTHER = Mechanism(noise=2000, clip=0.5, lots=1, steps=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "privacy.json"


def spent(path, *mechanisms, has_signed=False):
    file = AccountFile(path, has_signed=has_signed)
    for mechanism in mechanisms:
        file.write(file.account.after(mechanism))
    return file.account


def test_a_new_node_begins_with_nothing_and_what_it_spends_is_found_again(path):
    assert spent(path) == Account()
    told = spent(path, MADE, OTHER, MADE)
    assert told == Account((Spent(1500, 4, 16), Spent(2000, 1, 1)), 3)
    assert AccountFile(path, has_signed=True).account == told


@given(st.lists(st.sampled_from((MADE, OTHER, Mechanism(1500, 9.0, 4, 1)))))
def test_steps_of_one_noise_and_sampling_add_up_in_any_order(made):
    account = Account()
    for mechanism in made:
        account = account.after(mechanism)
    assert sum(one.steps for one in account.spent) == sum(one.steps for one in made)
    assert account.updates == len(made)
    backwards = Account()
    for mechanism in reversed(made):
        backwards = backwards.after(mechanism)
    assert backwards == account


def test_only_its_owner_reads_it_and_it_is_forced_to_the_disk_before_it_has_its_name(path, monkeypatch):
    forced = []
    real = os.fsync

    def fsync(descriptor):
        forced.append((os.fstat(descriptor).st_size, path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    spent(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert forced[0] == (path.stat().st_size, False), "the whole file, before the name"
    assert sorted(one.name for one in path.parent.iterdir()) == [path.name]


def test_where_the_disk_fails_the_old_account_stands(path, monkeypatch):
    before = spent(path, MADE)

    def full(_):
        raise OSError(28, "No space left on device")

    file = AccountFile(path, has_signed=True)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="it is not offered"):
        file.write(file.account.after(MADE))
    monkeypatch.undo()
    assert file.account == before == AccountFile(path, has_signed=True).account


def test_a_file_that_is_gone_after_the_node_has_signed_is_no_new_account(path):
    with pytest.raises(OperatorError, match="has signed already") as refused:
        AccountFile(path, has_signed=True)
    assert refused.value.code == "no_privacy_account"
    assert not path.exists()


def test_its_operator_can_begin_anew_by_a_word_and_only_once(path):
    path.write_bytes(ANEW + b"\n")
    assert spent(path, MADE, has_signed=True).updates == 1
    assert AccountFile(path, has_signed=True).account.updates == 1


def changed(change):
    def damage(data):
        fields = json.loads(data)
        change(fields)
        return json.dumps(fields).encode()

    return damage


DAMAGE = {
    "empty": lambda _: b"",
    "cut": lambda data: data[:-5],
    "no JSON": lambda _: b"{",
    "another word": lambda _: ANEW + b"x",
    "fewer steps": changed(lambda fields: fields["spent"][0].update(steps=1)),
    "fewer updates": changed(lambda fields: fields.update(updates=0)),
    "nothing spent": changed(lambda fields: fields.update(spent=[])),
    "a later format": changed(lambda fields: fields.update(format=2)),
    "a stray field": changed(lambda fields: fields.update(more=1)),
    "less noise than there is": changed(lambda fields: fields["spent"][0].update(noise=1)),
    "too long": lambda data: data + b" " * 2**20,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_account_is_refused_and_left_as_it_is(path, name):
    spent(path, MADE)
    damaged = DAMAGE[name](path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(MachineError, match="must not train") as refused:
        AccountFile(path, has_signed=True)
    assert refused.value.code == "damaged_privacy_account"
    assert path.read_bytes() == damaged
