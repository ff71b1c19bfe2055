"""Lists of keys as people have them: JSON, CSV, one key a line, or what Python prints for a state_dict."""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from workbench.core.tensor import DTYPES, MAX_RANK
from workbench.errors import printable
from workbench.formats import strict_json
from workbench.target.entries import MAX_ENTRIES, Entry, kind_of, target_error

__all__ = ["checked", "entries_in", "entry", "looks_like_rust"]

MAX_TEXT: Final = 64 << 20
_MAX_KEY: Final = 65_536
_MAX_SIZE: Final = 2**63 - 1
_RUST: Final = re.compile(
    r"#\s*\[\s*derive\s*\([^)]*\bModule\b[^)]*\)\s*\]|^\s*(pub(\([^)]*\))?\s+)?(struct|enum)\s+\w+\s*[<{(]",
    re.MULTILINE,
)
_PRINTED: Final = re.compile(
    r"(odict_keys|dict_keys|odict_items|dict_items|OrderedDict|KeysView|dict|list|tuple|set)?\s*[\[({]"
)
_STRING: Final = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""")
_SIZES: Final = re.compile(r"[\[(]\s*((?:\d+\s*(?:,\s*\d+\s*)*)?),?\s*[\])]")
_TIMES: Final = re.compile(r"\d+(?:\s?[×x]\s?\d+)+")
_DTYPE: Final = re.compile(r"(?:torch\.|dtype=|np\.|numpy\.)*([A-Za-z][A-Za-z0-9_]*)")
_BYTES: Final = re.compile(r"[\d.,]+\s?(B|kB|[KMGT]i?B|bytes)")
_SHORT: Final = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "FLOAT": "float32", "DOUBLE": "float64", "HALF": "float16", "LONG": "int64", "INT": "int32",
}  # fmt: skip


def looks_like_rust(text: str) -> bool:
    """Whether a text is Rust source rather than a list of keys."""
    return _RUST.search(text) is not None


def entry(key: str, shape: object = None, dtype: object = None, *, place: str = "") -> Entry:
    """An entry from parts that are not trusted. WorkbenchError where one is not what it should be."""
    if not isinstance(key, str) or not key:
        raise _error(f"A key is text of at least one character, not {key!r:.60}.", place)
    if len(key) > _MAX_KEY:
        raise _error(f"A key of {len(key):,} characters is longer than any real one.", place)
    sizes: tuple[int, ...] | None = None
    if shape is not None:
        if not isinstance(shape, (list, tuple)) or len(shape) > MAX_RANK:
            raise _error(f"The shape of {key!r:.80} is no list of at most {MAX_RANK} sizes.", place)
        for size in shape:
            if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MAX_SIZE:
                raise _error(
                    f"The shape of {key!r:.80} has a size that is no whole number from 0 on: {size!r:.40}.", place
                )
        sizes = tuple(shape)
    name: str | None = None
    if dtype is not None:
        name = _dtype(dtype) if isinstance(dtype, str) else None
        if name is None:
            raise _error(
                f"The dtype of {key!r:.80} is not known: {dtype!r:.40}.", place, "Write float32, bfloat16, int64, …"
            )
    rank = None if sizes is None else len(sizes)
    return Entry(key, sizes, name, None if name is None else kind_of(name), rank=rank)


def entries_in(text: str) -> tuple[Entry, ...]:
    """The entries of a JSON, CSV, printed or plain list. WorkbenchError with the line where it is none."""
    if len(text) > MAX_TEXT:
        raise target_error(
            f"This list is longer than {MAX_TEXT >> 20} MB.",
            next_step="Choose the file that the list was made from.",
            code="target-too-big",
        )
    text = text.removeprefix("\ufeff")
    start = text.lstrip()
    if not start:
        raise _nothing()
    if start[0] in "{[":
        try:
            return checked(_json(strict_json.parse(text.encode("utf-8", "surrogatepass"))))
        except strict_json.JsonProblem as problem:
            if "'" not in start and "torch.Size" not in start:
                raise _error(
                    f"This begins like JSON, but {problem}.", "", 'Write {"key": [2, 3]} or ["key", …].', "broken-json"
                ) from None
    if _PRINTED.match(start) and _STRING.search(start) is not None:
        return checked(_printed(start))
    header = start.partition("\n")[0].rstrip("\r")
    delimiter = next((mark for mark in "\t;," if mark in header), ",")
    columns = [cell.strip().strip('"').lower() for cell in header.split(delimiter)]
    if "key" in columns or ("name" in columns and len(columns) > 1):
        return checked(_csv(start, delimiter, columns))
    return checked(_lines(text))


# ---- kinds ------------------------------------------------------------------------------------------


def _json(data: object) -> Iterator[Entry]:
    if isinstance(data, dict):
        if set(data) <= {"keys", "entries", "target"} and len(data) == 1:
            yield from _json(next(iter(data.values())))
            return
        for key, value in data.items():
            yield _json_entry(key, value)
    elif isinstance(data, list):
        for n, item in enumerate(data):
            place = f"item {n + 1:,}"
            if isinstance(item, str):
                yield entry(item, place=place)
            elif isinstance(item, dict) and isinstance(key := item.get("key", item.get("path")), str):
                yield entry(key, item.get("shape"), item.get("dtype"), place=place)
            elif isinstance(item, list) and 1 <= len(item) <= 3 and isinstance(item[0], str):
                yield entry(*item, place=place)
            else:
                raise _error("An item of the list is neither a key nor a key with its shape.", place)
    else:
        raise _error("This JSON is neither an object nor a list.", "", 'Write {"key": [2, 3]} or ["key", …].')


def _json_entry(key: str, value: object) -> Entry:
    if value is None or isinstance(value, list):
        return entry(key, value)
    if isinstance(value, dict) and set(value) & {"shape", "dtype"}:
        return entry(key, value.get("shape"), value.get("dtype"))
    raise _error(
        f"What stands for {key!r:.80} is no shape.",
        "",
        'Write {"key": [2, 3]} or {"key": {"shape": [2, 3], "dtype": "float32"}}.',
    )


def _printed(text: str) -> Iterator[Entry]:
    """Quoted keys, each with the sizes and the dtype that stand between it and the next one."""
    found = list(_STRING.finditer(text))
    dtypes = {n for n, match in enumerate(found) if n and _dtype(match[0][1:-1]) is not None and "." not in match[0]}
    keys = [match for n, match in enumerate(found) if n not in dtypes]
    for n, match in enumerate(keys):
        between = text[match.end() : keys[n + 1].start() if n + 1 < len(keys) else len(text)]
        if "tensor(" in between or "Parameter containing" in between:
            raise _error(
                "This is a printed state_dict with its values.",
                f"key {n + 1:,}",
                "Print {k: tuple(v.shape) for k, v in model.state_dict().items()} instead.",
            )
        try:
            key = ast.literal_eval(match[0])
        except (ValueError, SyntaxError):
            key = match[0][1:-1]
        sizes = _SIZES.search(between)
        shape = (
            None
            if sizes is None or (not sizes[1] and "Size" not in between and ":" not in between)
            else _sizes(sizes[1])
        )
        name = re.search(r"torch\.(?!Size)(\w+)|dtype=\W?(\w+)|['\"](\w+)['\"]", between)
        dtype = _dtype(next(filter(None, name.groups()))) if name is not None else None
        yield entry(key, shape, dtype, place=f"key {n + 1:,}")


def _csv(text: str, delimiter: str, columns: Sequence[str]) -> Iterator[Entry]:
    at_key = columns.index("key") if "key" in columns else columns.index("name")
    at_shape = columns.index("shape") if "shape" in columns else -1
    at_dtype = columns.index("dtype") if "dtype" in columns else -1
    try:
        for n, row in enumerate(csv.reader(text.splitlines(), delimiter=delimiter), start=1):
            if n == 1 or not any(cell.strip() for cell in row):
                continue
            place = f"line {n:,}"
            if at_shape == len(columns) - 1 == len(row) - 1 - (len(row) - len(columns)) and len(row) > len(columns):
                row = [*row[:at_shape], delimiter.join(row[at_shape:])]  # An unquoted shape with commas.
            if len(row) <= at_key:
                raise _error("This line has no key.", place)
            shape_text = row[at_shape].strip() if 0 <= at_shape < len(row) else ""
            shape = _shape_text(shape_text) if shape_text else None
            if shape_text and shape is None:
                raise _error(f"{shape_text!r:.60} is no shape.", place, "Write [2, 3] or 2×3.")
            dtype = row[at_dtype].strip() if 0 <= at_dtype < len(row) else ""
            yield entry(row[at_key].strip(), shape, dtype or None, place=place)
    except csv.Error as error:
        raise _error(f"This CSV is broken: {error}.", "") from None


def _lines(text: str) -> Iterator[Entry]:
    for n, line in enumerate(text.splitlines(), start=1):
        line = line.strip().rstrip(",;")
        if not line or line.startswith(("#", "//", "…")):
            continue
        place = f"line {n:,}"
        if line[0] in "'\"" and (end := line.find(line[0], 1)) > 0:
            key, rest = line[1:end], line[end + 1 :]
        else:
            key, _, rest = line.partition("\t") if "\t" in line else line.partition(" ")
        key, rest = key.strip().rstrip(":,"), rest.strip().lstrip(":=,").strip()
        shape, dtype, left = _rest(rest)
        if left:
            raise _error(
                f"After the key {key!r:.80} stands {left!r:.60}, which is no shape.",
                place,
                "Write one key a line, with or without its shape: conv1.weight [64, 3, 7, 7].",
            )
        yield entry(key, shape, dtype, place=place)


def _rest(rest: str) -> tuple[list[int] | None, str | None, str]:
    """Shape and dtype in what follows a key, and what is neither."""
    shape: list[int] | None = None
    rest = rest.replace("torch.Size", "").replace("shape=", "").replace("Shape", "")
    found = _SIZES.search(rest) or _TIMES.search(rest)
    if found is not None:
        shape = _shape_text(found[0])
        rest = rest[: found.start()] + " " + rest[found.end() :]
    rest = _BYTES.sub(" ", rest)
    dtype: str | None = None
    left = []
    for word in re.split(r"[\s,()|]+", rest):
        match = _DTYPE.fullmatch(word)
        name = _dtype(match[1]) if match is not None else None
        if name is not None and dtype is None:
            dtype = name
        elif word == "scalar" and shape is None:
            shape = []
        elif word.isdecimal() and shape is None:
            shape = _sizes(word)
        elif word:
            left.append(word)
    return shape, dtype, " ".join(left)


def _shape_text(text: str) -> list[int] | None:
    text = text.strip().removeprefix("torch.Size").strip()
    if text == "scalar":
        return []
    if (found := _SIZES.fullmatch(text)) is not None:
        return _sizes(found[1])
    if re.fullmatch(r"[\d\s,×x]+", text):
        return _sizes(re.sub(r"[×x]", ",", text))
    return None


def _sizes(text: str) -> list[int]:
    words = [word for word in re.split(r"[\s,]+", text) if word]
    return [int(word) if len(word) < 20 else _MAX_SIZE + 1 for word in words]


def _dtype(text: str) -> str | None:
    name = text.removeprefix("torch.").removeprefix("numpy.")
    if name in DTYPES:
        return name
    return _SHORT.get(name.upper())


def checked(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Entries of which no two have one key, at least one and not too many. WorkbenchError else."""
    found: dict[str, Entry] = {}
    for each in entries:
        if each.path in found:
            raise target_error(
                f"The key {printable(each.path, 120)!r} is in the list twice.",
                next_step="Take one of them out.",
                code="key-twice",
            )
        found[each.path] = each
        if len(found) > MAX_ENTRIES:
            raise target_error(f"The list has more than {MAX_ENTRIES:,} keys.", code="target-too-big")
    if not found:
        raise _nothing()
    return tuple(found.values())


def _nothing() -> Exception:
    return target_error(
        "There are no keys in this list.",
        next_step='Give one key a line, JSON {"key": [2, 3]}, CSV with a column key, or Rust source.',
        code="no-keys",
    )


def _error(title: str, place: str, next_step: str = "", code: str = "not-a-target") -> Exception:
    return target_error(title, place=place, next_step=next_step, code=code)
