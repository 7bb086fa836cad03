"""check_wheel.py FOLDER: what must be in the wheel of the folder is there, what must not be is not, and it is small."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

LARGEST = 12_000_000
"""Bytes. chandler-nano's weights are seven millions of them."""
SOURCE = Path(__file__).parents[1] / "src"


def faults(wheel: Path) -> list[str]:
    """What is wrong with a wheel, a sentence each."""
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        path.relative_to(SOURCE).as_posix()
        for path in (SOURCE / "chandler").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = [f"{one} is in src/ and not in the wheel" for one in sorted(expected - names)]
    strangers = sorted(one for one in names - expected if ".dist-info/" not in one)
    found += [f"{one} is in the wheel and not in src/" for one in strangers]
    if not any(one.endswith(".dist-info/licenses/LICENSE") for one in names):
        found.append("the licence is missing")
    if wheel.stat().st_size > LARGEST:
        found.append(f"{wheel.stat().st_size:,} bytes: more than {LARGEST:,}")
    return found


def main(folder: Path) -> int:
    """Say what was found; the exit code."""
    wheels = sorted(folder.glob("chandler_kronos-*.whl"))
    if len(wheels) != 1:
        print(f"{folder}: {len(wheels)} wheels instead of one. Run: make build", file=sys.stderr)
        return 2
    wrong = faults(wheels[0])
    for one in wrong:
        print(f"{wheels[0].name}: {one}", file=sys.stderr)
    if not wrong:
        print(f"{wheels[0].name}: {wheels[0].stat().st_size / 1e6:.1f} MB, every file of src/chandler and no other")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
