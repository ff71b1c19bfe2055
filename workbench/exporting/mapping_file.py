"""mapping.json: what was decided, what became of each tensor, and the files that were written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from workbench.exporting.contents import BURN_LAYOUT, Content, Contents
from workbench.writing import weights

if TYPE_CHECKING:
    from workbench.writing.files import Part
    from workbench.writing.items import Item

__all__ = ["MAPPING", "mapping_text"]

MAPPING: Final = "mapping.json"


def mapping_text(contents: Contents, parts: Sequence[Part], files: Sequence[Mapping[str, object]]) -> str:
    """Plain ASCII, one row of the plan a line, so that a diff of two exports can be read."""
    plan = contents.plan
    decided = plan.mapping.to_json()
    checkpoint = plan.checkpoint
    document = {
        "schema": decided.pop("schema"),
        "version": decided.pop("version"),
        "source": {
            "name": checkpoint.name,
            "size": checkpoint.size,
            "format": checkpoint.format,
            "fingerprint": checkpoint.fingerprint,
        },
        **decided,
        "reader": plan.reader.store,
        "reindexed": plan.reindexes,
        "ties": contents.ties,
        "rows": list(_rows(contents, parts)),
        "files": list(files),
    }
    fields = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            lines = ",\n".join(f"    {json.dumps(item)}" for item in value)
            fields.append(f"  {json.dumps(name)}: [\n{lines}\n  ]")
        else:
            fields.append(f"  {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _rows(contents: Contents, parts: Sequence[Part]) -> Iterator[dict[str, object]]:
    common = contents.common
    has_npz = any(part.format == "npz" for part in parts)
    burns = [(part.format, _Burns(contents.of(part.format), part)) for part in parts if part.format in BURN_LAYOUT]
    place_of = {row: place for place, row in enumerate(contents.kept)}
    plan = contents.plan
    for row, (original, remapped, tensor) in enumerate(zip(plan.originals, plan.remapped, plan.tensors, strict=True)):
        said: dict[str, object] = {
            "original": original,
            "remapped": remapped,
            "shape": list(tensor.shape),
            "dtype": tensor.dtype.name,
            "status": str(plan.status(row)),
        }
        if parts_of := plan.folded.get(row):
            said["folded_from"] = list(parts_of)
        place = place_of.get(row)
        if place is None:
            yield said | {"reason": plan.row(row).reason}
            continue
        item = common.items[place]
        if item.name != remapped or item.transposed or (item.cast and item.dtype != tensor.dtype):
            said["written"] = _written(item)
        if has_npz and (stored := weights.npz_dtype(item.dtype)) is not None:
            said["npz_dtype"] = stored
        tied = common.tied.get(item.name)
        if tied is not None:
            said["tied_to"] = tied
        for format, burn in burns:
            own = burn.content.items[place]
            own_tied = burn.content.tied.get(own.name)
            if own.name not in burn.names and own.name not in burn.content.left_out:
                said[format] = False
            elif (*_as_written(own), own_tied) != (*_as_written(item), tied):
                said[format] = _written(own) | ({} if own_tied is None else {"tied_to": own_tied})
        yield said


class _Burns:
    """A file of Burn's own, and the names in it."""

    def __init__(self, content: Content, part: Part) -> None:
        # A record has the dtypes of its settings, and the names of enum variants.
        written = {id(item.tensor): item for item in part.items}
        items = tuple(written.get(id(item.tensor), item) for item in content.items)
        self.content = Content(items, content.tied, content.written)
        self.names = frozenset(item.name for item in part.items)


def _as_written(item: Item) -> tuple[object, ...]:
    return item.name, item.shape, item.dtype, item.transposed


def _written(item: Item) -> dict[str, object]:
    facts: dict[str, object] = {"name": item.name, "shape": list(item.shape), "dtype": item.dtype.name}
    return facts | {"transposed": True} if item.transposed else facts
