"""One ES module out of several: anywidget runs ``_esm`` from a blob URL, where relative imports fail."""

import re
from pathlib import Path

_DOC = re.compile(r"^[ \t]*/\*\*(?:(?!\*/).)*\*/[ \t]*\n", re.MULTILINE | re.DOTALL)
_IMPORT = re.compile(r"""^import \{([^{}]*)\} from "\./([\w-]+)\.js";$""", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
_DEFAULT = re.compile(r"^export default ", re.MULTILINE)
_LEFT = re.compile(r"^\s*(?:import|export)\b.*|\bimport\s*\(.*|\bimport\.meta\b.*", re.MULTILINE)
_NAME = re.compile(r"(\w+)(?: as (\w+))?")


def bundle(entry: Path) -> str:
    """The text of ``entry`` with its local imports inlined, each in a scope of its own.

    Understood are ``import {a, b as c} from "./x.js";`` on one line, ``export`` before a function, class or const, and
    ``export default`` in the entry alone. ValueError for all else, for cycles and for names that are not exported.
    Doc comments on lines of their own are left out.
    """
    done: dict[Path, tuple[str, ...]] = {}
    scopes: list[str] = []
    body, _ = _inline(entry.resolve(), (), done, scopes, is_entry=True)
    return "\n".join([*scopes, body])


def _inline(
    path: Path,
    parents: tuple[Path, ...],
    done: dict[Path, tuple[str, ...]],
    scopes: list[str],
    *,
    is_entry: bool,
) -> tuple[str, tuple[str, ...]]:
    """The body of one module and the names it exports; the scopes of what it needs are appended before."""

    def fetch(match: re.Match[str]) -> str:
        child = path.parent / f"{match[2]}.js"
        if child in (*parents, path):
            raise ValueError(f"{path.name}: the import of {child.name} closes a cycle")
        if not child.is_file():
            raise ValueError(f"{path.name}: imports {child.name}, which is not there")
        if child not in done:
            inner, names = _inline(child, (*parents, path), done, scopes, is_entry=False)
            scopes.append(f"const {_variable(child)} = (() => {{\n{inner}\nreturn {{ {', '.join(names)} }};\n}})();")
            done[child] = names
        pairs: list[str] = []
        for part in filter(None, (piece.strip() for piece in match[1].split(","))):
            name = _NAME.fullmatch(part)
            if name is None or name[1] == "default":
                raise ValueError(f"{path.name}: cannot read the import {part!r} from {child.name}")
            if name[1] not in done[child]:
                raise ValueError(f"{path.name}: {child.name} does not export {name[1]!r}")
            pairs.append(f"{name[1]}: {name[2]}" if name[2] else name[1])
        return f"const {{ {', '.join(pairs)} }} = {_variable(child)};"

    text = _IMPORT.sub(fetch, _DOC.sub("", path.read_text(encoding="utf-8")))
    names = tuple(match[1] for match in _EXPORT.finditer(text))
    text = _EXPORT.sub("", text)
    has_default = len(_DEFAULT.findall(text)) == 1
    if has_default != is_entry:
        raise ValueError(f"{path.name}: export default belongs into the entry, once, and nowhere else")
    for left in _LEFT.finditer(_DEFAULT.sub("", text)):
        raise ValueError(f"{path.name}: this form of import or export cannot be bundled: {left[0].strip()[:80]}")
    return text, names


def _variable(path: Path) -> str:
    return "__" + path.stem.replace("-", "_")
