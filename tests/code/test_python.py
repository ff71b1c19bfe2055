import random
import runpy

import numpy as np

import workbench as wb
from tests.burn import made
from workbench.code import python_code
from workbench.mapping import Mapping, Rule


def test_the_program_leaves_the_arrays_that_the_plan_names(tmp_path):
    keys = ['m."é.0.weight', 'm."é.2.weight', "m.x\\y"]
    ckpt = wb.open(made.write(tmp_path / "net 'a'.pt", made.parts(random.Random(1), keys), below="model"))
    plan = Mapping([Rule(r'm\."', "${0}k")], top_level_key="model").plan(ckpt)
    script = tmp_path / "load.py"
    script.write_text(python_code(plan), encoding="utf-8")
    arrays = runpy.run_path(str(script))["arrays"]
    assert list(arrays) == [row.target_key for row in plan.rows]
    for row in plan.rows:
        assert np.array_equal(arrays[row.target_key], row.tensor.read())
