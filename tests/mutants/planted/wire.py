"""Defects of the codec, of signatures, and of tensors."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

CODEC = "bflcd/wire/codec.py"
READER = "bflcd/wire/reader.py"
FIELDS = "bflcd/wire/fields.py"
TENSORS = "bflcd/wire/tensors.py"

CODED: Final = selection(
    "wire/test_codec.py::test_a_wrong_head_is_refused", "wire/test_hostile.py::test_no_value_has_two_encodings"
)
HOSTILE: Final = selection(
    "wire/test_hostile.py::test_padded",
    "wire/test_hostile.py::test_lying_lengths_and_depth_cost_no_memory",
    "wire/test_hostile.py::test_above_the_limit_nothing_is_read",
)
LIMITS: Final = selection("wire/test_codec.py::test_one_over_each_limit_and_every_other_type_is_refused")
SIGNED: Final = selection("wire/test_envelope.py", "wire/test_blocks.py")
TYPED: Final = selection("wire/test_tensors.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "not-canonical",
        "a value has many encodings, so many hashes (section 4)",
        CODEC,
        "    if encode(value) != data:\n",
        "    if not encode(value):\n",
        CODED,
    ),
    mutant(
        "trailing-bytes",
        "bytes after a message are ignored (section 4)",
        CODEC,
        "    if encode(value) != data:\n",
        "    if not data.startswith(encode(value)):\n",
        HOSTILE,
    ),
    mutant(
        "depth-unlimited",
        "nested arrays and maps are unpacked where a plain value belongs (row 27)",
        READER,
        "            max_array_len=0,\n            max_map_len=0,\n",
        "            max_array_len=2**24,\n            max_map_len=2**24,\n",
        HOSTILE,
    ),
    mutant(
        "length-unlimited",
        "an array's length is not held against its limit before it is read (row 27)",
        READER,
        '        if not low <= count <= high:\n            raise malformed(f"an array',
        '        if count < low:\n            raise malformed(f"an array',
        LIMITS,
    ),
    mutant(
        "size-unlimited",
        "a message above its limit is read (row 27)",
        CODEC,
        "    if len(data) > _LIMITS[cls]:\n",
        "    if len(data) < 0:\n",
        HOSTILE,
    ),
    mutant(
        "integers-unlimited",
        "a number outside its range is taken (section 4)",
        FIELDS,
        '        if not low <= value <= high:\n            raise malformed(f"{where}: {value} is outside',
        '        if value is None:\n            raise malformed(f"{where}: {value} is outside',
        LIMITS,
    ),
    mutant(
        "wire-version-ignored",
        "a message of another wire version is read (section 4)",
        CODEC,
        "    if version != WIRE_VERSION:\n",
        "    if version < 0:\n",
        CODED,
        SIGNED,
    ),
    mutant(
        "kind-not-signed",
        "a prepare's signature is a commit's too (FISCO FIB-134, raijin 17)",
        "bflcd/wire/envelope.py",
        "    return digest(Domain.SIGN, payload)\n",
        "    return digest(Domain.SIGN, payload[3:])\n",
        SIGNED,
        selection("consensus/test_faults.py"),
    ),
    mutant(
        "author-not-in-identity",
        "two members' equal messages are one (section 4)",
        "bflcd/wire/envelope.py",
        "return digest(Domain.MESSAGE, envelope.author, envelope.payload)",
        "return digest(Domain.MESSAGE, envelope.payload)",
        SIGNED,
        selection("ledger/test_transition.py", "ledger/test_apply.py"),
    ),
    mutant(
        "signature-in-identity",
        "an author makes many identities of one message (section 4)",
        "bflcd/wire/envelope.py",
        "return digest(Domain.MESSAGE, envelope.author, envelope.payload)",
        "return digest(Domain.MESSAGE, envelope.author, envelope.payload, envelope.signature)",
        SIGNED,
        selection("ledger/test_transition.py", "ledger/test_apply.py"),
    ),
    mutant(
        "not-a-number",
        "NaN and infinity pass as weights (row 37)",
        TENSORS,
        "    if not (low >= -VALUE_LIMIT and high <= VALUE_LIMIT):\n",
        "    if low < -VALUE_LIMIT or high > VALUE_LIMIT:\n",
        TYPED,
    ),
    mutant(
        "label-unchecked",
        "another's update is offered as one's own (section 5.1; row 39)",
        TENSORS,
        "    if bytes(data[: len(header)]) != header:\n",
        "    if not data:\n",
        TYPED,
    ),
    mutant(
        "chunk-hash-is-root",
        "a chunk's hash passes for a blob's (section 4: one domain each)",
        "bflcd/crypto/hashing.py",
        "person=Domain.CHUNK.value",
        "person=Domain.BLOB.value",
        selection("crypto/test_hashing.py"),
    ),
)
