"""Which names are needed, inert, dangerous, unknown."""

from __future__ import annotations

import pytest

from workbench.formats.pickle.names import Kind, classify, storage_dtype


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("collections", "OrderedDict"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch", "FloatStorage"),
        ("torch.cuda", "HalfStorage"),
        ("torch.storage", "UntypedStorage"),
        ("torch", "bfloat16"),
        ("torch", "Size"),
        ("_codecs", "encode"),
        ("__builtin__", "set"),
    ],
)
def test_the_machinery_of_tensors_is_needed(module: str, name: str) -> None:
    assert classify(module, name).kind is Kind.NEEDED


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch.nn.modules.conv", "Conv2d"),
        ("argparse", "Namespace"),
        ("datetime", "datetime"),
        ("__main__", "Net"),
        ("pathlib", "PosixPath"),
        ("builtins", "slice"),
    ],
)
def test_classes_of_well_known_packages_are_inert(module: str, name: str) -> None:
    assert classify(module, name).kind is Kind.INERT


@pytest.mark.parametrize(
    ("module", "name", "code"),
    [
        ("os", "system", "runs-a-program"),
        ("posix", "system", "runs-a-program"),
        ("subprocess", "Popen", "runs-a-program"),
        ("builtins", "eval", "runs-python"),
        ("__builtin__", "getattr", "runs-python"),
        ("importlib", "import_module", "runs-python"),
        ("operator", "attrgetter", "reaches-other-code"),
        ("functools", "partial", "reaches-other-code"),
        ("ctypes", "CDLL", "loads-native-code"),
        ("torch.ops.aten", "add", "loads-native-code"),
        ("torch", "load", "unpickles-more"),
        ("torch", "hub.load", "unpickles-more"),
        ("pickle", "loads", "unpickles-more"),
        ("codecs", "open", "touches-files"),
        ("socket", "create_connection", "uses-the-network"),
        ("pip", "main", "installs-packages"),
        ("pip._internal.cli.main", "main", "installs-packages"),
        ("torch.serialization", "os.system", "runs-a-program"),
        ("torch.nn.modules.module", "Module.forward.__globals__.get", "reaches-other-code"),
    ],
)
def test_names_that_reach_further_are_dangerous(module: str, name: str, code: str) -> None:
    effect = classify(module, name)
    assert (effect.kind, effect.code) == (Kind.DANGEROUS, code)


@pytest.mark.parametrize(
    ("module", "name"),
    [("acme.ops", "fuse"), ("torch.nn", "init"), ("torch._utils", "something"), ("oscar", "system"), ("builtins", "x")],
)
def test_everything_else_is_unknown(module: str, name: str) -> None:
    assert classify(module, name).kind is Kind.UNKNOWN


def test_a_storage_class_is_known_by_its_last_part_below_torch_only() -> None:
    assert storage_dtype("torch.cuda.FloatStorage") == "float32"
    assert storage_dtype("torch.storage.UntypedStorage") == ""
    assert storage_dtype("acme.FloatStorage") is None
    assert storage_dtype("torch.Tensor") is None
