import subprocess
import sys

import workbench as wb


def test_all_public_names_exist_are_sorted_and_come_from_their_rooms():
    assert wb.__all__ == sorted(wb.__all__)
    assert sorted(wb._HOMES) == wb.__all__
    for name in wb.__all__:
        assert getattr(wb, name).__module__.startswith("workbench."), name


def test_importing_the_package_loads_no_heavy_library():
    code = "import sys, workbench; print(sorted({'numpy', 'polars', 'pandas', 'ipywidgets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_error_of_ours_is_a_workbench_error():
    errors = [getattr(wb, name) for name in wb.__all__ if name.endswith("Error")]
    assert len(errors) > 5
    assert all(issubclass(error, wb.WorkbenchError) for error in errors)
