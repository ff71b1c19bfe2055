"""Each thing that a reader of Burn does to a file, on a made file that has it and a near miss that has not."""

import struct
import zlib

import pytest

from tests.burn.golden import answers
from tests.make import legacy
from tests.make import pickles as p
from tests.make.safetensors import safetensors_file
from tests.make.zips import make_zip, torch_records
from workbench.burn import NO_FRAMEWORK, VERSIONS, reader_for, sight
from workbench.checkpoint import checkpoint_of
from workbench.core.source import MemorySource
from workbench.finding import Severity

W = p.text("w"), p.tensor("0", 6, (2, 3), (3, 1))
B = p.text("b"), p.tensor("0", 6, (3,), (1,))
OLD = ("0.18", "0.19", "0.20", "0.21")
NEW = ("0.22", "0.23")


def of(*pairs, root="net", version=2, checked=True, byteorder="little"):
    """A file of torch.save that holds a dict of these."""
    return holding(p.dict_of(*pairs), root=root, version=version, checked=checked, byteorder=byteorder)


def holding(node, *, root="net", version=2, checked=True, byteorder="little"):
    records = torch_records(p.pickle(node, version), {"0": bytes(24)}, root=root, byteorder=byteorder)
    for record in records:
        crc = {"crc": zlib.crc32(record.data)} if checked else {}
        record.local |= crc
        record.central |= crc
    return opened(ended_like_torch(make_zip(records).data))


def ended_like_torch(data):
    """A zip64 record before an end record that has the numbers itself."""
    at = data.rfind(b"PK\x05\x06")
    *_, n, size, begin, _ = struct.unpack("<4s4H2LH", data[at : at + 22])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 0x31E, 45, 0, 0, n, n, size, begin)
    return data[:at] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1) + data[at:]


def opened(data):
    return checkpoint_of(MemorySource(data, "net.pt"))


def codes(checkpoint, key=None):
    """By version the codes of all that is found, of the first API where there are two."""
    return {
        version: tuple(
            finding.code for finding in sight(reader_for(version, checkpoint.format), checkpoint, key).findings
        )
        for version in VERSIONS
    }


def in_versions(code, versions):
    return {version: (code,) if version in versions else () for version in VERSIONS}


CAUSES = {
    "a plain state_dict": (of(W, B), None, ()),
    "a set": (of(W, (p.text("s"), p.call(p.name("__builtin__", "set"), p.list_of()))), "burn-stray-object", OLD[1:]),
    "a Size": (of(W, (p.text("s"), p.call(p.name("torch", "Size"), p.tuple_of()))), "burn-stray-object", OLD[1:]),
    "an object without tensors": (of(W, (p.text("o"), p.instance("m", "C", p.dict_of()))), None, ()),
    "an object with tensors": (
        of(W, (p.text("o"), p.instance("m", "C", p.dict_of(B)))),
        "burn-object-with-tensors",
        NEW,
    ),
    "a whole model": (holding(p.module(parameters=[("w", W[1])])), None, None),
    "one number as key": (of((p.number(0), W[1])), "burn-int-key", OLD),
    "two numbers as keys": (of((p.number(0), W[1]), (p.number(1), B[1])), "burn-int-key", OLD[:1]),
    "a key that is True": (of(W, (p.boolean(True), p.number(1)), B), "burn-odd-key", OLD[1:] + NEW),
    "a transposed tensor": (of((p.text("w"), p.tensor("0", 6, (3, 2), (1, 3)))), "burn-strides", OLD[1:]),
    "a stepped tensor": (of((p.text("w"), p.tensor("0", 6, (3,), (2,)))), "burn-strides", OLD),
    "a row of one with any stride": (of((p.text("w"), p.tensor("0", 6, (1, 3), (7, 1)))), None, ()),
    "a view that begins inside": (of((p.text("w"), p.tensor("0", 6, (3,), (1,), offset=3))), "burn-offset", OLD[:1]),
    "a folder of 21 bytes": (of(W, root="x" * 21), "burn-zip-name-of-21", NEW),
    "a folder of 20 bytes": (of(W, root="x" * 20), None, ()),
    "a folder of 22 bytes": (of(W, root="x" * 22), None, ()),
    "big-endian": (of(W, byteorder="big"), "burn-big-endian", VERSIONS),
    "no checksums": (of(W, checked=False), "burn-no-checksum", OLD),
    "tensors in a list": (of(W, (p.text("l"), p.list_of(B[1]))), "burn-tensors-in-list", OLD),
    "an empty list": (of(W, (p.text("l"), p.list_of())), None, ()),
    "no elements": (of(W, (p.text("e"), p.tensor("0", 6, (0, 3), (3, 1)))), "burn-empty-tensor", OLD[1:]),
    "a filled defaultdict": (
        of(W, (p.text("d"), p.dict_of(B, start=p.call(p.name("collections", "defaultdict"))))),
        None,
        None,
    ),
    "uint16": (of((p.text("w"), p.tensor_v3("0", 24, "uint16", (3,), (1,)))), "burn-dtype", OLD),
    "float8": (of((p.text("w"), p.tensor_v3("0", 24, "float8_e5m2", (3,), (1,)))), "burn-dtype", VERSIONS),
    "many int64": (of((p.text("w"), p.tensor("0", 3, (3,), (1,), kind="LongStorage"))), "burn-int-range", OLD[:3]),
    "a counter": (of((p.text("w"), p.tensor("0", 3, (), (), kind="LongStorage"))), None, ()),
    "safetensors of float32": (opened(safetensors_file([("w", "F32", (2,), bytes(8))])), None, ()),
    "safetensors of bool": (opened(safetensors_file([("w", "BOOL", (2,), bytes(2))])), "burn-dtype", OLD[:3]),
}


@pytest.mark.parametrize("cause", [cause for cause, (_, _, versions) in CAUSES.items() if versions is not None])
def test_a_cause_is_found_for_the_versions_that_have_it_and_for_no_other(cause):
    checkpoint, code, versions = CAUSES[cause]
    assert codes(checkpoint) == in_versions(code, versions)


def test_a_filled_defaultdict_stops_every_reader_but_candles():
    checkpoint = CAUSES["a filled defaultdict"][0]
    assert codes(checkpoint) == {
        "0.18": ("burn-nested-dict",),
        "0.19": ("burn-stray-object",),
        "0.20": ("burn-stray-object",),
        "0.21": ("burn-stray-object",),
        "0.22": ("burn-filled-object",),
        "0.23": ("burn-filled-object",),
    }


def test_a_whole_model_is_read_from_0_22_on_and_was_refused_before():
    assert codes(CAUSES["a whole model"][0]) == {
        "0.18": ("burn-tensors-in-object",),
        "0.19": ("burn-whole-model",),
        "0.20": ("burn-whole-model",),
        "0.21": ("burn-whole-model",),
        "0.22": (),
        "0.23": (),
    }


def test_zeros_for_a_stream_before_1_6_are_said_for_0_19_and_0_20_only():
    tensor = legacy.tensor(legacy.storage("0", 2), (2,), (1,))
    checkpoint = opened(legacy.stream(p.dict_of((p.text("w"), tensor)), ("0", 2, bytes(8))))
    assert {version: found for version, found in codes(checkpoint).items() if found} == {
        "0.18": ("burn-container",),
        "0.19": ("burn-legacy-zeros",),
        "0.20": ("burn-legacy-zeros",),
    }


@pytest.mark.parametrize(
    ("n", "shape", "refused"),
    [(31_000, (1, 1), False), (31_500, (1, 1), True), (35_000, (1,), False), (36_200, (1,), True)],
)
def test_the_number_of_tensors_at_which_0_22_gives_up_is_that_of_the_real_reader(n, shape, refused):
    # Seen with pytorch-reader 0.22.1 on files of torch.save with so many tensors of such shapes.
    one = p.tensor("0", 6, shape, (1,) * len(shape))
    checkpoint = of(*((p.text(f"layers.{i}.weight"), one) for i in range(n)))
    assert sight(reader_for("0.22", "torch-zip"), checkpoint).code == ("burn-memo-bomb" if refused else "")
    assert sight(reader_for("0.21", "torch-zip"), checkpoint).is_right


def test_a_tar_is_refused_then_empty_then_read():
    members = legacy.tar(
        p.dict_of((p.text("w"), legacy.tensor_id(2))),
        legacy.tar_storages([(1, "FloatStorage", 2, bytes(8))]),
        legacy.tar_tensors([(2, 1, (2,), (1,), 0)]),
    )
    checkpoint = opened(b"".join(members))
    assert codes(checkpoint) == {
        "0.18": ("burn-container",),
        "0.19": ("burn-container",),
        "0.20": ("burn-container",),
        "0.21": ("burn-tar-empty",),
        "0.22": (),
        "0.23": (),
    }


def test_the_second_of_two_names_of_one_dict_is_lost_and_the_first_is_not():
    inner = p.dict_of(W)
    remembered = p.EMPTY_DICT + b"q\x05" + inner[len(p.EMPTY_DICT) :]
    checkpoint = of((p.text("a"), remembered), (p.text("b"), b"h\x05"))
    seen = sight(reader_for("0.22", "torch-zip"), checkpoint)
    assert dict(zip(seen.keys, [each.state for each in seen.seen], strict=True)) == {"a.w": "right", "b.w": "lost"}
    assert seen.listed == ("a.w",)
    assert sight(reader_for("0.22", "torch-zip"), checkpoint, "b").of("lost") == ("w",)


def test_two_tensors_of_one_joined_name_are_both_uncertain_but_the_name_is_listed():
    checkpoint = of((p.text("a.w"), W[1]), (p.text("a"), p.dict_of(W)))
    seen = sight(reader_for("0.22", "torch-zip"), checkpoint)
    assert seen.listed == ("a.w",)
    assert [each.state for each in seen.seen] == ["lost", "lost"]


def test_a_finding_says_which_reader_what_happens_and_offers_a_clean_file():
    (finding,) = sight(reader_for("0.21", "torch-zip"), CAUSES["a transposed tensor"][0]).findings
    assert finding.severity is Severity.ERROR
    assert finding.text == (
        "In Burn 0.21 (PytorchStore) `w` is wrong without a message: it is not contiguous, and its strides are not "
        "looked at."
    )
    assert finding.keys == ("w",)
    assert finding.repair is not None
    assert finding.repair.as_dict() == {"label": "Export a clean file", "do": "export", "format": "safetensors"}


def test_a_missing_top_level_key_is_no_reason_to_export():
    seen = sight(reader_for("0.22", "torch-zip"), CAUSES["a plain state_dict"][0], "model")
    assert seen.code == "burn-top-level-key"
    assert seen.message == 'key not found in PyTorch file: \'model\' not found. Available top-level keys: ["b", "w"]'
    assert seen.findings[0].repair is None


def test_no_framework_sees_everything():
    for checkpoint, _, _ in CAUSES.values():
        seen = sight(NO_FRAMEWORK, checkpoint)
        assert seen.is_right
        assert seen.findings == ()


FACTS = {
    "stray-set": ("a set", "burn-store"),
    "namespace-without-tensors": ("an object without tensors", "burn-store"),
    "object-holding-tensors": ("an object with tensors", "burn-store"),
    "whole-model-zip": ("a whole model", "burn-store"),
    "single-int-key": ("one number as key", "burn-store"),
    "odd-dict-keys": ("a key that is True", "burn-store"),
    "list-or-tuple-of-tensors": ("tensors in a list", "burn-store"),
    "non-contiguous-strides": ("a stepped tensor", "burn-store"),
    "dict-or-list-subclass": ("a filled defaultdict", "burn-store"),
    "uint16-32-64-pt": ("uint16", "burn-store"),
    "no-checksum-save": ("no checksums", "burn-store"),
}


@pytest.mark.parametrize("fact", FACTS)
def test_the_recorded_fact_of_each_version_is_what_sight_says(fact):
    cause, api = FACTS[fact]
    checkpoint = CAUSES[cause][0]
    (recorded,) = [each for each in answers("burn-versions.json") if each["code"] == fact]
    for version in VERSIONS[1:]:
        said = recorded["versions"]["0.23-pre" if version == "0.23" else version]
        seen = sight(reader_for(version, checkpoint.format, api), checkpoint)
        if said.startswith("error"):
            assert seen.refused, version
        elif said.startswith("silently"):
            assert not seen.refused, version
        else:
            assert said.startswith("ok"), said
            assert seen.is_right, version
