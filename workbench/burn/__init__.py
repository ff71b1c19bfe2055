"""What Burn does, by version and container, as one table: the only place that knows a Burn version."""

from workbench.burn.versions import DEFAULT_VERSION, VERSIONS, Reader, reader_for

__all__ = ["DEFAULT_VERSION", "VERSIONS", "Reader", "reader_for"]
