"""Why a rule hits nothing: an earlier rule took its keys, a prefix stands before them, the case differs, a typo."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator

from workbench.finding import Finding, Repair, Severity
from workbench.mapping import regex
from workbench.mapping.lints.look import Look, counted, quoted
from workbench.mapping.lints.syntax import Syntax, syntax
from workbench.mapping.regex import escaped, literal

MARK, END = "\ufdd0", "\ufdd1"
"""Two characters that are none in Unicode, put around matches to see where they are."""

_N_SEGMENTS = 5000


def hits_nothing(look: Look) -> Iterator[Finding]:
    """One finding for each rule without a hit, with the first reason that fits."""
    if not len(look.plan):
        return
    for n in look.rules:
        if not look.n_hits(n) and not is_repeated(look, n):
            reasons: tuple[Callable[[Look, int], Finding | None], ...] = (
                _taken_by_earlier,
                _names_top_level_key,
                _anchored_after_prefix,
                _anchored_before_end,
                _case_differs,
                _nearly_a_name,
                _nothing_like_it,
            )
            yield next(finding for reason in reasons if (finding := reason(look, n)) is not None)


def is_repeated(look: Look, n: int) -> bool:
    """Whether an earlier rule has the same pattern and replacement."""
    rule = look.rule(n)
    return any(
        (look.rule(m).pattern, look.rule(m).replacement) == (rule.pattern, rule.replacement)
        for m in look.rules
        if m < n
    )


def _hits(look: Look, n: int) -> bool:
    return look.n_hits(n) > 0


def _taken_by_earlier(look: Look, n: int) -> Finding | None:
    pattern = look.rule(n).pattern
    earlier = (m for m in reversed(look.rules) if m < n)
    found = ((m, mask) for m in earlier if (mask := regex.hits(look.plan.keys_before(m), pattern)).any())
    taken = next(found, None)
    if taken is None:
        return None
    m, mask = taken
    return look.on_rule(
        n,
        "no-hit-shadowed",
        Severity.WARNING,
        f"It hits nothing: rule {m + 1} runs first and renames what it would hit ({counted(int(mask.sum()), 'key')}).",
        f"Move it before rule {m + 1}, or write the pattern for the names that rule {m + 1} makes.",
        rows=look.rows(mask),
        repair=look.offer(
            [Repair.make(f"Move it before rule {m + 1}", "move-rule", rule=n, to=m)],
            lambda trial: _hits(trial, m) and _hits(trial, m + 1),
        ),
    )


def _names_top_level_key(look: Look, n: int) -> Finding | None:
    top = look.mapping.top_level_key
    if not top:
        return None
    pattern, replacement = look.rule(n).pattern, look.rule(n).replacement
    if not regex.hits(regex.below(top + ".", look.plan.keys_before(n)), pattern).any():
        return None
    repairs = []
    anchor = "^" if pattern.startswith("^") else ""
    for written in (escaped(top + "."), top + "."):
        if pattern.startswith(anchor + written):
            rest = pattern[len(anchor + written) :]
            kept = replacement.removeprefix(top + ".")
            repairs.append(look.edit(n, f"Take {written} off the pattern", anchor + rest, kept))
    return look.on_rule(
        n,
        "no-hit-top-level-key",
        Severity.WARNING,
        f"It hits nothing: the pattern names the top-level key {top!r}, and keys are meant below it, without it.",
        f"Take {top!r} off the pattern.",
        repair=look.offer(repairs, lambda trial: _hits(trial, n)),
    )


def _anchored_after_prefix(look: Look, n: int) -> Finding | None:
    found = look.syntax(n)
    if not found.starts_at_beginning:
        return None
    rest = found.replaced({found.tokens[0].start: ""})
    keys = look.plan.keys_before(n)
    if not rest or not regex.accepts(rest):
        return None
    mask = regex.hits(keys, rest)
    if not mask.any():
        return None
    before = _around(keys, rest, look.rows(mask))[0]
    edge = r"\b" if syntax(rest).tokens[0].kind in ("char", "class", "open") else ""
    repairs = [look.edit(n, f"Write {edge}{rest}", edge + rest)]
    if before.endswith("."):
        whole = regex.hits(keys, "^" + escaped(before) + rest)
        if (whole == mask).all():
            pattern, replacement = "^" + escaped(before) + rest, literal(before) + look.rule(n).replacement
            repairs.insert(0, look.edit(n, f"Write {pattern}", pattern, replacement))
    return look.on_rule(
        n,
        "no-hit-prefix",
        Severity.WARNING,
        f"It hits nothing: ^ means the beginning of the key, and {before!r} stands before it there "
        f"({counted(int(mask.sum()), 'key')}).",
        "Write the prefix into the pattern, or take the ^ off.",
        rows=look.rows(mask),
        repair=look.offer(repairs, lambda trial: _hits(trial, n)),
    )


def _anchored_before_end(look: Look, n: int) -> Finding | None:
    found = look.syntax(n)
    if not found.ends_at_end:
        return None
    rest = found.replaced({found.tokens[-1].start: ""})
    keys = look.plan.keys_before(n)
    if not rest or not regex.accepts(rest):
        return None
    mask = regex.hits(keys, rest)
    if not mask.any():
        return None
    after = _around(keys, rest, look.rows(mask))[1]
    repairs = [look.edit(n, f"Write {rest}{edge}", rest + edge) for edge in (r"\b", "")]
    return look.on_rule(
        n,
        "no-hit-suffix",
        Severity.WARNING,
        f"It hits nothing: $ means the end of the key, and there it goes on with {after!r} "
        f"({counted(int(mask.sum()), 'key')}).",
        "Take the $ off, or write the end of the key into the pattern.",
        rows=look.rows(mask),
        repair=look.offer(repairs, lambda trial: _hits(trial, n)),
    )


def _case_differs(look: Look, n: int) -> Finding | None:
    found, keys = look.syntax(n), look.plan.keys_before(n)
    anyhow = "(?i)" + found.pattern
    if not regex.accepts(anyhow):
        return None
    mask = regex.hits(keys, anyhow)
    if not mask.any():
        return None
    text = _match(keys, anyhow, look.rows(mask))
    repairs = [look.edit(n, f"Write {anyhow}", anyhow)]
    chars = [token for token in found.tokens if token.kind == "char"]
    if found.is_literal and len(chars) == len(text):
        exact = found.replaced({token.start: escaped(char) for token, char in zip(chars, text, strict=True)})
        if (regex.hits(keys, exact) == mask).all():
            repairs.insert(0, look.edit(n, f"Write {exact}", exact))
    return look.on_rule(
        n,
        "no-hit-case",
        Severity.WARNING,
        f"It hits nothing, as capitals count: the file has {text!r} ({counted(int(mask.sum()), 'key')}).",
        f"Write it as in the file, or (?i){found.pattern} for either case.",
        rows=look.rows(mask),
        repair=look.offer(repairs, lambda trial: _hits(trial, n)),
    )


def _nearly_a_name(look: Look, n: int) -> Finding | None:
    found, keys = look.syntax(n), look.plan.keys_before(n)
    if not found.is_plain:
        return None
    wrong = [run for run in found.runs() if len(run[0]) > 2 and not regex.hits(keys, escaped(run[0])).any()]
    if not wrong:
        return None
    names = regex.segments(keys, _N_SEGMENTS)
    pattern = found.pattern
    said = []
    for text, start, end in reversed(wrong):
        near = [name for name in difflib.get_close_matches(text, names, 3, 0.7) if _words(name) != _words(text)]
        if not near:
            return None
        pattern = pattern[:start] + escaped(near[0]) + pattern[end:]
        said.append(f"{text!r} stands in no key, {near[0]!r} does")
    return look.on_rule(
        n,
        "no-hit-typo",
        Severity.WARNING,
        f"It hits nothing: {', '.join(reversed(said))}.",
        f"Perhaps {pattern} is meant.",
        repair=look.offer(
            [look.edit(n, f"Write {pattern}", pattern)] if regex.accepts(pattern) else [],
            lambda trial: _hits(trial, n),
        ),
    )


def _words(name: str) -> str:
    """A name without its digits: another number is no typo."""
    return "".join(char for char in name if not char.isdigit())


def _nothing_like_it(look: Look, n: int) -> Finding:
    found = look.syntax(n)
    text = "It hits nothing: no key matches, neither here nor before the earlier rules."
    missing = _absent(look, found, n)
    if missing:
        text += f" {quoted(missing)} {'stands' if len(missing) == 1 else 'stand'} in no key."
    return look.on_rule(
        n,
        "no-hit",
        Severity.WARNING,
        text,
        "Correct the pattern, or remove the rule.",
        repair=look.offer(
            [Repair.make("Remove the rule", "remove-rule", rule=n)],
            lambda trial: len(trial.mapping.rules) < len(look.mapping.rules),
        ),
    )


def _absent(look: Look, found: Syntax, n: int) -> list[str]:
    keys = look.plan.keys_before(n)
    return [text for text, _, _ in found.runs() if not regex.hits(keys, escaped(text)).any()] if found.is_plain else []


def _around(keys: regex.Keys, pattern: str, rows: list[int]) -> tuple[str, str]:
    """What stands before and after the first match in the first of `rows`."""
    marked = regex.at(regex.replace_all(regex.column(regex.at(keys, rows[:1])), pattern, f"{MARK}${{0}}{END}"), [0])[0]
    return marked.partition(MARK)[0], marked.partition(END)[2].replace(MARK, "").replace(END, "")


def _match(keys: regex.Keys, pattern: str, rows: list[int]) -> str:
    """The text of the first match in the first of `rows`."""
    marked = regex.at(regex.replace_all(regex.column(regex.at(keys, rows[:1])), pattern, f"{MARK}${{0}}{END}"), [0])[0]
    return marked.partition(MARK)[2].partition(END)[0]
