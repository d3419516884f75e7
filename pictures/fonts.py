"""Fonts for characters that the usual one lacks, such as Chinese: finds an installed one, or says what to install."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text

# These are tried first, since they have the Chinese characters; then all other installed fonts.
_USUAL = (
    "CJK SC", "Source Han Sans SC", "WenQuanYi", "PingFang", "Hiragino Sans GB", "YaHei", "SimHei", "CJK", "Droid Sans Fallback",
)  # fmt: skip
_INSTALL = "install a font with them, such as the package fonts-noto-cjk (Debian, Ubuntu) or google-noto-sans-cjk-fonts (Fedora)"
_told: set[str] = set()  # missing characters that were already reported


class ReadableFigure(Figure):
    """A figure that, when drawn, finds an installed font for each character of its texts; reports missing ones once."""

    def draw(self, renderer: RendererBase) -> None:
        give_glyphs(self)
        log = logging.getLogger(font_manager.__name__)
        level = log.level
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing")  # reported above in one line
            log.setLevel(logging.ERROR)  # few fonts with Chinese characters have bold ones
            try:
                super().draw(renderer)
            finally:
                log.setLevel(level)


def give_glyphs(figure: Figure) -> None:
    """Adds fonts for characters that a text's own fonts lack; prints characters that no font has, once per process."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_ticklabels()  # this writes them
    lacking: dict[str, None] = {}
    for text in figure.findobj(Text):
        own = text.get_fontproperties()
        missing = {char for char in text.get_text() if ord(char) > 127 and not char.isspace()}
        missing -= glyphs(font_manager.findfont(own))
        if missing:
            families, rest = fonts_for(frozenset(missing))
            text.set_fontfamily([*own.get_family(), *(family for family in families if family not in own.get_family())])
            lacking |= dict.fromkeys(sorted(rest))
    if new := [char for char in lacking if char not in _told]:
        _told.update(new)
        shown = " ".join(new[:10]) + (f" and {len(new) - 10} others" if len(new) > 10 else "")
        print(f"pictures show boxes for {shown}, which no installed font has: {_INSTALL}", file=sys.stderr)


@lru_cache(maxsize=1024)
def fonts_for(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families of installed fonts that together have the characters, and the characters that none has."""
    families: list[str] = []
    for entry in _by_use(font_manager.fontManager.ttflist):
        if not characters:
            break
        if here := characters & glyphs(entry.fname):
            families.append(entry.name)
            characters -= here
    return tuple(families), characters


def _by_use(entries: Iterable[font_manager.FontEntry]) -> list[font_manager.FontEntry]:
    """Upright fonts, those with Chinese characters first; without fonts that have a box for every character."""
    usable = [entry for entry in entries if entry.style == "normal" and not entry.name.startswith("Last Resort")]
    rank = {name: next((n for n, usual in enumerate(_USUAL) if usual in name), len(_USUAL)) for name in {e.name for e in usable}}
    return sorted(usable, key=lambda entry: (rank[entry.name], entry.name, str(entry.weight)))


@lru_cache(maxsize=1024)
def glyphs(path: str | Path) -> frozenset[str]:
    """The characters of a font file; none if it can't be read."""
    try:
        return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
