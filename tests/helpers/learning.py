"""Small specifications, payloads and data files for the tests of learning."""

import json
from pathlib import Path

import numpy as np

from bflcd.params import TaskSpec, TensorSpec
from tests.helpers.tensors import encode_tensors

SPEC = (
    TensorSpec("a.bias", (3,), "F32"),
    TensorSpec("b.count", (), "I64"),
    TensorSpec("c.weight", (2, 3), "F32"),
)


def payload(floats, *, label=None, count=0, spec=SPEC):
    """A payload of SPEC whose nine weights are `floats`."""
    values = np.asarray(floats, dtype=np.float32)
    arrays = {"a.bias": values[:3], "b.count": np.array(count, dtype=np.int64), "c.weight": values[3:].reshape(2, 3)}
    return encode_tensors(arrays, spec, label=label)


def task_spec(factory, tensors, **fields):
    """A TaskSpec with the defaults of the genesis."""
    return TaskSpec(factory=factory, options=(), tensors=tensors, **fields)


def write_npz(path: Path, rows=60, writers=6, classes=10, **replaced):
    """An .npz of noise images in the layout of the femnist task; a column given as None is left out."""
    rng = np.random.default_rng(1)
    columns = {
        "images": rng.integers(0, 256, size=(rows, 28, 28), dtype=np.uint8),
        "labels": (np.arange(rows) % classes).astype(np.uint8),
        "writer": np.sort(np.arange(rows) % writers).astype(np.int16),
        "split": (np.arange(rows) >= rows - 10).astype(np.uint8),
        **replaced,
    }
    np.savez_compressed(path, **{name: column for name, column in columns.items() if column is not None})
    return path


def write_leaf(path: Path, users: dict[str, int]):
    """A LEAF file: `users` maps names to their numbers of rows; row j of a user has one black pixel at place j and label j."""

    def image(place):
        return [0.0 if i == place else 1.0 for i in range(784)]

    data = {user: {"x": [image(j) for j in range(n)], "y": list(range(n))} for user, n in users.items()}
    path.write_text(json.dumps({"users": list(users), "num_samples": list(users.values()), "user_data": data}))
    return path
