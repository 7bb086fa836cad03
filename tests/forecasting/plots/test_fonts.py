"""Pictures of names in any script: a font that has the glyphs where there is one, and never a warning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from chandler import Forecaster, load_bars
from chandler.forecasting.forecast import Forecast
from chandler.forecasting.plots.fonts import dress

NAME = "平安银行000001"
Install = Callable[[str, str, int], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Only the fonts of matplotlib, and those that a test makes: family, characters, weight."""
    shipped = [font for font in fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(fontManager, "ttflist", shipped)

    def make(family: str, characters: str, weight: int) -> None:
        builder = FontBuilder(1000)
        names = {ord(c): f"uni{ord(c):04X}" for c in characters}
        builder.setupGlyphOrder([".notdef", *names.values()])
        builder.setupCharacterMap(names)
        pen = TTGlyphPen(None)
        pen.moveTo((100, 0))
        for point in ((100, 800), (900, 800), (900, 0)):
            pen.lineTo(point)
        pen.closePath()
        square = pen.glyph()
        glyphs = [".notdef", *names.values()]
        builder.setupGlyf(dict.fromkeys(glyphs, square))
        builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 100)))
        builder.setupHorizontalHeader(ascent=800, descent=-200)
        builder.setupNameTable({"familyName": family, "styleName": "Bold" if weight > 400 else "Regular"})
        builder.setupOS2(usWeightClass=weight, sTypoAscender=800)
        builder.setupPost()
        path = tmp_path / f"{family}-{weight}.ttf"
        builder.save(path)
        fontManager.addfont(path)

    return make


@pytest.fixture
def forecast() -> Forecast:
    history = load_bars("chandler-stocks", symbols=["IBM"])["IBM"].tail(40)
    made = Forecaster.from_pretrained("chandler-nano", device="cpu").forecast(history, 2, 2)
    return replace(made, symbol=NAME, model="runs/微调 结果")


def texts(figure: Figure) -> dict[str, tuple[list[str], str | float]]:
    """The two lines that name something: their fonts and weight."""
    axes = figure.axes[0]
    title = next(t for t in (axes._left_title, axes.title) if t.get_text())  # type: ignore[attr-defined]
    return {t.get_text(): (t.get_fontfamily(), t.get_fontweight()) for t in (title, axes.texts[-1])}


def drawn_without_a_word(figure: Figure, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, logger="matplotlib"):
        warnings.simplefilter("error")
        for kind in ("png", "svg", "pdf"):
            figure.savefig(folder / f"a.{kind}")
    assert caplog.text == ""


def test_without_such_a_font_there_are_boxes_and_no_warning(
    install: Install, forecast: Forecast, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    figure = forecast.plot()
    drawn_without_a_word(figure, tmp_path, caplog)
    first, second = texts(figure)
    assert first.startswith("□□□□000001: next 2 bars")
    assert second.endswith("|  □□ □□")


def test_an_installed_font_is_used(
    install: Install, forecast: Forecast, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install("Only Bank", "银行", 400)
    install("A Bold One", "平安银行", 700)
    install("All of it", "平安银行微调结果", 400)
    figure = forecast.plot(tmp_path / "f.png")
    drawn_without_a_word(figure, tmp_path, caplog)
    (first, (fonts, weight)), (second, (more, _)) = texts(figure).items()
    assert first.startswith(f"{NAME}: next 2 bars")
    assert second.endswith("|  微调 结果")
    assert fonts == ["sans-serif", "A Bold One"]
    assert weight == "bold"
    assert more == ["sans-serif", "All of it"]


def test_a_title_without_a_bold_font_is_set_in_the_regular_one(
    install: Install, forecast: Forecast, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install("Half of it", "平安", 400)
    install("Other half", "银行", 400)
    figure = forecast.plot()
    drawn_without_a_word(figure, tmp_path, caplog)
    (first, (fonts, weight)), (second, _) = texts(figure).items()
    assert first.startswith(NAME)
    assert fonts == ["sans-serif", "Half of it", "Other half"]
    assert weight == 400
    assert second.endswith("|  □□ □□")


def test_dollar_signs_are_no_mathematics(tmp_path: Path, install: Install) -> None:
    figure = Figure()
    figure.suptitle("$BRK^ and $x_")
    dress(figure)
    figure.savefig(tmp_path / "a.svg")
    assert figure.get_suptitle() == "$BRK^ and $x_"
