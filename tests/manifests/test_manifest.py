"""Manifests are read strictly: whatever they mean wrong is named, with its file and key."""

from pathlib import Path

import pytest

from tests.manifests.generating import generate
from tests.manifests.manifest import ManifestError, bearable, parse_manifest, read_manifest, write_manifest

HERE = Path(__file__).parent

GOOD = """
name = "good"
purpose = "Shows a manifest."

[community]
nodes = 6
duration = 3
observers = [5]

[[perturb]]
at = 3.0
action = "kill"
who = "member"

[expect]
min_rounds = 3
"""

BAD = {
    "unknown key": ("min_rounds = 3", "min_round = 3", ("min_round", "expect")),
    "unknown table": ("[expect]", "[expectations]\n[expect]", ("expectations",)),
    "bad type": ("nodes = 6", 'nodes = "6"', ("community.nodes", "int")),
    "negative time": ("at = 3.0", "at = -1", ("perturb[0].at",)),
    "unknown action": ('"kill"', '"murder"', ("perturb[0].action", "murder")),
    "nobody": ('"member"', '"bob"', ("perturb[0].who", "bob", "leader")),
    "no such node": ('"member"', "6", ("perturb[0].who", "no node 6")),
    "empty list": ('"member"', "[]", ("perturb[0].who", "empty")),
    "two ends": ("duration = 3", "duration = 3\nrounds = 3", ("community", "rounds", "duration")),
    "no end": ("duration = 3", "", ("community", "rounds", "duration")),
    "two times": ("at = 3.0", "at = 3.0\nround = 2", ("perturb[0].at",)),
    "no pause between": ("at = 3.0", "at = 3.0\ntimes = 2", ("perturb[0].times", "every")),
    "endless pause": ('"kill"', '"pause"', ("perturb[0].for", "seconds")),
    "a mode of another action": ('"kill"', '"kill"\nmode = "reset"', ("perturb[0].action", "disconnect")),
    "too small": ("nodes = 6", "nodes = 4", ("community.nodes", "small")),
    "observers that are not there": ("[5]", "[6]", ("community.observers",)),
    "bad name": ('"good"', '"../good"', ("name",)),
    "no TOML": ("nodes = 6", "nodes 6", ("TOML",)),
}


def test_the_good_one_is_read() -> None:
    manifest = parse_manifest(GOOD)

    assert (manifest.community.nodes, manifest.perturb[0].when, manifest.expect.min_rounds) == (6, 3.0, 3)
    assert bearable(manifest.community) == 1
    assert not manifest.relayed


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named(tmp_path: Path, name: str) -> None:
    good, bad, words = BAD[name]
    assert good in GOOD
    path = tmp_path / "wrong.toml"
    path.write_text(GOOD.replace(good, bad))

    with pytest.raises(ManifestError) as refused:
        read_manifest(path)

    assert all(word in str(refused.value) for word in (str(path), *words)), str(refused.value)


def test_a_file_that_is_not_there_or_too_large_is_named(tmp_path: Path) -> None:
    large = tmp_path / "large.toml"
    large.write_text("#" * 300_000)

    for path in (tmp_path / "none.toml", large):
        with pytest.raises(ManifestError, match=path.name):
            read_manifest(path)


def test_every_manifest_here_is_good_and_named_as_its_file() -> None:
    found = {path.stem: read_manifest(path) for path in HERE.glob("*.toml")}

    assert len(found) >= 10
    assert all(manifest.name == name for name, manifest in found.items())
    assert {step.action for manifest in found.values() for step in manifest.perturb} >= {
        "kill",
        "pause",
        "disconnect",
        "wipe",
        "stop",
    }


def test_drawn_manifests_are_good_and_never_hit_more_than_the_committee_bears() -> None:
    for seed in range(500):
        manifest = generate(seed)
        assert parse_manifest(write_manifest(manifest)) == manifest
        assert manifest == generate(seed)
        for step in manifest.perturb:
            assert step.after_back, "one trouble at a time"
            assert (step.count > bearable(manifest.community)) == step.halts
            assert isinstance(step.who, int) or step.who in ("leader", "member", "random", "next", "trainer")


def test_drawn_manifests_differ() -> None:
    drawn = [generate(seed) for seed in range(200)]

    assert len({(m.community.nodes, m.community.committee) for m in drawn}) >= 5
    assert len({m.community.store for m in drawn}) == 3
    assert len({step.action for m in drawn for step in m.perturb}) == 7
    assert any(step.halts for m in drawn for step in m.perturb)
