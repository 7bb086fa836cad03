"""Fonts for names in any script: of what is installed, the families that have the glyphs that the usual font lacks."""

from __future__ import annotations

from functools import lru_cache

from matplotlib.artist import Artist
from matplotlib.font_manager import fontManager, get_font, weight_dict
from matplotlib.text import Text

_FIRST = (
    "Noto Sans CJK", "Noto Sans SC", "Noto Sans TC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans", "Microsoft YaHei",
    "PingFang", "Hiragino Sans", "WenQuanYi", "Yu Gothic", "Meiryo", "Malgun Gothic", "Apple SD Gothic Neo",
    "IPAexGothic", "NanumGothic", "SimHei", "Arial Unicode MS",
)  # fmt: skip
"""Families that are tried before all others: sans serif, made for reading. Beginnings of names."""
_PLACEHOLDERS = "Last Resort"
"""A font that comes with matplotlib and has a picture of the script's name for every character."""
_BOX = "\N{WHITE SQUARE}"
_REGULAR = 400


def dress(figure: Artist) -> None:
    """Give every text of the figure a font for each of its characters. What no installed font has becomes a box.

    A text whose further fonts are not there in its weight is set in the regular one. Nothing is read as mathematics:
    a dollar sign is a dollar sign.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        usual = _glyphs(fontManager.findfont(text.get_fontproperties()))
        lacking = frozenset(ord(c) for c in text.get_text() if c != "\n" and ord(c) not in usual)
        if not lacking:
            continue
        families, left = _families(lacking, _installed(_number(text.get_fontweight())))
        regular, still = _families(lacking, _installed(_REGULAR))
        if len(still) < len(left):
            families, left = regular, still
            text.set_fontweight(_REGULAR)
        text.set_fontfamily([*text.get_fontfamily(), *families])
        box = _BOX if ord(_BOX) in usual else "?"
        text.set_text("".join(box if ord(c) in left else c for c in text.get_text()))


def _number(weight: str | float) -> int:
    """A weight such as "bold" as a number, 700."""
    return weight_dict[weight] if isinstance(weight, str) else int(weight)


def _installed(weight: int) -> tuple[tuple[str, str], ...]:
    """(family, file) of the upright fonts of a weight, the best for reading first."""

    def place(name: str) -> int:
        return next((number for number, first in enumerate(_FIRST) if name.startswith(first)), len(_FIRST))

    found = {
        font.name: font.fname
        for font in fontManager.ttflist
        if _number(font.weight) == weight and font.style == "normal" and not font.name.startswith(_PLACEHOLDERS)
    }
    return tuple(sorted(found.items(), key=lambda one: (place(one[0]), one[0])))


@lru_cache(maxsize=256)
def _families(
    lacking: frozenset[int], installed: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, ...], frozenset[int]]:
    """One family that has all these code points, else several that have some; and what none of them has."""
    having = [(name, lacking & _glyphs(file)) for name, file in installed]
    whole = next((name for name, has in having if has == lacking), None)
    if whole is not None:
        return (whole,), frozenset()
    chosen, left = [], lacking
    for name, has in having:
        if has & left:
            chosen.append(name)
            left -= has
    return tuple(chosen), left


@lru_cache(maxsize=8)
def _glyphs(file: str) -> frozenset[int]:
    """The code points that a font file has; none where it cannot be read."""
    try:
        return frozenset(get_font(file).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
