"""Pickles read as data: the stack machine of `pickle`, without any instruction that runs code.

A pickle is a program, and `pickle.load` imports and calls whatever it names. This machine imports
and calls nothing. It knows the instructions (protocols 2 to 5) that a dict of strings, bytes,
integers, lists and uint8 matrices needs; of the names in a file it knows the few below, each of
which only selects a case of `_call`. All else is refused by name. Its memory is bounded by the size
of the file and `MAX_STEPS`, and since keys are strings nothing nested is ever hashed or walked.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from refimpl.datasets.errors import DatasetFormatError

MAX_STEPS = 1_000_000  # ten times those of a batch of 10,000 with file names
_EXPECTED = "a pickle of a dict of lists and uint8 matrices"


class _Name(Enum):
    """What a name in a pickle stands for: a mere token."""

    RECONSTRUCT = "numpy.core.multiarray._reconstruct"
    FROM_BUFFER = "numpy.core.numeric._frombuffer"  # protocol 5
    ARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    ENCODE = "_codecs.encode"  # bytes as Python 3 writes them in protocol 2
    UINT8 = "the result of numpy.dtype('u1')"


_NAMES = {name.value: name for name in _Name if name is not _Name.UINT8}
_NAMES |= {name.replace(".core.", "._core."): token for name, token in _NAMES.items()}  # NumPy 2


class _Matrix:
    """An array that the file has yet to fill, as `_reconstruct` leaves it."""

    value: NDArray[np.uint8] | None = None


def load_dict(content: bytes, path: Path) -> dict[str, Any]:
    """Return the dict that the pickle describes; keys become str, matrices uint8 arrays (n,m).

    A str of Python 2 is bytes here.

    Raises
    ------
    DatasetFormatError
        Anything but such a dict: other instructions, names, dtypes, shapes that do not fit their
        bytes, cut short, bytes after the end.
    """
    result = _Machine(content, path).run()
    if type(result) is not dict:
        raise DatasetFormatError(path, _EXPECTED, f"a pickle of {_kind(result)}")
    return {key: v.value if isinstance(v, _Matrix) else v for key, v in result.items()}


def _kind(value: Any) -> str:
    """Name what a value is without looking into it."""
    return value.value if isinstance(value, _Name) else type(value).__name__.strip("_").lower()


class _Machine:
    def __init__(self, content: bytes, path: Path) -> None:
        self.content, self.path, self.position = content, path, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.encodable = len(content)  # so that one string encoded again and again is no bomb

    def run(self) -> Any:
        """Carry out the instructions up to STOP, and return what they leave on the stack."""
        for _ in range(MAX_STEPS):
            code = self.content[self.position : self.position + 1] or self.refuse("one cut short")
            self.position += 1
            if code == pickle.STOP:
                return self.finish()
            step = _STEPS.get(code) or self.refuse(f"the instruction {_instruction(code)}")
            try:
                step(self)
            except (IndexError, KeyError):
                self.refuse("an instruction without its operands")
            except UnicodeError:
                self.refuse("text in no known encoding")
        return self.refuse(f"more than {MAX_STEPS} instructions")

    def refuse(self, got: str) -> NoReturn:
        raise DatasetFormatError(self.path, _EXPECTED, got)

    def finish(self) -> Any:
        if self.position < len(self.content) or len(self.stack) != 1:
            self.refuse("something left over after its end")
        return self.stack[0]

    def take(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if self.position > len(self.content):
            self.refuse("one cut short")
        return self.content[start : self.position]

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def counted(self, size: int) -> bytes:
        """Bytes after their own number, which has `size` bytes."""
        return self.take(self.number(size))

    def line(self) -> str:
        end = self.content.find(b"\n", self.position)
        return self.take(max(end - self.position, 0) + 1)[:-1].decode()

    def popped(self, count: int) -> list[Any]:
        """Take the top `count` values off the stack."""
        if count > len(self.stack):
            raise IndexError
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def marked(self) -> list[Any]:
        """Take the values above the last mark off the stack."""
        return self.popped(max(len(self.stack) - self.marks.pop(), 0))

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            self.refuse(f"items for {_kind(self.stack[-1])}")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            self.refuse(f"keys and values for {_kind(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, bytes):
                self.refuse(f"a key that is {_kind(key)}")
            name = _text(key)
            if name in target:
                self.refuse(f"the key {name[:40]!r} twice")
            target[name] = value

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            self.refuse("a name that is no text")
        full = f"{module}.{name}"
        self.stack.append(_NAMES.get(full) or self.refuse(f"the name {full[:80]!r}"))

    def reduce(self) -> None:
        function, arguments = self.popped(2)
        self.stack.append(self._call(function, arguments))

    def _call(self, function: Any, arguments: Any) -> Any:
        """Stand in for the call of a NumPy function, for the arguments that NumPy writes."""
        match function, arguments:
            case _Name.RECONSTRUCT, (_Name.ARRAY, (0,), b"b" | "b"):
                return _Matrix()
            case _Name.FROM_BUFFER, (bytes() as data, _Name.UINT8, shape, "C" | "F" as order):
                matrix = _Matrix()
                matrix.value = self._matrix(shape, data, order)
                return matrix
            case _Name.DTYPE, (str() | bytes() as code, *_):
                if _text(code).lstrip("|") != "u1":
                    self.refuse(f"an array of dtype {_text(code)[:20]!r}")
                return _Name.UINT8
            case _Name.ENCODE, (str() as text, "latin1"):
                self.encodable -= len(text)
                if self.encodable < 0:
                    self.refuse("one string encoded again and again")
                return text.encode("latin1")
        return self.refuse(f"other arguments of {_kind(function)} than NumPy writes")

    def build(self) -> None:
        state = self.stack.pop()
        match self.stack[-1], state:
            case _Name.UINT8, (int(), b"|" | "|", None, None, None, *_):
                pass  # what "u1" says already
            case _Matrix(value=None) as matrix, (
                int(),
                shape,
                _Name.UINT8,
                bool() | 0 | 1 as fortran,
                bytes() as data,
            ):
                matrix.value = self._matrix(shape, data, "F" if fortran else "C")
            case _:
                self.refuse(f"another state of {_kind(self.stack[-1])} than NumPy writes")

    def _matrix(self, shape: Any, data: bytes, order: Any) -> NDArray[np.uint8]:
        match shape:
            case (int() as n, int() as m) if n > 0 and m > 0:
                if n * m != len(data):
                    self.refuse(f"{len(data)} bytes for an array of shape {shape}"[:200])
                return np.frombuffer(data, np.uint8).reshape(shape, order=order)
        return self.refuse("an array that is no matrix")


def _text(value: str | bytes) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value


def _instruction(code: bytes) -> str:
    import pickletools

    names = {op.code.encode("latin1"): op.name for op in pickletools.opcodes}
    return names.get(code, repr(code))


_Step = Callable[[_Machine], Any]


def _push(value: Callable[[_Machine], Any]) -> _Step:
    return lambda machine: machine.stack.append(value(machine))


def _remember(place: Callable[[_Machine], int]) -> _Step:
    return lambda machine: machine.memo.__setitem__(place(machine), machine.stack[-1])


_STEPS: dict[bytes, _Step] = {
    pickle.PROTO: lambda m: m.number(1),
    pickle.FRAME: lambda m: m.number(8),
    pickle.NONE: _push(lambda m: None),
    pickle.NEWTRUE: _push(lambda m: True),
    pickle.NEWFALSE: _push(lambda m: False),
    pickle.BININT1: _push(lambda m: m.number(1)),
    pickle.BININT2: _push(lambda m: m.number(2)),
    pickle.BININT: _push(lambda m: m.number(4, signed=True)),
    pickle.LONG1: _push(lambda m: m.number(m.number(1), signed=True)),
    pickle.SHORT_BINSTRING: _push(lambda m: m.counted(1)),
    pickle.BINSTRING: _push(lambda m: m.counted(4)),
    pickle.SHORT_BINBYTES: _push(lambda m: m.counted(1)),
    pickle.BINBYTES: _push(lambda m: m.counted(4)),
    pickle.BINBYTES8: _push(lambda m: m.counted(8)),
    pickle.BYTEARRAY8: _push(lambda m: m.counted(8)),
    pickle.SHORT_BINUNICODE: _push(lambda m: m.counted(1).decode()),
    pickle.BINUNICODE: _push(lambda m: m.counted(4).decode()),
    pickle.BINUNICODE8: _push(lambda m: m.counted(8).decode()),
    pickle.EMPTY_LIST: _push(lambda m: []),
    pickle.EMPTY_DICT: _push(lambda m: {}),
    pickle.EMPTY_TUPLE: _push(lambda m: ()),
    pickle.TUPLE1: _push(lambda m: tuple(m.popped(1))),
    pickle.TUPLE2: _push(lambda m: tuple(m.popped(2))),
    pickle.TUPLE3: _push(lambda m: tuple(m.popped(3))),
    pickle.TUPLE: _push(lambda m: tuple(m.marked())),
    pickle.MARK: lambda m: m.marks.append(len(m.stack)),
    pickle.APPEND: lambda m: m.extend(m.popped(1)),
    pickle.APPENDS: lambda m: m.extend(m.marked()),
    pickle.SETITEM: lambda m: m.update(m.popped(2)),
    pickle.SETITEMS: lambda m: m.update(m.marked()),
    pickle.BINPUT: _remember(lambda m: m.number(1)),
    pickle.LONG_BINPUT: _remember(lambda m: m.number(4)),
    pickle.MEMOIZE: _remember(lambda m: len(m.memo)),
    pickle.BINGET: _push(lambda m: m.memo[m.number(1)]),
    pickle.LONG_BINGET: _push(lambda m: m.memo[m.number(4)]),
    pickle.GLOBAL: lambda m: m.name(m.line(), m.line()),
    pickle.STACK_GLOBAL: lambda m: m.name(*m.popped(2)),
    pickle.REDUCE: lambda m: m.reduce(),
    pickle.BUILD: lambda m: m.build(),
}
