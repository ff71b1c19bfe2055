"""What a look at the file adds to the meaning of an error text: one function for each kind of look."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from workbench.diagnosis import fitting, top_level
from workbench.diagnosis.case import Case, named
from workbench.errors import printable
from workbench.finding import Repair
from workbench.mapping import regex

__all__ = ["MAX_NAMED", "Answer", "Here", "answered"]

MAX_NAMED: Final = 2000
"""The most names that are looked for in one text."""

Here = tuple[tuple[str, tuple[str, ...]], ...]
"""For each name the keys of the file that are meant by it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a look at the file adds."""

    keys: tuple[str, ...] = ()
    here: Here = ()
    text: str = ""
    repairs: tuple[Repair, ...] = ()
    still_there: bool | None = None
    decided: bool = False
    """`still_there` counts; else the findings decide."""
    code: str = ""
    title: str = ""


def answered(how: str, match: re.Match[str], text: str, case: Case | None) -> Answer:
    """What the look named `how` ("" for none) finds, where `match` is in `text`; `case` is None without a file."""
    return _HOW[how](match, text, case) if how else Answer(_keys_of(match))


def _keys_of(match: re.Match[str]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            value for name, value in match.groupdict().items() if name.startswith("key") and value is not None
        )
    )


def _group(match: re.Match[str], name: str) -> str:
    return next((value for key, value in match.groupdict().items() if key.startswith(name) and value is not None), "")


def _field(match: re.Match[str], text: str, case: Case | None) -> Answer:
    name, kind = match["key"], match["type"]
    if case is None:
        return Answer((name,))
    if name == "UNKNOWN":
        return Answer((name,), text="It is a tuple or an array in the Rust struct, or a struct whose value is None.")
    if kind == "ParamSerde":
        holders = {key.rpartition(".")[0] for key in case.plan.remapped}
        lacking = [each for each in sorted(holders) if each and f"{each}.{name}" not in set(case.plan.remapped)]
        said = f" Modules of the file that have none: {named(lacking)}." if lacking and len(holders) < 5000 else ""
        return Answer((name,), text=f"`{printable(name, 60)}` is a tensor in one of the modules.{said}")
    found = fitting.look_up_field(case, name)
    return Answer((name,), found.here, found.text, found.repairs, name not in found.there, decided=True)


def _missing(match: re.Match[str], text: str, case: Case | None) -> Answer:
    keys = _missing_names(text[match.start() :])
    if case is None or not keys:
        return Answer(keys)
    return _fitted(case, keys)


def _fitted(case: Case, keys: tuple[str, ...]) -> Answer:
    found = fitting.look_up(case, keys)
    return Answer(keys, found.here, found.text, found.repairs, len(found.there) < len(set(keys)), decided=True)


_BULLET: Final = re.compile(r"^[│|\s]*•\s*(\S.*?)\s*$", re.MULTILINE)


def _missing_names(text: str) -> tuple[str, ...]:
    """The names of any of Burn's lists of missing tensors."""
    begin = text.find("Missing tensors: [")
    if begin >= 0:
        end = text.find("]", begin)
        listed = text[begin : end if end >= 0 else len(text)]
        pairs = re.findall(r'\("([^"]+)",', listed)
        return tuple(dict.fromkeys(pairs or re.findall(r'"([^"]+)"', listed)))
    begin = text.find("├─ Missing Tensors")
    if begin < 0:
        return ()
    end = text.find("├─", begin + 2)
    return tuple(dict.fromkeys(_BULLET.findall(text[begin : end if end >= 0 else len(text)])))[:MAX_NAMED]


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d{1,18}", text))


def _shape(match: re.Match[str], text: str, case: Case | None) -> Answer:
    pattern = match.re
    hits = list(pattern.finditer(text))[:MAX_NAMED]
    keys = tuple(dict.fromkeys(_group(each, "key") for each in hits))
    wanted, found = _sizes(_group(match, "wanted")), _sizes(_group(match, "found"))
    return _shape_answer(case, keys, wanted, found)


def _shape_answer(case: Case | None, keys: tuple[str, ...], wanted: tuple[int, ...], found: tuple[int, ...]) -> Answer:
    said = f"`{printable(keys[0], 80)}` should be {list(wanted)} and is {list(found)}."
    turned = len(wanted) == 2 and wanted == found[::-1] and wanted[0] != wanted[1]
    if turned:
        said += (
            " The two are each other's transpose: PyTorch keeps the weight of a Linear as (out, in), Burn as (in, out)."
        )
    if case is None:
        return Answer(keys, text=said)
    place = fitting.look_up(case, keys)
    repairs: list[Repair] = []
    if turned and case.reader.can_adapt and not case.reader.adapter_by_default and case.mapping.layout.adapt is None:
        layout = {"adapt": True, "modules": dict(case.mapping.layout.modules)}
        repairs.append(Repair.make("Switch the PyTorch adapter on", "set", field="layout", value=layout))
    still: bool | None = None
    names = dict(place.here).get(keys[0], ())
    if names:
        row = case.plan.originals.index(names[0])
        shape = case.plan.tensors[row].shape
        if shape not in (wanted, found):
            said += f" In this file it is {list(shape)}."
        still = shape != wanted
        if turned and shape == found and case.mapping.layout.adapt:
            still = False
    return Answer(keys, place.here, said, tuple(repairs), still, decided=True)


def _rank(match: re.Match[str], text: str, case: Case | None) -> Answer:
    shape = _sizes(match["found"])
    if case is None:
        return Answer()
    keys = [key for key, tensor in zip(case.plan.originals, case.plan.tensors, strict=True) if tensor.shape == shape]
    said = (
        f"Tensors of the shape {list(shape)} in the file: {named(keys)}." if keys else "No tensor here has that shape."
    )
    here = ((str(list(shape)), tuple(keys[:20])),) if keys else ()
    return Answer(tuple(keys[:20]), here, said)


def _shapes(match: re.Match[str], text: str, case: Case | None) -> Answer:
    return Answer(text="Give the target to see which shapes differ.")


def _dtype(match: re.Match[str], text: str, case: Case | None) -> Answer:
    keys = _keys_of(match)
    if case is None:
        return Answer(keys)
    odd = [
        key
        for key, tensor in zip(case.plan.originals, case.plan.tensors, strict=True)
        if tensor.dtype.name not in ("float32", "float64")
    ]
    wanted = _BURN_DTYPES.get((_group(match, "got") or _group(match, "found") or _group(match, "key")).lower(), "")
    if wanted:
        odd = [
            key
            for key, tensor in zip(case.plan.originals, case.plan.tensors, strict=True)
            if tensor.dtype.name == wanted
        ]
    place = fitting.look_up(case, [key for key in keys if "." in key]) if any("." in key for key in keys) else None
    said = f"Tensors of the kind it means: {named(odd)}." if odd else ""
    here = place.here if place is not None and place.here else ((("dtype", tuple(odd[:20])),) if odd else ())
    return Answer(keys, here, said)


_BURN_DTYPES: Final = {
    **{f"{letter}{bits}": f"{word}{bits}" for letter, word in (("i", "int"), ("u", "uint"), ("f", "float"))
       for bits in (8, 16, 32, 64)},
    "bf16": "bfloat16", "bool": "bool", "c64": "complex64", "f8_e4m3": "float8_e4m3fn", "f8_e5m2": "float8_e5m2",
    "f8_e4m3fnuz": "float8_e4m3fnuz", "f8_e5m2fnuz": "float8_e5m2fnuz", "complexfloatstorage": "complex64",
    "complexdoublestorage": "complex128", "qint8storage": "qint8", "quint8storage": "quint8",
    "qint32storage": "qint32",
}  # fmt: skip


def _top_level_key(match: re.Match[str], text: str, case: Case | None) -> Answer:
    keys = _keys_of(match) or (_group(match, "key"),)
    if case is None:
        return Answer(keys)
    wanted = keys[0]
    found = top_level.candidates(case)
    known_keys = {each.key for each in case.checkpoint.top_level_keys}
    chosen = case.mapping.top_level_key
    if wanted in known_keys:
        said = f"This file has `{printable(wanted, 60)}`."
        take = () if chosen == wanted else (top_level.take(wanted),)
        return Answer(keys, ((wanted, (wanted,)),), said, take, False, decided=True)
    if not found:
        said = "Its tensors lie at the root: it is the state_dict itself, and no top-level key is to be given."
        back = Repair.make("Take the whole file", "set", field="top_level_key", value=None)
        repairs: tuple[Repair, ...] = () if chosen is None else (back,)
        return Answer(keys, (), said, repairs, chosen is not None, decided=True)
    said = f"This file has {', '.join(f'`{printable(each.key, 60)}`' for each in found[:5])}."
    still = chosen is None or chosen not in known_keys
    repairs = tuple(top_level.take(each.key) for each in found[:3] if each.key != chosen)
    return Answer(keys, (), said, repairs, still, decided=True)


_NESTED: Final = r"(^|\.)([0-9]+)\.([0-9]+)(\.|$)"


def _indices(match: re.Match[str], text: str, case: Case | None) -> Answer:
    got = text[match.end() : match.end() + 10_000].lstrip()
    value = re.match(r"(String|Default|Bool|I64|F64|U64)\(", got)
    if value is not None:
        said = "What stands in its place is a single value of the file, no tensors: a setting, not a layer."
        return Answer(text=said, decided=True)
    if case is None:
        return Answer()
    name = re.match(r'\{\\*"([^"\\]+)\\*": *\{', got)
    if name is not None and not name[1].isdecimal():
        found = fitting.look_up_field(case, name[1])
        said = (
            f"The model has a list where the file has names, `{printable(name[1], 60)}` first. Numbers make a list: "
            "give these layers numbers by rules, or the model a struct with fields of these names."
        )
        keys = [key for _, each in found.here for key in each]
        return Answer(tuple(keys), found.here, said, still_there=True if keys else None, decided=True)
    keys = [
        original
        for original, key in zip(case.plan.originals, case.plan.remapped, strict=True)
        if re.search(_NESTED, key)
    ]
    if not keys:
        return Answer(text="No key of this file has a number below a number.", still_there=False, decided=True)
    first = tuple(keys[:20])
    between = _between(case)
    into = f"${{1}}${{2}}.{between.replace('$', '$$')}.${{3}}${{4}}"
    said = (
        f"Here it is {named(keys)}. With a name between the two numbers it is a list of structs: the model needs a "
        f"struct with the field `{printable(between, 60)}` between its two Vecs."
    )
    rule = fitting.add_rule(case, _NESTED, into)
    after = regex.replace_all(regex.column(_nested(case)), _NESTED, into)
    ends_it = not regex.hits(after, _NESTED).any()
    return Answer(first, (("an index below an index", first),), said, (rule,) if ends_it else (), True, decided=True)


def _between(case: Case) -> str:
    """The field that the target has between two numbers, else a name that says what it is."""
    target = case.plan.target
    paths = () if target is None else (entry.path for entry in target.entries)
    found = next(
        (each[1] for path in paths if (each := re.search(r"(?:^|\.)[0-9]+\.([^.0-9][^.]*)\.[0-9]+\.", path))), ""
    )
    return found or "layers"


def _nested(case: Case) -> list[str]:
    """The final keys that have a number below a number."""
    return [key for key in case.plan.remapped if re.search(_NESTED, key) and key.isprintable()]


def _lengths(match: re.Match[str], text: str, case: Case | None) -> Answer:
    sides = dict(re.findall(r"(left|right): +(\d+)", text))
    said = f"The model has {sides['left']} and the file {sides['right']}." if len(sides) == 2 else ""
    if case is None:
        return Answer(text=said)
    lists: dict[str, set[str]] = {}
    for key in case.plan.remapped:
        prefix = ""
        for segment in key.split("."):
            if segment.isdecimal():
                lists.setdefault(prefix.removesuffix("."), set()).add(segment)
            prefix += segment + "."
    mine = {prefix: len(each) for prefix, each in lists.items()}
    if len(sides) == 2 and sides["right"].isdecimal():
        fits = {prefix: n for prefix, n in mine.items() if str(n) == sides["right"]}
        mine = fits or mine
    shown = ", ".join(f"`{printable(prefix or 'the root', 60)}` ({n})" for prefix, n in list(mine.items())[:5])
    keys = tuple(mine)[:20]
    text = " ".join(part for part in (said, f"Lists here: {shown}." if shown else "There is no list here.") if part)
    return Answer(keys, tuple((key, (key,)) for key in keys if key), text)


def _leaf(match: re.Match[str], text: str, case: Case | None) -> Answer:
    leaf = match["key"]
    if case is None:
        return Answer((leaf,))
    names = set(case.plan.remapped)
    other = "bias" if leaf == "weight" else "weight"
    lacking = [
        key
        for key in case.plan.remapped
        if key.rpartition(".")[2] in (other, "running_mean", "gamma")
        and f"{key.rpartition('.')[0]}.{leaf}".removeprefix(".") not in names
    ]
    said = (
        f"Modules here without `{leaf}`: {named(sorted({key.rpartition('.')[0] for key in lacking}))}."
        if lacking
        else ""
    )
    here = ((leaf, tuple(lacking[:20])),) if lacking else ()
    return Answer((leaf,), here, said, (), bool(lacking), decided=True)


def _regex(match: re.Match[str], text: str, case: Case | None) -> Answer:
    pattern = re.search(r"(?s)regex parse error:\s*\n(.*?)\n\s*\^", text)
    shown = printable(pattern[1].strip(), 120) if pattern else ""
    reason = re.search(r"error: (.+)", text[match.start() :])
    said = f"The pattern is `{shown}`" if shown else "The pattern is in the text"
    return Answer((shown,) if shown else (), text=said + (f": {printable(reason[1], 120)}." if reason else "."))


def _refused(match: re.Match[str], text: str, case: Case | None) -> Answer:
    keys = _keys_of(match)
    if case is None:
        return Answer(keys)
    sees = case.sight
    rows = [key for key, seen in zip(sees.keys, sees.seen, strict=True) if seen.state in ("unreadable", "wrong values")]
    here = (("tensors", tuple(rows[:20])),) if rows and not sees.refused else ()
    if sees.refused:
        said = f"{case.reader.name} says of this file: {sees.refused}"
        return Answer(keys, here, said, (_CLEAN,), True, decided=True)
    said = f"Burn {case.reader.version} does not refuse this file." if case.reader.version else ""
    return Answer(keys, here, said, (_CLEAN,), False if case.reader.version and not rows else None, decided=not rows)


_CLEAN: Final = Repair.make("Export a clean file", "export", format="safetensors")


def _class(match: re.Match[str], text: str, case: Case | None) -> Answer:
    name = _group(match, "key").rstrip(".")
    module = _group(match, "module")
    full = f"{module}.{name}" if module else name
    meaning = _CLASSES.get(name.rpartition(".")[2], "")
    if name.rpartition(".")[2] == "set" and case is not None and not case.model_roots:
        meaning = "A set lies beside the weights; every saved module has one too, but this file holds no module."
    if case is None:
        return Answer((full,), text=meaning)
    named_here = [
        each for each in case.checkpoint.names if each == full or each.startswith(f"{full}.") or _same(each, full)
    ]
    here = ((full, tuple(named_here[:20])),) if named_here else ()
    if not named_here:
        meaning = " ".join(part for part in (meaning, "This file does not name it.") if part)
        return Answer((full,), here, meaning, (), False, decided=True)
    owners = [key or "the file itself" for key, path in case.checkpoint.modules.items() if path in named_here]
    if owners:
        meaning = " ".join(part for part in (meaning, f"It is the class of {named(owners)}.") if part)
    still = None
    if (case.reads_file and "Burn" in text) or "nsupported Python type" in text:
        still = bool(case.sight.refused)
    return Answer((full,), here, meaning, (_CLEAN,), True if still is None else still, decided=True)


def _same(name: str, other: str) -> bool:
    """Whether two names are one, as Python 2 and 3 write it."""
    return name.replace("__builtin__", "builtins") == other.replace("__builtin__", "builtins")


_CLASSES: Final = {
    "set": "Every module that is saved whole holds a set; a set beside the weights has the same effect.",
    "_get_layout": "The file holds a sparse tensor.",
    "_rebuild_sparse_tensor": "The file holds a sparse tensor.",
    "_rebuild_qtensor": "The file holds a quantised tensor.",
    "_rebuild_nested_tensor": "The file holds a nested tensor.",
    "_rebuild_tensor_v3": "The file holds a tensor of a newer dtype, such as uint16 or float8.",
    "_rebuild_parameter_with_state": "A Parameter has attributes of its own.",
    "build_intlist": "The file is a TorchScript program.",
    "scalar": "A number of numpy lies beside the weights.",
    "_reconstruct": "An array of numpy lies beside the weights.",
    "Namespace": "The settings of the training lie beside the weights.",
}


def _state_dict(match: re.Match[str], text: str, case: Case | None) -> Answer:
    missing = _quoted_after(text, r"Missing key\(s\) in state_dict:")
    unexpected = _quoted_after(text, r"Unexpected key\(s\) in state_dict:")
    sizes = re.findall(
        r"size mismatch for ([^:\s]+): copying a param with shape torch\.Size\(\[([^\]]*)\]\) from checkpoint, the "
        r"shape in current model is torch\.Size\(\[([^\]]*)\]\)",
        text,
    )
    keys = tuple(dict.fromkeys((*missing, *unexpected, *(name for name, _, _ in sizes))))
    if sizes and not missing:
        _name, found, wanted = sizes[0]
        answer = _shape_answer(case, tuple(name for name, _, _ in sizes), _sizes(wanted), _sizes(found))
        return Answer(keys, answer.here, answer.text, (), answer.still_there, True, "size-mismatch",
                       "A tensor has another shape than its parameter.")  # fmt: skip
    if not missing:
        said = f"The model has no place for {named(unexpected)}."
        if case is None:
            return Answer(keys, text=said, code="unexpected-keys")
        found = fitting.look_up(case, unexpected)
        still = bool(found.there)
        skip = Repair.make("Skip them", "skip", keys=[key for _, keys in found.here for key in keys])
        return Answer(keys, found.here, said, (skip,) if found.here else (), still, True, "unexpected-keys",
                       "The file has keys that the model does not know.")  # fmt: skip
    title = "Parameters of the model have no tensor in the file."
    if case is None:
        return Answer(keys, code="missing-keys", title=title)
    answer = _fitted(case, missing)
    return Answer(keys, answer.here, answer.text, answer.repairs, answer.still_there, True, "missing-keys", title)


def _quoted_after(text: str, head: str) -> tuple[str, ...]:
    begin = re.search(head, text)
    if begin is None:
        return ()
    run = re.match(r'(?:\s*"[^"\n]+",?)+', text[begin.end() :])
    return tuple(dict.fromkeys(re.findall(r'"([^"\n]+)"', run[0])))[:MAX_NAMED] if run else ()


def _broken(match: re.Match[str], text: str, case: Case | None) -> Answer:
    keys = _keys_of(match)
    if case is None:
        return Answer(keys)
    lost = [tensor.key for tensor in case.plan.tensors if tensor.unreadable]
    if lost:
        said = f"Here {named(lost)} cannot be read."
        return Answer(keys, (("unreadable", tuple(lost[:20])),), said, (), True, decided=True)
    if case.reads_file and case.sight.refused:
        return _refused(match, text, case)
    said = f"This file opens here, as {printable(case.checkpoint.kind, 100)}, with all its tensors."
    return Answer(keys, (), said, (_CLEAN,), False, decided=True)


def _container(match: re.Match[str], text: str, case: Case | None) -> Answer:
    if case is None:
        return Answer(_keys_of(match))
    if case.checkpoint.format.startswith("safetensors"):
        return _broken(match, text, case)
    said = f"This file is {printable(case.checkpoint.kind, 100)}: read it with the loader for that, or write it anew."
    return Answer(_keys_of(match), (), said, (_CLEAN,), True, decided=True)


def _shared(match: re.Match[str], text: str, case: Case | None) -> Answer:
    keys = tuple(re.findall(r"'([^']+)'", match["key"] or ""))
    if case is None:
        return Answer(keys)
    ties = [tie for tie in case.checkpoint.ties if set(keys) <= set(tie)]
    here = tuple((key, (key,)) for key in keys if key in case.checkpoint)
    return Answer(keys, here, "", (), bool(ties), decided=True)


def _entry(match: re.Match[str], text: str, case: Case | None) -> Answer:
    keys = _keys_of(match)
    if case is None:
        return Answer(keys)
    if keys[0].startswith("constants"):
        is_program = case.checkpoint.format == "torchscript"
        said = "" if is_program else f"This file is {printable(case.checkpoint.kind, 100)}: use torch.load."
        return Answer(keys, (), said, (), not is_program, decided=True)
    return _broken(match, text, case)


_HOW: Final[dict[str, Callable[[re.Match[str], str, Case | None], Answer]]] = {
    "field": _field,
    "missing": _missing,
    "top-level-key": _top_level_key,
    "shape": _shape,
    "rank": _rank,
    "shapes": _shapes,
    "dtype": _dtype,
    "indices": _indices,
    "lengths": _lengths,
    "leaf": _leaf,
    "regex": _regex,
    "refused": _refused,
    "class": _class,
    "state-dict": _state_dict,
    "broken": _broken,
    "container": _container,
    "entry": _entry,
    "shared": _shared,
}
