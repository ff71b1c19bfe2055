"""Writing: tensors as the files that other programs load, whole or not at all. The reading side is formats/."""
