"""The grammar of errors, and what of a file's text may pass."""

from __future__ import annotations

import pickle

import pytest

from workbench import errors
from workbench.errors import OpenError, RuleError, TensorError, UnknownKeyError, WorkbenchError, printable


def test_an_error_reads_where_what_why_what_to_do_and_its_code() -> None:
    error = OpenError(
        "It is broken.",
        path="/a/net.pt",
        place="byte 12 of x",
        cause="Too short.",
        next_step="Fetch it.",
        code="cut-off",
    )
    assert str(error) == "net.pt, byte 12 of x: It is broken. Too short. Fetch it. [cut-off]"
    assert error.as_dict() == {
        "title": "It is broken.",
        "file": "/a/net.pt",
        "place": "byte 12 of x",
        "cause": "Too short.",
        "next": "Fetch it.",
        "code": "cut-off",
    }


def test_empty_parts_are_left_out() -> None:
    assert str(WorkbenchError("No.", code="no")) == "No. [no]"
    assert str(WorkbenchError("No.", place="rule 3", code="no")) == "rule 3: No. [no]"


def test_an_unknown_key_is_a_key_error_that_reads_well() -> None:
    error = UnknownKeyError("There is no tensor 'x'.", code="unknown-key")
    assert isinstance(error, KeyError)
    assert isinstance(error, TensorError)
    assert str(error) == "There is no tensor 'x'. [unknown-key]"


def test_an_error_comes_whole_out_of_a_worker_process() -> None:
    said = TensorError("t", path="/a/net.pt", place="p", cause="c", next_step="n", code="some-code")
    rule = RuleError("(", "unclosed group", text="all of it", column=0, width=1)
    for error in (said, UnknownKeyError("k", code="u"), rule):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_every_error_is_one_of_ours() -> None:
    for name in errors.__all__:
        value = getattr(errors, name)
        assert name == "printable" or issubclass(value, WorkbenchError)


def test_a_rule_error_keeps_the_engine_s_words() -> None:
    error = RuleError(
        "(", "unclosed group", text="regex parse error:\n    (\n    ^\nerror: unclosed group", column=0, width=1
    )
    assert (error.pattern, error.reason, error.column, error.width) == ("(", "unclosed group", 0, 1)
    assert error.text.startswith("regex parse error")
    assert str(error).endswith("[pattern]")
    assert RuleError("(", "why").column == -1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv1.weight", "conv1.weight"),
        ("層 é 😀", "層 é 😀"),
        ("a\x1b[31m\n\t\x7f\x9b", r"a\x1b[31m\x0a\x09\x7f\x9b"),
        ("\u202eevil\u2066", r"\u{202e}evil\u{2066}"),
        ("\u200b\ufeff\u2028", r"\u{200b}\u{feff}\u{2028}"),
        ("\ud800", r"\u{d800}"),
        ("\U000e0041", r"\u{e0041}"),
    ],
)
def test_text_of_a_file_is_shown_and_never_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert printable("abcdefgh", 8) == "abcdefgh"
    assert printable("abcdefghi", 8) == "abcdefg…"
    assert len(printable("\x1b" * 100, 8)) == 8


def test_an_error_never_prints_control_characters() -> None:
    assert "\x1b" not in str(OpenError("a\x1b", path="b\x1b", place="c\x1b", cause="d\x1b", code="e"))
