"""Texts that mean something where they are shown: markup, control codes, formulas, paths, code."""

from __future__ import annotations

from collections.abc import Iterator

from tests.make import pickles as p
from tests.make.hostile.case import FLOATS, HEALTHY, Case, fixed, program, saved
from tests.make.safetensors import safetensors_file

TEXTS = {
    "markup": '<img src=x onerror="window.__wb_hit=1">',
    "script": "</td></table><script>alert(1)</script>",
    "entity": "&lt;b&gt;&#60;img src=x&#62;",
    "rich": "[red]a[/red][/][link=file:///etc/passwd]",
    "escape": "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "newline": "w\r\nfake: 1 tensor\n",
    "bidi": "a\u202eb\u2066c\u200bd\ufeff\U000e0041",
    "surrogate": "a\ud800b",
    "path": "../../../../etc/passwd",
    "drive": "C:\\CON.txt::$DATA",
    "formula": "=HYPERLINK(\"http://127.0.0.1\",\"x\")",
    "template": "{0.__class__} %s %n ${x} {{7*7}}",
    "code": "'; import os; os.abort(); '",
    "graph": 'a"];b[label=<<b>x</b>>]',
    "json": '","x":"',
    "empty": "",
    "nul": "a\0b",
    "long": "k" * 100_000,
    "wide": "\U0001f984" * 20_000,
}  # fmt: skip


def cases() -> Iterator[Case]:
    for name, text in TEXTS.items():
        nested = p.dict_of((p.text(text), p.tensor("0", 4, (4,), (1,))))
        state = p.dict_of((p.text(text), p.text(text)))
        klass = p.text("acme." + text) + p.text(text) + b"\x93)\x81" + state + b"b"
        called = p.text("os") + p.text(text) + b"\x93" + p.tuple_of(p.text(text), p.text(text)) + b"R"
        location = p.call(
            p.name("torch._utils", "_rebuild_tensor_v2"),
            p.tuple_of(p.text("storage"), p.name("torch", "FloatStorage"), p.text("0"), p.text(text), p.number(4))
            + b"Q",
            p.number(0), p.numbers((4,)), p.numbers((1,)), b"\x89", p.ordered_dict(),
        )  # fmt: skip
        missing = p.tensor(text, 4, (4,), (1,))
        body = program(nested, klass, called, location, missing, version=4)
        yield Case(f"text-{name}", "finding", fixed(saved(body)))
        if name != "surrogate":
            made = safetensors_file([(HEALTHY, "F32", (2, 2), FLOATS), (text, "U8", (1,), b"x")], {text: text})
            yield Case(f"text-{name}", "opens", fixed(made), suffix=".safetensors")
