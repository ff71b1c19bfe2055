"""Targets from lists of keys as people have them, and from checkpoints."""

import json
import os
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

import workbench as wb
from tests import oracles
from tests.make.named import checkpoint_named
from workbench.target import Target

WANTED = {"conv1.weight": (64, 3, 7, 7), "conv1.bias": (64,), "n": ()}


def shapes(target):
    return {entry.path: entry.shape for entry in target.entries}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(WANTED),
        json.dumps({key: {"shape": shape, "dtype": "float32"} for key, shape in WANTED.items()}),
        json.dumps([[key, shape] for key, shape in WANTED.items()]),
        json.dumps([{"key": key, "shape": shape} for key, shape in WANTED.items()]),
        'key,shape,dtype\nconv1.weight,"[64, 3, 7, 7]",float32\nconv1.bias,64,\nn,[],int64\n',
        "key\tshape\nconv1.weight\t64×3×7×7\nconv1.bias\t64\nn\tscalar\n",
        "name;shape\nconv1.weight;(64, 3, 7, 7)\nconv1.bias;(64,)\nn;()\n",
        "conv1.weight [64, 3, 7, 7]\nconv1.bias [64]\nn []\n",
        "# keys\nconv1.weight: (64, 3, 7, 7)\nconv1.bias: (64,)\nn: ()\n",
        "conv1.weight torch.Size([64, 3, 7, 7])\nconv1.bias torch.Size([64])\nn torch.Size([])\n",
        "  conv1.weight  64×3×7×7  float32  37.6 kB\r\n  conv1.bias  64  float32  256 B\r\n  n  scalar  int64  8 B\r\n",
        "conv1.weight\t[64, 3, 7, 7]\tF32\nconv1.bias\t[64]\tF32\nn\t[]\tI64\n",
    ],
    ids=[
        "json",
        "json dtypes",
        "pairs",
        "records",
        "csv",
        "tsv",
        "semicolons",
        "text",
        "colons",
        "Size",
        "table",
        "tabs",
    ],
)
def test_a_list_with_shapes_is_read_in_every_spelling(text):
    assert shapes(Target.parse(text)) == WANTED


@pytest.mark.parametrize(
    "text", ['["a.b", "c"]', "a.b\nc\n", "key\na.b\nc\n", "'a.b',\n'c',\n", '"a.b": \n"c"\n'], ids=lambda text: text[:6]
)
def test_a_list_without_shapes_is_read_in_every_spelling(text):
    assert shapes(Target.parse(text)) == {"a.b": None, "c": None}


def test_what_python_prints_for_a_model_is_read():
    torch = oracles.torch()
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.BatchNorm2d(4))
    state = model.state_dict()
    names = list(state)
    wanted = {key: tuple(value.shape) for key, value in state.items()}
    for text in (str(state.keys()), str(names), str(set(names)), str(tuple(names))):
        assert set(shapes(Target.parse(text))) == set(names)
    for text in (
        str({key: value.shape for key, value in state.items()}),
        str({key: tuple(value.shape) for key, value in state.items()}),
        str([(key, value.shape) for key, value in state.items()]),
        str({key: list(value.shape) for key, value in state.items()}),
        "\n".join(f"{key} {value.shape}" for key, value in state.items()),
        "\n".join(f"{key} {tuple(value.shape)} {value.dtype}" for key, value in state.items()),
    ):
        assert shapes(Target.parse(text)) == wanted, text
    typed = Target.parse(str({key: (value.shape, value.dtype) for key, value in state.items()}))
    assert {entry.path: entry.dtype for entry in typed.entries}["1.num_batches_tracked"] == "int64"
    assert shapes(typed) == wanted
    with pytest.raises(wb.WorkbenchError, match="with its values"):
        Target.parse(str(state))


def test_a_dtype_tells_the_kind():
    target = Target.parse('{"a": {"dtype": "BF16"}, "b": {"dtype": "torch.int64"}, "c": {"dtype": "bool"}}')
    assert [(entry.dtype, entry.kind) for entry in target.entries] == [
        ("bfloat16", "float"),
        ("int64", "int"),
        ("bool", "bool"),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "no-keys"),
        ("\n \n# nothing\n", "no-keys"),
        ("{}", "no-keys"),
        ('{"a": [1', "broken-json"),
        ('{"a": [1], "a": [2]}', "broken-json"),
        ('{"a": [-1]}', "not-a-target"),
        ('{"a": [1.5]}', "not-a-target"),
        ('{"a": [true]}', "not-a-target"),
        ('{"a": ' + str([1] * 65) + "}", "not-a-target"),
        ('{"a": [9223372036854775808]}', "not-a-target"),
        ('{"a": {"shape": [1], "dtype": "float7"}}', "not-a-target"),
        ('{"a": "text"}', "not-a-target"),
        ("[1, 2]", "not-a-target"),
        ("[" * 100_000, "broken-json"),
        ("a\nb\na\n", "key-twice"),
        ("hello dear world", "not-a-target"),
        ("key,shape\na,wide\n", "not-a-target"),
        ('[""]', "not-a-target"),
        ("a" * 70_000, "not-a-target"),
        ("a [" + "9" * 5_000 + "]", "not-a-target"),
    ],
)
def test_what_is_no_list_of_keys_is_refused_with_a_code(text, code):
    with pytest.raises(wb.WorkbenchError) as error:
        Target.parse(text)
    assert error.value.code == code


def test_an_error_names_file_and_line(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text("a [1]\nb what is this\n")
    with pytest.raises(wb.WorkbenchError, match=r"^keys\.txt, line 2: After the key 'b'"):
        Target.open(path)


def test_texts_of_a_file_are_harmless_in_an_error(tmp_path):
    with pytest.raises(wb.WorkbenchError) as error:
        Target.parse("a\x1b[31m not a shape")
    assert "\x1b" not in str(error.value)


def test_a_checkpoint_is_a_target_whatever_its_name(tmp_path):
    ckpt = checkpoint_named(tmp_path, ["a", "b.c"], "init.bin")
    for target in (Target.open(tmp_path / "init.bin"), Target.from_checkpoint(ckpt)):
        assert [(e.path, e.shape, e.dtype, e.kind) for e in target.entries] == [
            ("a", (1,), "float32", "float"),
            ("b.c", (1,), "float32", "float"),
        ]
        assert target.origin == "init.bin"
    np.savez(tmp_path / "arrays.npz", w=np.zeros((2, 3)))
    assert shapes(Target.open(tmp_path / "arrays.npz")) == {"w": (2, 3)}


def test_a_file_without_a_telling_name_is_told_by_its_content(tmp_path):
    (tmp_path / "keys").write_text("a [2]\n")
    assert shapes(Target.open(tmp_path / "keys")) == {"a": (2,)}
    (tmp_path / "model").write_text("#[derive(Module)] struct Net<B: Backend> { fc: Linear<B> }")
    assert [entry.path for entry in Target.open(tmp_path / "model").entries] == ["fc.weight", "fc.bias"]
    (tmp_path / "lfs").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(wb.WorkbenchError) as error:
        Target.open(tmp_path / "lfs")
    assert error.value.code == "git-lfs-pointer"


@pytest.mark.parametrize("name", ["none.txt", "none.rs", "none.safetensors", "none"])
def test_a_file_that_is_not_there_is_an_error_of_ours(tmp_path, name):
    with pytest.raises(wb.WorkbenchError):
        Target.open(tmp_path / name)


def test_a_target_without_open_places_fits_every_file_as_it_is():
    target = Target.from_keys({"a": (2,)})
    assert target.expanded(["x"]) is target
    assert not target.is_open
    assert target.type_of("a") == ""
    assert target.frame()["path"].tolist() == ["a"]


def test_an_unknown_version_of_burn_is_refused():
    with pytest.raises(wb.WorkbenchError) as error:
        Target.from_rust("#[derive(Module)] struct Net { a: usize }", burn="0.5")
    assert error.value.code == "burn-version"


@pytest.mark.parametrize("name", ["model.rs", "keys.json", "keys"])
def test_a_named_pipe_is_refused_without_waiting_for_who_writes_into_it(tmp_path, name):
    path = tmp_path / name
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(Target.open, path)
        is_waiting = not wait([opened], timeout=20).done
        if is_waiting:
            os.close(os.open(path, os.O_WRONLY))
        error = opened.exception()
    assert not is_waiting
    assert isinstance(error, wb.WorkbenchError)
    assert error.code in ("not-a-target", "not-a-file")


@pytest.mark.parametrize("name", ["x" * 300 + ".rs", "x" * 300 + ".json", "x" * 300])
def test_a_name_too_long_for_a_file_is_said_so(name):
    with pytest.raises(wb.WorkbenchError) as caught:
        wb.Target.open(name)
    assert caught.value.code == "cannot-open"
