"""A module that hostile files name: importing it leaves a marker in the current folder."""

import os

os.mkdir("marker-runs-by-import")


def act() -> None:
    """Does nothing; by then it is too late."""
