"""Pickles read as data: what Python and NumPy write comes back, and nothing ever runs."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import batch, python2_pickle, refused
from hypothesis import given
from hypothesis import strategies as st

from refimpl.datasets import pickles
from refimpl.datasets.pickles import load_dict

PATH = Path("data_batch_1")
IMAGES, LABELS = batch(2)
EXPECTED = "a pickle of a dict"

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(min_size=1),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def same(got: Any, expected: Any) -> bool:
    return type(got) is type(expected) and got == expected


@given(protocol=st.integers(2, 5), value=st.dictionaries(st.text(), plain, max_size=4))
def test_plain_values_come_back_as_from_pickle_load(protocol: int, value: dict) -> None:
    content = pickle.dumps(value, protocol)
    # The one difference: a key that is bytes becomes str, and these have none.
    assert same(load_dict(content, PATH), pickle.loads(content))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("key", ["data", b"data"])
def test_matrices_come_back_as_numpy_wrote_them(protocol: int, order: Any, key: Any) -> None:
    matrix = np.array(IMAGES, order=order)
    got = load_dict(pickle.dumps({key: matrix, "twice": matrix}, protocol), PATH)
    for name in ("data", "twice"):
        np.testing.assert_array_equal(got[name], IMAGES)
        assert got[name].dtype == np.uint8


@pytest.mark.parametrize("package", ["numpy.core", "numpy._core"])
def test_both_names_of_numpys_core_are_known(package: str) -> None:
    content = pickle.dumps({"data": IMAGES}, 2)
    for known in (b"numpy.core", b"numpy._core"):
        content = content.replace(b"c" + known + b".multiarray", f"c{package}.multiarray".encode())
    np.testing.assert_array_equal(load_dict(content, PATH)["data"], IMAGES)


def test_the_layout_of_python_2() -> None:
    content = python2_pickle(IMAGES, LABELS)
    got = load_dict(content, PATH)
    expected = pickle.loads(content, encoding="bytes")
    assert got.keys() == {key.decode() for key in expected}
    assert got["labels"] == expected[b"labels"] == LABELS
    assert got["filenames"] == expected[b"filenames"]
    np.testing.assert_array_equal(got["data"], expected[b"data"])


class Gadget:
    """Pickles as a call of the function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "function", [os.system, eval, subprocess.run, getattr, __import__, np.load, np.memmap]
)
def test_a_gadget_is_refused_by_name_and_never_runs(
    tmp_path: Path, protocol: int, function: Any
) -> None:
    ran = tmp_path / "ran"
    content = pickle.dumps({"data": Gadget(function, f"touch {ran}")}, protocol)
    # Protocol 0 fails at its first text instruction, before any name.
    with refused(PATH, expected=EXPECTED, got=function.__name__ if protocol > 0 else "instruction"):
        load_dict(content, PATH)
    assert not ran.exists()


def test_the_gadget_is_live_under_pickle_load(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    pickle.loads(pickle.dumps(Gadget(Path.touch, ran)))
    assert ran.exists()


def program(*parts: Any) -> bytes:
    """A pickle from instructions; str and int stand for what pushes them."""
    code = pickle.PROTO + b"\x02"
    for part in parts:
        if isinstance(part, str):
            part = pickle.BINUNICODE + struct.pack("<I", len(part)) + part.encode()
        elif isinstance(part, int):
            part = pickle.LONG1 + b"\x40" + part.to_bytes(64, "little", signed=True)
        code += part
    return code


def name(full: str) -> bytes:
    module, _, attribute = full.rpartition(".")
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def entry(*value: Any) -> bytes:
    """A dict whose only value these instructions make."""
    return program(pickle.EMPTY_DICT, "data", *value, pickle.SETITEM, pickle.STOP)


ENCODE, DTYPE, ARRAY = name("_codecs.encode"), name("numpy.dtype"), name("numpy.ndarray")
RECONSTRUCT = name("numpy.core.multiarray._reconstruct")
FROM_BUFFER = name("numpy.core.numeric._frombuffer")
U1 = (DTYPE, "u1", pickle.TUPLE1, pickle.REDUCE)
SIX = pickle.SHORT_BINBYTES + b"\x06abcdef"
EMPTY = (RECONSTRUCT, ARRAY, 0, pickle.TUPLE1, "b", pickle.TUPLE3, pickle.REDUCE)


def built(*shape: Any, dtype: Any = U1, data: Any = SIX, order: bytes = pickle.NEWFALSE) -> bytes:
    state = (pickle.MARK, 1, *shape, *dtype, order, data, pickle.TUPLE)
    return entry(*EMPTY, *state, pickle.BUILD)


def test_the_building_blocks_are_valid_before_they_are_misused() -> None:
    content = built(2, 3, pickle.TUPLE2)
    assert load_dict(content, PATH)["data"].tobytes() == b"abcdef"
    assert pickle.loads(content)["data"].tobytes() == b"abcdef"
    framed = entry(FROM_BUFFER, pickle.MARK, SIX, *U1, 2, 3, pickle.TUPLE2, "C", pickle.TUPLE)
    assert load_dict(framed[:-2] + pickle.REDUCE + framed[-2:], PATH)["data"].shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (built(2**40, 3, pickle.TUPLE2), "6 bytes for an array of shape (1099511627776, 3)"),
        (built(2**255, 2**255, pickle.TUPLE2), "6 bytes for an array of shape (5789604"),
        (built(-2, -3, pickle.TUPLE2), "an array that is no matrix"),
        (built(0, 3, pickle.TUPLE2), "an array that is no matrix"),
        (built(6, pickle.TUPLE1), "an array that is no matrix"),
        (built("2", 3, pickle.TUPLE2), "an array that is no matrix"),
        (built(6), "an array that is no matrix"),
        (built(2, 3, pickle.TUPLE2, dtype=("u1",)), "another state of matrix"),
        (built(2, 3, pickle.TUPLE2, data="abcdef"), "another state of matrix"),
        (built(2, 3, pickle.TUPLE2, order=pickle.EMPTY_LIST), "another state of matrix"),
        (built(2, 3, pickle.TUPLE2, dtype=(DTYPE, "O8", pickle.TUPLE1, pickle.REDUCE)), "'O8'"),
        (entry(DTYPE, "V1000000000", pickle.TUPLE1, pickle.REDUCE), "dtype 'V1000000000'"),
        (entry(DTYPE, "i8", pickle.TUPLE1, pickle.REDUCE), "dtype 'i8'"),
        (entry(DTYPE, pickle.EMPTY_LIST, pickle.TUPLE1, pickle.REDUCE), "numpy.dtype"),
        (entry(DTYPE, pickle.EMPTY_TUPLE, pickle.REDUCE), "other arguments of numpy.dtype"),
        (entry(*U1, ">", pickle.BUILD), "another state of the result of numpy.dtype"),
        (entry(*EMPTY, pickle.EMPTY_DICT, pickle.BUILD), "another state of matrix"),
        (entry(ENCODE, pickle.EMPTY_DICT, pickle.BUILD), "another state of _codecs.encode"),
        (entry(ARRAY, 9, pickle.TUPLE1, pickle.REDUCE), "other arguments of numpy.ndarray"),
        (entry(RECONSTRUCT, ARRAY, 9, pickle.TUPLE1, "b", pickle.TUPLE3, pickle.REDUCE), "other"),
        (entry(RECONSTRUCT, DTYPE, 0, pickle.TUPLE1, "b", pickle.TUPLE3, pickle.REDUCE), "other"),
        (entry(ENCODE, "x", "zip", pickle.TUPLE2, pickle.REDUCE), "other arguments of _codecs"),
        (entry(ENCODE, "x", "rot13", pickle.TUPLE2, pickle.REDUCE), "other arguments of _codecs"),
        (entry(ENCODE, "x", "latin1", "x", pickle.TUPLE3, pickle.REDUCE), "other arguments"),
        (entry(ENCODE, "\u20ac", "latin1", pickle.TUPLE2, pickle.REDUCE), "no known encoding"),
        (entry("f", pickle.EMPTY_TUPLE, pickle.REDUCE), "other arguments of str"),
        (entry(name("numpy.core.multiarray.scalar")), "the name 'numpy.core.multiarray.scalar'"),
        (entry(name("numpy.ndarray.tofile")), "the name 'numpy.ndarray.tofile'"),
        (entry(name("numpy.ndarray" + "x" * 300)), "the name 'numpy.ndarrayxxx"),
        (entry("numpy", 3, pickle.STACK_GLOBAL), "a name that is no text"),
        (entry(pickle.GLOBAL + b"numpy"), "the name"),
        (entry(ARRAY, pickle.EMPTY_TUPLE, pickle.NEWOBJ), "the instruction NEWOBJ"),
        (entry(pickle.PERSID + b"1\n"), "the instruction PERSID"),
        (entry(pickle.MARK, 1, pickle.INST + b"os\nsystem\n"), "the instruction INST"),
        (entry(pickle.EXT1 + b"\x01"), "the instruction EXT1"),
        (entry(pickle.EMPTY_SET), "the instruction EMPTY_SET"),
        (entry(1, pickle.DUP, pickle.TUPLE2), "the instruction DUP"),
        (entry(b"\xff"), "the instruction b'\\xff'"),
        (program(pickle.EMPTY_LIST, pickle.STOP), "a pickle of list"),
        (program(pickle.NONE, pickle.STOP), "a pickle of nonetype"),
        (program(*EMPTY, pickle.STOP), "a pickle of matrix"),
        (program(DTYPE, pickle.STOP), "a pickle of numpy.dtype"),
        (program(pickle.STOP), "left over"),
        (program(1, pickle.EMPTY_DICT, pickle.STOP), "left over"),
        (program(pickle.EMPTY_DICT, pickle.STOP) + b"x", "left over"),
        (program(pickle.TUPLE3), "without its operands"),
        (program(pickle.APPEND), "without its operands"),
        (program(pickle.APPENDS), "without its operands"),
        (program(pickle.BUILD), "without its operands"),
        (program(pickle.MEMOIZE), "without its operands"),
        (program(pickle.BINGET + b"\x07"), "without its operands"),
        (program(1, pickle.MARK, pickle.TUPLE2), "without its operands"),
        (program(1, 2, pickle.APPEND), "items for int"),
        (program(1, "k", 2, pickle.SETITEM), "keys and values for int"),
        (program(pickle.EMPTY_DICT, pickle.MARK, "k", pickle.SETITEMS), "keys and values for dict"),
        (program(pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, 1, pickle.SETITEM), "a key that is tuple"),
        (program(pickle.EMPTY_DICT, pickle.MARK, "k", 1, "k", 2, pickle.SETITEMS), "'k' twice"),
        (
            program(pickle.EMPTY_DICT, pickle.MARK, "k", 1, b"U\x01k", 2, pickle.SETITEMS),
            "'k' twice",
        ),
        (program(pickle.BINUNICODE + b"\x01\0\0\0\xff"), "no known encoding"),
        (program(pickle.BINBYTES8 + b"\xff" * 8), "cut short"),
        (program(pickle.BYTEARRAY8 + b"\xff" * 7 + b"\x7f"), "cut short"),
        (program(pickle.BINSTRING + b"\xff" * 4), "cut short"),
        (program(pickle.LONG4 + b"\xff\xff\xff\x7f"), "the instruction LONG4"),
        (b"", "cut short"),
    ],
)
def test_refused(content: bytes, got: str) -> None:
    with refused(PATH, expected=EXPECTED, got=got):
        load_dict(content, PATH)


def test_wherever_it_is_cut_it_is_refused() -> None:
    for content in (
        pickle.dumps({b"labels": LABELS, b"data": IMAGES[:, :9]}, 2),
        pickle.dumps({"labels": LABELS, "data": IMAGES[:, :9]}, 5),
        python2_pickle(IMAGES[:, :9], LABELS),
    ):
        load_dict(content, PATH)
        for length in range(len(content)):
            with refused(PATH, expected=EXPECTED):
                load_dict(content[:length], PATH)


def test_a_matrix_is_filled_once() -> None:
    state = (pickle.MARK, 1, 2, 3, pickle.TUPLE2, *U1, pickle.NEWFALSE, SIX, pickle.TUPLE)
    with refused(PATH, got="another state of matrix"):
        load_dict(entry(*EMPTY, *state, pickle.BUILD, *state, pickle.BUILD), PATH)


def test_no_small_file_makes_much_of_itself(monkeypatch) -> None:
    """Each of these is a bomb for a machine without bounds."""
    monkeypatch.setattr(pickles, "MAX_STEPS", 100_000)
    get, put = pickle.BINGET + b"\x01", pickle.BINPUT + b"\x01"
    big = "x" * 100_000
    nested = (pickle.EMPTY_TUPLE, put, (get + get + pickle.TUPLE2 + put) * 60)
    again = (get, "latin1", pickle.TUPLE2, pickle.REDUCE)
    bombs = {
        "memo of 32 GB": (
            program(pickle.EMPTY_DICT, pickle.LONG_BINPUT + b"\xff" * 4),
            "cut short",
        ),
        "key that takes 2^60 steps to hash": (
            program(*nested, pickle.EMPTY_DICT, get, 1, pickle.SETITEM),
            "a key that is tuple",
        ),
        "name that takes 2^60 steps to print": (
            program(*nested, pickle.EMPTY_TUPLE, pickle.REDUCE),
            "other arguments of tuple",
        ),
        "string encoded a thousand times": (
            entry(big, put, *(ENCODE, *again) * 1000),
            "again and again",
        ),
        "endless lists": (
            program(pickle.EMPTY_LIST * (pickles.MAX_STEPS + 1)),
            f"more than {pickles.MAX_STEPS} instructions",
        ),
    }
    for content, got in bombs.values():
        tracemalloc.start()
        with refused(PATH, got=got):
            load_dict(content, PATH)
        # A list of 56 bytes and its place on the stack, for each of the most instructions.
        assert tracemalloc.get_traced_memory()[1] < 100 * pickles.MAX_STEPS
        tracemalloc.stop()


def test_reading_imports_nothing_that_a_file_names() -> None:
    code = (
        "import sys; from pathlib import Path; from refimpl.datasets.pickles import load_dict\n"
        "try: load_dict(b'\\x80\\x02ccolorsys\\nrgb_to_yiq\\n.', Path('x'))\n"
        "except ValueError: print('colorsys' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout == "False\n"
