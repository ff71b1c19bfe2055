"""Files that are no checkpoint at all: each gets a word on what it is."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.make.hostile.case import Case, fixed

_OTHERS = {
    "nothing": (b"", "empty"),
    "one-byte": (b"\x80", ""),
    "zeros": (bytes(5000), "zeros"),
    "lfs-pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "git-lfs-pointer"),
    "page": (b"<!DOCTYPE html><html><script>alert(1)</script>", "html-page"),
    "gguf": (b"GGUF\x03\x00\x00\x00" + b"\xff" * 40, "gguf"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "hdf5"),
    "text": (b"just some words\n", "text"),
    "control-codes": (b"\x1b[31mred\x07\n", ""),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(60), "7z"),
    "rar": (b"Rar!\x1a\x07\x01\x00" + bytes(60), "rar"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(60), "picture"),
    "braces": (b"[" * 4000, ""),
    "noise": (random.Random(7).randbytes(4096), ""),
    "sparse-memo-only": (b"\x80\x02r\xff\xff\xff\xff.", ""),
}


def cases() -> Iterator[Case]:
    for name, (data, code) in _OTHERS.items():
        yield Case(f"other-{name}", "error", fixed(data), code)
