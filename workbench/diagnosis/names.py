"""What the names of tensors give away: wrappers, parametrisations, counters, norms, names no Rust field can have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from workbench.core.text import count_text
from workbench.diagnosis.case import Case, named
from workbench.diagnosis.fitting import add_rule
from workbench.diagnosis.models import OWNER
from workbench.errors import RuleError, printable
from workbench.finding import Finding, Repair, Severity
from workbench.mapping import Status, regex
from workbench.mapping.folding import Fold
from workbench.mapping.folding import parametrised as parametrised_of
from workbench.mapping.plan import STATUSES
from workbench.mapping.repairs import repaired

__all__ = ["common_prefix", "counters", "index_gaps", "norm_names", "parametrised", "rust_names", "wrappers"]

_SKIPPED: Final = STATUSES.index(Status.SKIPPED)

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
    for each in case.wrapper_rules:
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


def common_prefix(case: Case) -> Iterator[Finding]:
    """A first segment that all keys have and no wrapper is known to write: perhaps the place of this part in a model.

    With a target only where more of it would be covered without.
    """
    plan = case.plan
    if not plan.n_out or case.model_roots:
        return
    kept = [key for key, code in zip(case.keys, plan.codes.tolist(), strict=True) if code != _SKIPPED]
    first, dot, _ = kept[0].partition(".")
    start = first + dot
    if not dot or not first or first.isdecimal() or not all(key.startswith(start) for key in kept):
        return
    pattern = f"^{regex.escaped(start)}"
    # A lone layer has its name in front, and what is left of its keys would name nothing.
    if not any("." in key[len(start) :] for key in kept) or any(
        pattern == each.rule.pattern for each in case.wrapper_rules
    ):
        return
    if case.mapping.top_level_key is None and any(each.key == first for each in case.checkpoint.top_level_keys):
        return
    repair = add_rule(case, pattern, "")
    more = 0
    if plan.target is not None:
        more = len(plan.update(repaired(case.mapping, repair)).coverage().applied) - len(plan.coverage().applied)
        if more <= 0:
            return
    gain = f" Without it the file fills {count_text(more, 'more parameter')} of the target." if more else ""
    yield Finding(
        "common-prefix",
        Severity.NOTE,
        f"key {printable(next(iter(plan.originals)), 120)}",
        f"All {len(kept):,} keys begin with `{printable(start, 80)}`: `{printable(kept[0], 80)}` would be "
        f"`{printable(kept[0][len(start) :], 80)}` without.{gain}",
        "Take it off if the model itself is that part; keep it if the model has a field of this name.",
        keys=case.originals(range(len(plan.originals))),
        repair=repair,
    )


def _shown(pattern: str) -> str:
    text = re.sub(r"\(\^\|\\\.\)|\(\?:|\)\+|\)\?|\^", "", pattern).replace("\\", "")
    return f"`{printable(text, 60)}`"


# ---- parametrisations ---------------------------------------------------------------------------------

_FOLDS: Final = {
    "weight_norm": "weight-norm",
    "spectral_norm": "spectral-norm",
    "pruning": "pruned",
    "parametrization": "parametrised",
}
_WHAT: Final = {"parametrization": "a parametrization"}


def parametrised(case: Case) -> Iterator[Finding]:
    """Weights that are stored as what they are computed from; not those that the mapping folds."""
    plan = case.plan
    gone = STATUSES.index(Status.SKIPPED) if plan.folded else -1
    keys = [
        "" if gone >= 0 and (row in plan.folded or plan.codes[row] == gone) else key
        for row, key in enumerate(plan.originals)
    ]
    groups: dict[tuple[str, str, str], list[Fold]] = {}
    for each in parametrised_of(keys, plan.tensors, case.checkpoint.modules):
        groups.setdefault((each.kind, each.removal, each.refusal), []).append(each)
    for (kind, how, refusal), found in groups.items():
        modules = list(dict.fromkeys(each.module or "the root" for each in found))
        rows = [row for each in found for row in each.rows]
        one = len(found) == 1
        who = named(modules) if len(modules) == 1 else f"{len(modules):,} modules ({named(modules)})"
        what = "`" + printable(found[0].name.rpartition(".")[2], 60) + "`" if one else f"{len(found):,} parameters"
        text = (
            f"{who} {'stores' if len(modules) == 1 else 'store'} {what} as the parts that {_WHAT.get(kind, kind)} "
            f"computes {'it' if one else 'them'} from, such as `{printable(plan.originals[rows[0]], 100)}`: a model "
            "without it asks for a plain weight and finds none."
        )
        repair = None
        if refusal:
            text += f" {'It' if one else 'They'} cannot be folded here: {refusal}."
            step = f"{OWNER}{how} before state_dict()."
        else:
            repair = Repair.make("Fold into weight", "fold")
            route = ", which Burn then reads" if case.mapping.burn is not None else ""
            step = f"Fold the parts into the weight and export it{route}. {OWNER}{how} before state_dict()."
        yield Finding(
            _FOLDS[kind],
            Severity.WARNING,
            f"key {printable(plan.originals[rows[0]], 120)}",
            text,
            step,
            keys=case.originals(rows),
            repair=repair,
        )


# ---- counters, norms, fields --------------------------------------------------------------------------

_COUNTERS: Final = ("num_batches_tracked", "n_averaged", "num_updates", "position_ids")


def counters(case: Case) -> Iterator[Finding]:
    """Numbers that training counts up, for which no model of Burn has a place."""
    rows = [row for row, key in enumerate(case.keys) if key.endswith(_COUNTERS) and key.rpartition(".")[2] in _COUNTERS]
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
    names = case.key_set
    pairs = [
        (row, key.removesuffix("gamma"))
        for row, key in enumerate(case.keys)
        if key.endswith("gamma") and key.rpartition(".")[2] == "gamma" and key.removesuffix("gamma") + "beta" in names
    ]
    if pairs and case.plan.target is not None:
        wanted = {entry.path for entry in case.plan.target.entries}
        pairs = [(row, prefix) for row, prefix in pairs if case.plan.remapped[row] not in wanted]
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
            repair=_to_weight_and_bias(case, pairs),
        )
    if not case.reads_file:
        return
    norms = [
        key.removesuffix("running_mean")
        for key in case.keys
        if key.endswith("running_mean")
        and key.rpartition(".")[2] == "running_mean"
        and key.removesuffix("running_mean") + "weight" in names
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


_MAX_PARENTS: Final = 40


def _to_weight_and_bias(case: Case, pairs: list[tuple[int, str]]) -> Repair | None:
    """Two rules that rename gamma and beta of these layers and of no other; None where no short pattern does that."""
    keys = list(case.keys)
    parents = {prefix for _, prefix in pairs}
    gammas = {prefix + "gamma" for prefix in parents}
    shapes = dict.fromkeys(re.sub(r"[0-9]+", "[0-9]+", regex.escaped(prefix)) for prefix in sorted(parents))
    patterns = [r"(^|\.)"]
    patterns += [
        f"^({'|'.join(each)})"
        for each in (shapes, [regex.escaped(prefix) for prefix in sorted(parents)])
        if len(each) <= _MAX_PARENTS
    ]
    try:
        column = regex.column(keys)
    except UnicodeEncodeError:
        return None
    for before in patterns:
        rules = [(f"{before}{name}$", f"${{1}}{other}") for name, other in (("gamma", "weight"), ("beta", "bias"))]
        hit = [regex.hits(column, pattern).nonzero()[0].tolist() for pattern, _ in rules]
        if {keys[row] for row in hit[0]} == gammas and {keys[row] for row in hit[1]} == {p + "beta" for p in parents}:
            return Repair.make("Rename them to weight and bias", "add-rules", at=len(case.mapping.rules), rules=rules)
    return None


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
    segments = {segment for key in case.keys for segment in key.split(".")}
    wrong = {each for each in segments if each and (each in _KEYWORDS or _FIELD.fullmatch(each) is None)}
    bad: dict[str, list[int]] = {}
    if wrong:
        for row, key in enumerate(case.keys):
            segment = next((each for each in key.split(".") if each in wrong), "")
            if segment:
                bad.setdefault(segment, []).append(row)
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
    for key, row in case.stems.items():
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
    shown = ", ".join(map(str, numbers[:8]))
    shown += f", … to {numbers[-1]}, {len(numbers):,} of them" if len(numbers) > 8 else ""
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
