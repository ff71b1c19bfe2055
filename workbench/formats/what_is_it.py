"""For a file that is no checkpoint we read: what it is, told by its content, and what to do about it."""

from __future__ import annotations

import json
import re
import zlib
from typing import Final

from workbench.core.source import ByteSource
from workbench.core.text import bytes_text
from workbench.errors import NotACheckpointError, OpenError, printable

__all__ = ["what_is_it"]

_UNPACK: Final = "Unpack it and open the file inside."

# First bytes, what it is, next step, code.
_MAGIC: Final = (
    (b"version https://git-lfs", "This is a Git LFS pointer, a small text in place of the real file.",
     "Run `git lfs pull`, or fetch the file itself from its download link.", "git-lfs-pointer"),
    (b"GGUF", "This is a GGUF model (llama.cpp); it is not read.",
     "Get the original .safetensors or .pt files of the model.", "gguf"),
    (b"\x89HDF\r\n\x1a\n", "This is an HDF5 file (Keras, h5py); it is not read.",
     "Load it where it was made and save its weights with safetensors.", "hdf5"),
    (b"\x1f\x8b", "This file is packed with gzip.", _UNPACK, "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "This is a 7z archive.", _UNPACK, "7z"),
    (b"Rar!\x1a\x07", "This is a rar archive.", _UNPACK, "rar"),
    (b"\xfd7zXZ\x00", "This file is packed with xz.", _UNPACK, "xz"),
    (b"BZh", "This file is packed with bzip2.", _UNPACK, "bzip2"),
    (b"\x28\xb5\x2f\xfd", "This file is packed with Zstandard.", _UNPACK, "zstd"),
    (b"%PDF-", "This is a PDF document.", "Choose the model file itself.", "pdf"),
    (b"\x89PNG", "This is a PNG picture.", "Choose the model file itself.", "picture"),
)  # fmt: skip


def what_is_it(source: ByteSource) -> OpenError:
    """The error to raise: one paragraph on what the file is, with a next step."""
    size = source.size
    head = source.read_exact(0, min(size, 4096))
    if size == 0:
        return OpenError(
            "The file is empty.", path=source.path or source.name, next_step="Fetch it again.", code="empty"
        )
    if head.startswith(b"\x1f\x8b") and (inside := _in_gzip(head)):
        return _not(source, f"This is {inside}, packed with gzip.", _UNPACK, "gzip")
    for magic, title, step, code in _MAGIC:
        if head.startswith(magic):
            return _not(source, title, step, code)
    if head[:2] == b"PK":
        return _not(source, "This begins like a zip file, but holds no entries.", "Fetch it again.", "broken-zip")
    if len(head) > 262 and head[257:262] == b"ustar":
        title = "This is a tar archive, and none that PyTorch wrote."
        return _not(source, title, "Unpack it and open the checkpoint inside.", "tar")
    if not head.strip(b"\0"):
        title = f"The first {bytes_text(len(head))} of this file are all zero."
        return _not(source, title, "The download or copy probably failed: fetch it again.", "zeros")
    text = _text(head)
    if text is not None:
        return _what_text(source, text, head)
    return _what_binary(source, head)


def _what_text(source: ByteSource, text: str, head: bytes) -> OpenError:
    start = text.lstrip("\ufeff \t\r\n")
    if re.match(r"<(!doctype|html|head|\?xml|script)", start, re.IGNORECASE):
        return _not(
            source,
            "This is a web page, not the file: the download probably ended at a login or error page.",
            "Open the link in a browser, or fetch it with the site's own tool.",
            "html-page",
        )
    if start[:1] in ("{", "["):
        index = '"weight_map"' in start
        whole = source.size <= len(head)
        if index or not whole or _is_json(start):
            title = "This is the index of a sharded checkpoint." if index else "This is JSON text, not a checkpoint."
            step = "Open it in the folder of its shards." if index else "Choose the file that holds the tensors."
            return _not(source, title, step, "shard-index" if index else "json")
    shown = printable(" ".join(start.split())[:80])
    return _not(source, f"This is plain text: “{shown}”.", "Choose the file that holds the tensors.", "text")


def _what_binary(source: ByteSource, head: bytes) -> OpenError:
    if head[:1] == b"\x08" and (b"onnx" in head[:512].lower() or b"pytorch" in head[:64] or b"torch" in head[:64]):
        return _not(
            source,
            "This is an ONNX model; it is not read.",
            "Get the PyTorch or safetensors weights it was exported from.",
            "onnx",
        )
    shown = head[:8].hex(" ")
    return _not(
        source,
        f"This is none of the checkpoint formats known here ({bytes_text(source.size)}, begins with {shown}).",
        "Choose a file that torch.save or safetensors wrote; if it should be one, fetch it again.",
        "unknown-format",
    )


def _in_gzip(head: bytes) -> str:
    """What a gzip file seems to hold, by its first bytes; nothing more of it is unpacked."""
    try:
        begin = zlib.decompressobj(31).decompress(head, 512)
    except zlib.error:
        return ""
    if begin[257:262] == b"ustar":
        return "a tar archive (.tar.gz)"
    if b"\xa8metadata" in begin[:64] and 0x80 < begin[0] < 0x90:
        return "a Burn record (.mpk.gz)"
    return "a PyTorch checkpoint" if begin[:4] == b"PK\x03\x04" else ""


def _not(source: ByteSource, title: str, next_step: str, code: str) -> NotACheckpointError:
    return NotACheckpointError(title, path=source.path or source.name, next_step=next_step, code=code)


def _text(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(head) < 4096:
            return None
        text = head[: error.start].decode("utf-8")
    return None if re.search("[\x00-\x08\x0e-\x1f]", text) else text


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
