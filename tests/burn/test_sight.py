"""What we say a reader of Burn sees, against what the real crates saw."""

import re

import pytest

from tests.burn.golden import CRATES, answers, digest, opened, path_of
from tests.oracles import corpus
from workbench.burn import reader_for, sight

STORES = [version for version in CRATES if version != "0.18"]

# Values that are the same by chance, although the reader does not read them.
CHANCE = {("burn/reader_simple_legacy.pt", "running_mean")}  # zeros, where every tensor is read as zeros

# The root of a TorchScript program is opened as an object without tensors; we say that it is not read.
OPENS_EMPTY = {("0.18", "TorchScript")}


def without_order(message):
    """Lists in messages up to 0.21 stand in random order."""
    return re.sub(r"\[([^\]]*)\]", lambda found: str(sorted(found[1].split(", "))), message)


def asked(version):
    """Each answer to a file that we open: its name, checkpoint, answer, and our sight."""
    for name, answer in answers(f"read/{CRATES[version]}.json").items():
        file, has_key, key = name.partition("#")
        checkpoint = opened(path_of(file))
        if checkpoint is not None:
            reader = reader_for(version, checkpoint.format, "burn-store")
            yield name, checkpoint, answer, sight(reader, checkpoint, key if has_key else None)


@pytest.mark.parametrize("version", STORES)
def test_a_file_is_refused_where_the_real_reader_refuses_it_and_in_its_words(version):
    n = 0
    for name, _, answer, seen in asked(version):
        assert bool(seen.refused) == ("error" in answer), name
        if seen.refused and seen.message:
            assert without_order(seen.message) == without_order(answer["error"]), name
            n += 1
    assert n >= 60


@pytest.mark.parametrize("version", STORES)
def test_the_names_listed_are_those_that_the_real_reader_lists(version):
    for name, _, answer, seen in asked(version):
        if "error" not in answer:
            assert set(seen.listed) == set(answer["keys"] if "keys" in answer else answer["tensors"]), name


@pytest.mark.parametrize("version", STORES)
def test_values_are_wrong_where_the_real_reader_reads_other_bytes(version):
    n = 0
    for name, checkpoint, answer, seen in asked(version):
        rows = {id(tensor): row for row, tensor in enumerate(checkpoint.tensors)}
        for key, tensor, fate in zip(seen.keys, seen.tensors, seen.seen, strict=True):
            found = answer.get("tensors", {}).get(key)
            if found is None or fate.state == "lost" or (name, key) in CHANCE:
                continue
            if not isinstance(found.get("sha256"), str):
                expected = "unreadable"
            elif not tensor.unreadable and found["sha256"] == digest(path_of(name.partition("#")[0]), rows[id(tensor)]):
                expected = "right"
            else:
                expected = "wrong values"
            assert fate.state == expected, (name, key, fate.why)
            n += 1
    assert n >= 300


@pytest.mark.parametrize("version", ["0.18", "0.19", "0.20"])
def test_burn_import_stops_at_the_files_at_which_the_real_one_stops(version):
    loads = answers(f"import/load/{CRATES[version]}.json")
    n = 0
    for case in answers("import/load/cases.json"):
        folder, _, rest = case["file"].partition("/")
        path = corpus("golden/import/files") / rest if folder == "files" else corpus("peer/burn") / rest
        checkpoint = opened(path) if path.exists() else None
        if checkpoint is None or (case.get("format") == "safetensors") != (checkpoint.format == "safetensors"):
            continue
        if (version, case["name"]) in OPENS_EMPTY:
            continue
        seen = sight(reader_for(version, checkpoint.format, "burn-import"), checkpoint, case["top_level_key"])
        errors = [outcome["error"] for outcome in loads[case["name"]]["record"] if "error" in outcome]
        # Others are about the module: what it wanted and did not find.
        read = [text for text in errors if re.search("Candle Tensor error|Store error|Failed to get tensor data", text)]
        assert bool(seen.refused) == bool(read), (case["name"], seen.refused, errors)
        n += 1
    assert n >= 130


@pytest.mark.parametrize("version", ["0.18", "0.19", "0.20"])
def test_burn_import_gets_the_values_that_we_say_it_gets(version):
    loads = answers(f"import/load/{CRATES[version]}.json")
    n = 0
    for case in answers("import/load/cases.json"):
        folder, _, rest = case["file"].partition("/")
        path = corpus("golden/import/files") / rest if folder == "files" else corpus("peer/burn") / rest
        outcomes = loads[case["name"]]["record"]
        if case["rules"] or case["top_level_key"] or len(outcomes) != 1 or "ok" not in outcomes[0]:
            continue
        checkpoint = opened(path)
        if checkpoint is None or case.get("precision", "full") != "full":
            continue
        seen = sight(reader_for(version, checkpoint.format, "burn-import"), checkpoint)
        for row, (key, tensor, fate) in enumerate(zip(seen.keys, seen.tensors, seen.seen, strict=True)):
            found = parameter(outcomes[0]["ok"], key.split("."))
            if found is None or tensor.dtype.name != "float32" or found["shape"] != list(tensor.shape):
                continue
            if fate.state in ("right", "wrong values"):
                # The weight of a Linear comes out transposed.
                is_right = found["sha256"] in (digest(path, row), digest(path, row, transposed=tensor.is_contiguous))
                assert is_right == (fate.state == "right"), (case["name"], key)
                n += 1
    assert n >= 80


def parameter(record, path):
    """The tensor at a path of a record, None where there is none, or the loader moved it."""
    for segment in path:
        record = record.get(segment) if isinstance(record, dict) else None
    inner = record.get("param") if isinstance(record, dict) else None
    return inner if isinstance(inner, dict) and "sha256" in inner else None


@pytest.mark.parametrize("version", STORES)
def test_burnpack_files_of_every_version_are_seen_as_the_real_reader_sees_them(version):
    crate = CRATES[version]
    asked_for = [
        (f"foreign/{name}", row) for name, rows in answers("bpk/foreign.json").items() for row in rows
        if crate in row["versions"]
    ]  # fmt: skip
    asked_for += [
        (name, found if isinstance(found, str) or "error" in found else {"tensors": found})
        for name, row in answers("bpk/matrix.json").items()
        for found in [row[crate]["list"]]
    ]
    n = 0
    for name, answer in asked_for:
        path = corpus("golden/bpk") / f"{name}.bpk"
        checkpoint = opened(path)
        if checkpoint is None or answer == "same names" or "keys" in answer:
            continue
        seen = sight(reader_for(version, "burnpack", "burn-store"), checkpoint)
        assert bool(seen.refused) == ("error" in answer), name
        if isinstance(answer, str):
            assert answer.startswith("same"), name
            assert seen.is_right, name
        for row, (key, tensor, fate) in enumerate(zip(seen.keys, seen.tensors, seen.seen, strict=True)):
            found = answer.get("tensors", {}).get(key) if isinstance(answer, dict) else None
            if found is None or tensor.unreadable:
                continue
            is_right = found.get("sha256") == digest(path, row)
            assert (fate.state == "right") == is_right, (name, key)
        n += 1
    assert n >= (2 if version == "0.19" else 100)  # of 0.19 mostly names were recorded
