"""What a user meets first: `import chandler`, the version, and values printed in a shell or a notebook."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path

import chandler


def test_every_place_tells_one_version() -> None:
    script = Path(sysconfig.get_path("scripts")) / "chandler"
    said = {
        "chandler.__version__": chandler.__version__,
        "metadata": importlib.metadata.version("chandler-kronos"),
        "python -m chandler": _output(sys.executable, "-m", "chandler", "--version"),
        "chandler": _output(str(script), "--version"),
    }
    assert said == dict.fromkeys(said, "0.1.0")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
