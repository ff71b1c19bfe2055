"""What names say: the words of a key in the field's own canonical form, so that `attention.self.query` is `attn q`."""

from __future__ import annotations

import re

__all__ = ["FAMILIES", "leaf_of", "template", "words"]

_LEAVES = {
    "weight": "weight",
    "gamma": "weight",
    "kernel": "weight",
    "bias": "bias",
    "beta": "bias",
    "running_mean": "mean",
    "moving_mean": "mean",
    "running_var": "var",
    "moving_variance": "var",
    "num_batches_tracked": "count",
}
_LEAF = re.compile(rf"^(?:(.*)[._])?({'|'.join(_LEAVES)})$", re.DOTALL)
_DIGITS = re.compile("[0-9]+")
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\\W\\d_A-Za-z]+")

# Each line: words (a regex over space-separated lower-case words) and what they are called here. Tried in order.
_PHRASES = [
    (r"layer norm|layernorm|batch norm|batchnorm|group norm|rms norm|rmsnorm|lnorm|ln|bn|gn", "norm"),
    (r"multi head attention|multihead attention|attention|mha", "attn"),
    (r"enc dec attn|encdec attn|encoder attn|cross attn|crossattn|multihead attn", "xattn"),
    (r"self attn|attn self", "attn"),
    (r"feed forward|feedforward|ffn|pwff|ff|dense relu dense", "mlp"),
    (r"post attn norm|mlp norm|norm after", "norm second"),
    (r"input norm|attn norm|norm before|attn output norm|norm 1|sa norm", "norm first"),
    (r"output norm|norm 2", "norm second"),
    (r"norm f|final norm|norm final|norm post|post norm", "norm final"),
    (r"embed tokens|embed token|token embedding|tok embeddings?|token embeddings?|word embeddings?|wte", "tokembed"),
    (r"embed positions|position embeddings?|positional embeddings?|pos embed(?:ding)?|wpe", "posembed"),
    (r"token type embeddings?|type embeddings?|segment embeddings?", "typeembed"),
    (r"cls token|class token|class embedding|cls embedding", "clstoken"),
    (r"attn output dense|attn output|o proj|out proj|to out|wo proj|proj out", "attnout"),
    (r"(attn (?:norm )?)(?:wo|o|c proj|proj|out)\b", r"\1attnout"),
    (r"(xattn )(?:wo|o|c proj|proj|out)\b", r"\1attnout"),
    (r"gate proj|(?:mlp |^)w 1|wi 0", "mlp gate"),
    (r"up proj|(?:mlp |^)w 3|wi 1", "mlp up"),
    (r"down proj|mlp w 2|mlp wo", "mlp mlpout"),
    (r"intermediate dense|mlp fc 1|fc 1|c fc|linear inner|mlp wi|lin 1|linear 1|mlp linear 1", "mlp mlpin"),
    (r"mlp output dense|output dense|mlp fc 2|fc 2|mlp c proj|linear outer|lin 2|linear 2", "mlp mlpout"),
    (r"q proj|q lin|query|wq|to q", "q"),
    (r"k proj|k lin|key|wk|to k", "k"),
    (r"v proj|v lin|value|wv|to v", "v"),
    (r"blocks?|layers?|resblocks|h", "layer"),
    (r"downsample|shortcut|skip|short cut|identity", "shortcut"),
    (r"linear|dense|fc|lin", "linear"),
    (r"heads?|classifier|lm head", "head"),
    (r"model|module|net|network", ""),
]
_RULES = [
    (re.compile(rf"\b(?:{words})\b" if not words.startswith("(") else rf"\b{words}"), to) for words, to in _PHRASES
]

FAMILIES = [
    frozenset(family.split())
    for family in (
        "q k v attnout",
        "encoder decoder",
        "tokembed posembed typeembed clstoken",
        "gate up",
        "mlpin mlpout",
        "first second",
        "attn xattn",
    )
]
"""Words that exclude each other: a query is never a key."""


def template(key: str) -> tuple[str, tuple[int, ...]]:
    """`key` with every number as ``#``, and the numbers; very long ones are left out of the comparison as -1."""
    found = tuple(int(n) if len(n) < 19 else -1 for n in _DIGITS.findall(key))
    return _DIGITS.sub("#", key), found


def leaf_of(key: str) -> tuple[str, str]:
    """The module that a key belongs to, and what its parameter is: ``("in_proj", "weight")`` of `in_proj_weight`.

    A parameter of no common name is a module of its own, with the leaf ``param``.
    """
    found = _LEAF.match(key)
    return (found[1] or "", _LEAVES[found[2]]) if found else (key, "param")


def words(module: str) -> tuple[str, ...]:
    """The canonical words of a module's name, without numbers, in order.

    >>> words("encoder.layer.3.attention.self.query")
    ('encoder', 'layer', 'attn', 'q')
    """
    text = " ".join(word.lower() for word in _WORD.findall(module))
    for pattern, to in _RULES:
        text = pattern.sub(to, text)
    return tuple(word for word in text.split() if not word.isdigit())
