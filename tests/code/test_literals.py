"""Rust literals, without Rust: what the compiler says to them is in test_compiled.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.code.texts import nasty_texts
from workbench.code import rust_literal, text_of_literal

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS)
def test_a_text_survives_its_literal(text):
    assert text_of_literal(rust_literal(text)) == text


@pytest.mark.parametrize("text", nasty_texts()[:60])
def test_a_literal_is_one_line_of_printable_ascii_whose_only_bare_quotes_are_its_ends(text):
    literal = rust_literal(text)
    assert literal.isascii()
    assert literal.isprintable()
    inside = literal[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inside


def test_a_lone_surrogate_has_no_literal():
    with pytest.raises(ValueError, match="U\\+D800"):
        rust_literal("a\ud800")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r'"a\\.b"', r"a\.b"),
        (r'r"^a\.b"', r"^a\.b"),
        ('r#"say "x""#', 'say "x"'),
        ('r##"a"#b"##', 'a"#b'),
        (r'"\x41\u{1F600}\u{00_e9}\'\""', "A😀é'\""),
        ('"a\\\n    b"', "ab"),
        ('"a\\\r\n\t\n  b"', "ab"),
        ('"a\r\nb"', "a\nb"),
        ('"a\nb"', "a\nb"),
        ('"é"', "é"),
    ],
)
def test_literals_people_write_are_read_as_rust_reads_them(source, text):
    assert text_of_literal(source) == text


@pytest.mark.parametrize(
    "source",
    [
        *('"a', 'a"', "", '"', '"a"b"', r'"\q"', r'"\x80"', r'"\u{d800}"', r'"\u{110000}"', r'"\u{}"'),
        *(r'"\u{1234567}"', 'b"a"', 'c"a"', "'a'", 'r"a"b"', 'r#"a"', '"a\rb"', 'r"a\rb"', '"a\\"'),
    ],
)
def test_what_rust_refuses_has_no_text(source):
    assert text_of_literal(source) is None
