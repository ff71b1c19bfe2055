import shutil
import subprocess

import pytest

from tests.oracles import unavailable
from workbench.widgets.esm import bundle


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.js").write_text(text)
    return folder / "entry.js"


def test_modules_keep_scopes_of_their_own_and_each_runs_once(tmp_path):
    node = shutil.which("node")
    if node is None:
        unavailable("node is not installed")
    entry = write(
        tmp_path,
        entry='import { a, b as c } from "./x.js";\nimport { d } from "./y.js";\nexport default () => [a, c, d()];\n',
        x="globalThis.n = (globalThis.n ?? 0) + 1;\nexport const a = 1;\nexport const b = 2;\nconst hidden = 9;\n",
        y='import { a } from "./x.js";\nconst hidden = 5;\nexport function d() {\n  return a + hidden;\n}\n',
    )
    (tmp_path / "bundled.mjs").write_text(bundle(entry))
    code = "import('./bundled.mjs').then(m => console.log(JSON.stringify([m.default(), Object.keys(m), n])))"
    done = subprocess.run([node, "-e", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[[1,2,6],["default"],1]'


@pytest.mark.parametrize(
    "text",
    [
        'import x from "./x.js";\nexport default 1;',
        'import * as x from "./x.js";\nexport default 1;',
        'import "./x.js";\nexport default 1;',
        'export { a } from "./x.js";\nexport default 1;',
        'export * from "./x.js";\nexport default 1;',
        'const x = await import("./x.js");\nexport default 1;',
        'import { a } from "lodash";\nexport default 1;',
        'import { unknown } from "./x.js";\nexport default 1;',
        'import { a } from "./missing.js";\nexport default 1;',
        'import { a } from "./x.js";\n',
        "const a = 1;\nexport { a };\nexport default a;",
        'import { q } from "./one.js";\nexport default q;',
        'import { d } from "./second.js";\nexport default d;',
        "const u = import.meta.url;\nexport default u;",
    ],
)
def test_forms_that_cannot_be_inlined_are_refused(tmp_path, text):
    entry = write(
        tmp_path,
        entry=text,
        x="export const a = 1;\n",
        one='import { r } from "./other.js";\nexport const q = r;\n',
        other='import { q } from "./one.js";\nexport const r = q;\n',
        second="export const d = 1;\nexport default d;\n",
    )
    with pytest.raises(ValueError, match=r"\.js"):
        bundle(entry)
