"""Pairs of letters as labels: how words are cut, and that nothing of a text is lost."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implementation import CharEncoder
from speech.alphabets import BigramEncoder, choose_encoder, read_alphabet

texts = st.text(alphabet=string.ascii_lowercase + " '", max_size=30)
few_letters = st.lists(st.text(alphabet="ab '", max_size=12), max_size=6)


def units_of(encoder: BigramEncoder, text: str) -> list[str]:
    return [encoder.alphabet[label - 1] for label in encoder.encode(text)]


def cut(text: str, pairs: set[str]) -> list[str]:
    """What encode should give, letter by letter: a pair begins at each even place of its word."""
    units, start = [], 0
    for i, char in enumerate(text):
        if char == " ":
            start = i + 1
        pair = text[i - 1 : i + 1]
        if char != " " and (i - start) % 2 and pair in pairs:
            units[-1] = pair
        else:
            units.append(char)
    return units


def test_the_papers_example():
    encoder = BigramEncoder.learn(["the cat sat"])
    assert units_of(encoder, "the cat sat") == ["th", "e", " ", "ca", "t", " ", "sa", "t"]
    assert encoder.alphabet == [*CharEncoder().alphabet, "ca", "sa", "th"]
    assert (encoder.vocab_size, encoder.blank_idx, encoder.encode("th")) == (32, 0, [31])


def test_a_pair_that_is_no_unit_becomes_two_letters_and_the_next_pair_stays():
    encoder = BigramEncoder(["a", "b", "c", "d", "ab", "cd"])
    assert units_of(encoder, "acdbab") == ["a", "c", "d", "b", "ab"]  # ac|db|ab, so that cd is no pair of this word


@given(few_letters, texts)
def test_words_are_cut_from_their_start_and_decode_undoes_it(training, text):
    encoder = BigramEncoder.learn(training)
    assert units_of(encoder, text) == cut(text, set(encoder.alphabet[28:]))
    assert encoder.decode(encoder.encode(text)) == text


@given(texts)
def test_training_texts_need_no_two_letters_in_a_row(text):
    """All their pairs are units, so a word of n letters has half as many labels, rounded up."""
    labels = BigramEncoder.learn([text]).encode(text)
    assert len(labels) == sum((len(word) + 1) // 2 for word in text.split(" ")) + text.count(" ")


@given(few_letters, texts)
def test_the_alphabet_makes_the_same_encoder_again(training, text):
    encoder = BigramEncoder.learn(training)
    again = BigramEncoder(encoder.alphabet)
    assert (again.alphabet, again.encode(text)) == (encoder.alphabet, encoder.encode(text))


@given(texts)
def test_case_is_folded_and_no_pair_reaches_over_a_space(text):
    encoder = BigramEncoder.learn([text.upper()])
    assert encoder.encode(text.upper()) == encoder.encode(text)
    assert not any(" " in unit for unit in encoder.alphabet if len(unit) > 1)


def test_a_pair_must_occur_often_enough():
    assert BigramEncoder.learn(["abab", "abcd"], "abcd", min_count=2).alphabet == ["a", "b", "c", "d", "ab"]
    assert BigramEncoder.learn(["abab"], "ab", min_count=3).alphabet == ["a", "b"]


def test_one_text_may_come_alone():
    assert BigramEncoder.learn("abab", "ab").alphabet == ["a", "b", "ab"]


def test_repeats_merge_and_a_blank_between_keeps_both():
    encoder = BigramEncoder(["a", "n", "an"])
    assert encoder.ctc_decode([0, 3, 3, 0, 0, 3, 1, 0]) == "anana"
    assert encoder.ctc_decode([3, 3, 3]) == "an"


def test_unknown_characters_are_reported_or_dropped_before_words_are_cut():
    with pytest.raises(ValueError, match="'5' at position 1 "):
        BigramEncoder.learn(["a5b"])
    with pytest.raises(ValueError, match="'5' at position 1 "):
        BigramEncoder.learn(["ab"]).encode("a5b")
    encoder = BigramEncoder.learn(["a5b"], unknown="drop")
    assert (encoder.unknown, units_of(encoder, "5a5b5")) == ("drop", ["ab"])


@pytest.mark.parametrize("units", [["a", "a"], ["a", "b", "ab", "ab"], ["a", "ab"], ["a", " ", "a "], ["a", "aaa"], ["a", ""]])
def test_broken_units_are_refused(units):
    with pytest.raises(ValueError, match=r"unit|alphabet"):
        BigramEncoder(units)


def test_the_reference_keeps_every_character():
    encoder = BigramEncoder.learn(["twenty five"], unknown="drop")
    assert encoder.reference("Twenty-Five") == "twenty-five"


# ---------------------------------------------------------------------------------------------
# Alphabets by name, of a corpus, of a file
# ---------------------------------------------------------------------------------------------


def test_alphabets_are_chosen_by_name_by_the_texts_or_by_a_file(tmp_path):
    (tmp_path / "abc.txt").write_text("ab\nc '", encoding="utf-8")
    assert choose_encoder("english").alphabet == CharEncoder().alphabet
    assert choose_encoder("mandarin", unknown="drop").vocab_size == 6792
    assert choose_encoder("corpus", ["Shu4, zi4!"]).alphabet == [" ", "4", "h", "i", "s", "u", "z"]
    assert choose_encoder("corpus", ["数 字。"]).alphabet == ["字", "数"]  # no space parts them
    assert choose_encoder("corpus", ["one", "two"]).alphabet[0] == " "  # so that words can be joined
    encoder = choose_encoder(tmp_path / "abc.txt", unknown="drop")
    assert (encoder.alphabet, encoder.unknown) == (["a", "b", "c", " ", "'"], "drop")


@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_holds_characters_in_their_order_composed_and_once(tmp_path, code):
    (tmp_path / "a.txt").write_bytes("中\r\ne\u0301\r\nb中\u3000".encode(code))
    assert read_alphabet(tmp_path / "a.txt") == ["中", "é", "b", "\u3000"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "no such alphabet; give english, mandarin, corpus, or a text file"),
        (b"", "it has no characters"),
        (b" \n\n", "it has no characters"),
        ("中".encode("gb2312"), "not UTF-8 text"),
        (b"<blank>\na\nb\n", "holds the mark <blank>: remove it"),
        ("中 1\n文 2\n".encode(), "a number after each character"),
    ],
)
def test_what_is_no_alphabet_is_refused_in_a_sentence(tmp_path, content, what):
    path = tmp_path / "alphabet.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=what):
        read_alphabet(path)


def test_texts_without_a_letter_make_no_alphabet():
    with pytest.raises(ValueError, match="no letter in the transcripts"):
        choose_encoder("corpus", ["...", "!"])
