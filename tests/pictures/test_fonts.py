"""Characters that the usual font lacks: another installed font has them, or it is told once which to install."""

from __future__ import annotations

import warnings

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from pictures import fonts
from pictures.figures import _shortened, new_figure


@pytest.fixture
def plain_fonts(monkeypatch):
    """As where matplotlib's own fonts alone are installed, and nothing was told yet."""
    own = [entry for entry in font_manager.fontManager.ttflist if "DejaVu" in entry.name or "Last Resort" in entry.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(fonts, "_told", set())
    fonts.fonts_for.cache_clear()
    yield
    fonts.fonts_for.cache_clear()


def tiny_font(path, name: str, characters: str) -> None:
    """A font in which each of the characters is a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"g{ord(char)}" for char in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(char): f"g{ord(char)}" for char in characters})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def draw(path, text: str, tick: str) -> list:
    """Saves a picture with a title and the name of a tick; returns these texts."""
    figure, axes = new_figure(1, 1, (3, 2), "")
    axes[0, 0].set_title(text, family="monospace")
    axes[0, 0].set_yticks([0], [tick])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(path)
    return [axes[0, 0].title, axes[0, 0].get_yticklabels()[0]]


def test_without_a_font_the_picture_is_made_and_one_sentence_says_what_to_install(plain_fonts, tmp_path, capsys):
    for number in range(2):  # the second time nothing is said
        draw(tmp_path / f"{number}.png", "REF 数字 a", "数")
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "boxes for 数 字, which no installed font has: install a font with them" in told
    assert "fonts-noto-cjk" in told and (tmp_path / "1.png").stat().st_size > 1000


def test_with_a_font_that_has_them_it_is_used_and_nothing_is_said(plain_fonts, tmp_path, capsys):
    tiny_font(tmp_path / "one.ttf", "One", "数")
    tiny_font(tmp_path / "two.ttf", "Two CJK SC", "字x")
    for file in ("one.ttf", "two.ttf"):
        font_manager.fontManager.addfont(tmp_path / file)
    title, tick = draw(tmp_path / "a.png", "REF 数字 a", "数")
    assert capsys.readouterr().err == ""
    assert title.get_fontfamily() == ["monospace", "Two CJK SC", "One"] and tick.get_fontfamily()[-1] == "One"
    assert draw(tmp_path / "b.png", "abc é ␣", "x")[0].get_fontfamily() == ["monospace"]  # which the usual font has


def test_titles_are_cut_by_the_columns_that_they_take():
    assert _shortened("a" * 58) == "a" * 58 and _shortened("数" * 29) == "数" * 29
    assert _shortened("a" * 59) == "a" * 54 + " ..." and _shortened("数" * 30) == "数" * 27 + " ..."
