"""Configuration: three layers in rising order, and one clear refusal for everything else."""

from pathlib import Path

import msgspec
import pytest

from bflcd.config import (
    CONFIG_FILE,
    FLAGS,
    MAX_CONFIG_BYTES,
    SETTINGS,
    AttackSection,
    Config,
    DataSection,
    NodeSection,
    StoreSection,
    announced,
    config_text,
    load_config,
    set_values,
    value_of,
    write_config,
)
from bflcd.crypto.identity import node_id_of
from bflcd.errors import OperatorError, UsageError
from bflcd.learn.data import DataConfig

PEER = "/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWKmMwrpTCA3Jm7rVbRdCqsres6owF3oybF1dCgHuHTYMm"


def test_defaults_are_the_documented_ones(tmp_path):
    loaded = load_config(tmp_path, {}, {})
    assert loaded.config == Config(node=NodeSection(datadir=tmp_path))
    assert loaded.config.node.listen == ("/ip4/127.0.0.1/tcp/0",)
    assert (loaded.config.store.mode, loaded.config.store.keep) == ("archive", 2)
    assert (loaded.config.compute.device, loaded.config.compute.threads, loaded.config.compute.train) == ("auto", 1, True)
    assert set(loaded.origins.values()) == {"default", "flag --datadir"}


def test_flags_beat_environment_beats_file(tmp_path):
    (tmp_path / CONFIG_FILE).write_text("[store]\nkeep = 3\nmode = 'pruned'\n[compute]\nthreads = 2\n[log]\nlevel = 'debug'\n")
    env = {"BFLCD_STORE_KEEP": "4", "BFLCD_COMPUTE_THREADS": "5", "PATH": "/bin", "BFLCD_DATADIR": "/elsewhere"}
    loaded = load_config(tmp_path, env, {"store.keep": 6})
    config, origins = loaded.config, loaded.origins
    assert (config.store.keep, config.compute.threads, config.store.mode, config.log.level) == (6, 5, "pruned", "debug")
    assert origins["store.keep"] == "flag --prune-keep"
    assert origins["compute.threads"] == "environment variable BFLCD_COMPUTE_THREADS"
    assert origins["log.level"] == str(tmp_path / CONFIG_FILE)
    assert origins["log.format"] == "default"


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("BFLCD_COMPUTE_TRAIN", "no", "compute.train", False),
        ("BFLCD_COMPUTE_TRAIN", "TRUE", "compute.train", True),
        ("BFLCD_NODE_BOOTSTRAP", f"{PEER}, {PEER}", "node.bootstrap", (PEER, PEER)),
        ("BFLCD_NODE_BOOTSTRAP", "", "node.bootstrap", ()),
        ("BFLCD_DATA_ALPHA", "0.1", "data.alpha", 0.1),
        ("BFLCD_DATA_ALPHA", "1", "data.alpha", 1.0),
        ("BFLCD_NODE_CHAIN_ID", "ab" * 32, "node.chain_id", "ab" * 32),
        ("BFLCD_NODE_NAME", "1", "node.name", "1"),
        ("BFLCD_ATTACK_NAME", "sign-flip", "attack.name", "sign-flip"),
        ("BFLCD_ATTACK_ACCOMPLICES", f"{'ab' * 32},{'cd' * 32}", "attack.accomplices", ("ab" * 32, "cd" * 32)),
        ("BFLCD_ATTACK_STRENGTH", "10", "attack.strength", 10.0),
        ("BFLCD_ATTACK_LIES", "smear", "attack.lies", "smear"),
    ],
)
def test_environment_is_read_by_type(tmp_path, variable, text, key, value):
    assert value_of(load_config(tmp_path, {variable: text}, {}).config, key) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[store\n", ("no valid TOML", "line 1")),
        ("[store]\nkeep = 3\nkeep = 4\n", ("no valid TOML", "line 3")),
        ("[store]\nmode = 'some'\n", ("store.mode = 'some'", "archive (keep everything) or pruned")),
        ("[store]\nkeep = 0\n", ("store.keep = 0", "1 to 2^31")),
        ("[store]\nkeep = '3'\n", ("store.keep = '3'", "1 to 2^31")),
        ("[store]\nkeep = true\n", ("store.keep = True", "1 to 2^31")),
        ("[store]\nkeep = 3.5\n", ("store.keep = 3.5", "1 to 2^31")),
        ("[compute]\ntrain = 1\n", ("compute.train = 1", "true or false")),
        ("[compute]\ndevice = 'tpu'\n", ("compute.device = 'tpu'", "auto, cpu or cuda")),
        ("[api]\nlisten = '127.0.0.1:70000'\n", ("api.listen = '127.0.0.1:70000'", "0 to 65535")),
        ("[api]\nlisten = '0.0.0.0:1'\n", ("api.listen = '0.0.0.0:1'", "never leaves the machine")),
        ("[api]\nlisten = '::1:80'\n", ("api.listen = '::1:80'", "in brackets")),
        ("[api]\nlisten = 'example.org:80'\n", ("api.listen = 'example.org:80'", "HOST:PORT")),
        ("[data]\nalpha = nan\n", ("data.alpha = nan", "0.001")),
        ("[data]\nseed = 99999999999999999999\n", ("data.seed = 99999999999999999999", "2^63")),
        ("[data]\nindex = 4\ncount = 4\n", ("data.index = 4", "data.count = 4", "0 to 3")),
        ("[data]\npath = 3\n", ("data.path = 3",)),
        ("[data]\npath = 'x\\u0000'\n".replace("'", '"'), ("data.path = ", "file or folder")),
        ("[data]\npath = '~nobody-of-this-name/x'\n", ("data.path = '~nobody-of-this-name/x'", "file or folder")),
        ("[data]\nx = " + "[" * 100_000, ("no valid TOML",)),
        ("[store]\nkep = 3\n", ("store.kep is no setting", "did you mean store.keep?")),
        ("[stor]\nkeep = 3\n", ("[stor] is no section", "node, net, store, api")),
        ("keep = 3\n", ("keep stands outside a section", "[store]")),
        ("[node]\ndatadir = '/tmp'\n", ("node.datadir is no key of the file", "--datadir")),
        ("[node]\nchain_id = 'abc'\n", ("node.chain_id = 'abc'", "64 hexadecimal digits")),
        (f"[node]\nchain_id = '{'AB' * 32}'\n", ("node.chain_id", "64 hexadecimal digits")),
        ("[node]\nlisten = '/ip4/127.0.0.1/tcp/0'\n", ("node.listen", "multiaddrs to listen on")),
        ("[node]\nlisten = []\n", ("node.listen is empty",)),
        ("[node]\nlisten = ['/ip4/127.0.0.300/tcp/0']\n", ("node.listen", "'/ip4/127.0.0.300/tcp/0' is no usable address")),
        ("[node]\nlisten = ['/dns4/host/tcp/1']\n", ("node.listen", "not on a name")),
        ("[node]\nbootstrap = ['/ip4/10.0.0.1/tcp/4001']\n", ("node.bootstrap", "does not end in /p2p/ID")),
        ("[node]\nbootstrap = ['127.0.0.1:4001']\n", ("node.bootstrap", "no usable address")),
        (f"[node]\nbootstrap = ['{PEER[:-1]}']\n", ("node.bootstrap", "no usable address")),
        ("[node]\nannounce = ['/ip4/10.0.0.1/udp/4001']\n", ("node.announce", "only tcp")),
        ("[net]\ndial_allow = ['10.0.0.1/8']\n", ("net.dial_allow: '10.0.0.1/8'", "ranges (10.1.0.0/16")),
        ("[net]\ndial_allow = ['*.example.org']\n", ("net.dial_allow: '*.example.org'", ".example.org for all below it")),
        ("[attack]\nname = 'nois'\n", ("attack.name: there is no attack 'nois'", "sign-flip")),
        ("[attack]\nname = 'copycat'\n", ("attack.name: attack 'copycat' needs to see", "laboratory")),
        (f"[attack]\nname = '{'x' * 65}'\n", ("attack.name = 'xxx", "on a testnet only")),
        ("[attack]\naccomplices = ['12']\n", ("attack.accomplices = ['12']", "64 hexadecimal digits each")),
        (f"[attack]\naccomplices = ['{'AB' * 32}']\n", ("attack.accomplices", "64 hexadecimal digits each")),
        (f"[attack]\naccomplices = '{'ab' * 32}'\n", ("attack.accomplices", "64 hexadecimal digits each")),
        ("[attack]\nstrength = -1\n", ("attack.strength = -1", "0: the usual one")),
        ("[attack]\nstrength = nan\n", ("attack.strength = nan", "0: the usual one")),
        ("[attack]\nstrength = 2e9\n", ("attack.strength = 2000000000.0", "up to 1000000000")),
        ("[attack]\nlies = 'white'\n", ("attack.lies = 'white'", "none, promote or smear")),
        ("[log]\nlevel = 'loud'\n", ("log.level = 'loud'", "debug, info, warning or error")),
        ("[node]\nname = '" + "x" * 65 + "'\n", ("node.name", "up to 64 characters")),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, text, words):
    path = tmp_path / CONFIG_FILE
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path, {}, {})
    said = f"{caught.value} | {caught.value.hint}"
    assert str(path) in said
    assert [word for word in words if word not in said] == []


def test_bytes_that_are_no_text_and_files_beyond_reason_are_refused(tmp_path):
    path = tmp_path / CONFIG_FILE
    path.write_bytes(b"[store]\n\xff")
    with pytest.raises(UsageError, match="no valid TOML"):
        load_config(tmp_path, {}, {})
    path.write_bytes(b"#" * (MAX_CONFIG_BYTES + 1))
    with pytest.raises(UsageError, match="above 1048576 bytes"):
        load_config(tmp_path, {}, {})
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path, {}, {})


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"BFLCD_STORE_KEP": "3"}, ("environment variable BFLCD_STORE_KEP", "did you mean BFLCD_STORE_KEEP?")),
        ({"BFLCD_NODE_DATADIR": "/x"}, ("environment variable BFLCD_NODE_DATADIR",)),
        ({"BFLCD_STORE_KEEP": "many"}, ("environment variable BFLCD_STORE_KEEP", "store.keep = 'many'", "1 to 2^31")),
        ({"BFLCD_COMPUTE_TRAIN": "maybe"}, ("environment variable BFLCD_COMPUTE_TRAIN", "true or false")),
        ({"BFLCD_NODE_BOOTSTRAP": f"{PEER} nowhere"}, ("environment variable BFLCD_NODE_BOOTSTRAP", "'nowhere'")),
        ({"BFLCD_DATA_ALPHA": "inf"}, ("environment variable BFLCD_DATA_ALPHA", "1000000")),
        ({"BFLCD_ATTACK_NAME": "nois"}, ("environment variable BFLCD_ATTACK_NAME: attack.name: there is no attack 'nois'",)),
    ],
)
def test_a_bad_variable_is_refused_by_name(tmp_path, env, words):
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path, env, {})
    said = f"{caught.value} | {caught.value.hint}"
    assert [word for word in words if word not in said] == []


def test_a_bad_flag_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"flag --prune-keep: store\.keep = 0 is not allowed"):
        load_config(tmp_path, {}, {"store.keep": 0})
    with pytest.raises(UsageError, match=r"store\.kip is no setting"):
        load_config(tmp_path, {}, {"store.kip": 0})


def test_paths_of_the_file_start_at_the_data_directory(tmp_path, monkeypatch):
    (tmp_path / CONFIG_FILE).write_text("[data]\npath = 'my.npz'\n")
    assert load_config(tmp_path, {}, {}).config.data.path == str(tmp_path / "my.npz")
    monkeypatch.chdir(tmp_path.parent)
    assert load_config(tmp_path, {}, {"data.path": "my.npz"}).config.data.path == str(tmp_path.parent / "my.npz")


def test_what_is_written_is_read_again(tmp_path):
    config = Config(
        node=NodeSection(datadir=tmp_path, name='"quoted" \\ name', bootstrap=(PEER,), chain_id="0" * 64),
        store=StoreSection(mode="pruned", keep=7),
        data=DataSection(path="/data/x.npz", partition="writer", index=2, count=3, seed=9, alpha=0.25, limit=10),
    )
    write_config(tmp_path / CONFIG_FILE, config)
    loaded = load_config(tmp_path, {}, {})
    assert loaded.config == config
    changed = {key for key, origin in loaded.origins.items() if origin == str(tmp_path / CONFIG_FILE)}
    assert changed == {key for key in SETTINGS if key != "node.datadir" and value_of(config, key) != value_of(Config(), key)}


def test_the_written_file_shows_every_setting_and_what_is_allowed():
    text = config_text(Config())
    for key, setting in SETTINGS.items():
        if key != "node.datadir":
            assert f"# {setting.allowed}\n# {key.split('.')[1]} = " in text


def test_a_folder_that_is_not_there_is_the_operators_fault(tmp_path):
    with pytest.raises(OperatorError, match="cannot be written"):
        write_config(tmp_path / "absent" / CONFIG_FILE, Config())


def test_set_values_checks_like_the_file():
    assert set_values(Config(), {"store.keep": 9}).store.keep == 9
    with pytest.raises(UsageError, match=r"store\.keep = -1"):
        set_values(Config(), {"store.keep": -1})


def test_announced_addresses_get_the_nodes_own_id():
    node = node_id_of(PEER.rsplit("/", maxsplit=1)[-1])
    config = set_values(Config(), {"node.announce": ["/dns4/here.example/tcp/4001", PEER.replace("10.0.0.1", "10.0.0.2")]})
    own = PEER.rsplit("/", maxsplit=1)[-1]
    assert announced(config, node) == (f"/dns4/here.example/tcp/4001/p2p/{own}", f"/ip4/10.0.0.2/tcp/4001/p2p/{own}")
    assert announced(Config(), node) == ()


def test_every_setting_says_what_is_allowed_and_every_flag_has_a_setting():
    assert [key for key, setting in SETTINGS.items() if not setting.allowed] == []
    assert set(FLAGS) <= set(SETTINGS)


def test_the_data_section_is_the_workers_configuration():
    names = [field.name for field in msgspec.structs.fields(DataSection)]
    assert tuple(names) == DataConfig.__slots__
    assert DataSection().for_worker() == DataConfig()
    assert DataSection(path="x", index=1, count=2).for_worker() == DataConfig(path="x", index=1, count=2)


def test_an_attack_is_named_by_its_flag_and_kept_in_the_file(tmp_path):
    write_config(tmp_path / CONFIG_FILE, set_values(Config(), {"attack.accomplices": ["ab" * 32], "attack.strength": 3}))
    loaded = load_config(tmp_path, {}, {"attack.name": "noise"})
    assert loaded.config.attack == AttackSection("noise", ("ab" * 32,), 3.0)
    assert loaded.origins["attack.name"] == "flag --attack"
    with pytest.raises(UsageError, match=r"flag --attack: attack\.name: there is no attack") as caught:
        load_config(tmp_path, {}, {"attack.name": "nois"})
    assert caught.value.code == "unknown_attack"


def test_a_data_directory_given_relatively_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("node"), {}, {}).config.node.datadir == tmp_path / "node"


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        (b"\xef\xbb\xbf[node]\n", "it begins with a byte order mark (BOM): save it as UTF-8 without one"),
        ("[node]\n".encode("utf-16"), "it is UTF-16: save it as UTF-8"),
        ("[node]\n".encode("utf-16-be"), "it is UTF-16: save it as UTF-8"),
        ("[node]\nname = \u201cward\u201d\n".encode(), 'mend that line; its quotation marks must be plain ones (")'),
    ],
)
def test_what_editors_of_other_systems_write_is_named(tmp_path, raw, hint):
    (tmp_path / "config.toml").write_bytes(raw)
    with pytest.raises(UsageError, match="no valid TOML") as refused:
        load_config(tmp_path, {}, {})
    assert (refused.value.code, refused.value.hint) == ("bad_config", hint)


def test_ends_of_lines_may_be_those_of_windows(tmp_path):
    (tmp_path / "config.toml").write_bytes(b'[node]\r\nname = "ward"\r\n')
    assert load_config(tmp_path, {}, {}).config.node.name == "ward"


PLATFORMS = {
    "BFLCD_SERVICE_HOST": "10.0.0.1",
    "BFLCD_SERVICE_PORT": "9000",
    "BFLCD_SERVICE_PORT_METRICS": "9000",
    "BFLCD_PORT": "tcp://10.0.0.1:9000",
    "BFLCD_PORT_9000_TCP": "tcp://10.0.0.1:9000",
    "BFLCD_PORT_9000_TCP_PROTO": "tcp",
    "BFLCD_PORT_9000_TCP_ADDR": "10.0.0.1",
    "BFLCD_NODE_SERVICE_HOST": "10.0.0.1",
    "BFLCD_NODE_PORT_4001_TCP_PORT": "4001",
    "BFLCD_API_PORT": "tcp://10.0.0.1:80",
}
"""What Kubernetes gives each process for services called bflcd, bflcd-node and bflcd-api."""


def test_what_a_platform_says_of_its_services_is_no_setting(tmp_path):
    loaded = load_config(tmp_path, PLATFORMS, {})
    assert (loaded.config.api, loaded.warnings) == (Config().api, ())
    assert set(loaded.origins.values()) == {"default", "flag --datadir"}


def test_a_variable_that_may_be_a_mistake_is_told(tmp_path):
    """Given names with our prefix, Then one of a section is refused, any other is a warning that names what may be meant."""
    loaded = load_config(tmp_path, {"BFLCD_STROE_KEEP": "3", "BFLCD_IMAGE": "x"}, {})
    assert [text.partition(": ")[2] or text for text in loaded.warnings] == [
        "environment variable BFLCD_IMAGE is no setting of bflcd and is ignored; a setting's is BFLCD_SECTION_KEY",
        "environment variable BFLCD_STROE_KEEP is no setting of bflcd and is ignored; did you mean BFLCD_STORE_KEEP?",
    ]
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path, {"BFLCD_STORE_KEPT": "3"}, {})
    assert caught.value.hint == "did you mean BFLCD_STORE_KEEP?"


@pytest.mark.parametrize("key", ["data.path", "node.passphrase_file", "node.name"])
def test_a_value_that_is_no_utf8_is_refused_as_that(tmp_path, key):
    with pytest.raises(UsageError, match="bytes that are no UTF-8") as caught:
        load_config(tmp_path, {}, {key: "/data/\udcff"})
    assert str(caught.value).isascii()
