"""What others wrote is shipped as they published it, with its licence, and is small enough to be there at once."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

import chandler
from chandler.serving.page import Page

STATIC = Path(chandler.__file__).parent / "serving" / "static"
CHARTS, VIEWS = STATIC / "vendor" / "lightweight-charts-5.2.1", STATIC / "vendor" / "preact-htm-3.1.1"
AXE = Path(__file__).parent / "browser" / "vendor"
ROOT = Path(__file__).parents[2]
SCRIPTS = 350_000
"""Bytes of the modules that the chart loads, the largest page; those of others among them."""


@pytest.mark.parametrize(
    ("path", "digest"),
    [
        (
            CHARTS / "lightweight-charts.standalone.production.mjs",
            "1bb1ee79f9d4dd17261b53d930f7a8995748276f80e7ba0e24412b5068062f5f",
        ),
        (VIEWS / "standalone.module.js", "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7"),
        (AXE / "axe.min.js", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"),
    ],
)
def test_files_are_as_they_were_published(path: Path, digest: str) -> None:
    assert sha256(path.read_bytes()).hexdigest() == digest


def test_licences_and_notice_lie_beside_the_files_and_are_told() -> None:
    for path in (CHARTS / "LICENSE.txt", VIEWS / "LICENSE.txt"):
        assert "Apache License" in path.read_text(encoding="utf-8")
    assert "Jason Miller" in (VIEWS / "LICENSE-preact.txt").read_text(encoding="utf-8")
    assert "Mozilla Public License" in (AXE / "LICENSE").read_text(encoding="utf-8")
    told = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    texts = (STATIC / "js" / "texts.js").read_text(encoding="utf-8")
    for line in (CHARTS / "NOTICE.txt").read_text(encoding="utf-8").split("\n"):
        assert line in told
    for part in (
        "TradingView Lightweight Charts™",
        "Copyright (с) 2025 TradingView, Inc.",
        "https://www.tradingview.com/",
    ):
        assert part in texts
    for folder in (CHARTS, VIEWS, AXE):
        assert str(folder.relative_to(ROOT if folder == AXE else STATIC.parents[3])) in told


def _loaded(path: Path, seen: set[Path]) -> set[Path]:
    """A module and all that it imports before it runs."""
    if path not in seen:
        seen.add(path)
        for name in re.findall(
            r'^(?:import|export|\} from)[^;"]*"(\.[^"]+)";', path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            _loaded((path.parent / name).resolve(), seen)
    return seen


def test_modules_are_few_bytes_and_short() -> None:
    seen: set[Path] = set()
    for name in ("main.js", "tray.js", "pages/chart.js"):
        _loaded((STATIC / "js" / name).resolve(), seen)
    assert CHARTS.resolve() / "lightweight-charts.standalone.production.mjs" in seen
    assert len(seen) > 20
    assert sum(path.stat().st_size for path in seen) < SCRIPTS
    named = re.findall(r'modulepreload" href="/static/[^/]+/([^"]+)"', Page().shell("/"))
    assert {(STATIC / name).resolve() for name in named} == seen
    modules = [*STATIC.rglob("*.js"), *STATIC.rglob("*.mjs")]
    ours = [path for path in modules if "vendor" not in path.parts]
    # Texts are no code: their modules may be longer.
    lines = {
        path.name: path.read_text(encoding="utf-8").count("\n") for path in ours if not path.name.startswith("texts")
    }
    assert {name: count for name, count in lines.items() if count >= 250} == {}


def test_modules_load_nothing_from_elsewhere_and_make_no_markup_of_text() -> None:
    for path in [*STATIC.rglob("js/**/*.js"), STATIC / "index.html", *STATIC.glob("*.css")]:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"https://www.tradingview.com"}, path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path
        )
