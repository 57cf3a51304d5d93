"""Data files: what is read from each format, and what a malformed one says."""

import gzip
import json

import numpy as np
import pytest

from bflcd.errors import InvariantError, OperatorError
from bflcd.learn.data import DataConfig
from bflcd.learn.datasets.readers import open_images
from bflcd.learn.task import find_task
from tests.helpers.learning import write_leaf, write_npz

PIXELS = np.random.default_rng(0).integers(0, 256, size=(6, 28, 28), dtype=np.uint8)


def write_idx(folder, stem, images, labels, *, compress=False):
    opener, suffix = (gzip.open, ".gz") if compress else (open, "")
    path = folder / f"{stem}-images-idx3-ubyte{suffix}"
    with opener(path, "wb") as stream:
        stream.write(np.array([2051, len(images), 28, 28], dtype=">u4").tobytes() + images.tobytes())
    with opener(folder / f"{stem}-labels-idx1-ubyte{suffix}", "wb") as stream:
        stream.write(np.array([2049, len(labels)], dtype=">u4").tobytes() + bytes(labels))
    return path


def test_npz_rows_are_selected_without_the_rest(tmp_path):
    images = np.random.default_rng(2).integers(0, 256, size=(3000, 28, 28), dtype=np.uint8)
    path = write_npz(tmp_path / "d.npz", 3000, images=images)
    source = open_images(str(path))
    rows = np.array([0, 1, 1023, 1024, 2047, 2999])
    np.testing.assert_array_equal(source.images(rows), images[rows])
    assert source.labels.dtype == np.int64
    assert source.writers is not None
    assert source.split is not None


def test_npz_without_writer_and_split(tmp_path):
    source = open_images(str(write_npz(tmp_path / "d.npz", writer=None, split=None)))
    assert source.writers is None
    assert source.split is None


def test_leaf_is_read_with_its_paper_turned_black(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    write_leaf(tmp_path / "train" / "all_data_0.json", {"b": 3, "a": 2})
    write_leaf(tmp_path / "train" / "all_data_1.json", {"c": 1})
    write_leaf(tmp_path / "test" / "all_data_0.json", {"a": 1})
    source = open_images(str(tmp_path))
    assert source.labels.tolist() == [0, 1, 2, 0, 1, 0, 0]
    assert source.writers.tolist() == [1, 1, 1, 0, 0, 2, 0]
    assert source.split.tolist() == [0, 0, 0, 0, 0, 0, 1]
    images = source.images(np.array([2, 4, 5]))
    expected = np.zeros((3, 784), dtype=np.uint8)
    expected[0, 2] = expected[1, 1] = expected[2, 0] = 255
    np.testing.assert_array_equal(images.reshape(3, 784), expected)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(("stem", "turned"), [("train", False), ("emnist-byclass-train", True)])
def test_idx_with_its_test_partner(tmp_path, compress, stem, turned):
    path = write_idx(tmp_path, stem, PIXELS[:4], [0, 1, 2, 3], compress=compress)
    write_idx(tmp_path, stem.replace("train", "test"), PIXELS[4:], [4, 5], compress=compress)
    for place in (path, tmp_path):
        source = open_images(str(place))
        assert source.labels.tolist() == [0, 1, 2, 3, 4, 5]
        assert source.split.tolist() == [0, 0, 0, 0, 1, 1]
        expected = PIXELS[[1, 4]]
        np.testing.assert_array_equal(source.images(np.array([1, 4])), expected.transpose(0, 2, 1) if turned else expected)


def test_any_other_way_to_transpose_is_our_bug(tmp_path):
    with pytest.raises(InvariantError, match="'maybe' is no way to transpose; known: auto, yes, no"):
        open_images(str(write_idx(tmp_path, "train", PIXELS, range(6))), transpose="maybe")


def bad_npz(name, **columns):
    return name, lambda folder: write_npz(folder / "d.npz", **columns)


def text(content, name="d.json"):
    def write(folder):
        (folder / name).write_text(content)
        return folder / name

    return write


def leaf(x, y):
    return text(json.dumps({"users": ["u"], "user_data": {"u": {"x": x, "y": y}}}))


def damaged(folder):
    path = write_npz(folder / "d.npz")
    data = bytearray(path.read_bytes())
    data[200:4000] = bytes(3800)
    path.write_bytes(data)
    return path


def unlabelled(folder):
    path = write_idx(folder, "train", PIXELS, [0] * 6)
    (folder / "train-labels-idx1-ubyte").unlink()
    return path


def two_sets(folder):
    write_idx(folder, "emnist-a-train", PIXELS, [0] * 6)
    write_idx(folder, "emnist-b-train", PIXELS, [0] * 6)
    return folder


def truncated(folder):
    path = write_idx(folder, "train", PIXELS, [0] * 6, compress=True)
    path.write_bytes(path.read_bytes()[:-2000])
    return path


def wrong_magic(folder):
    path = write_idx(folder, "train", PIXELS, [0] * 6)
    path.write_bytes(b"\0" * 16 + path.read_bytes()[16:])
    return path


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])
    return path


def cut_labels(folder):
    path = write_idx(folder, "train", PIXELS, [0] * 6)
    cut(folder / "train-labels-idx1-ubyte", 10)
    return path


def one_array(folder):
    with (folder / "d.npz").open("wb") as stream:
        np.save(stream, PIXELS)
    return folder / "d.npz"


def folder_named(path):
    path.mkdir()
    return path


def other_names(folder):
    np.savez(folder / "d.npz", x_train=PIXELS, y_train=np.zeros(6))
    return folder / "d.npz"


MALFORMED = [
    ("absent", lambda folder: folder / "none.npz", "missing_data", "no such file"),
    ("not an archive", text("hello", "d.npz"), "bad_data", "no numpy archive"),
    ("damaged archive", damaged, "bad_data", "cannot be read|no numpy archive"),
    ("no images", lambda f: write_npz(f / "d.npz", images=None), "bad_data", "'images'"),
    ("no labels", lambda f: write_npz(f / "d.npz", labels=None), "bad_data", "'labels'"),
    ("float images", lambda f: write_npz(f / "d.npz", images=np.zeros((60, 28, 28))), "bad_data", "float64"),
    ("other size", lambda f: write_npz(f / "d.npz", images=np.zeros((60, 32, 32), np.uint8)), "bad_data", r"\[60, 32, 32\]"),
    ("flat images", lambda f: write_npz(f / "d.npz", images=np.zeros((60, 784), np.uint8)), "bad_data", "784"),
    ("float labels", lambda f: write_npz(f / "d.npz", labels=np.zeros(60)), "bad_data", "labels is float64"),
    ("object labels", lambda f: write_npz(f / "d.npz", labels=np.array([None] * 60)), "bad_data", "labels"),
    ("too few labels", lambda f: write_npz(f / "d.npz", labels=np.zeros(59, int), writer=None, split=None), "bad_data", "59"),
    ("negative label", lambda f: write_npz(f / "d.npz", labels=np.full(60, -1)), "bad_data", "-1"),
    ("label out of range", lambda f: write_npz(f / "d.npz", classes=11), "bad_data", "label 10"),
    ("short writer", lambda f: write_npz(f / "d.npz", writer=np.zeros(3, int)), "bad_data", "3 writer"),
    ("split of three", lambda f: write_npz(f / "d.npz", split=np.full(60, 2)), "bad_data", "split"),
    ("only test rows", lambda f: write_npz(f / "d.npz", split=np.ones(60, int)), "bad_data", "empty"),
    ("no rows", lambda f: write_npz(f / "d.npz", rows=0, split=np.zeros(0, int)), "bad_data", "no rows"),
    ("unknown kind of file", text("a,b", "d.csv"), "bad_data", "known format"),
    ("empty folder", lambda f: f, "bad_data", "known format"),
    ("no JSON", text("{"), "bad_data", "no JSON"),
    ("deep JSON", text("[" * 200_000), "bad_data", "no JSON"),
    ("JSON list", text("[1]"), "bad_data", "users"),
    ("user without data", text('{"users": ["u"], "user_data": {}}'), "bad_data", "'u'"),
    ("LEAF lengths", leaf([[1.0] * 784], [0, 1]), "bad_data", "1 images but 2 labels"),
    ("LEAF label", leaf([[1.0] * 784], ["a"]), "bad_data", "label"),
    ("LEAF pixels", leaf([[1.0] * 783], [0]), "bad_data", "784"),
    ("LEAF range", leaf([[float("nan")] * 784], [0]), "bad_data", "from 0 to 1"),
    ("LEAF text", leaf([["a"] * 784], [0]), "bad_data", "no list of numbers"),
    ("idx without labels", unlabelled, "missing_data", "labels"),
    ("idx lengths", lambda f: write_idx(f, "train", PIXELS, [0]), "bad_data", "6 images but 1 labels"),
    ("idx magic", wrong_magic, "bad_data", "magic 0"),
    ("idx truncated", truncated, "bad_data", "cut off: its packed bytes end"),
    (
        "idx cut off",
        lambda f: cut(write_idx(f, "train", PIXELS, [0] * 6), 4000),
        "bad_data",
        "cut off: it has 4000 bytes of 4720",
    ),
    ("idx labels cut off", cut_labels, "bad_data", "cut off: it has 10 bytes of 14"),
    ("idx empty", lambda f: cut(write_idx(f, "train", PIXELS, [0] * 6), 0), "bad_data", "cut off: it has 0 bytes of 16"),
    ("npz cut off", lambda f: cut(write_npz(f / "d.npz"), 4000), "bad_data", "cut off: its 4000 bytes end"),
    ("npz empty", text("", "d.npz"), "bad_data", "it is empty"),
    ("npy instead", one_array, "bad_data", "one array"),
    ("npz a folder", lambda f: folder_named(f / "d.npz"), "missing_data", "directory"),
    ("other names", other_names, "bad_data", "no array 'labels', but x_train, y_train"),
    ("one-hot labels", lambda f: write_npz(f / "d.npz", labels=np.eye(60)), "bad_data", r"labels is float64\[60, 60\]"),
    ("two idx sets", two_sets, "bad_data", "2 data sets"),
]


@pytest.mark.parametrize(("make", "code", "words"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_malformed_data_names_file_fault_and_remedy(tmp_path, make, code, words):
    path = make(tmp_path)
    config = DataConfig(str(path), "equal")
    with pytest.raises(OperatorError, match=words) as caught:
        find_task("femnist", {"classes": "10", "test_percent": "0"}).load(config)
    assert caught.value.code == code
    assert str(tmp_path) in str(caught.value) or "empty" in words
    assert caught.value.hint


def test_femnist_needs_a_path_and_digits_takes_none():
    with pytest.raises(OperatorError, match="none is configured") as caught:
        find_task("femnist", {}).load(DataConfig())
    assert caught.value.code == "missing_data"
    with pytest.raises(OperatorError, match="brings its own"):
        find_task("digits", {}).load(DataConfig("x"))


@pytest.mark.parametrize("dtype", ["<i8", ">i4", "uint8"])
def test_arrays_in_column_order_and_of_either_end_are_read_as_they_are(tmp_path, dtype):
    """Given what was a MATLAB array / When it is read / Then every row has the pixels that numpy sees."""
    images = np.asfortranarray(PIXELS)
    path = write_npz(tmp_path / "d.npz", images=images, labels=np.arange(6).astype(dtype), writer=None, split=None)
    source = open_images(str(path))
    rows = np.array([0, 2, 5])
    np.testing.assert_array_equal(source.images(rows), PIXELS[rows])
    assert source.labels.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("images", "way"),
    [
        (np.zeros((60, 784), np.uint8), "images.reshape(-1, 28, 28)"),
        (np.zeros((60, 28, 28)), "(images * 255).round().astype('uint8') if they go from 0 to 1"),
    ],
)
def test_images_of_another_form_are_refused_with_the_way_to_ours(tmp_path, images, way):
    with pytest.raises(OperatorError) as refused:
        open_images(str(write_npz(tmp_path / "d.npz", images=images)))
    assert way in refused.value.hint


@pytest.mark.parametrize(
    ("labels", "way"), [(np.eye(60), "labels.argmax(axis=1)"), (np.zeros(60), "labels.astype(int)"), (np.zeros((60, 1)), "ravel")]
)
def test_labels_of_another_form_are_refused_with_the_way_to_ours(tmp_path, labels, way):
    with pytest.raises(OperatorError) as refused:
        open_images(str(write_npz(tmp_path / "d.npz", labels=labels)))
    assert way in refused.value.hint


def test_a_folder_as_torchvision_leaves_it_is_one_data_set(tmp_path):
    """Given MNIST/raw with packed and unpacked files, and what a Mac puts beside them, then it is read, from the folder above too."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for compress in (False, True):
        write_idx(raw, "train", PIXELS, [0, 1, 2, 3, 4, 5], compress=compress)
        write_idx(raw, "t10k", PIXELS[:2], [6, 7], compress=compress)
    (raw / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (raw / "._train-images-idx3-ubyte").write_bytes(b"\0\5\x16\7")
    for place in (raw, raw.parent):
        source = open_images(str(place))
        assert source.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
        assert source.split.tolist() == [0] * 6 + [1] * 2
        np.testing.assert_array_equal(source.images(np.array([0, 7])), PIXELS[[0, 1]])


def test_files_named_with_a_dot_and_packed_without_saying_so_are_read(tmp_path):
    write_idx(tmp_path, "train", PIXELS, [0, 1, 2, 3, 4, 5], compress=True)
    (tmp_path / "train-images-idx3-ubyte.gz").rename(tmp_path / "train-images.idx3-ubyte")
    (tmp_path / "train-labels-idx1-ubyte.gz").rename(tmp_path / "train-labels.idx1-ubyte.gz")
    source = open_images(str(tmp_path))
    assert source.labels.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(source.images(np.arange(6)), PIXELS)


def test_what_a_mac_puts_beside_leafs_files_is_no_data(tmp_path):
    write_leaf(tmp_path / "all_data_0.json", {"a": 2})
    (tmp_path / "._all_data_0.json").write_bytes(b"\0\5\x16\7")
    assert open_images(str(tmp_path)).labels.tolist() == [0, 1]
