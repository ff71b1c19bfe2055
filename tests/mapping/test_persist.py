import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from workbench.mapping.persist import literal

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
mappings = st.builds(
    wb.Mapping,
    st.lists(st.builds(wb.Rule, st.sampled_from([r"a\.(.*)", "(?P<n>x)", "é", '"', "'"]), texts, st.booleans())),
    top_level_key=st.none() | texts,
    reindex=st.sampled_from([None, True, False]),
    burn=st.sampled_from([None, "0.21", "0.22", "0.23"]),
)


@given(mappings)
def test_a_mapping_survives_its_json(mapping):
    assert wb.Mapping.from_json(json.loads(json.dumps(mapping.to_json()))) == mapping


@given(mappings)
def test_a_mapping_survives_its_python(mapping):
    names: dict[str, object] = {}
    exec(mapping.to_python(), names)
    assert names["mapping"] == mapping


@given(st.text(max_size=20))
def test_a_literal_is_the_text_it_stands_for_and_prints_as_one_safe_line(text):
    code = literal(text)
    assert ast.literal_eval(code) == text
    assert code.isprintable()


def test_save_and_load_give_the_same_mapping(tmp_path):
    mapping = wb.Mapping([wb.Rule(r"conv\.(.*)", "$1")], top_level_key="model", reindex=False, burn="0.21")
    mapping.save(tmp_path / "m.json")
    assert wb.Mapping.load(tmp_path / "m.json") == mapping
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "other"}, "not a mapping"),
        ({"version": 99}, "version 99"),
        (
            {"rules": [{"pattern": "(", "replacement": "", "enabled": True}]},
            "rule 1 is not a regex: unclosed group",
        ),
        ({"rules": [{"pattern": 3, "replacement": "", "enabled": True}]}, "rule 1, pattern"),
        ({"rules": "none"}, "rules"),
        ({"reindex": "yes"}, "reindex"),
        ({"top_level_key": 3}, "top_level_key"),
        ({"burn": {"version": "9.9"}}, "9.9"),
    ],
)
def test_a_faulty_file_is_refused_by_file_and_field(tmp_path, change, words):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(wb.Mapping().to_json() | change))
    with pytest.raises(wb.MappingError) as caught:
        wb.Mapping.load(path)
    assert words in str(caught.value)
    assert "m.json" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_refused(tmp_path, content):
    path = tmp_path / "m.json"
    path.write_bytes(content)
    with pytest.raises(wb.MappingError):
        wb.Mapping.load(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(wb.MappingError, match="no such file"):
        wb.Mapping.load(tmp_path / "none.json")
