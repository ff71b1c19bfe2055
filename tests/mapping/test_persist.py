import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from workbench.mapping.persist import literal

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
flags = st.sampled_from([None, True, False])
picks = st.builds(wb.Pick, st.sampled_from(["key", "node"]), texts) | st.builds(
    wb.Pick, st.just("regex"), st.sampled_from([r"^a\.", "(?P<n>x)", '"', "é$"])
)
dtypes = st.sampled_from(["float16", "bfloat16", "int64"])
mappings = st.builds(
    lambda burn, **others: wb.Mapping(burn=burn[0], api=burn[1], **others),
    st.sampled_from([(None, None), ("0.18", None), ("0.20", "burn-store"), ("0.20", None), ("0.22", "burn-store")]),
    rules=st.lists(
        st.builds(
            wb.Rule, st.sampled_from([r"a\.(.*)", "(?P<n>x)", "é", '"', "'"]), texts, st.booleans(), st.just("") | texts
        )
    ),
    route=st.sampled_from(["original", "exported"]),
    top_level_key=st.none() | texts,
    selection=st.builds(wb.Selection, st.lists(picks, max_size=2).map(tuple), st.lists(picks, max_size=2).map(tuple)),
    reindex=flags,
    keep_indices=st.lists(st.sampled_from(["^flows$", '"', ""]), max_size=2),
    skip_enum_variants=flags,
    layout=st.builds(wb.Layout, flags, st.dictionaries(texts, texts, max_size=2).map(lambda d: tuple(d.items()))),
    casts=st.lists(st.builds(wb.Cast, dtypes, st.none() | picks, st.none() | dtypes), max_size=2),
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
        ({"burn": {"version": "9.9", "api": None}}, "9.9"),
        ({"burn": {"version": "0.22", "api": "burn-import"}}, "no API 'burn-import'"),
        ({"burn": {"version": 22}}, "burn, version"),
        ({"burn": "0.22"}, "burn"),
        ({"route": "other"}, "route"),
        ({"route": None}, "route"),
        ({"selection": {"include": [], "exclude": [{"kind": "regex", "text": "("}]}}, "unclosed group"),
        ({"selection": {"include": [{"kind": "glob", "text": "a"}], "exclude": []}}, "glob"),
        ({"selection": {"include": [{"kind": "key"}], "exclude": []}}, "selection, include 1, text"),
        ({"selection": {"include": []}}, "selection, exclude"),
        ({"selection": []}, "selection"),
        ({"keep_indices": "^a$"}, "keep_indices"),
        ({"keep_indices": ["^a$", 3]}, "keep_indices 2"),
        ({"keep_indices": ["("]}, "unclosed group"),
        ({"skip_enum_variants": 1}, "skip_enum_variants"),
        ({"layout": {"adapt": "yes", "modules": {}}}, "layout, adapt"),
        ({"layout": {"adapt": None, "modules": {"fc": 3}}}, "layout, modules, fc"),
        ({"layout": {"adapt": None}}, "layout, modules"),
        ({"casts": [{"dtype": "float99", "pick": None, "from_dtype": None}]}, "float99"),
        ({"casts": [{"dtype": "float16", "pick": "all", "from_dtype": None}]}, "cast 1, pick"),
        ({"casts": [3]}, "cast 1"),
        ({"version": True}, "version True"),
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


def test_a_mapping_of_the_first_version_is_read():
    first = {
        "schema": "checkpoint-workbench/mapping",
        "version": 1,
        "burn": {"version": "0.21", "api": "PytorchStore"},
        "top_level_key": "model",
        "rules": [{"pattern": "a", "replacement": "b", "enabled": False}],
        "reindex": None,
    }
    wanted = wb.Mapping([wb.Rule("a", "b", enabled=False)], burn="0.21", top_level_key="model")
    assert wb.Mapping.from_json(first) == wanted


def test_a_mapping_can_be_a_key_of_a_dict():
    assert {wb.Mapping([wb.Rule("a", "b")]): 1}[wb.Mapping([wb.Rule("a", "b")])] == 1


def test_a_mapping_prints_what_was_decided():
    mapping = wb.Mapping([wb.Rule("a", "b")], route="exported", casts=[wb.Cast("float16")])
    assert repr(mapping).startswith("Mapping(rules=(Rule('a', 'b'),), route='exported', casts=(Cast(")
    assert repr(wb.Mapping()) == "Mapping()"
