"""Lints on what the mapping asks of the chosen reader: filters, top-level key, switches, norms, the route."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from workbench.finding import Finding, Repair, Severity
from workbench.mapping import regex
from workbench.mapping.lints.look import Look, counted, each_rule, quoted
from workbench.mapping.regex import escaped

_NORM_NAMES = (("weight", "gamma"), ("bias", "beta"))


def rules_not_in_code(look: Look) -> Iterator[Finding]:
    """The rules are carried out by the export, or by nobody, and not by the reader."""
    if look.mapping.route == "exported" and look.rules:
        yield Finding(
            "rules-in-export-only",
            Severity.NOTE,
            "route",
            f"The model reads the exported file, whose keys are remapped already. The code for it has none of the "
            f"{counted(len(look.rules), 'rule')}.",
            "Choose the original file as the route to have them in the code.",
            repair=look.offer([Repair.make("Read the original file", "set", field="route", value="original")], _anyhow),
        )
    elif look.mapping.route == "original" and look.rules and look.reader.version and not look.reader.has_rules:
        yield Finding(
            "reader-has-no-rules",
            Severity.ERROR,
            "route",
            f"{look.reader.name} cannot rename keys, so the rules have no effect there.",
            "Export the file and read that.",
            repair=look.offer([Repair.make("Read the exported file", "set", field="route", value="exported")], _anyhow),
        )


def filter_tests_other_names(look: Look) -> Iterator[Finding]:
    """The selection is decided on original keys; a filter of Burn tests other names, if there is one."""
    selection, reader = look.mapping.selection, look.reader
    if look.mapping.route != "original" or not reader.version or not (selection.include or selection.exclude):
        return
    if reader.filters == "none":
        yield Finding(
            "no-filter",
            Severity.WARNING,
            "selection",
            f"{reader.name} has no filter: it reads the whole file, whatever is selected here.",
            "Export the selection, and read the exported file.",
        )
        return
    if selection.exclude:
        yield Finding(
            "filter-cannot-exclude",
            Severity.WARNING,
            "selection",
            f"A filter of {reader.name} lists what to load; it cannot say what to leave out. The code lists the names "
            "that stay.",
            "Include what you want, or export the selection.",
        )
    patterns = [pick.text for pick in selection.include if pick.kind == "regex"]
    if reader.filters == "module-path" and patterns:
        old = np.zeros(len(look.plan), np.bool_)
        new = old.copy()
        for pattern in patterns:
            if regex.accepts(pattern):
                old |= regex.hits(look.first, pattern)
                new |= regex.hits(look.last, pattern)
        other = old != new
        if other.any():
            rows = look.rows(other)
            example = f"{look.plan.originals[rows[0]]!r} is {look.plan.remapped[rows[0]]!r} there"
            yield Finding(
                "filter-tests-other-names",
                Severity.WARNING,
                "selection",
                f"{reader.name} tests its filter on the names of the module, not of the file: the patterns of this "
                f"selection decide otherwise for {counted(int(other.sum()), 'key')} ({example}).",
                "Use the code made here, whose filter is written for the new names.",
                keys=look.originals(rows),
            )
    if reader.filtered_counts_missing:
        yield Finding(
            "filtered-counts-missing",
            Severity.NOTE,
            "selection",
            f"{reader.name} counts a parameter as missing that its filter leaves out and the file has not.",
            "allow_partial(true) lets it pass.",
        )


def top_level_key(look: Look) -> Iterator[Finding]:
    """The top-level key as Burn takes it: one level, exactly; and one that all keys have and nobody chose."""
    mapping, reader, checkpoint = look.mapping, look.reader, look.plan.checkpoint
    top = mapping.top_level_key
    if mapping.route != "original" or not reader.version:
        return
    known = {each.key for each in checkpoint.top_level_keys}
    if top is not None and not reader.has_top_level_key:
        yield Finding(
            "top-level-key-unsupported",
            Severity.WARNING,
            top,
            f"{reader.name} has no top-level key; it sees every key with {top + '.'!r} before it.",
            "Take the prefix off with a rule, or export the file.",
        )
    elif top is not None and "." in top and top not in known:
        yield Finding(
            "top-level-key-nested",
            Severity.WARNING,
            top,
            f"{reader.name} takes a top-level key of one level only, and {top!r} lies deeper.",
            f"Use {top.partition('.')[0]!r} and a rule that takes the rest off, or export the file.",
        )
    elif top is None and reader.has_top_level_key:
        head = look.plan.originals[0].partition(".")[0] if len(look.plan) else ""
        below = all(key.startswith(head + ".") for key in look.plan.originals)
        if head in known and below and not _taken_off(look, head):
            yield Finding(
                "top-level-key-missing",
                Severity.WARNING,
                head,
                f"Every key lies below {head!r} and keeps it as a prefix, which a model rarely has.",
                f"Choose {head!r} as the top-level key.",
                repair=look.offer(
                    [Repair.make(f"Read below {head}", "set", field="top_level_key", value=head)],
                    lambda trial: len(trial.plan) == len(look.plan),
                ),
            )


def unsupported_switches(look: Look) -> Iterator[Finding]:
    """Decisions for which the reader has no switch."""
    mapping, reader = look.mapping, look.reader
    if mapping.route != "original" or not reader.version:
        return
    if mapping.keep_indices and not reader.keep_lists:
        yield Finding(
            "keep-list-unsupported",
            Severity.WARNING,
            "keep_indices",
            f"{reader.name} cannot keep the indices of some containers and close those of others.",
            "Read an exported file, or choose Burn 0.22 or later.",
            repair=look.offer([Repair.make("Read the exported file", "set", field="route", value="exported")], _anyhow),
        )
    if mapping.reindex is not None and mapping.reindex != reader.closes_gaps and not reader.can_switch_indices:
        does = "closes" if reader.closes_gaps else "does not close"
        yield Finding(
            "reindex-unsupported",
            Severity.WARNING,
            "reindex",
            f"{reader.name} {does} gaps in indices and has no switch for it.",
            "Read an exported file, or leave it to the reader.",
            repair=look.offer([_by_itself("reindex")], _anyhow),
        )
    if mapping.skip_enum_variants is not None and reader.skips_enum_variants is None:
        yield Finding(
            "enum-variants-unsupported",
            Severity.WARNING,
            "skip_enum_variants",
            f"{reader.name} has no switch for the names of enum variants"
            + (": it takes the first variant that the keys fit." if reader.enums_by_structure else "."),
            "Write the variant's name with a rule where the module expects it.",
            repair=look.offer([_by_itself("skip_enum_variants")], _anyhow),
        )


@each_rule
def norm_renamed_by_rule(look: Look, n: int) -> Iterator[Finding]:
    """weight to gamma by a rule, where the reader's adapter does that for norms by itself."""
    reader, adapt = look.reader, look.mapping.layout.adapt
    adapts = reader.adapter_by_default if adapt is None else adapt
    if look.mapping.route != "original" or not reader.renames_norms or not adapts:
        return
    if not look.n_hits(n) or not any(new in look.rule(n).replacement for _, new in _NORM_NAMES):
        return
    mask = look.none(n)
    for old, new in _NORM_NAMES:
        ends = r"(?:^|\.){}$"
        mask |= regex.hits(look.before(n), ends.format(old)) & regex.hits(look.after(n), ends.format(new))
    if not mask.any():
        return
    names = ", ".join(sorted(reader.renames_norms))
    panics = reader.norms_need_both
    yield look.on_rule(
        n,
        "norm-renamed-by-rule",
        Severity.WARNING if panics else Severity.NOTE,
        f"{reader.name} takes weight and bias of {names} for gamma and beta by itself, so these need no rule"
        + (
            f" and panic with it (\"Failed to find 'weight' key in map\"): {quoted(_examples(look, n, mask))}."
            if panics
            else "."
        ),
        f"Keep the rule for modules other than {names} only.",
        rows=look.hit_rows(n, mask),
        repair=look.offer(
            [Repair.make("Remove the rule", "remove-rule", rule=n)] if mask.all() and panics else [],
            lambda trial: len(trial.mapping.rules) < len(look.mapping.rules),
        ),
    )


def _by_itself(field: str) -> Repair:
    return Repair.make("Leave it to the reader", "set", field=field, value=None)


def _anyhow(trial: Look) -> bool:
    return True


def _taken_off(look: Look, head: str) -> bool:
    """Whether the rules take `head` off the keys."""
    return not regex.hits(look.last, "^" + escaped(head) + r"\.").any()


def _examples(look: Look, n: int, mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[str]:
    return regex.at(look.after(n), np.flatnonzero(mask)[:3])
