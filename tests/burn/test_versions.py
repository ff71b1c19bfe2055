import pytest

from workbench.burn import APIS, DEFAULT_VERSION, VERSIONS, apis_of, reader_for

CONTAINERS = ("torch-zip", "torch-legacy", "torch-tar", "safetensors", "burnpack", "mpk", "npz")


def test_the_default_is_the_newest_stable_version():
    assert DEFAULT_VERSION == "0.22"
    assert VERSIONS == ("0.18", "0.19", "0.20", "0.21", "0.22", "0.23")


def test_burn_import_comes_first_where_a_version_has_both_apis():
    assert [apis_of(version) for version in VERSIONS] == [APIS[:1], APIS, APIS, APIS[1:], APIS[1:], APIS[1:]]


@pytest.mark.parametrize(
    ("version", "api", "stores"),
    [
        ("0.18", None, "PyTorchFileRecorder - - SafetensorsFileRecorder - NamedMpkFileRecorder -"),
        ("0.19", None, "PyTorchFileRecorder PyTorchFileRecorder - SafetensorsFileRecorder BurnpackStore "
         "NamedMpkFileRecorder -"),
        ("0.20", "burn-store", "PytorchStore PytorchStore - SafetensorsStore BurnpackStore NamedMpkFileRecorder -"),
        ("0.21", None, "PytorchStore PytorchStore PytorchStore SafetensorsStore BurnpackStore NamedMpkFileRecorder -"),
        ("0.22", None, "PytorchStore PytorchStore PytorchStore SafetensorsStore BurnpackStore - -"),
        ("0.23", "burn-store", "PytorchStore PytorchStore PytorchStore SafetensorsStore BurnpackStore - -"),
    ],
)  # fmt: skip
def test_each_container_has_the_store_that_takes_it(version, api, stores):
    assert [reader_for(version, container, api).store or "-" for container in CONTAINERS] == stores.split()


@pytest.mark.parametrize(
    ("version", "api", "closes"),
    [
        ("0.18", None, (True, True)),
        ("0.19", "burn-import", (True, True)),
        ("0.19", "burn-store", (False, False)),
        ("0.20", "burn-import", (True, True)),
        ("0.20", "burn-store", (True, False)),
        ("0.21", None, (True, False)),
        ("0.22", None, (True, False)),
        ("0.23", None, (True, False)),
    ],
)
def test_version_and_api_decide_whether_gaps_close(version, api, closes):
    assert tuple(reader_for(version, c, api).closes_gaps for c in ("torch-zip", "safetensors")) == closes


def test_the_two_apis_of_0_19_differ_in_norm_names():
    by_api = {api: reader_for("0.19", "torch-zip", api).renames_norms for api in APIS}
    assert by_api == {"burn-import": {"BatchNorm", "LayerNorm", "GroupNorm"}, "burn-store": frozenset()}


def test_an_unknown_version_or_api_has_no_reader():
    with pytest.raises(KeyError):
        reader_for("0.1", "torch-zip")
    with pytest.raises(KeyError):
        reader_for("0.22", "torch-zip", "burn-import")
