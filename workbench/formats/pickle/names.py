"""What the names in a pickle are for. This chooses words and volume only: nothing is ever imported or called.

The longest entry that matches wins; a name may be dotted, and every part of it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

__all__ = ["DANGER_CODES", "DTYPE_NAMES", "Effect", "Kind", "classify", "computed", "storage_dtype"]


class Kind(StrEnum):
    """The four lists."""

    NEEDED = "needed for tensors"
    INERT = "inert"
    UNKNOWN = "unknown"
    DANGEROUS = "dangerous"


@dataclass(frozen=True, slots=True)
class Effect:
    """What calling a name would do: a slug for the finding's code, and words that follow "it"."""

    kind: Kind
    code: str = ""
    words: str = ""


def _words(text: str) -> list[str]:
    return text.split()


_NEEDED: Final = Effect(Kind.NEEDED)
_INERT: Final = Effect(Kind.INERT)
_UNKNOWN: Final = Effect(Kind.UNKNOWN, "unknown-name", "is neither needed for tensors nor known here")
_COMPUTED: Final = Effect(Kind.DANGEROUS, "computed-name", "names code in a way no torch.save does")

DTYPE_NAMES: Final = frozenset(
    _words(
        """float16 float32 float64 half float double bfloat16 uint8 int8 int16 int32 int64 uint16 uint32 uint64 short
        int long bool complex32 complex64 complex128 chalf cfloat cdouble float8_e4m3fn float8_e4m3fnuz
        float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 bits8 bits16 bits1x8 bits2x4 bits4x2 qint8
        quint8 qint32 quint4x2 quint2x4 int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6
        uint7"""
    )
)

_TORCH_CONSTANTS: Final = frozenset(
    _words(
        """strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc jagged per_tensor_affine per_channel_affine
        per_tensor_symmetric per_channel_symmetric per_channel_affine_float_qparams contiguous_format
        channels_last channels_last_3d preserve_format"""
    )
)

_STORAGES: Final = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "BFloat16Storage": "bfloat16",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "",
}

_NEEDED_EXACT: Final = frozenset(
    [
        "collections.OrderedDict",
        "_codecs.encode",
        "copyreg._reconstructor",
        "copy_reg._reconstructor",
        "torch._tensor._rebuild_from_type",
        "torch._tensor._rebuild_from_type_v2",
        "torch.tensor._rebuild_from_type",
        "torch.tensor._rebuild_from_type_v2",
        "torch.serialization._get_layout",
        "torch.storage._load_from_bytes",
        "torch.Size",
        "torch.device",
        "torch.Tensor",
        "torch._tensor.Tensor",
        "torch.nn.parameter.Parameter",
        "torch.nn.parameter.Buffer",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.core.numeric._frombuffer",
        "numpy._core.numeric._frombuffer",
        "torch.autograd.variable.Variable",
        *(
            f"ml_dtypes.{name}"
            for name in _words("bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu")
        ),
        *(
            f"{module}.{name}"
            for module in ("builtins", "__builtin__")
            for name in _words("set frozenset bytearray complex bytes")
        ),
        *(
            f"torch._utils._rebuild_{name}"
            for name in _words(
                """tensor tensor_v2 tensor_v3 parameter parameter_with_state qtensor sparse_tensor sparse_csr_tensor
                nested_tensor meta_tensor_no_storage device_tensor_from_numpy device_tensor_from_cpu_tensor
                xla_tensor wrapper_subclass"""
            )
        ),
    ]
)

_TENSOR_MODULES: Final = ("torch", "torch.cuda", "torch.sparse", "torch.cuda.sparse")

# Class-like names below these are kept as text with a note. The prefix sets the volume; nothing is trusted.
_INERT_UNDER: Final = _words(
    """torch.nn torch.optim torch.utils.data torch.amp torch.cuda.amp torchvision torchaudio timm transformers
    diffusers pytorch_lightning lightning fairseq ultralytics models mmcv mmengine mmdet detectron2 omegaconf yacs
    easydict addict __main__ numpy.random"""
)

_INERT_EXACT: Final = frozenset(
    _words(
        """argparse.Namespace types.SimpleNamespace decimal.Decimal fractions.Fraction uuid.UUID
        collections.defaultdict collections.Counter collections.deque torch.dtype torch.layout torch.memory_format
        torch.qscheme torch.Generator datetime.datetime datetime.date datetime.time datetime.timedelta
        datetime.timezone pathlib.Path pathlib.PosixPath pathlib.WindowsPath pathlib.PurePath
        pathlib.PurePosixPath pathlib.PureWindowsPath pathlib._local.Path pathlib._local.PosixPath
        pathlib._local.WindowsPath numpy.random._pickle.__randomstate_ctor numpy.random._pickle.__generator_ctor
        numpy.random._pickle.__bit_generator_ctor torch.nn.backends.thnn._get_thnn_function_backend"""
    )
)
_INERT_BUILTINS: Final = frozenset(_words("object list dict tuple slice range xrange int long float str unicode bool"))

_EFFECTS: Final[dict[str, tuple[str, str]]] = {
    "runs-a-program": (
        "runs a program as you",
        "os posix nt subprocess pty multiprocessing asyncio _posixsubprocess platform commands popen2 "
        "uuid._get_command_stdout",
    ),
    "runs-python": (
        "runs Python code as you",
        "code codeop runpy timeit pdb bdb trace profile cProfile doctest importlib pkgutil imp "
        "zipimport types marshal idlelib lib2to3 _interpreters test unittest numpy.testing",
    ),
    "reaches-other-code": (
        "reaches any other function",
        "operator _operator functools _functools inspect weakref _weakref atexit sys gc threading _thread signal "
        "itertools copyreg copy_reg ctypes.util concurrent",
    ),
    "loads-native-code": (
        "loads native code",
        "ctypes _ctypes cffi torch.ops torch._ops torch.classes torch.utils.cpp_extension numpy.f2py numpy.ctypeslib",
    ),
    "unpickles-more": (
        "loads further pickles or data without asking",
        "pickle _pickle cPickle dill cloudpickle joblib shelve yaml torch.load torch.serialization.load torch.jit "
        "torch.hub torch.package pandas.read_pickle pandas.io numpy.load numpy.lib jsonpickle",
    ),
    "touches-files": (
        "opens, writes or removes files",
        "io _io shutil tempfile codecs _codecs linecache fileinput logging zipfile tarfile sqlite3 distutils glob "
        "fnmatch pathlib mmap numpy.fromfile numpy.memmap numpy.save torch.save",
    ),
    "uses-the-network": (
        "talks to the network",
        "socket _socket ssl http urllib urllib2 requests httpx aiohttp ftplib smtplib poplib imaplib telnetlib xmlrpc "
        "webbrowser",
    ),
    "installs-packages": ("installs or runs packages", "pip ensurepip venv setuptools pkg_resources site"),
}
_DANGEROUS: Final = {
    prefix: Effect(Kind.DANGEROUS, code, words) for code, (words, names) in _EFFECTS.items() for prefix in names.split()
} | {
    f"{module}.{name}": Effect(Kind.DANGEROUS, "runs-python", _EFFECTS["runs-python"][0])
    for module in ("builtins", "__builtin__")
    for name in _words(
        """eval exec execfile compile __import__ getattr setattr delattr hasattr open file input raw_input breakpoint
        globals locals vars apply map filter reduce reload super type memoryview help exit quit"""
    )
}
# What a dotted name may walk through: the modules themselves, wherever they are reached from.
_DANGEROUS_PARTS: Final = {
    prefix: effect
    for prefix, effect in _DANGEROUS.items()
    if "." not in prefix
    and prefix not in {"code", "copyreg", "copy_reg", "test", "types", "io", "site", "commands", "http"}
} | {
    "__builtins__": _DANGEROUS["code"],
    "builtins": _DANGEROUS["code"],
    "__globals__": _DANGEROUS["sys"],
    "__subclasses__": _DANGEROUS["sys"],
}

DANGER_CODES: Final = frozenset([*_EFFECTS, _COMPUTED.code])
"""The codes of findings on names whose call would do harm."""


def storage_dtype(class_path: str) -> str | None:
    """The dtype behind a storage class of torch ("" for plain bytes), None when the name is none."""
    module, _, name = class_path.rpartition(".")
    if module not in ("torch", "torch.cuda", "torch.storage"):
        return None
    return "" if name == "TypedStorage" else _STORAGES.get(name)


@lru_cache(maxsize=4096)
def classify(module: str, name: str) -> Effect:
    """What the name is for, by the longest entry that matches."""
    full = f"{module}.{name}"
    if full in _NEEDED_EXACT or storage_dtype(full) is not None:
        return _NEEDED
    if module == "torch" and (name in DTYPE_NAMES or name in _TORCH_CONSTANTS):
        return _NEEDED
    if module in _TENSOR_MODULES and name.endswith("Tensor") and name[:1].isupper() and "." not in name:
        return _NEEDED
    if full in _INERT_EXACT or (module in ("builtins", "__builtin__") and name in _INERT_BUILTINS):
        return _INERT
    parts = name.split(".")
    for part in parts[:-1]:
        if part in _DANGEROUS_PARTS:
            return _DANGEROUS_PARTS[part]
    prefix = full
    while prefix:
        if prefix in _DANGEROUS:
            return _DANGEROUS[prefix]
        if prefix in _INERT_UNDER and prefix != full:
            return _INERT if parts[-1][:1].isupper() and len(parts) <= 2 else _UNKNOWN
        prefix = prefix.rpartition(".")[0]
    return _UNKNOWN


def computed() -> Effect:
    """For a name that is no text, or a number of the extension registry."""
    return _COMPUTED
