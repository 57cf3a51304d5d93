"""Settings: what makes no sense is refused and named, what is different has another id, defaults are those of a genesis."""

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import OperatorError, UsageError
from bflcd.lab import config as config_module
from bflcd.lab.config import PAPER, Rules, SimulationConfig, changed, check_config
from bflcd.learn.data import DataConfig
from bflcd.learn.lies.cards import Lies
from bflcd.params import MILLION, Params, TaskSpec, TensorSpec, default_committee
from tests.helpers.lab import tiny

replace = msgspec.structs.replace


# -- defaults and numbers -----------------------------------------------------------------------------------------------------


def test_the_rules_are_by_default_those_of_a_genesis():
    """Field by field; only seats, places and who is active follow from the size of the simulated community."""
    found, genesis = SimulationConfig().params(), Params()
    of_the_size = {"committee_size", "places", "active_fraction"}
    for field in dataclasses.fields(Params):
        if field.name not in of_the_size:
            assert getattr(found, field.name) == getattr(genesis, field.name), field.name
    assert {*Rules.__struct_fields__} - {field.name for field in dataclasses.fields(Params)} == {
        "committee", "validation", "norm_band", "disclosure", "calibration",
    }  # fmt: skip


def test_training_is_by_default_that_of_a_genesis():
    tensors = (TensorSpec("w", (1,), "F32"),)
    assert SimulationConfig().task_spec(tensors) == TaskSpec("femnist", (), tensors)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (tiny(), (20, 4, 20, MILLION)),
        (tiny({"places": 0.5}), (20, 4, 8, MILLION)),
        (tiny({"places": 0.1}), (20, 4, 4, MILLION)),
        (tiny({"committee": 0.4}), (20, 8, 20, MILLION)),
        (tiny({"committee": 0.01}), (20, 4, 20, MILLION)),
        (tiny({"committee": None}), (20, default_committee(20), 20, MILLION)),
        (tiny(devices=900, active=0.1), (90, 18, 900, round(72 / 882 * MILLION))),
        (tiny({"committee": 0.4, "places": 0.6}, devices=900, active=0.1), (90, 36, 36, 62_500)),
        (tiny(devices=5000, active=1.0), (5000, 1000, 2048, MILLION)),
        (tiny(framework="fedavg", devices=4, active=0.5), (2, 4, 4, 0)),
        (tiny({"committee": 1.0, "small_community": True}), (20, 20, 20, MILLION)),
    ],
)
def test_numbers_of_the_protocol(config, expected):
    params = config.params()
    assert (config.at_work, params.committee_size, params.places, params.active_fraction) == expected
    assert params.committee_size == config.seats


def test_the_papers_rules():
    params = replace(SimulationConfig(), rules=PAPER).params()
    assert (params.score_rule, params.score_damping, params.validation_fraction, params.norm_clip) == ("accuracy", 1, 0, 0)
    assert params.odd_limit == params.idle_weight == 0
    assert not params.balanced_gains
    assert replace(SimulationConfig(), rules=PAPER).task_spec(()).calibration == 0
    assert (params.score_margin, params.election, params.aggregation) == (10 * MILLION * MILLION, "score", "fedavg")
    assert params.committee_size == 36


def test_shares_become_millionths_and_never_nothing():
    params = tiny({"validation": 1e-9, "norm_clip": 1.5, "score_margin": 0.05, "odd_limit": 0.5}).params()
    assert (params.validation_fraction, params.norm_clip, params.score_margin) == (1, 1_500_000, 50_000)
    assert params.odd_limit == 500_000
    assert tiny({"idle_weight": 0.25}).params().idle_weight == 250_000
    assert tiny({"validation": 0.0}).params().validation_fraction == 0


def test_adversaries_are_counted_only_under_an_attack():
    assert [tiny(attack="noise", liars=share).adversary_count for share in (0.0, 0.3, 0.52, 1.0)] == [0, 6, 10, 20]
    assert tiny(liars=0.3).adversary_count == 0


def test_the_data_is_dealt_as_for_a_testnet():
    config = tiny(data="/data/d.npz", partition="dirichlet", alpha=0.3, limit=9, seed=4)
    assert config.data_config() == DataConfig("/data/d.npz", "dirichlet", 0, 20, 4, 0.3, 9)


def test_an_attack_is_found_by_name_strength_and_lies():
    attack = tiny(attack="noise", strength=2.5, lies=Lies.DEFAME).find_attack()
    assert (attack.strength, attack.lies) == (2.5, Lies.DEFAME)
    assert tiny().find_attack() is None


# -- ids ----------------------------------------------------------------------------------------------------------------------

OTHER = {
    "framework": "cwmed",
    "mixing": "nnm",
    "bucket": 3,
    "clip_radius": 0.5,
    "task": "femnist",
    "options": (("test_percent", "20"),),
    "data": "other.npz",
    "partition": "dirichlet",
    "alpha": 0.25,
    "limit": 3,
    "devices": 21,
    "active": 0.9,
    "rounds": 5,
    "learning_rate": 0.2,
    "rate_decay": 0.9,
    "momentum": 0.5,
    "batch_size": 8,
    "local_epochs": 2,
    "attack": "noise",
    "strength": 3.0,
    "lies": Lies.NONE,
    "liars": 0.1,
    "onset": 7,
    "dp_epsilon": 8.0,
    "dp_exponent": 6,
    "dp_clip": 0.5,
    "dp_lot": 64,
    "every": 3,
    "seed": 1,
}

OTHER_RULES = {
    "committee": 0.3,
    "places": 0.5,
    "small_community": True,
    "score_rule": "accuracy",
    "score_damping": 2,
    "score_margin": 0.1,
    "score_rows": 100,
    "score_noise": 1.0,
    "validation": 0.1,
    "election": "score",
    "aggregation": "median",
    "norm_clip": 1.0,
    "idle_weight": 0.25,
    "norm_band": False,
    "reputation_rounds": 4,
    "copy_likeness": 0.9,
    "odd_limit": 3.0,
    "fresh_gains": False,
    "balanced_gains": False,
    "calibration": 0.5,
    "disclosure": "helps or not",
    "canary_share": 0.1,
    "card_share": 0.2,
    "doubts": True,
    "sealed_cards": False,
}


def test_every_field_and_every_rule_shows_in_the_id():
    """And nothing is left out of these two tables."""
    assert {*OTHER, "rules"} == {*SimulationConfig.__struct_fields__}
    assert {*OTHER_RULES} == {*Rules.__struct_fields__}
    found = [tiny().id, *(tiny(**{name: value}).id for name, value in OTHER.items())]
    found += [tiny({name: value}).id for name, value in OTHER_RULES.items()]
    assert len(set(found)) == len(found)
    assert all(len(one) == 12 and int(one, 16) >= 0 for one in found)


def test_an_id_is_the_same_wherever_the_data_lies():
    """Results are found again on a machine that keeps the same file in another folder."""
    here, there, other = (tiny(data=path).id for path in ("/a/b/d.npz", "d.npz", "/a/b/e.npz"))
    assert here == there != other
    assert tiny(data="/a/d.npz") != tiny(data="/b/d.npz")


def test_an_id_does_not_hang_on_rules_that_nobody_follows():
    assert len({tiny(rules, framework="fedavg").id for rules in ({}, {"places": 0.5}, {"committee": 0.4})}) == 1


def test_an_id_survives_writing_and_reading():
    config = tiny({"committee": 0.3}, attack="noise", lies=Lies.DEFAME, strength=2.0, options=(("test_percent", "15"),))
    again = msgspec.json.decode(msgspec.json.encode(config), type=SimulationConfig)
    assert again == config
    assert again.id == config.id


# -- changes ------------------------------------------------------------------------------------------------------------------


def test_assignments_reach_the_config_and_its_rules():
    found = changed(
        tiny(attack="noise", strength=2.0, data="d.npz"),
        ["rounds=7", "score_margin=0.05", "liars=0.25", "lies=smear", "norm_band=false", "strength=", "data=", "committee=", "framework=cwmed"],
    )  # fmt: skip
    expected = tiny(
        {"score_margin": 0.05, "norm_band": False, "committee": None},
        rounds=7,
        liars=0.25,
        lies=Lies.DEFAME,
        attack="noise",
        framework="cwmed",
    )
    assert found == expected
    assert changed(tiny(), []) == tiny()
    assert changed(tiny(), ["rounds=7", "rounds=8"]).rounds == 8
    assert changed(tiny(), ["attack=a=b"]).attack == "a=b"


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("rounds", "sets nothing"),
        ("nonsense=1", "sets nothing"),
        ("=1", "sets nothing"),
        ("rules=1", "sets nothing"),
        ("options=1", "sets nothing"),
        ("rounds=many", "rounds"),
        ("rounds=0", "rounds"),
        ("rounds=", "rounds"),
        ("active=1.5", "active"),
        ("active=0", "active"),
        ("liars=-0.1", "liars"),
        ("momentum=1", "momentum"),
        ("committee=1.1", "committee"),
        ("committee=0", "committee"),
        ("idle_weight=1.5", "idle_weight"),
        ("score_damping=0", "score_damping"),
        ("devices=1", "devices"),
        ("devices=20000", "devices"),
        ("framework=?", "framework"),
        ("mixing=well", "mixing"),
        ("bucket=0", "bucket"),
        ("clip_radius=0", "clip_radius"),
        ("partition=random", "partition"),
        ("lies=white", "lies"),
        ("norm_band=perhaps", "norm_band"),
        ("learning_rate=nan", "learning_rate"),
    ],
)
def test_assignments_that_make_no_sense_are_named(assignment, words):
    with pytest.raises(UsageError, match=words) as caught:
        changed(tiny(), [assignment])
    assert caught.value.code == "bad_setting"
    assert caught.value.hint


@given(st.text(max_size=12))
def test_any_other_words_are_refused_or_set_something(text):
    try:
        found = changed(tiny(), [text])
    except UsageError:
        return
    assert "=" in text
    assert isinstance(found, SimulationConfig)


# -- checks -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (tiny({"score_rule": "loss"}), "score_rule"),
        (tiny({"election": "by-hand"}), "election"),
        (tiny({"aggregation": "mean"}), "aggregation"),
        (tiny(attack="nonsense"), "no attack"),
        (tiny(liars=0.3), "no attack"),
        (tiny(attack="asker", liars=0.3), "what each judge would say"),
        (tiny(devices=4), "nobody trains"),
        (tiny(active=0.2), "nobody trains"),
        (tiny({"committee": 0.999}), "nobody trains"),
        (tiny({"committee": 1.0, "small_community": True}, active=0.5), "nobody without a seat ever trains"),
        (tiny(liars=1.5, attack="noise"), "liars"),
        (tiny(liars=-0.5, attack="noise"), "liars"),
        (tiny(active=5.0), "active"),
        (tiny(active=0.0), "active"),
        (tiny(rounds=0), "rounds"),
        (tiny(devices=1), "devices"),
        (tiny(devices=2**14 + 1), "devices"),
        (tiny(alpha=0.0), "alpha"),
        (tiny(seed=-1), "seed"),
        (tiny(framework="nonsense"), "framework"),
        (tiny({"validation": 1.0}), "validation"),
        (tiny(mixing="nnm"), "bflc mixes no updates"),
        (tiny(mixing="bucketing", framework="stand-alone"), "stand-alone mixes no updates"),
        (tiny(partition="random"), "partition"),
    ],
)
def test_configs_that_make_no_sense_are_named(config, words):
    """A setting that was made by hand, not from text, has passed no limit: an experiment's --liars and --active come so."""
    with pytest.raises(OperatorError, match=words) as caught:
        check_config(config)
    assert caught.value.code in ("bad_setting", "unknown_attack")
    assert caught.value.hint


def test_who_asks_is_sent_to_the_command_that_measures_it():
    with pytest.raises(OperatorError) as caught:
        check_config(tiny(attack="asker", liars=0.3))
    assert "bflc-cli lab questions" in caught.value.hint


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("score_noise=4000", "thousandths of that in a genesis: --param score_noise=4000 there is --set score_noise=4 here"),
        ("card_share=400000", "counts as a share, 0 to 1, here, and in millionths in a genesis"),
        ("card_share=400000", "--set card_share=0.4 here"),
        ("norm_clip=2000000", "--set norm_clip=2 here"),
        ("odd_limit=2000000", "--set odd_limit=2 here"),
        ("copy_likeness=990000", "--set copy_likeness=0.99 here"),
        ("score_noise=-1", "in what one row changes an answer by here"),
        ("score_noise=" + "9" * 400, "thousandths of that in a genesis"),
        ("score_noise=many", "thousandths of that in a genesis"),
        ("rounds=0", "docs/lab.md"),
    ],
)
def test_a_number_of_a_genesis_is_named_with_its_unit(assignment, words):
    with pytest.raises(UsageError) as caught:
        changed(tiny(), [assignment])
    assert words in caught.value.hint
    assert assignment.partition("=")[0] in str(caught.value)
    assert len(caught.value.hint) < 300


def test_a_setting_made_by_hand_is_refused_in_the_same_words():
    with pytest.raises(UsageError) as caught:
        check_config(tiny({"score_noise": 4000.0}))
    assert "in thousandths of that in a genesis" in caught.value.hint


def test_every_rule_that_counts_otherwise_in_a_genesis_has_its_unit():
    """Given the lab's defaults, then the genesis' numbers are those times the scale that the unit says."""
    defaults, genesis = Rules(), Params(committee_size=4, places=4)
    own = {"calibration": TaskSpec("digits", (), (TensorSpec("w", (1,), "F32"),)).calibration}
    for name, unit in config_module._UNITS.items():
        assert own.get(name, getattr(genesis, name, None)) == round(getattr(defaults, name) * unit.scale)
    shared = {*Rules.__struct_fields__} & {*Params.__dataclass_fields__}
    floats = {name for name in shared if isinstance(getattr(defaults, name), float)}
    assert floats | {"calibration"} == {*config_module._UNITS, "places"}, "places are a share of the trainers here"


def test_odd_offers_and_noise_exclude_each_other_as_in_a_genesis():
    with pytest.raises(UsageError, match="score_noise does not blur"):
        check_config(tiny({"odd_limit": 2.0, "score_noise": 4.0}))


def test_judges_that_copy_are_played_with_sealed_and_with_open_cards():
    for sealed in (True, False):
        config = tiny({"sealed_cards": sealed}, attack="copying-judge", liars=0.3)
        check_config(config)
        assert config.params().sealed_cards is sealed
    assert Rules().sealed_cards is Params(committee_size=4, places=4).sealed_cards


@pytest.mark.parametrize(
    "config",
    [
        SimulationConfig(),
        replace(SimulationConfig(), rules=PAPER),
        tiny(),
        tiny(devices=5),
        tiny(framework="fedavg", devices=2),
        tiny(framework="trimmed-mean", mixing="nnm"),
        tiny(framework="stand-alone", devices=4, active=0.1),
        tiny(attack="sleeper", liars=0.4, lies=Lies.NONE, strength=0.0),
        tiny(attack="noise"),
    ],
)
def test_configs_that_make_sense(config):
    check_config(config)
    params = config.params()
    assert params.committee_size >= 4
