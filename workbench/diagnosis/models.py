"""Files that hold more than tensors: whole models, programs, classes that torch's safe loading refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from workbench.burn import reader_for
from workbench.core.text import count_text
from workbench.diagnosis.case import PICKLED, Case
from workbench.errors import printable
from workbench.finding import Finding, Repair, Severity
from workbench.state_dicts import is_training_state

__all__ = ["OWNER", "is_safe_for_torch", "state_dict_line", "torchscript", "weights_only", "whole_model"]

OWNER: Final = "For the file's owner: "
"""Before the line of Python that would have made a better file."""

_SAID_HERE: Final = ("burn-whole-model", "burn-tensors-in-object")


def whole_model(case: Case) -> Iterator[Finding]:
    """torch.save(model): alone, under a key, or beside a state_dict that is enough."""
    roots = case.model_roots
    if not roots or case.checkpoint.format not in PICKLED:
        return
    top = case.mapping.top_level_key
    # What is chosen lies outside of all models: they are ballast then, and still refuse the file.
    beside = [key for key in case.dicts_with_tensors if not any(_below(root, key) for root in roots)]
    weights = [key for key in beside if not is_training_state(key)]
    severity, burn = _words_of_burn(case)
    tensors = count_text(len(case.tensors), "tensor")
    classes = ", ".join(f"`{printable(name, 100)}`" for name in list(dict.fromkeys(roots.values()))[:3])
    need = f"PyTorch needs the class {classes} to load it, and `weights_only=False`."
    if len(set(roots.values())) > 1:
        need = f"PyTorch needs the classes {classes} to load it, and `weights_only=False`."
    if "" in roots:
        yield Finding(
            "whole-model",
            severity,
            "the file",
            f"This file holds the whole model, not its state_dict. {need} {burn} Its {tensors} are all here, under the "
            "names `state_dict()` would give them.",
            f"Write the state_dict from here. {OWNER}{state_dict_line(case)}",
            repair=_write(),
        )
        return
    held = [f"`{printable(key, 60)}`" for key in roots]
    if weights:
        best = top if top in weights else weights[0]
        yield Finding(
            "whole-model-beside",
            severity,
            f"key {printable(next(iter(roots)), 100)}",
            f"This file also holds a whole model, in {_listed(held)}. The weights in `{printable(best, 60)}` are "
            f"enough. {need} {burn}",
            f"Write a clean file from here. {OWNER}{state_dict_line(case)}",
            repair=_write(best),
        )
        return
    what = f"{held[0]} holds a whole model" + "".join(f"; {other} holds another" for other in held[1:4])
    what += f"; {len(held) - 4:,} more do" if len(held) > 4 else ""
    yield Finding(
        "whole-model-under-key",
        severity,
        f"key {printable(next(iter(roots)), 100)}",
        f"{what}. {need} {burn}",
        f"Write {'the state_dict' if len(roots) == 1 else 'one state_dict'} from here. {OWNER}{state_dict_line(case)}",
        repair=_write(
            next(iter(roots)) if len(roots) == 1 else top if top in roots else None, needs_key=len(roots) > 1
        ),
    )


def state_dict_line(case: Case) -> str:
    """The line of Python that the file's owner should have run."""
    stem, dot, suffix = printable(case.checkpoint.name, 60).rpartition(".")
    name = f"{stem}.{suffix}" if dot else suffix
    return f'torch.save(model.state_dict(), "{name}")'


def torchscript(case: Case) -> Iterator[Finding]:
    """A program of torch.jit where a state_dict was expected."""
    if case.checkpoint.format != "torchscript":
        return
    said = next((each for each in case.seen if each.code == "burn-torchscript"), None)
    burn = f" No version of Burn reads it; {case.reader.version} does not either." if said is not None else ""
    yield Finding(
        "torchscript",
        said.severity if said is not None else Severity.WARNING,
        "the file",
        f"This is a TorchScript program, made by torch.jit.save, where a state_dict is expected. torch.load(path, "
        f"weights_only=True) refuses it; torch.jit.load runs its code.{burn} Its "
        f"{count_text(len(case.tensors), 'tensor')} are here under their names.",
        f"Write a state_dict from here. {OWNER}torch.save(program.state_dict(), path)",
        repair=_write(),
    )


def weights_only(case: Case) -> Iterator[Finding]:
    """A class beside the weights at which torch.load(weights_only=True), the default since 2.6, gives up."""
    checkpoint = case.checkpoint
    if checkpoint.format not in PICKLED or case.model_roots:
        return
    stray = [name for name, kind in checkpoint.names.items() if kind != "dangerous" and not is_safe_for_torch(name)]
    if not stray or not checkpoint.tensors:
        return
    shown = ", ".join(f"`{printable(name, 100)}`" for name in stray[:5])
    more = f" and {len(stray) - 5:,} more" if len(stray) > 5 else ""
    yield Finding(
        "weights-only-refused",
        Severity.WARNING,
        "the file",
        f"Beside the weights it holds {shown}{more}, so torch.load refuses the whole file with weights_only=True, its "
        "default since 2.6. Here such objects are kept as text, and nothing of them is run.",
        "Write a clean file from here, or load it with weights_only=False if you trust where it comes from.",
        repair=_write(case.mapping.top_level_key),
    )


_SAFE: Final = frozenset(
    [
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.set",
        "__builtin__.set",
        "__builtin__.bytearray",
        "__builtin__.complex",
        "collections.Counter",
        "collections.OrderedDict",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch._tensor._rebuild_from_type_v2",
        "torch._utils._rebuild_device_tensor_from_cpu_tensor",
        "torch._utils._rebuild_device_tensor_from_numpy",
        "torch._utils._rebuild_meta_tensor_no_storage",
        "torch._utils._rebuild_nested_tensor",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_wrapper_subclass",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch.per_channel_affine",
        "torch.bool",
        "torch.bfloat16",
        "torch.per_channel_affine_float_qparams",
        "torch.per_channel_symmetric",
        "torch.per_tensor_affine",
        "torch.per_tensor_symmetric",
        "torch.storage.TypedStorage",
        "torch.storage.UntypedStorage",
    ]
)
_SAFE_PATTERN: Final = re.compile(
    r"torch\.(?:(?:cuda\.|sparse\.|cuda\.sparse\.)?[A-Z][A-Za-z0-9]*(?:Storage|Tensor)"
    r"|q?u?int[0-9]+(?:x[0-9]+)?|float[0-9]+(?:_e[0-9]m[0-9][a-z_0-9]*)?|complex[0-9]+|bits[0-9]+(?:x[0-9]+)?)"
)


def is_safe_for_torch(name: str) -> bool:
    """Whether torch.load(weights_only=True) takes a name of a pickle without being told to (torch 2.13)."""
    return name in _SAFE or _SAFE_PATTERN.fullmatch(name) is not None


def _words_of_burn(case: Case) -> tuple[Severity, str]:
    """How loud, and what each Burn makes of it: the reader of 0.22 knows modules in zips and streams of today."""
    refused = case.sight if case.reads_file and case.sight.refused else None
    if refused is not None and refused.code in _SAID_HERE:
        core = re.search(r"[Uu]nsupported Python type '[^']*'", refused.message)
        words = printable(core[0] if core else refused.message, 160)
        message = f" (“{words}”)" if words else ""
        return Severity.ERROR, f"Burn {case.reader.version} refuses it{message}."
    if any(each.code == "burn-tensors-in-object" for each in case.seen):
        return Severity.ERROR, f"Burn {case.reader.version} looks into no object: it finds none of these tensors."
    newest = reader_for("0.22", case.checkpoint.format)
    if newest.reads_modules and case.checkpoint.format == "torch-zip":
        return Severity.WARNING, "Burn 0.22 reads it; 0.21 and older refuse it or find nothing in it."
    return Severity.WARNING, "Burn 0.21 and older refuse it or find nothing in it."


def _write(top_level_key: str | None = None, *, needs_key: bool = False) -> Repair:
    if needs_key and top_level_key is None:
        return Repair.make("Write the state_dict of one", "export", format="safetensors")
    label = (
        "Write the state_dict" if top_level_key is None else f"Write the state_dict of {printable(top_level_key, 40)}"
    )
    extra = {} if top_level_key is None else {"top_level_key": top_level_key}
    return Repair.make(label, "export", format="safetensors", **extra)


def _below(root: str, key: str) -> bool:
    return root == key or root.startswith(f"{key}.")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4:,} more" if len(names) > 4 else "")
