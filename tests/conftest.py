"""Settings of the whole suite."""

from hypothesis import settings

# A busy machine is no failure, and the same run finds the same examples everywhere.
settings.register_profile("workbench", deadline=None, derandomize=True)
settings.load_profile("workbench")
