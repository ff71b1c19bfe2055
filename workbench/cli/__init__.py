"""The command line: the same rooms as the notebook, one file per command."""
