"""Error texts that are known, each with what it means. The first of the table that matches is told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

__all__ = ["KNOWN", "Known"]

_MODEL: Final = ("whole-model", "whole-model-under-key", "whole-model-beside")
_DICTS: Final = ("top-level-key-not-chosen", "several-top-level-keys", "top-level-key-missing")
_STRAY: Final = ("weights-only-refused", "burn-stray-object", "burn-filled-object", "burn-tensor-attributes")
_BROKEN: Final = ("cut-off", "broken-zip", "unreadable-storage", "burn-short-storage", "unreadable-tensor")
_NAMES: Final = ("wrapper-prefix", "averaged-copy", *_DICTS)
IMPORT: Final = "Burn 0.18 to 0.20, burn-import"
STORE_OLD: Final = "Burn 0.19 to 0.21, burn-store"
STORE_NEW: Final = "Burn 0.22 and later"
STORE: Final = "Burn 0.19 and later, burn-store"
TORCH: Final = "PyTorch"
SAFETENSORS: Final = "safetensors"


@dataclass(frozen=True, slots=True)
class Known:
    """A text by its `pattern` (a group `key` is what it names), whose `wording` it is, and its meaning.

    `how` names what is looked up in the checkpoint; `codes` are the findings with the same cause.
    """

    code: str
    wording: str
    pattern: re.Pattern[str]
    title: str
    cause: str
    how: str = ""
    codes: tuple[str, ...] = field(default=())


def _known(
    code: str, wording: str, pattern: str, title: str, cause: str, how: str = "", codes: tuple[str, ...] = ()
) -> Known:
    return Known(code, wording, re.compile(pattern), title, cause, how, codes)


KNOWN: Final[tuple[Known, ...]] = (
    # ---- names that are not found -----------------------------------------------------------------
    _known(
        "missing-source-values",
        IMPORT,
        r"Missing source values for the '(?P<key>[^']*)' field of type '(?P<type>[^']*)'",
        "The model has a field that the file has nothing for.",
        "Burn looks for the fields of the module at the root of the names, after the rules. Of several missing fields "
        "it names an arbitrary one, without the path above it.",
        "field",
        (*_MODEL, *_NAMES, "burn-nested-dict", "burn-tensors-in-object"),
    ),
    _known(
        "top-level-key-not-found",
        STORE_OLD,
        r"Top-level key '(?P<key>[^']*)' not found or is not a dictionary",
        "The top-level key is not a dict of this file.",
        "A top-level key is one key of the root, exactly, and must hold a dict.",
        "top-level-key",
        _DICTS,
    ),
    _known(
        "top-level-key-not-found",
        STORE_NEW,
        r"Top-level key '(?P<key>[^']*)' does not hold a dictionary|Cannot select top-level key '(?P<key2>[^']*)'"
        r"|key not found in PyTorch file: '(?P<key3>[^']*)' not found",
        "The top-level key is not a dict of this file.",
        "A top-level key is one key of the root, exactly, and must hold a dict.",
        "top-level-key",
        _DICTS,
    ),
    _known(
        "top-level-key-not-found",
        "Burn 0.18, burn-import",
        r"Candle Tensor error: key (?P<key>.*?) not found",
        "The top-level key is not a dict of this file.",
        "A top-level key is one key of the root, exactly, and must hold a dict.",
        "top-level-key",
        _DICTS,
    ),
    _known(
        "tensors-missing",
        STORE,
        r"Missing tensors: \[|Missing in source: +[1-9]|Missing Tensors \(requested",
        "Parameters of the model have no tensor in the file.",
        "After the rules, the names of the file and those of the model must be equal, to the letter.",
        "missing",
        (*_MODEL, *_NAMES, "norm-weight-bias", "index-gap"),
    ),
    # ---- shapes and kinds -------------------------------------------------------------------------
    _known(
        "shape-mismatch",
        STORE,
        r"ShapeMismatch \{ path: \"(?P<key>[^\"]+)\", expected: (?:Shape \{ dims: )?\[(?P<wanted>[^\]]*)\](?: \})?, "
        r"found: (?:Shape \{ dims: )?\[(?P<found>[^\]]*)\]"
        r"|Shape mismatch for '(?P<key2>[^']+)': expected (?:Shape \{ dims: )?\[(?P<wanted2>[^\]]*)\](?: \})?, found "
        r"(?:Shape \{ dims: )?\[(?P<found2>[^\]]*)\]",
        "A tensor has another shape than its parameter.",
        "The name is found, and what lies there does not fit.",
        "shape",
    ),
    _known(
        "rank-mismatch",
        IMPORT,
        r"Given dimensions differ from the tensor rank\. Tensor rank: '(?P<wanted>\d+)', given dimensions: "
        r"'\[(?P<found>[^\]]*)\]'",
        "A tensor has another number of dimensions than its parameter.",
        "burn-import compares no shapes, so the first it notices is a wrong rank; the text does not say where.",
        "rank",
    ),
    _known(
        "dtype-mismatch",
        STORE,
        r"DType mismatch for '(?P<key>[^']+)': expected (?P<wanted>\w+)(?:\(\w+\))?, found (?P<found>\w+)"
        r"|DTypeMismatch \{ path: \"(?P<key2>[^\"]+)\"|Expected (?:float|int|bool) dtype, got (?P<got>\w+)",
        "A tensor is of another kind (float, int, bool) than its parameter.",
        "Burn 0.20 and 0.21 panic here; 0.22 gives an error and leaves the parameter as it was.",
        "dtype",
    ),
    _known(
        "size-at-forward",
        IMPORT,
        r"Dimensions are incompatible for matrix multiplication|inner dimension of matmul|"
        r"Number of channels in input tensor and input channels",
        "The weights were taken with wrong sizes, which shows only when the model runs.",
        "burn-import compares no shapes. Either the model was made with other sizes than the file has, or a Linear "
        "weight was transposed twice: the file already held it as (in, out).",
        "shapes",
    ),
    # ---- structure --------------------------------------------------------------------------------
    _known(
        "list-expected",
        IMPORT,
        r"Expected Vec but got",
        "The model has a Vec where the names have an index below an index, or no index.",
        "burn-import makes a list of numbers only below a name: a number directly below a number stays a name, so a "
        "Vec of Vecs cannot be read.",
        "indices",
        ("index-below-index", "index-gap"),
    ),
    _known(
        "list-length",
        IMPORT,
        r"vec record does not the same length as the module",
        "A Vec of the model is longer or shorter than the list in the file.",
        "burn-import closes gaps in numbers, so what counts is how many there are, not the largest. A Vec with nothing "
        "in the file has length 0.",
        "lengths",
        (*_NAMES, "renumbered", "renumbered-from-middle"),
    ),
    _known(
        "no-variant",
        IMPORT,
        r"No variant match|from a different variant",
        "No variant of an enum in the model fits the names of the file, or another one than the model was made with.",
        "burn-import takes the first variant whose fields are all there. A missing field in any of them ends here.",
        "",
        _NAMES,
    ),
    _known(
        "norm-parameter-missing",
        IMPORT,
        r"Failed to find '(?P<key>weight|bias)' key in map",
        "A Linear or a norm lacks its weight, or a norm its bias, under PyTorch's name.",
        "The adapter renames weight and bias of norms to gamma and beta, and panics where one is absent: a norm made "
        "with affine=False or bias=False, or a file that has Burn's names already.",
        "leaf",
        ("norm-gamma-beta", "norm-renamed-by-rule"),
    ),
    _known(
        "tuple-field",
        IMPORT,
        r"deserialize_tuple is not implemented",
        "The model has a tuple or an array as a field, which burn-import cannot fill.",
        "Use a Vec or named fields in the Rust struct, or a burn-store of 0.21 and later.",
    ),
    _known(
        "bad-regex",
        "Burn, all versions",
        r"Invalid regex pattern|regex parse error",
        "A rule or a filter is no regex of Rust.",
        "Rust's regexes have no look-around and no back-references; a bracket may not be closed.",
        "regex",
    ),
    # ---- what the reader of .pt files refuses -----------------------------------------------------
    _known(
        "root-not-a-dict",
        STORE,
        r"Expected a dictionary at the root of the PyTorch file",
        "The root of the file is no dict.",
        "It holds a list, a tensor, a program or a whole model.",
        "refused",
        ("burn-root-not-a-dict", "torchscript", *_MODEL),
    ),
    _known(
        "unsupported-type",
        STORE_OLD,
        r"Unsupported Python type '(?P<key>[^']*)'\. This may indicate a full model save",
        "The reader of Burn 0.19 to 0.21 refuses the whole file because of one class in it.",
        "",
        "class",
        (
            *_MODEL,
            *_STRAY,
            "burn-whole-model",
            "burn-sparse",
            "burn-quantised",
            "burn-nested-tensor",
            "torchscript",
            "burn-dtype",
            "burn-meta-tensor",
        ),
    ),
    _known(
        "unsupported-type",
        STORE_NEW,
        r"unsupported Python type '(?P<key>[^']*)'",
        "The reader of Burn 0.22 refuses the whole file because of one class in it.",
        "It knows whole models and objects beside the weights, but no tensors of a form of their own.",
        "class",
        (
            *_MODEL,
            "burn-object-with-tensors",
            "burn-stray-object",
            "burn-sparse",
            "burn-quantised",
            "burn-nested-tensor",
            "burn-dtype",
            "torchscript",
        ),
    ),
    _known(
        "whole-model-legacy",
        STORE,
        r"Failed to skip main object in legacy format|storage persistent id has \d fields",
        "The file is an older PyTorch stream with a whole model in it, which Burn does not read.",
        "Streams from before torch 1.6 keep the source of each class beside it.",
        "refused",
        ("burn-whole-model", *_MODEL),
    ),
    _known(
        "pickle-protocol",
        "Burn 0.18 to 0.21",
        r"unknown op-code (?P<op>\d+)|Invalid pickle opcode: 0x(?P<hex>[0-9a-f]+)|invalid pickle opcode: 0x",
        "The pickle in the file uses an opcode that this Burn does not know.",
        "149 (0x95) is the first of protocol 4: torch.save(…, pickle_protocol=4) or 5, or a file that was not written "
        "by torch.save. 138 (0x8a) is a number beyond 31 bits.",
        "refused",
        ("burn-pickle-protocol", "burn-pickle-opcode", "burn-large-number"),
    ),
    _known(
        "filled-object",
        STORE,
        r"[Uu]nexpected pickle opcode (?P<key>\w+) in current context",
        "The file holds a subclass of dict or list, such as a defaultdict, with something in it.",
        "The reader fills only plain dicts and lists.",
        "refused",
        ("burn-filled-object",),
    ),
    _known(
        "tensor-attributes",
        STORE_OLD,
        r"rebuild_tensor_v2: expected at least 5 args",
        "The file holds a Buffer, a subclass of Tensor, or a tensor with attributes of its own.",
        "The reader of Burn 0.19 to 0.21 does not know that way of writing one and refuses the file.",
        "refused",
        ("burn-tensor-attributes",),
    ),
    _known(
        "odd-dict-key",
        STORE,
        r"dict key must be a",
        "The file holds a dict with a key that the reader does not take.",
        "Keys must be text; numbers pass only in part, others such as True never.",
        "refused",
        ("burn-int-key", "burn-odd-key"),
    ),
    _known(
        "dtype-unsupported",
        "Burn",
        r"Unknown storage type: (?P<key>\w+)|unsupported safetensor dtype (?P<key2>\w+)|Unsupported dtype: "
        r"(?P<key3>\w+)",
        "The file holds a tensor of a dtype that this Burn does not read, so it refuses the file.",
        "Other versions may leave such a tensor out without a word.",
        "dtype",
        ("burn-dtype", "burn-quantised"),
    ),
    _known(
        "not-contiguous",
        "Burn 0.18, burn-import",
        r"cannot retrieve non-contiguous tensors",
        "A tensor of the file is a view whose elements do not lie one after the other.",
        "Burn 0.18 reads every tensor, also those the model does not need; later versions of burn-import read such "
        "views with wrong values.",
        "refused",
        ("burn-strides",),
    ),
    _known(
        "int-range",
        IMPORT,
        r"Element cannot be represented in the target type",
        "An integer of the file does not fit the type that it is converted to.",
        "burn-import makes 32-bit numbers of int64, and 16-bit ones at half precision, also of tensors that the model "
        "does not need, such as num_batches_tracked.",
        "refused",
        ("burn-int-range", "counters"),
    ),
    _known(
        "empty-tensor",
        "Burn 0.19 and 0.20",
        r"Panic occurred while loading tensor data",
        "A tensor of the file has no elements, or its bytes cannot be had.",
        "Burn 0.19 and 0.20 fail on every tensor with a dimension of 0.",
        "refused",
        ("burn-empty-tensor", "burn-short-storage"),
    ),
    _known(
        "big-endian",
        STORE_NEW,
        r"Big-endian PyTorch files are not supported",
        "The file was written on a big-endian machine.",
        "Burn 0.22 refuses it; older ones read wrong numbers.",
        "refused",
        ("burn-big-endian",),
    ),
    _known(
        "zip-name-of-21",
        STORE_NEW,
        r"Invalid Central Directory header",
        "The zip reader of this Burn stumbles over the name of the folder inside the file.",
        "With a folder name of 21 bytes, a fresh build of Burn (zip crate 9.1 or newer) misreads the directory. "
        "Renaming the file does not help, saving under another name does.",
        "refused",
        ("burn-zip-name-of-21",),
    ),
    _known(
        "no-pickle-in-zip",
        STORE,
        r"No data\.pkl (?:file|entry) found in ZIP",
        "It is a zip, but no PyTorch checkpoint.",
        "A numpy archive (.npz), a torch.package or an exported program is a zip as well.",
        "refused",
        ("burn-container",),
    ),
    # ---- broken files -----------------------------------------------------------------------------
    _known(
        "cut-off",
        "Burn",
        r"Could not find EOCD|Could not find central directory end|Invalid zip header|Unexpected end of zip|"
        r"failed to fill whole buffer|extends beyond the end of the file|requires \d+ elements from storage|"
        r"ZIP entry '[^']*': not found in archive",
        "The file is cut off, or not the kind of file that its name says.",
        "The directory of a PyTorch zip stands at its end, so a download that broke off has none. A stream from before "
        "torch 1.6 has none at all, and burn-import 0.18 reads zips only.",
        "broken",
        (*_BROKEN, "burn-container"),
    ),
    _known(
        "broken-pickle",
        "Burn",
        r"Pickle stack underflow|Pickle memo reference \d+ not found|no ZIP, TAR, legacy or pickle header found|"
        r"persistent id must be a tuple",
        "The file is no checkpoint, or a broken one.",
        "What stands in it is not a pickle as torch.save writes it.",
        "broken",
        (*_BROKEN, "burn-pickle-protocol", "burn-plain-pickle"),
    ),
    # ---- PyTorch ----------------------------------------------------------------------------------
    _known(
        "state-dict-keys",
        TORCH,
        r"Missing key\(s\) in state_dict|Unexpected key\(s\) in state_dict|size mismatch for ",
        "The keys of the file and those of the model differ.",
        "load_state_dict compares names to the letter.",
        "state-dict",
        (*_MODEL, *_NAMES, "weight-norm", "spectral-norm", "pruned", "parametrised", "norm-gamma-beta"),
    ),
    _known(
        "weights-only",
        TORCH,
        r"(?s)Weights only load failed.*?GLOBAL (?P<key>[\w.]+)|"
        r"Unsupported (?:global|class)[: ]+(?:GLOBAL )?(?P<key2>[\w.]+)",
        "torch.load refuses the file because it names a class that is not known to be harmless.",
        "Since torch 2.6 weights_only=True is the default.",
        "class",
        (*_MODEL, *_STRAY, "runs-a-program", "runs-python", "unknown-name"),
    ),
    _known(
        "weights-only",
        TORCH,
        r"Weights only load failed",
        "torch.load refuses the file with weights_only=True, its default since 2.6.",
        "It holds something else than tensors in plain containers, or it is no checkpoint.",
        "",
        (*_MODEL, *_STRAY, "torchscript"),
    ),
    _known(
        "torchscript-file",
        TORCH,
        r"Cannot use ``weights_only=True`` with TorchScript archives",
        "The file is a TorchScript program, and torch.load was asked for weights alone.",
        "A program carries code; torch.jit.load runs it, and its state_dict() has the weights.",
        "",
        ("torchscript",),
    ),
    _known(
        "no-torch-zip",
        TORCH,
        r"file in archive is not in a subdirectory",
        "It is a zip, but no PyTorch checkpoint.",
        "PyTorch keeps all entries in one folder; a numpy archive (.npz) does not.",
        "container",
        ("burn-container",),
    ),
    _known(
        "not-a-state-dict",
        TORCH,
        r"Expected state_dict to be dict-like, got <class '(?P<key>[^']+)'>",
        "What torch.load gave back is not a state_dict.",
        "load_state_dict wants the dict of names and tensors. A whole model has its own: model.state_dict().",
        "",
        (*_MODEL, "torchscript", *_DICTS),
    ),
    _known(
        "class-not-found",
        TORCH,
        r"Can't get attribute '(?P<key>[^']+)' on <module '(?P<module>[^']+)'",
        "The file holds a whole model, or an object, whose class is not where it was when the file was saved.",
        "A pickle names its classes by module; `__main__` is the script that was run.",
        "class",
        (*_MODEL, *_STRAY),
    ),
    _known(
        "class-not-found",
        TORCH,
        r"No module named '(?P<key>[^']+)'",
        "The file holds a whole model, or an object, of a Python module that is not installed here.",
        "torch.load imports every class that the file names. The weights alone need none of them.",
        "class",
        (*_MODEL, *_STRAY),
    ),
    _known(
        "key-error",
        TORCH,
        r"KeyError: ['\"](?P<key>[^'\"]+)['\"]",
        "The program asks for a key that the file does not have at its root.",
        "It expects the state_dict below a certain key.",
        "top-level-key",
        _DICTS,
    ),
    _known(
        "no-eval",
        TORCH,
        r"'(?:collections\.)?(?:OrderedDict|dict)' object has no attribute '(?P<key>\w+)'",
        "The program expects a whole model, and the file holds a state_dict.",
        "Make the model first, then model.load_state_dict(torch.load(path)). The file is the better kind.",
    ),
    _known(
        "torchscript-expected",
        TORCH,
        r"PytorchStreamReader failed locating file (?P<key>[\w./]+)",
        "The zip lacks an entry that its reader asks for.",
        "`constants.pkl` is asked for by torch.jit.load: then the file is a state_dict or whole model and needs "
        "torch.load. `data.pkl` or `data/…` missing means that the file is broken or no checkpoint.",
        "entry",
        ("torchscript", *_BROKEN),
    ),
    _known(
        "cut-off",
        TORCH,
        r"PytorchStreamReader failed (?:reading|finding)|failed finding central directory|Ran out of input|"
        r"unexpected EOF|pickle data was truncated",
        "The file is cut off, or no PyTorch file.",
        "The directory of a PyTorch zip stands at its end, so a download that broke off has none.",
        "broken",
        _BROKEN,
    ),
    _known(
        "wrong-file",
        TORCH,
        r"invalid load key, '(?P<key>(?:\\x[0-9a-f]{2}|\\.|[^'])*)'|Invalid magic number",
        "The file is no PyTorch file.",
        "`<` begins a web page, `v` the pointer that Git LFS leaves in place of a file, `{` JSON, `\\x1f` a gzip, a "
        "low byte often a safetensors file, which torch.load does not read.",
        "broken",
        ("git-lfs-pointer", "html-page"),
    ),
    # ---- safetensors ------------------------------------------------------------------------------
    _known(
        "safetensors-wrong-file",
        SAFETENSORS,
        r"HeaderTooLarge|[Hh]eader too large",
        "The file is no safetensors file.",
        "Its first eight bytes should be the length of a header, and are far too large for one: a .pt file, a web "
        "page, or the pointer that Git LFS leaves in place of a file.",
        "container",
        ("git-lfs-pointer",),
    ),
    _known(
        "safetensors-cut-off",
        SAFETENSORS,
        r"MetadataIncompleteBuffer|incomplete metadata, file not fully covered|HeaderTooSmall|header too small|"
        r"InvalidHeaderLength|invalid header length",
        "The file is cut off, or has bytes that no tensor covers.",
        "The header says where each tensor lies, and the file ends before or after. A broken download does this.",
        "broken",
        _BROKEN,
    ),
    _known(
        "safetensors-header",
        SAFETENSORS,
        r"InvalidHeaderDeserialization|InvalidHeaderStart|[Ii]nvalid (?:JSON in )?header|invalid UTF-8 in header|"
        r"InvalidOffset|TensorInvalidInfo|invalid shape, data type, or offset for tensor|invalid offset for tensor",
        "The header of the safetensors file is broken.",
        "It is no JSON, or names places that do not fit together: another kind of file, or one that was put together "
        "by hand.",
        "container",
        ("broken-header", *_BROKEN),
    ),
    _known(
        "shared-memory",
        SAFETENSORS,
        r"tensors share memory[^{]*(?:\{(?P<key>[^}]*)\})?",
        "Several keys share one tensor, which safetensors does not write.",
        "Tied weights are saved once, under one of their names.",
        "shared",
        ("tied-weights",),
    ),
)
