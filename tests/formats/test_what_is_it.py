"""Files that are no checkpoints say what they are."""

from __future__ import annotations

import gzip

import pytest

from workbench import formats
from workbench.core.source import MemorySource
from workbench.errors import OpenError, WorkbenchError

FILES = {
    "empty": b"",
    "git-lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n",
    "html-page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "tar": bytes(257) + b"ustar\x0000" + bytes(600),
    "gguf": b"GGUF\3\0\0\0" + bytes(40),
    "onnx": b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + bytes(300),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "gzip": b"\x1f\x8b\x08" + bytes(20),
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(20),
    "rar": b"Rar!\x1a\x07\0" + bytes(20),
    "text": b"hello world\n",
    "json": b'{"a": [1, 2]}\n',
    "shard-index": b'{"metadata": {}, "weight_map": {"w": "model-00001-of-00002.safetensors"}}',
    "zeros": bytes(64),
    "unknown-format": b"\xde\xad\xbe\xef" * 9,
    "xz": b"\xfd7zXZ\0" + bytes(20),
}


@pytest.mark.parametrize("code", FILES)
def test_a_file_that_is_no_checkpoint_is_named_with_a_next_step(code: str) -> None:
    with pytest.raises(OpenError) as caught:
        formats.read(MemorySource(FILES[code], "thing.pt"))
    assert caught.value.code == code
    assert caught.value.next_step.endswith((".", ")"))
    assert str(caught.value).startswith("thing.pt: ")


def test_the_name_of_a_file_means_nothing() -> None:
    with pytest.raises(OpenError) as caught:
        formats.read(MemorySource(FILES["html-page"], "model.safetensors"))
    assert caught.value.code == "html-page"


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 9, 15, 40])
def test_a_few_bytes_of_anything_give_one_of_our_errors(n: int) -> None:
    for data in FILES.values():
        with pytest.raises(WorkbenchError):
            formats.read(MemorySource(data[:n], "thing"))


def test_text_of_the_file_is_shown_escaped_and_cut() -> None:
    with pytest.raises(OpenError) as caught:
        formats.read(MemorySource(("wörter \u202e" + "x" * 9000).encode(), "thing"))
    assert "\u202e" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (b"\x83\xa8metadata\x85\xa5float\xa3f32" + bytes(40), "a Burn record (.mpk.gz)"),
        (bytes(257) + b"ustar\x0000" + bytes(600), "a tar archive (.tar.gz)"),
        (b"PK\x03\x04" + bytes(40), "a PyTorch checkpoint"),
        (b"anything", "This file is packed with gzip"),
    ],
)
def test_a_file_packed_with_gzip_says_what_seems_to_be_inside(inside: bytes, words: str) -> None:
    with pytest.raises(OpenError) as caught:
        formats.read(MemorySource(gzip.compress(inside), "thing.gz"))
    assert words in caught.value.title
    assert caught.value.code == "gzip"
