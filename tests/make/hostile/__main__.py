"""Write all hostile files into a folder, and manifest.json beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.make.hostile import all_cases


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for family, case in all_cases():
        (folder / case.file_name).write_bytes(case.build(f"marker-{case.name}"))
        rows.append(
            {
                "file": case.file_name,
                "family": family,
                "outcome": case.outcome,
                "code": case.code,
                "readable": case.readable,
                "runs": case.runs,
            }
        )
    (folder / "manifest.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{len(rows):,} files in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
