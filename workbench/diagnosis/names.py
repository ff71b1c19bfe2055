"""What the names of tensors give away: wrappers, parametrisations, counters, norms, names no Rust field can have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from workbench.core.text import count_text
from workbench.diagnosis.case import Case, named
from workbench.errors import RuleError, printable
from workbench.finding import Finding, Repair, Severity
from workbench.mapping import regex
from workbench.suggesting import wrapper_rules

__all__ = ["counters", "index_gaps", "norm_names", "parametrised", "rust_names", "wrappers"]

_OF: Final = {
    "module": "DataParallel or DistributedDataParallel",
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
    "_forward_module": "DeepSpeed or Lightning Fabric",
    "model": "a class that keeps the model in an attribute, as Lightning does",
}


def wrappers(case: Case) -> Iterator[Finding]:
    """Segments that a wrapper around the model put into the keys."""
    keys = list(case.keys)
    n = len(case.mapping.rules)
    # A dict of the file is said to be one where the top-level key is looked for.
    dicts = {rf"^{re.escape(each.key)}\." for each in case.checkpoint.top_level_keys}
    for each in wrapper_rules(keys):
        pattern = each.rule.pattern
        if case.mapping.top_level_key is None and pattern in dicts:
            continue
        try:
            hits = regex.hits(regex.column(keys), pattern)
        except (RuleError, UnicodeEncodeError):
            continue
        rows = [int(row) for row in hits.nonzero()[0]]
        if not rows:
            continue
        segment = next((word for word in _OF if re.search(rf"(?<![a-z_]){word}(?![a-z_])", pattern)), "")
        who = f" (put there by {_OF[segment]})" if segment else ""
        share = (
            f"All {len(keys):,} keys have" if len(rows) == len(keys) else f"{len(rows):,} of {len(keys):,} keys have"
        )
        after = each.examples[0] if each.examples else ("", "")
        clash = f" Mind: {'; '.join(each.ambiguous)}." if each.ambiguous else ""
        averaged = bool(each.ambiguous) and "averaged" in each.ambiguous[0]
        yield Finding(
            "averaged-copy" if averaged else "wrapper-prefix",
            Severity.WARNING,
            f"key {printable(case.plan.originals[rows[0]], 120)}",
            f"{share} {_shown(pattern)} in the name{who}: `{printable(after[0], 80)}` would be "
            f"`{printable(after[1], 80)}` without.{clash}",
            "Add the rule that takes it off.",
            keys=case.originals(rows),
            repair=Repair.make(
                f"Add rule `{pattern}` → {each.rule.replacement or 'nothing'}",
                "add-rule",
                at=n,
                pattern=pattern,
                replacement=each.rule.replacement,
            ),
        )


def _shown(pattern: str) -> str:
    text = re.sub(r"\(\^\|\\\.\)|\(\?:|\)\+|\)\?|\^", "", pattern).replace("\\", "")
    return f"`{printable(text, 60)}`"


# ---- parametrisations ---------------------------------------------------------------------------------

_PARAMETRISED: Final = (
    # code, what must stand together below one module, what it is, how PyTorch takes it off
    ("weight-norm", ("weight_g", "weight_v"), "weight_norm", "torch.nn.utils.remove_weight_norm(module)"),
    (
        "weight-norm",
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        "weight_norm (or another parametrization of two tensors)",
        'torch.nn.utils.parametrize.remove_parametrizations(module, "weight")',
    ),
    ("spectral-norm", ("weight_orig", "weight_u"), "spectral_norm", "torch.nn.utils.remove_spectral_norm(module)"),
    (
        "spectral-norm",
        ("parametrizations.weight.original", "parametrizations.weight.0._u"),
        "spectral_norm",
        'torch.nn.utils.parametrize.remove_parametrizations(module, "weight")',
    ),
    ("pruned", ("weight_orig", "weight_mask"), "pruning", 'torch.nn.utils.prune.remove(module, "weight")'),
    ("pruned", ("bias_orig", "bias_mask"), "pruning", 'torch.nn.utils.prune.remove(module, "bias")'),
)


def parametrised(case: Case) -> Iterator[Finding]:
    """Weights that are stored as what they are computed from."""
    rows = {key: row for row, key in enumerate(case.keys)}
    told: set[int] = set()
    groups: dict[tuple[str, str, str], list[tuple[str, list[int]]]] = {}
    for code, parts, what, how in _PARAMETRISED:
        for key, _row in rows.items():
            if not key.endswith(parts[0]) or not (key == parts[0] or key[-len(parts[0]) - 1] == "."):
                continue
            prefix = key[: -len(parts[0])]
            mine = [rows.get(prefix + part, -1) for part in parts]
            if -1 not in mine:
                told.update(mine)
                groups.setdefault((code, what, how), []).append((prefix.removesuffix("."), mine))
    for (code, what, how), found in groups.items():
        modules = [prefix or "the root" for prefix, _ in found]
        all_rows = [row for _, each in found for row in each]
        yield _parametrised(case, code, modules, what, how, all_rows)
    others = [
        row
        for key, row in rows.items()
        if row not in told and (key.startswith("parametrizations.") or ".parametrizations." in key)
    ]
    others = [row for row in others if not any(_owner(case.keys[row]) == _owner(case.keys[each]) for each in told)]
    if others:
        modules = list(dict.fromkeys(_owner(case.keys[row]) or "the root" for row in others))
        how = "torch.nn.utils.parametrize.remove_parametrizations(module, name)"
        yield _parametrised(case, "parametrised", modules, "a parametrization", how, others)


def _owner(key: str) -> str:
    return key.partition("parametrizations.")[0].removesuffix(".")


def _parametrised(case: Case, code: str, modules: list[str], what: str, how: str, rows: list[int]) -> Finding:
    who = "1 module" if len(modules) == 1 else f"{len(modules):,} modules"
    first = printable(case.keys[rows[0]], 100)
    return Finding(
        code,
        Severity.WARNING,
        f"key {printable(case.plan.originals[rows[0]], 120)}",
        f"{who} ({named(modules)}) store a weight as the parts that {what} computes it from, such as `{first}`: a "
        "model without it asks for a plain weight and finds none."
        if len(modules) > 1
        else f"{named(modules)} stores a weight as the parts that {what} computes it from, such as `{first}`: a model "
        "without it asks for a plain weight and finds none.",
        f"For the file's owner: {how} before state_dict().",
        keys=case.originals(rows),
    )


# ---- counters, norms, fields --------------------------------------------------------------------------

_COUNTERS: Final = ("num_batches_tracked", "n_averaged", "num_updates", "position_ids")


def counters(case: Case) -> Iterator[Finding]:
    """Numbers that training counts up, for which no model of Burn has a place."""
    rows = [row for row, key in enumerate(case.keys) if key.rpartition(".")[2] in _COUNTERS]
    if not rows:
        return
    names = list(dict.fromkeys(case.keys[row].rpartition(".")[2] for row in rows))
    what = ", ".join(f"`{name}`" for name in names)
    yield Finding(
        "counters",
        Severity.NOTE,
        f"key {printable(case.plan.originals[rows[0]], 120)}",
        f"{count_text(len(rows), 'tensor')} named {what}: counters and tables of numbers, no weights. Burn has no "
        "parameter for them and lists them as unused, which does no harm.",
        "Skip them if the export should hold weights only.",
        keys=case.originals(rows),
        repair=Repair.make(
            "Skip it" if len(rows) == 1 else "Skip them", "skip", keys=[case.plan.originals[row] for row in rows]
        ),
    )


def norm_names(case: Case) -> Iterator[Finding]:
    """BatchNorm and LayerNorm: weight and bias in PyTorch, gamma and beta in Burn."""
    names = set(case.keys)
    pairs = [
        (row, key.removesuffix("gamma"))
        for row, key in enumerate(case.keys)
        if key.rpartition(".")[2] == "gamma" and key.removesuffix("gamma") + "beta" in names
    ]
    reader = case.reader
    panics = case.reads_file and reader.norms_need_both
    if pairs:
        burn = (
            f" {reader.name} looks for weight and bias and panics: \"Failed to find 'weight' key in map\"."
            if panics
            else " These are Burn's own names, and those of older BERT files; a PyTorch model asks for weight and bias."
        )
        yield Finding(
            "norm-gamma-beta",
            Severity.ERROR if panics else Severity.NOTE,
            f"key {printable(case.plan.originals[pairs[0][0]], 120)}",
            f"{count_text(len(pairs), 'normalisation')} {'has' if len(pairs) == 1 else 'have'} `gamma` and `beta`, not "
            f"weight and bias: {named([prefix.removesuffix('.') for _, prefix in pairs])}.{burn}",
            "Rename them with two rules, on these layers only, if the model asks for the other names.",
            keys=case.originals(row for row, _ in pairs),
        )
    if not case.reads_file:
        return
    norms = [
        key.removesuffix("running_mean")
        for key in case.keys
        if key.rpartition(".")[2] == "running_mean" and key.removesuffix("running_mean") + "weight" in names
    ]
    adapts = reader.adapter_by_default if case.mapping.layout.adapt is None else case.mapping.layout.adapt
    if not norms or (adapts and "BatchNorm" in reader.renames_norms):
        return
    rows = [
        row for row, key in enumerate(case.keys) if key.removesuffix("weight") in set(norms) and key.endswith("weight")
    ]
    why = (
        "its adapter for PyTorch is not switched on"
        if reader.can_adapt and reader.renames_norms
        else "its adapter does not rename them"
        if reader.can_adapt
        else "it has no adapter for PyTorch names"
    )
    yield Finding(
        "norm-weight-bias",
        Severity.WARNING,
        f"key {printable(case.plan.originals[rows[0]], 120)}",
        f"Burn calls weight and bias of a BatchNorm gamma and beta, and {reader.name} will not find them: {why}. It "
        f"concerns {count_text(len(norms), 'layer')}: {named([prefix.removesuffix('.') for prefix in norms])}.",
        "Switch the adapter on, or rename them with rules."
        if reader.can_adapt and reader.renames_norms
        else "Rename them with rules, or export the file with Burn's names.",
        keys=case.originals(rows),
    )


_FIELD: Final = re.compile(r"(?:[^\W\d]\w*|_\w+|[0-9]+)")
_KEYWORDS: Final = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "crate",
        "else",
        "enum",
        "extern",
        "false",
        "fn",
        "for",
        "if",
        "impl",
        "in",
        "let",
        "loop",
        "match",
        "mod",
        "move",
        "mut",
        "pub",
        "ref",
        "return",
        "self",
        "Self",
        "static",
        "struct",
        "super",
        "trait",
        "true",
        "type",
        "unsafe",
        "use",
        "where",
        "while",
        "async",
        "await",
        "dyn",
        "abstract",
        "become",
        "box",
        "do",
        "final",
        "macro",
        "override",
        "priv",
        "typeof",
        "unsized",
        "virtual",
        "yield",
        "try",
        "gen",
    ]
)


def rust_names(case: Case) -> Iterator[Finding]:
    """Segments that no field of a Rust struct can be called."""
    if case.mapping.burn is None:
        return
    bad: dict[str, list[int]] = {}
    fine: set[str] = set()
    for row, key in enumerate(case.keys):
        for segment in key.split("."):
            if segment in fine:
                continue
            if segment and (segment in _KEYWORDS or _FIELD.fullmatch(segment) is None):
                bad.setdefault(segment, []).append(row)
                break
            fine.add(segment)
    if not bad:
        return
    rows = [row for each in bad.values() for row in each]
    some = ", ".join(f"`{printable(segment, 40)}`" for segment in list(bad)[:4])
    more = f" and {len(bad) - 4:,} more" if len(bad) > 4 else ""
    yield Finding(
        "no-rust-name",
        Severity.NOTE,
        f"key {printable(case.plan.originals[rows[0]], 120)}",
        f"No field of a Rust struct can be called {some}{more}, as {count_text(len(rows), 'key')} would need: "
        f"{named([case.keys[row] for row in rows])}.",
        "Rename these segments with a rule.",
        keys=case.originals(rows),
    )


# ---- indices ------------------------------------------------------------------------------------------

_GENERATIONS: Final = (
    " Of gaps in .pt files, burn-import (to 0.20) and burn-store from 0.20 on make a list without gaps; burn-store "
    "0.19 keeps them and finds nothing at the numbers behind a gap. In .safetensors files gaps stay, unless "
    "`map_indices_contiguous(true)` is said."
)


def index_gaps(case: Case) -> Iterator[Finding]:
    """Lists with holes in their numbers, where nothing closes them; the lints tell where something does."""
    if not case.reads_file or any(each.code.startswith("renumbered") for each in case.plan.lints):
        return
    found: dict[str, set[int]] = {}
    first: dict[str, int] = {}
    for row, key in enumerate(case.plan.remapped):
        prefix = ""
        for segment in key.split("."):
            if segment.isdecimal() and segment.isascii() and prefix and len(segment) < 10:
                found.setdefault(prefix, set()).add(int(segment))
                first.setdefault(prefix, row)
            prefix += segment + "."
    gaps = {prefix: sorted(each) for prefix, each in found.items() if each != set(range(len(each)))}
    if not gaps:
        return
    prefix, numbers = next(iter(gaps.items()))
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    can = case.reader.can_switch_indices
    others = f", and {count_text(len(gaps) - 1, 'other list')} like it" if len(gaps) > 1 else ""
    yield Finding(
        "index-gap",
        Severity.WARNING,
        f"keys below {printable(prefix.removesuffix('.'), 100)}",
        f"`{printable(prefix.removesuffix('.'), 80)}` has the numbers {shown}{others}. A `Vec` in Burn counts 0, 1, 2 "
        f"without gaps, and {case.reader.name} keeps them as they are." + _GENERATIONS,
        "Close the gaps, or give the layers names by a rule.",
        keys=case.originals(first[each] for each in gaps),
        repair=Repair.make("Close the gaps", "set", field="reindex", value=True) if can else None,
    )


def with_generations(finding: Finding) -> Finding:
    """A lint about renumbering, with what the other generations of Burn do."""
    from dataclasses import replace

    return replace(finding, text=finding.text + _GENERATIONS)
