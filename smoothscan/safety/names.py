"""What the names that a pickle refers to stand for.

Three sorts. Data: with these a pickle builds tensors and nothing else. Dangerous: what an attack needs and no ordinary
model has. All others run code of the packages that they name, as every pickled model does. Of the standard library only
what is listed is ordinary: new ways to start a program from it are found every month, new uses for it in models are
not.
"""

from __future__ import annotations

import builtins
import sys
from typing import Literal

Sort = Literal["data", "code", "dangerous"]


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_STORAGES = "Float Double Half BFloat16 Long Int Short Char Byte Bool ComplexFloat ComplexDouble QInt8 QUInt8 QInt32"
_DTYPES = (
    "float16 float32 float64 bfloat16 float8_e4m3fn float8_e5m2 complex64 complex128 "
    "int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool"
)
DATA = frozenset(
    {
        "collections.OrderedDict",
        *(f"torch.{name}Storage" for name in _STORAGES.split()),
        *(f"torch.{name}" for name in _DTYPES.split()),
        *("torch.Size", "torch.device", "torch.storage.UntypedStorage", "torch.storage.TypedStorage"),
        *("torch._utils._rebuild_parameter", "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"),
        *("torch.serialization._get_layout", "_codecs.encode", "builtins.set", "__builtin__.set"),
    }
)
"""Names that build tensors and plain containers."""

_ORDINARY_FUNCTIONS = (
    "abs all any ascii bin callable chr divmod format hash hasattr hex id isinstance issubclass iter len max min next "
    "oct ord pow print repr round sorted sum"
)
_BUILTINS = frozenset(
    {
        *_ORDINARY_FUNCTIONS.split(),
        "getattr",  # bound methods are pickled so; the calls of it are judged one by one
        *("Ellipsis", "NotImplemented", "None", "True", "False", "unicode", "long", "xrange", "basestring"),
        *(name for name, value in vars(builtins).items() if isinstance(value, type) and not name.startswith("_")),
    }
)
_OPERATORS = (
    "abs add and_ concat contains eq floordiv ge getitem gt index inv invert itemgetter le lshift lt matmul mod mul ne "
    "neg not_ or_ pos pow rshift sub truediv truth xor is_ is_not countOf indexOf"
)
_STANDARD: dict[str, frozenset[str]] = {
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,
    "collections": words("OrderedDict defaultdict deque Counter ChainMap UserDict UserList namedtuple"),
    "functools": words("partial partialmethod cached_property lru_cache reduce wraps"),
    **dict.fromkeys(("copyreg", "copy_reg"), words("_reconstructor __newobj__ __newobj_ex__")),
    **dict.fromkeys(("_codecs", "codecs"), frozenset(("encode", "decode"))),
    **dict.fromkeys(("operator", "_operator"), frozenset(_OPERATORS.split())),
    "types": words("SimpleNamespace MappingProxyType MethodType GenericAlias UnionType NoneType EllipsisType"),
    **dict.fromkeys(
        ("pathlib", "pathlib._local"),
        words("Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"),
    ),
    "posixpath": words("join basename dirname split splitext normpath abspath exists isfile isdir"),
    "os": frozenset(("fspath", "PathLike")),
    "uuid": frozenset(("UUID", "SafeUUID")),
    "re": words("_compile compile RegexFlag Pattern match search fullmatch sub split findall"),
    **dict.fromkeys(("io", "_io"), frozenset(("BytesIO", "StringIO"))),
    "logging": frozenset(("getLogger", "Logger")),
    "argparse": frozenset(("Namespace",)),
    "inspect": words("Signature Parameter _empty _ParameterKind Parameter.empty Signature.empty"),
    "time": words("struct_time time perf_counter monotonic localtime gmtime strftime"),
    "warnings": frozenset(("warn",)),
}
_HARMLESS_MODULES = words(
    "abc array base64 binascii bisect calendar cmath collections.abc colorsys contextlib contextvars copy "
    "dataclasses datetime _datetime decimal _decimal _pydecimal enum fractions hashlib _hashlib heapq "
    "_heapq html itertools json json.decoder json.encoder keyword math numbers pprint random _random "
    "statistics string struct _struct textwrap typing unicodedata weakref _weakref zlib zoneinfo "
    "_collections _functools __future__ future"
)

_FOREIGN = words(
    "requests urllib3 httpx aiohttp paramiko fabric boto3 botocore pip setuptools distutils pkg_resources "
    "IPython ipykernel pexpect ptyprocess psutil sh plumbum invoke win32com win32api pythoncom wmi "
    "selenium playwright scapy docker kubernetes picklescan fickling modelscan modelaudit smoothscan cffi "
    "commands cPickle httplib urllib2 huggingface_hub pyautogui idlelib lib2to3 test nt posix _posixsubprocess "
    "_winapi winreg"
)
"""Packages that no pickled model has to do with: network, processes, installers, scanners."""
_MODULES = (
    *("torch.hub", "torch.package", "torch.utils.cpp_extension", "torch.utils.model_zoo", "torch.utils.collect_env"),
    *("torch.utils.bottleneck", "torch.utils._config_module", "torch.utils.data.datapipes.utils", "torch._inductor"),
    *(
        "torch._dynamo.guards",
        "torch._dynamo.bytecode_transformation",
        "torch.distributed.rpc",
        "torch.distributed.run",
    ),
    *("torch.distributed.launch", "torch.distributed.elastic", "torch.testing", "torch.multiprocessing", "torch.onnx"),
    *("torch.fx.experimental.symbolic_shapes", "torch.jit.unsupported_tensor_ops", "torch.ops", "torch.classes"),
    *("numpy.f2py", "numpy.testing", "numpy.distutils", "numpy.ctypeslib", "numpy.lib.npyio", "numpy.lib._npyio_impl"),
    *("numpy.lib._datasource", "pandas.io", "mlflow.projects", "mlflow.utils", "transformers.dynamic_module_utils"),
)
_LOADERS = frozenset(
    {
        *("torch.load", "torch.save", "torch.compile", "torch.from_file", "torch.serialization.load"),
        *("torch.serialization._load", "torch.serialization._legacy_load", "torch.serialization.save"),
        *("torch.jit.load", "torch.jit.save", "torch.jit.CompilationUnit", "torch.export.load", "torch.export.save"),
        *("torch.UntypedStorage.from_file", "numpy.load", "numpy.save", "numpy.fromfile", "numpy.memmap"),
        *("numpy.loadtxt", "numpy.savetxt", "numpy.genfromtxt", "numpy.DataSource", "pandas.read_pickle"),
        *("joblib.load", "joblib.numpy_pickle.load", "dill.load", "dill.loads", "dill._dill.load", "dill._dill.loads"),
        *("cloudpickle.load", "cloudpickle.loads", "cloudpickle.cloudpickle.load", "cloudpickle.cloudpickle.loads"),
        *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all"),
        *("pandas.eval", "numexpr.evaluate", "sympy.sympify", "sympy.lambdify"),
    }
)
_HIDDEN = words(
    "os sys subprocess posix nt builtins __builtin__ __builtins__ __globals__ __import__ __loader__ "
    "__spec__ __subclasses__ __bases__ __mro__ __code__ __getattribute__ __dict__ __closure__ shutil "
    "socket importlib ctypes runpy pty marshal pickle _pickle"
)
"""Parts of a dotted name that lead out of a package to what it imported itself: `torch.serialization.os`."""

_TORCHSCRIPT = "torch.jit._pickle."


def sort_of(module: str, name: str) -> Sort:
    """Return which sort the object is that Python finds under a name in a module."""
    full = f"{module}.{name}"
    if full in DATA:
        return "data"
    if not all(part.isidentifier() or part in ("<locals>", "<lambda>") for part in full.split(".")):
        return "dangerous"
    return "dangerous" if _leads_out(full) or _is_dangerous(module, name, full) else "code"


def shown(names: set[str], limit: int = 8) -> str:
    """Return some names for people to read."""
    some = ", ".join(repr(name[:100]) for name in sorted(names)[:limit])
    return some + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _leads_out(full: str) -> bool:
    return not full.startswith(_TORCHSCRIPT) and not _HIDDEN.isdisjoint(full.split(".")[1:])


def _is_dangerous(module: str, name: str, full: str) -> bool:
    root = module.split(".", 1)[0]
    if root == "code" and module != "code":  # the folder of MLflow's code_paths, and no module of the standard library
        return False
    if root in _FOREIGN or full in _LOADERS:
        return True
    if any(f"{full}.".startswith(f"{prefix}.") for prefix in _MODULES):
        return True
    if root in sys.stdlib_module_names or root == "__builtin__" or module in _STANDARD:
        names = _STANDARD.get(module, ())  # `str.upper` is as harmless as `str`
        return name not in names and name.split(".")[0] not in names and module not in _HARMLESS_MODULES
    return False
