"""The tree that the stream of a checkpoint describes, read without carrying out the stream.

`torch.save` writes Python's pickle format, a program for a small machine. A hostile program can
exhaust memory or time even where it may call nothing. So it is followed here step by step, with no
call of its own: containers, numbers and strings are made, and of a tensor only its form. Tensors
are read once the tree has been checked, from the same parse of the file: a second reader might see
another tree in it. The instructions are those that `torch.save` writes for plain containers; any
other is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from pickletools import genops
from typing import Any

from contnet.runs.archive import Archive, MalformedError
from contnet.runs.tensors import DTYPES, Storage, Stored

MOST_INSTRUCTIONS = 500_000
"""The longest program that is followed. A tensor takes about 30 instructions."""

LARGEST_INTEGER = 2**63

DICTIONARY = "collections OrderedDict"
TENSOR = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"
NAMES = {DICTIONARY, TENSOR, PARAMETER, *(f"torch {kind}" for kind in DTYPES)}
"""What a stream may name, as it spells it."""


@dataclass(frozen=True)
class _Name:
    name: str


def read_tree(archive: Archive) -> Any:
    """Return the tree of an archive: containers, numbers, strings, None, and `Stored` tensors.

    Raises:
        MalformedError: if the stream is damaged, names anything else, or its tensors do not fit the
            bytes that the archive holds.
    """
    machine = _Machine(archive.size)
    try:
        for n, (instruction, argument, _) in enumerate(genops(archive.stream)):
            if n >= MOST_INSTRUCTIONS:
                raise MalformedError("the stream is too long")
            machine.follow(instruction.name, argument)
    except MalformedError:
        raise
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise MalformedError(f"the stream is damaged: {error}") from error
    return machine.result()


class _Machine:
    """The stack and the memory of a stream.

    Args:
        size: a function that returns the number of bytes of a storage.
    """

    def __init__(self, size: Callable[[str], int]) -> None:
        self.size = size
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memory: dict[int, Any] = {}
        self.instructions: dict[str, Callable[[Any], None]] = {
            "PROTO": self.check_protocol,
            "STOP": lambda _: None,
            "MARK": self.mark,
            "GLOBAL": self.name,
            "REDUCE": self.make,
            "BUILD": self.ignore_attributes,
            "BINPERSID": self.storage,
            "APPEND": lambda _: self.extend([self.stack.pop()]),
            "APPENDS": lambda _: self.extend(self.since_mark()),
            "SETITEM": lambda _: self.update([self.stack.pop(-2), self.stack.pop()]),
            "SETITEMS": lambda _: self.update(self.since_mark()),
            "TUPLE": lambda _: self.push(tuple(self.since_mark())),
        }
        constants = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
        for instruction, value in constants.items():
            self.instructions[instruction] = partial(self.constant, value)
        self.instructions["EMPTY_LIST"] = lambda _: self.stack.append([])
        self.instructions["EMPTY_DICT"] = lambda _: self.stack.append({})
        for instruction in ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"):
            self.instructions[instruction] = self.push
        for n in (1, 2, 3):
            self.instructions[f"TUPLE{n}"] = partial(self.tuple, n)
        for instruction in ("BINPUT", "LONG_BINPUT"):
            self.instructions[instruction] = self.remember
        for instruction in ("BINGET", "LONG_BINGET"):
            self.instructions[instruction] = lambda index: self.stack.append(self.memory[index])

    def follow(self, instruction: str, argument: Any) -> None:
        if instruction not in self.instructions:
            raise MalformedError(f"the stream holds {instruction}, which torch.save does not write")
        self.instructions[instruction](argument)

    def result(self) -> Any:
        if self.marked or len(self.stack) != 1:
            raise MalformedError("the stream breaks off")
        return self.stack[0]

    def check_protocol(self, version: int) -> None:
        if version != 2:
            raise MalformedError(f"the stream is of version {version}, not 2")

    def push(self, value: Any) -> None:
        if isinstance(value, int) and abs(value) >= LARGEST_INTEGER:
            raise MalformedError("the stream holds an integer of more than 64 bits")
        self.stack.append(value)

    def constant(self, value: Any, _: Any) -> None:
        self.stack.append(value)

    def tuple(self, n: int, _: Any) -> None:
        self.stack.append(self.last(n))

    def last(self, n: int) -> Any:
        """Take the last n objects off the stack, as a tuple."""
        if len(self.stack) < n:
            raise IndexError("pop from an empty stack")
        taken = self.stack[-n:]
        del self.stack[-n:]
        return tuple(taken)

    def mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def remember(self, index: int) -> None:
        self.memory[index] = self.stack[-1]

    def name(self, name: str) -> None:
        if name not in NAMES:
            named = ".".join(name.split())
            raise MalformedError(f"it names {named}")
        self.stack.append(_Name(name))

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise MalformedError("the stream appends to something that is no list")
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        # The hash of nested tuples would take a time that doubles with each level.
        if not isinstance(target, dict) or not all(type(key) in (str, int) for key in items[::2]):
            raise MalformedError("a key in the stream is no string and no integer")
        target.update(zip(items[::2], items[1::2], strict=True))

    def ignore_attributes(self, _: Any) -> None:
        attributes = self.stack.pop()
        if not isinstance(self.stack[-1], dict) or set(attributes) - {"_metadata"}:
            raise MalformedError("the stream sets attributes of an object")

    def storage(self, _: Any) -> None:
        word, kind, key, _, numel = self.stack.pop()
        dtype = DTYPES.get(kind.name.removeprefix("torch ")) if isinstance(kind, _Name) else None
        if word != "storage" or dtype is None or not _is_size(numel):
            raise MalformedError("the stream refers to something that is no storage of a tensor")
        if self.size(key) != numel * dtype.itemsize:
            raise MalformedError(f"the file holds {self.size(key):,} bytes for {numel:,} numbers")
        self.stack.append(Storage(key, dtype, numel))

    def make(self, _: Any) -> None:
        made, arguments = self.last(2)
        name = made.name if isinstance(made, _Name) else None
        if name == DICTIONARY and arguments == ():
            self.stack.append({})
        elif name == TENSOR:
            self.stack.append(_tensor(*arguments))
        elif name == PARAMETER and isinstance(arguments[0], Stored):
            self.stack.append(arguments[0])
        else:
            raise MalformedError("the stream calls something that makes no tensor")


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any, hooks: Any, *_: Any
) -> Stored:
    """Return a tensor that lies within its storage, and has no more numbers than that."""
    if not isinstance(storage, Storage) or hooks != {}:
        raise MalformedError("the stream makes a tensor of something else than its storage")
    sizes = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(map(_is_size, sizes)):
        raise MalformedError("the stream makes a tensor of no shape")
    end = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1
    if prod(shape) > storage.numel or (prod(shape) > 0 and end > storage.numel):
        raise MalformedError("a tensor is larger than the bytes that the file holds of it")
    return Stored(storage, offset, tuple(shape), tuple(strides))


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0
