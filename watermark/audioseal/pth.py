"""Read the tensors of a `.pth` file without loading its pickle: nothing in the file can run.

A `.pth` is a zip archive: `data.pkl`, a pickle, says how tensors are cut out of the other entries. Here the
opcodes of that pickle are read as data (`pickletools` lists them and executes none) and a stack of plain
values follows them. A pickle can name anything in Python and ask for it to be called; this reader calls
nothing, knows a dozen names, and refuses the file for any other:

    torch storages and `_rebuild_tensor_v2`, `_rebuild_parameter`     become the tensors
    OrderedDict, dict                                                 become a dict
    omegaconf's classes, and the names it needs                       become nothing: settings are not read

`torch.load(weights_only=True)` was not taken: it refuses the settings of such files unless their classes are
allowed to be built, and has been broken out of before (CVE-2025-32434).
Source: PEP 3154 and pickletools for the opcodes, torch/_utils.py for the tensors.
Not covered: files older than PyTorch 1.6 (no zip), sparse and quantized tensors.
"""

import pickletools
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from watermark.errors import WeightsError

MAX_PICKLE_BYTES = 16 * 2**20
MAX_TENSOR_BYTES = 2**30
_MAX_DIMENSIONS = 8
_DTYPES = {
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch BoolStorage": torch.bool,
}
_DICTS = {"collections OrderedDict", "builtins dict", "__builtin__ dict"}
_TENSOR, _PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
_SETTINGS = re.compile(
    r"omegaconf(\.[a-z]+)? [A-Za-z]+|typing (Any|Union|Optional|Dict|List)|pathlib PosixPath"
    r"|collections defaultdict|(__builtin__|builtins) (int|long|float|str|bool|list|tuple|set|object)"
)
_STORAGE_KEY = re.compile(r"\d{1,6}")


@dataclass(frozen=True)
class _Name:
    """Something of Python that the pickle asks for; never looked up."""

    text: str


class _Mark:
    """Where a group on the stack begins."""


class _Ignored:
    """A value of the settings; whatever is done to it, nothing happens."""


@dataclass
class _Machine:
    """The stack and the memory that the opcodes work on, and the entries that tensors are cut from."""

    storages: Callable[[str], bytes]
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def group(self) -> list[Any]:
        """What was pushed since the last mark, which goes too."""
        place = max(i for i, value in enumerate(self.stack) if isinstance(value, _Mark))
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def pop(self, num: int) -> list[Any]:
        """The last `num` values, the oldest first."""
        values = self.stack[-num:]
        if len(values) < num:
            raise IndexError("the stack is empty")
        del self.stack[-num:]
        return values

    def name(self, text: str) -> None:
        known = text in _DTYPES or text in _DICTS or text in (_TENSOR, _PARAMETER)
        if not known and not _SETTINGS.fullmatch(text):
            raise WeightsError(f"it names {text.replace(' ', '.')}, which no weights need")
        self.stack.append(_Name(text))

    def call(self, function: Any, arguments: tuple[Any, ...]) -> None:
        """What a call would give, made by us; nothing is called."""
        text = function.text if isinstance(function, _Name) else ""
        if text == _TENSOR:
            self.stack.append(_tensor(*arguments[:4]))
        elif text == _PARAMETER:
            self.stack.append(arguments[0])
        elif text in _DICTS:
            self.stack.append(dict(*arguments))
        elif _SETTINGS.fullmatch(text) or isinstance(function, _Ignored):
            self.stack.append(_Ignored())
        else:
            raise WeightsError(f"it calls {text.replace(' ', '.') or 'something unnamed'}")

    def storage(self, reference: tuple[Any, ...]) -> None:
        """A persistent id: ('storage', dtype's class, entry, device, number of elements)."""
        kind, cls, key, _, _ = reference
        if kind != "storage" or not isinstance(cls, _Name) or not _STORAGE_KEY.fullmatch(key):
            raise WeightsError("it refers to something that is no tensor's storage")
        content = bytearray(self.storages(key))
        dtype = _DTYPES[cls.text]
        self.stack.append(torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype))

    def put(self, items: list[Any]) -> None:
        """Pairs into the dict below them."""
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(zip(items[::2], items[1::2], strict=True))

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)


_LITERALS = frozenset(
    {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
    | {"BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"}
)
_SILENT = frozenset({"PROTO", "FRAME"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": lambda m, _: m.stack.append(_Mark()),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "EMPTY_SET": lambda m, _: m.stack.append(_Ignored()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.group())),
    "TUPLE1": lambda m, _: m.stack.append(tuple(m.pop(1))),
    "TUPLE2": lambda m, _: m.stack.append(tuple(m.pop(2))),
    "TUPLE3": lambda m, _: m.stack.append(tuple(m.pop(3))),
    "ADDITEMS": lambda m, _: m.group(),
    "APPEND": lambda m, _: m.append(m.pop(1)),
    "APPENDS": lambda m, _: m.append(m.group()),
    "SETITEM": lambda m, _: m.put(m.pop(2)),
    "SETITEMS": lambda m, _: m.put(m.group()),
    "BINPUT": lambda m, place: m.memo.__setitem__(place, m.stack[-1]),
    "LONG_BINPUT": lambda m, place: m.memo.__setitem__(place, m.stack[-1]),
    "MEMOIZE": lambda m, _: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    "BINGET": lambda m, place: m.stack.append(m.memo[place]),
    "LONG_BINGET": lambda m, place: m.stack.append(m.memo[place]),
    "GLOBAL": lambda m, text: m.name(text),
    "STACK_GLOBAL": lambda m, _: m.name(" ".join(m.pop(2))),
    "REDUCE": lambda m, _: m.call(*m.pop(2)),
    "NEWOBJ": lambda m, _: m.call(*m.pop(2)),
    "BUILD": lambda m, _: m.pop(1),  # attributes of a dict or of settings: nobody reads them
    "BINPERSID": lambda m, _: m.storage(m.pop(1)[0]),
}


def read_pth(path: Path) -> Any:
    """The dicts, lists, numbers, texts and tensors of a `.pth` file; settings come out as empty objects.

    Raises WeightsError for a file that is no such archive, is damaged, is larger than 1 GiB, or names
    anything that weights do not need.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except WeightsError as exc:
        raise WeightsError(f"{path.name} is not read: {exc}") from exc
    except OSError as exc:
        raise WeightsError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except (zipfile.BadZipFile, ValueError, KeyError, IndexError, TypeError, RuntimeError) as exc:
        raise WeightsError(f"{path.name} is no .pth file, or damaged: download it again") from exc


def _read(archive: zipfile.ZipFile) -> Any:
    entries = {info.filename: info for info in archive.infolist()}
    if sum(info.file_size for info in entries.values()) > MAX_TENSOR_BYTES:
        raise WeightsError("it is larger than 1 GiB")
    (pickled,) = [name for name in entries if name.endswith("/data.pkl")]
    folder = pickled.removesuffix("data.pkl")
    if entries[pickled].file_size > MAX_PICKLE_BYTES:
        raise WeightsError("its index is larger than 16 MiB")
    if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder").strip() != b"little":
        raise WeightsError("it was written on a big-endian machine")
    machine = _Machine(lambda key: archive.read(f"{folder}data/{key}"))
    for opcode, argument, _ in pickletools.genops(archive.read(pickled)):
        if opcode.name == "STOP":
            return machine.pop(1)[0]
        if opcode.name in _LITERALS:
            machine.stack.append(_CONSTANTS.get(opcode.name, argument))
        elif opcode.name in _STEPS:
            _STEPS[opcode.name](machine, argument)
        elif opcode.name not in _SILENT:
            raise WeightsError(f"it uses the pickle opcode {opcode.name}, which no weights need")
    raise ValueError("the pickle has no end")


def _tensor(storage_N: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """A copy of what a tensor of that shape sees of its storage. Raises ValueError when that is not there."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage_N, Tensor) or len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise ValueError("no tensor")
    if any(not isinstance(number, int) or number < 0 for number in numbers):
        raise ValueError("a shape is made of counts")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(storage_N):
        raise ValueError("the tensor leaves its storage")
    if sum(step == 0 < length - 1 for length, step in zip(size, stride, strict=True)):
        raise ValueError("a tensor that repeats its storage can be larger than any memory")
    return storage_N.as_strided(size, stride, offset).clone()
