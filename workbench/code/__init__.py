"""A mapping as the code that carries it out, and rules out of such code."""

from workbench.code.literals import rust_literal, text_of_literal
from workbench.code.parsing import Call, ParsedCode, rules_from_code
from workbench.code.python import python_code
from workbench.code.rust import cargo_toml, rust_code

__all__ = [
    "Call",
    "ParsedCode",
    "cargo_toml",
    "python_code",
    "rules_from_code",
    "rust_code",
    "rust_literal",
    "text_of_literal",
]
