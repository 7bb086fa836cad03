"""The page: a shell at every address, and its modules out of memory, which browsers may keep for ever under their version.

There is no build step, so a page is some forty small modules. Fetched as their imports are found they would come in five waves;
the shell names them all, and they come in one.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath

from chandler.version import __version__

STATIC = Path(__file__).parent / "static"
PALETTE = Path(__file__).parents[1] / "assets" / "palette.css"
"""The colours, which reports share."""
BASE = f"/static/{__version__}"
TYPES = {
    ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml",
    ".png": "image/png", ".json": "application/json", ".ico": "image/x-icon", ".txt": "text/plain",
}  # fmt: skip
"""Ours, not the system's: with nosniff a wrong type stops the page."""
ALWAYS = ("js/main.js", "js/tray.js")
"""What every page runs."""
FIRST = "chart"
"""The page of the bare address."""
_IMPORT = re.compile(r'^(?:import|export)\b[^;"]*?"(\.[^"]+)"', re.MULTILINE)


class Page:
    """All of it, read once."""

    def __init__(self) -> None:
        found = [path for path in STATIC.rglob("*") if path.suffix in TYPES]
        self.files = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in found}
        self.files[PALETTE.name] = PALETTE.read_bytes()
        lines = self.files["index.html"].decode().replace("{{static}}", BASE).splitlines(keepends=True)
        place = next(number for number, line in enumerate(lines) if "{{module}}" in line)
        self._shell = "".join(lines[:place]), lines[place], "".join(lines[place + 1 :])
        self._shells: dict[str, str] = {}

    def shell(self, path: str) -> str:
        """The HTML of an address, with links that have a browser fetch at once whatever its page will import."""
        name = path.strip("/").partition("/")[0] or FIRST
        name = name if f"js/pages/{name}.js" in self.files else ""
        if name not in self._shells:
            before, link, after = self._shell
            links = [link.replace("{{module}}", one) for one in self._modules(name)]
            self._shells[name] = "".join([before, *links, after])
        return self._shells[name]

    def _modules(self, name: str) -> list[str]:
        """Modules that the page `name` runs, the nearest first."""
        found = dict.fromkeys([*ALWAYS, f"js/pages/{name}.js"] if name else ALWAYS)
        waiting = list(found)
        for module in waiting:  # grows
            folder = PurePosixPath(module).parent
            for other in _IMPORT.findall(self.files[module].decode()):
                place = normpath(folder / other)
                if place not in found:
                    found[place] = None
                    waiting.append(place)
        return waiting
