import pytest

from workbench.burn import DEFAULT_VERSION, VERSIONS, reader_for


def test_the_default_is_the_newest_stable_version():
    assert DEFAULT_VERSION == "0.22"
    assert VERSIONS == ("0.21", "0.22", "0.23")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_store_that_fits_a_file_decides_whether_gaps_close(version):
    stores = {
        container: (reader_for(version, container).api, reader_for(version, container).closes_gaps)
        for container in ("torch-zip", "torch-legacy", "safetensors", "burnpack", "npz")
    }
    assert stores == {
        "torch-zip": ("PytorchStore", True),
        "torch-legacy": ("PytorchStore", True),
        "safetensors": ("SafetensorsStore", False),
        "burnpack": ("BurnpackStore", False),
        "npz": ("", False),
    }


def test_an_unknown_version_has_no_reader():
    with pytest.raises(KeyError):
        reader_for("0.1", "torch-zip")
