"""What a saved notebook shows of a workbench where no kernel runs: plain HTML, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from workbench.core.text import bytes_text, count_text
from workbench.errors import printable
from workbench.session import Session

_MAX_ROWS = 20


def page(session: Session) -> str:
    """The session's rules and first rows as HTML; all text of the file is escaped."""
    plan = session.plan
    if plan is None:
        why = session.error
        return f"<p>{'Nothing is open.' if why is None else _html(str(why))}</p>"
    checkpoint, counts = plan.checkpoint, plan.counts
    n_tensors, size = count_text(len(checkpoint.tensors), "tensor"), bytes_text(checkpoint.nbytes)
    equation = f"{counts['all']:,} in = {plan.n_out:,} out + {counts['skipped']:,} skipped"
    if counts["collision"]:
        equation += f" + {counts['collision']:,} in collision"
    parts = [
        f"<p><b>{_html(checkpoint.name)}</b> {_html(checkpoint.kind)}, {n_tensors}, {size}</p>",
        f"<p>Saved summary. Run the cell to work with it. {equation}.</p>",
    ]
    if plan.mapping.rules:
        rules = [
            (str(number), rule.pattern, rule.replacement, "on" if rule.enabled else "off")
            for number, rule in enumerate(plan.mapping.rules, start=1)
        ]
        parts.append(_table(("", "Pattern", "Replacement", ""), rules))
    rows = [(row.original, row.remapped, str(row.status)) for row in plan.rows[:_MAX_ROWS]]
    parts.append(_table(("Original key", "Remapped key", "Status"), rows))
    if len(plan) > _MAX_ROWS:
        parts.append(f"<p>and {len(plan) - _MAX_ROWS:,} more</p>")
    return "".join(parts)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    titles = "".join(f"<th>{name}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_html(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{body}</table>"


def _html(text: str) -> str:
    return escape(printable(text, 300))
