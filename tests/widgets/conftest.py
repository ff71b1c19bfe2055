"""What the tests of the widgets share."""

import comm
import pytest

import workbench as wb
from tests.make.named import checkpoint_named
from tests.widgets.asking import NET, Asked, Page


@pytest.fixture
def page(monkeypatch):
    Page.sent = []
    monkeypatch.setattr(comm, "create_comm", Page)
    return Page


@pytest.fixture
def asked(tmp_path, page):
    return Asked(wb.Workbench(checkpoint_named(tmp_path, NET)), page)
