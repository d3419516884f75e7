"""Transcripts in the characters of an alphabet: what is the same is written the same, nothing is glued, the rest is named."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from implementation import CharEncoder
from speech.alphabets import BigramEncoder, corpus_encoder
from speech.transcripts import changed_letters, joined, mixed_scripts, named, normalise, plain, unknown_characters

ENGLISH, DROP = CharEncoder(), CharEncoder(unknown="drop")
FRENCH = CharEncoder("abcdefghijklmnopqrstuvwxyzàâçéèêëîïôûùüÿœæ '-")
CHINESE = CharEncoder("你好世界北京")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("twenty-five", "twenty five"),
        ("twenty\u2010five, forty\u2011two", "twenty five, forty two"),
        ("one – two — three―four", "one two three four"),
        ("and/or yes_no a\\b c|d so…then", "and or yes no a b c d so then"),
        ("no\u00a0break thin\u2009space\u3000wide\u200bzero\u2028line\ttab", "no break thin space wide zero line tab"),
        ("don’t don‘t donʼt don＇t don`t don´t don′t", "don't don't don't don't don't don't don't"),
        ("Iꞌm Iʾm I׳m I՚m Iˈm ‚low‘ ‚I’m‘", "I'm I'm I'm I'm I'm \"low\" \"I'm\""),
        ("the dogs’ ’tis", "the dogs' 'tis"),
        ("naïve café Ångström coöperate", "naive cafe Angstrom cooperate"),
        ("e\u0301 n\u0303 x\u0302", "e n x"),
        ("ﬁne ﬂow oﬃce Æsir œuvre straße", "fine flow office aesir oeuvre strasse"),
        ("Łódź Đorđe Øre İstanbul ılık", "lodz dorde ore Istanbul ilik"),
        ("ＦＵＬＬ ｗｉｄｔｈ 𝐛𝐨𝐥𝐝", "FULL width bold"),
        ("co\u00adop zero\u200djoin \ufeffmark", "coop zerojoin mark"),
        ("“Hi”, «he» said", '"Hi", "he" said'),
        ("‘so’ he said ‘don’t’", '"so" he said "don\'t"'),
        ("Coke™ 5€ 10° ½", "Coke™ 5€ 10° ½"),  # what is said aloud is not guessed
        ("  two   spaces ", "two spaces"),
        ("it's plain", "it's plain"),
        ("русский ёж йод, がん", "русский ёж йод, がん"),  # letters of their own, not letters with accents
    ],
)
def test_what_is_the_same_is_written_as_the_alphabet_writes_it(text, expected):
    assert normalise(text, ENGLISH) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,world!Yes. (No)", "Hello world Yes No"),
        ("“Hi” ‘so’ don’t", "Hi so don't"),
        ("you&me 5pm b2b route66road", "you & me 5 pm b 2 b route 66 road"),
        ("hi😀there 10°C", "hi 😀 there 10° C"),
        ("cafж", "caf ж"),
    ],
)
def test_where_unknown_characters_are_dropped_nothing_is_glued(text, expected):
    assert normalise(text, DROP) == expected
    words = "".join(char if DROP.encode(char) else " " for char in expected)
    assert DROP.decode(DROP.encode(expected)).split() == words.lower().split()


def test_what_the_alphabet_has_stays():
    assert normalise("l’été, déjà-vu — où? cœur naïf", FRENCH) == "l'été, déjà-vu où? cœur naïf"
    assert normalise("e\u0301te\u0301 ÉTÉ señor", FRENCH) == "été ÉTÉ senor"
    assert normalise("déjà‑vu", FRENCH) == "déjà-vu"
    assert normalise("ёж й", CharEncoder("абвгдежзийклмнопрстуфхцчшщъыьэюя ")) == "еж й"
    for own in ("’", "ﬁ", "-", "½", "\u0958", "\u200b", "—", "Å"):
        assert normalise(f"a{own}b", CharEncoder(f"ab{own}")) == f"a{own}b"
    assert normalise("한국", CharEncoder([chr(n) for n in range(0x1100, 0x1200)])) == unicodedata.normalize("NFD", "한국")
    assert normalise(unicodedata.normalize("NFD", "한국"), CharEncoder("한국")) == "한국"


@pytest.mark.parametrize("unknown", ["error", "drop"])
def test_chinese_is_not_harmed(unknown):
    alone, spaced = CharEncoder("你好世界北京", unknown), CharEncoder("你好世界北京 ", unknown)
    assert normalise("你好世界", alone) == "你好世界"
    assert normalise("你好 世界\u3000北京", alone) == "你好世界北京" and normalise("你好 世界", spaced) == "你好 世界"
    assert normalise("你好－世界—北京", alone) == normalise("你好－世界—北京", spaced) == "你好世界北京"
    for encoder in (alone, spaced):
        expected = "你好世界ABC" if unknown == "drop" else "你好，世界ABC。"
        assert normalise("你好，世界ABC。", encoder) == expected
    assert normalise("\uf963京", alone) == "北京"  # a compatibility character
    assert normalise("⼈", CharEncoder("人")) == plain("⼈") == "人" != "⼈"  # a radical
    assert normalise("ＡＢ你", CharEncoder("ＡＢ你")) == "ＡＢ你" and normalise("ＡＢ你", CharEncoder("AB你")) == "AB你"


def test_an_alphabet_without_apostrophe_or_of_pairs():
    plain = CharEncoder("abcdefghijklmnopqrstuvwxyz ", "drop")
    assert normalise("don’t o'clock", plain) == "dont oclock"
    pairs = BigramEncoder.learn(["twenty five"])
    assert normalise("Twenty–ﬁve", pairs) == "Twenty five"


def test_what_remains_is_named_with_counts():
    counts = unknown_characters(["Hello, World, 5!", "don’t", "twenty-ﬁve é"], ENGLISH)
    assert counts == {",": 2, "5": 1, "!": 1}
    assert named(counts) == "',' 2 times, '5' once, '!' once"
    assert named(counts, show=1) == "',' 2 times, and 2 others"
    assert unknown_characters(["你好，"], CHINESE) == {"，": 1}


def test_letters_that_look_alike_are_named_by_their_script():
    assert named(unknown_characters(["cаt", "αβ"], ENGLISH)) == "'а' (Cyrillic) once, 'α' (Greek) once, 'β' (Greek) once"
    assert mixed_scripts(["a cаt", "кот cat", "cаt", "中国cat", "CAFÉ"]) == {"cаt": 2}
    assert named(mixed_scripts(["a cаt"])) == "'cаt' once"


def test_letters_that_become_others_are_counted_and_the_same_ones_written_otherwise_are_not():
    texts = ["café e\u0301 ÉTÉ", "łódź", "Ｈｉ ﬁne don’t it's", "北"]
    assert changed_letters(texts, ENGLISH) == {"é as e": 2, "É as E": 2, "ł as l": 1, "ó as o": 1, "ź as z": 1}
    assert not changed_letters(texts, corpus_encoder(texts)) and not changed_letters(["안녕"], CharEncoder("\u110b\u1161"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ｈｅｌｌｏ，ｗｏｒｌｄ！", "Hello world"),
        ("你好，世界。 北 京", "你好世界北京"),
        ("don’t ‘so’ dogs’ l’eau", "don't so dogs l'eau"),
        ("ﬁne — twenty–five…", "fine twenty five"),
        ("e\u0301te\u0301 co\u00adop", "été coop"),
        ("shu4 zi4", "shu4 zi4"),
        ("卡拉 OK 好", "卡拉OK好"),
        ("5€ ½ ２", "5 2"),
        ("हिन्दी", "हिन्दी"),
    ],
)
def test_the_plain_form_of_a_transcript_has_letters_digits_and_apostrophes_alone(text, expected):
    assert plain(text) == expected and plain(expected) == expected


@given(st.lists(st.text("abÉé’'ﬁＡ1２中国 。，-", max_size=8), min_size=1))
def test_the_alphabet_of_a_corpus_has_all_its_letters_and_digits(texts):
    texts = [*texts, "x"]
    encoder = corpus_encoder(texts)
    lacking = unknown_characters(texts, encoder)
    assert not [char for char in lacking if char.isalnum()]
    assert not {"。", "，", "-"} & set(encoder.alphabet)


def test_texts_are_joined_as_their_script_is_written():
    assert joined(["see", "the moon"]) == "see the moon" and joined(["你好", "世 界"]) == "你好世 界"
    assert joined(["你好", "ok", "sir", "好"]) == "你好ok sir好" and joined([]) == "" and joined(["", "a"]) == "a"


WORDS = st.lists(st.text("abcxyzABC'", min_size=1, max_size=5).filter(lambda w: w.strip("'") == w), min_size=1, max_size=6)


@given(words=WORDS, data=st.data())
@settings(deadline=None)
def test_words_stay_apart_whatever_stands_between_them(words, data):
    between = [data.draw(st.text(' -–—/\\_|…\u00a0\u2009\u3000,;:!?."“”()&+5😀', min_size=1, max_size=3)) for _ in words]
    text = "".join(word + gap for word, gap in zip(words, between, strict=True))
    assert "".join(char if DROP.encode(char) else " " for char in normalise(text, DROP)).split() == words


ODD = st.text("aeE'é’‘“—-/ \u0301\u0302\u00ad\u200b\u3000\0\u0660ﬁ½™你，がﾞ한ᄒ&5😀", max_size=12)


@given(st.one_of(st.text(max_size=30), ODD), st.sampled_from([ENGLISH, DROP, FRENCH, CHINESE]))
@example("A\u00ad\u0300", FRENCH)  # an invisible character between a letter and its mark
@settings(deadline=None, max_examples=300)
def test_twice_is_once_and_the_alphabets_own_is_kept(text, encoder):
    once = normalise(text, encoder)
    assert normalise(once, encoder) == once
    own = " ".join("".join(char for char in text if char in encoder.alphabet).split())
    assert normalise(own, encoder) == own
