"""Follows a pickle step by step without running any of it: which names it refers to, what it calls and changes.

Names may be put together on the pickle's own stack, so that reading the opcodes alone misses them. Here every opcode
does to the stack what the unpickler does, with stand-ins in place of the objects.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from smoothscan.safety.names import DATA, sort_of, words

MAX_OPCODES = 2_000_000
"""Longest pickle that is followed; one of a network with 1,000 layers has 100,000."""
_MAX_FINDINGS = 20
_MARK = object()
_IMPORT_MODULE = frozenset({"cloudpickle.cloudpickle.subimport", "dill._dill._import_module"})
_GETATTR = frozenset({"builtins.getattr", "__builtin__.getattr"})
_FROM_BYTES = "torch.storage._load_from_bytes"
_REBUILD = frozenset({"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"})


class MalformedError(Exception):
    """No unpickler could read on."""


class TooLongError(Exception):
    """The pickle has more opcodes than are followed."""


@dataclass(frozen=True, slots=True)
class Name:
    """Something that is imported."""

    module: str
    name: str

    @property
    def full(self) -> str:
        """The dotted name."""
        return f"{self.module}.{self.name}".rstrip(".")


@dataclass(frozen=True, slots=True)
class Made:
    """An object that the pickle makes."""

    by: Any = None
    """What is called to make it; None for plain containers."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that lie outside of the pickle."""

    type: str
    key: str
    numel: int


@dataclass
class Reading:
    """What a pickle would do."""

    names: set[str] = field(default_factory=set)
    """Dotted names that it refers to, those of data apart."""
    dangerous: list[str] = field(default_factory=list)
    """What no ordinary pickle does."""
    runs_code: bool = False
    """Whether it does more than build tensors and plain containers."""
    storages: dict[str, Storage] = field(default_factory=dict)
    """Numbers that it wants from outside, by key."""
    nested: list[bytes] = field(default_factory=list)
    """Files of torch.save inside strings of the pickle, which are loaded as well."""
    result: Any = None
    """What it ends with, if that is a constant."""

    def suspect(self, finding: str) -> None:
        """Note something that no ordinary pickle does."""
        self.runs_code = True
        if finding not in self.dangerous and len(self.dangerous) < _MAX_FINDINGS:
            self.dangerous.append(finding)


def follow(file: BinaryIO) -> Reading:
    """Follow one pickle and leave the file at its end.

    Never raises for what a pickle holds: what cannot be followed is a finding.

    Raises:
        TooLongError: it has more than `MAX_OPCODES` opcodes.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count == MAX_OPCODES:
                raise TooLongError
            machine.step(opcode.name, argument)
    except TooLongError:
        raise
    except Exception as error:  # pickletools raises all sorts of errors on malformed streams
        machine.reading.suspect(f"cannot be read to its end ({type(error).__name__})")
    return machine.reading


class _Machine:
    def __init__(self) -> None:
        self.reading = Reading()
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _CONSTANTS:
            self.stack.append(argument if opcode in _WITH_VALUE else _VALUES.get(opcode))
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        elif opcode not in ("PROTO", "FRAME"):
            self.reading.suspect(f"uses the opcode {opcode}, which no model needs")
            self.stack.append(Made())

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise MalformedError
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise MalformedError
        return self.stack[-1]

    def discard(self, _: Any) -> None:
        self.stack.pop()

    def stop(self, _: Any) -> None:
        value = self.pop()
        self.reading.result = value if isinstance(value, int | str | bytes) else None

    # -- containers --------------------------------------------------------------------------------------------------

    def make_tuple(self, count: int | None) -> None:
        self.stack.append(tuple(self.items(count)))

    def container(self, _: Any) -> None:
        self.items(None)
        self.stack.append(Made())

    def items(self, count: int | None) -> list[Any]:
        items = self.pop_to_mark() if count is None else [self.pop() for _ in range(count)][::-1]
        if any(isinstance(item, Name) and item.full in _GETATTR for item in items):
            self.reading.suspect("hands 'getattr' to something else")  # where it calls it itself, what for can be seen
        return items

    def put(self, index: Any) -> None:
        self.memo[len(self.memo) if index is None else int(index)] = self.top()

    def get(self, index: Any) -> None:
        self.stack.append(self.memo[int(index)])

    def fill(self, count: int | None) -> None:
        """Put items into the container below them, or whatever stands there."""
        self.items(count)
        self.changed(self.top())

    def build(self, _: Any) -> None:
        self.pop()
        target = self.top()
        self.changed(target)
        if not (isinstance(target, Made) and isinstance(target.by, Name) and target.by.full in DATA):
            self.reading.runs_code = True

    def changed(self, target: Any) -> None:
        if isinstance(target, Name):
            self.reading.suspect(f"changes {target.full[:100]!r}, which belongs to the program")

    # -- names and calls ---------------------------------------------------------------------------------------------

    def refer(self, module: Any, name: Any) -> Name:
        if not (isinstance(module, str) and isinstance(name, str)):
            self.reading.suspect("imports under a name that it computes")
            return Name("?", "?")
        found = Name(module, name)
        sort = sort_of(module, name)
        if sort != "data":
            self.reading.names.add(found.full)
            self.reading.runs_code = True
        if sort == "dangerous":
            self.reading.suspect(f"refers to {found.full[:100]!r}")
        return found

    def stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.stack.append(self.refer(module, name))

    def global_(self, argument: str) -> None:
        self.stack.append(self.refer(*_two(argument)))

    def inst(self, argument: str) -> None:
        arguments = tuple(self.pop_to_mark())
        self.call(self.refer(*_two(argument)), arguments)

    def obj(self, _: Any) -> None:
        callee, *arguments = self.pop_to_mark()
        self.call(callee, tuple(arguments))

    def new(self, count: int) -> None:
        arguments = [self.pop() for _ in range(count)][::-1]
        self.call(self.pop(), arguments[0])

    def persistent(self, _: Any) -> None:
        identity = self.pop()
        match identity:
            case ("storage", Name() as storage, str(key), str(), int(numel), *_):
                found = Storage(storage.full, key, numel)
                if self.reading.storages.setdefault(key, found).numel < numel:
                    self.reading.storages[key] = found
                self.stack.append(found)
            case _:
                self.reading.runs_code = True
                self.stack.append(Made())

    def call(self, callee: Any, arguments: Any) -> None:
        self.stack.append(Made(callee))
        if not (isinstance(callee, Name) and callee.full in DATA):
            self.reading.runs_code = True
        if not isinstance(callee, Name) or not isinstance(arguments, tuple):
            return
        match callee.full, arguments:
            case ("torch.Size", (tuple() as size,)):
                self.stack[-1] = size
            case (getter, (target, *rest)) if getter in _GETATTR:
                self.stack[-1] = self.attribute(target, rest)
            case (imported, (str(module),)) if imported in _IMPORT_MODULE:
                self.stack[-1] = Name(module, "")
            case (full, (bytes(content),)) if full == _FROM_BYTES:
                self.reading.nested.append(content)
            case (full, _) if full == _FROM_BYTES:
                self.reading.suspect("loads a file inside of it that it puts together itself")
            case (full, (Storage() as storage, offset, size, stride, *_)) if full in _REBUILD:
                if not _fits(storage, offset, size, stride):
                    self.reading.suspect("declares a tensor that reaches beyond its numbers")

    def attribute(self, target: Any, rest: list[Any]) -> Any:
        """Judge a `getattr`: bound methods are pickled so, and attacks use it to walk from object to object."""
        match rest:
            case ["__new__"]:
                pass  # of enumerations; whose it is was judged already
            case [str(name)] if name.isidentifier() and not name.startswith("__"):
                if isinstance(target, Name):
                    return self.refer(target.module, f"{target.name}.{name}".lstrip("."))
                if name in _METHODS_OF_ATTACKS:
                    self.reading.suspect(f"asks an object for its {name!r}")
            case _:
                self.reading.suspect("asks an object for something under a name that no model needs")
        return Made()


_METHODS_OF_ATTACKS = words("system popen exec eval load loads run call check_output Popen spawn execve")


def _two(argument: str) -> tuple[str, str]:
    module, name = argument.split(" ")
    return module, name


def _fits(storage: Storage, offset: Any, size: Any, stride: Any) -> bool:
    if not (isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)):
        return False
    if not all(isinstance(number, int) and number >= 0 for number in (offset, storage.numel, *size, *stride)):
        return False
    if 0 in size:
        return True
    last = offset + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True))
    return bool(last < storage.numel)


_VALUES: dict[str, Any] = {"NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES |= {"EMPTY_LIST": Made(), "EMPTY_DICT": Made(), "EMPTY_SET": Made(), "MARK": _MARK}
_WITH_VALUE = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
_CONSTANTS = _WITH_VALUE | _VALUES.keys() | {"NONE"}


def _with(method: Callable[[_Machine, Any], None], value: Any) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: method(machine, value)


def _steps() -> Iterator[tuple[str, Callable[[_Machine, Any], None]]]:
    m = _Machine
    yield from {"STOP": m.stop, "POP": m.discard, "POP_MARK": lambda machine, _: machine.pop_to_mark() and None}.items()
    yield "DUP", lambda machine, _: machine.stack.append(machine.top())
    yield from (("TUPLE", _with(m.make_tuple, None)), *((f"TUPLE{n}", _with(m.make_tuple, n)) for n in (1, 2, 3)))
    yield from ((name, m.container) for name in ("LIST", "DICT", "FROZENSET"))
    yield from ((name, _with(m.fill, None)) for name in ("APPENDS", "SETITEMS", "ADDITEMS"))
    yield from (("APPEND", _with(m.fill, 1)), ("SETITEM", _with(m.fill, 2)))
    yield from ((name, m.put) for name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
    yield from ((name, m.get) for name in ("GET", "BINGET", "LONG_BINGET"))
    yield from {
        "GLOBAL": m.global_,
        "STACK_GLOBAL": m.stack_global,
        "INST": m.inst,
        "OBJ": m.obj,
        "BUILD": m.build,
    }.items()
    yield from (("NEWOBJ", _with(m.new, 1)), ("NEWOBJ_EX", _with(m.new, 2)), ("REDUCE", _with(m.new, 1)))
    yield "BINPERSID", m.persistent


_STEPS = dict(_steps())
