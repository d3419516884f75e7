"""Characters to CTC labels and back."""

from __future__ import annotations

import string
from itertools import groupby, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from implementation import CharEncoder, count_errors, counted_units, is_spaced, joint_of_words, measure_of

ENCODER = CharEncoder()
texts = st.text(alphabet=string.ascii_lowercase + " '", max_size=20)


def test_there_are_29_symbols_and_the_blank_is_0():
    assert (ENCODER.vocab_size, ENCODER.blank_idx) == (29, 0)


def test_letters_are_1_to_26_space_27_apostrophe_28():
    assert ENCODER.encode(string.ascii_lowercase) == list(range(1, 27))
    assert ENCODER.encode(" '") == [27, 28]


@given(texts)
def test_decode_undoes_encode(text):
    assert ENCODER.decode(ENCODER.encode(text)) == text


@given(texts)
def test_encode_folds_case(text):
    assert ENCODER.encode(text.upper()) == ENCODER.encode(text)


@given(texts)
def test_encode_gives_one_label_a_character_and_never_the_blank(text):
    labels = ENCODER.encode(text)
    assert len(labels) == len(text)
    assert all(1 <= label < 29 for label in labels)


@pytest.mark.parametrize(("text", "char", "place"), [("café", "é", 3), ("5 apples", "5", 0), ("no-one", "-", 2), ("İ", "İ", 0)])
def test_the_error_names_the_unknown_character_and_its_place(text, char, place):
    with pytest.raises(ValueError, match=f"'{char}' at position {place} "):
        ENCODER.encode(text)


def test_unknown_characters_are_left_out_on_request():
    assert ENCODER.decode(CharEncoder(unknown="drop").encode("No. 5, café!")) == "no  caf"


def test_decode_merges_nothing_and_skips_blanks():
    assert ENCODER.decode([1, 1, 0, 1, 0, 0]) == "aaa"


@pytest.mark.parametrize("label", [-1, 29])
def test_labels_outside_the_alphabet_are_refused(label):
    assert ENCODER.decode([28, 0]) == "'" and ENCODER.decode([]) == ""
    for labels in ([label], [1, label, 2]):
        with pytest.raises(ValueError, match=r"must lie in 0\.\.28"):
            ENCODER.decode(labels)


def test_a_blank_between_equal_labels_keeps_both():
    assert ENCODER.ctc_decode([1, 0, 1]) == "aa"


def test_equal_labels_without_a_blank_between_are_one():
    assert ENCODER.ctc_decode([0, 1, 1, 1, 0, 0]) == "a"


@given(st.lists(st.integers(0, 3), max_size=15))
def test_ctc_decode_merges_repeats_first_then_drops_blanks(path):
    assert ENCODER.ctc_decode(path) == "".join("_abc"[label] for label, _ in groupby(path) if label)


@given(texts, st.lists(st.integers(1, 3), min_size=20, max_size=20))
def test_every_path_of_a_text_decodes_to_it(text, durations):
    path = [0]
    for (before, label), frames in zip(pairwise([0, *ENCODER.encode(text)]), durations, strict=False):
        path += [0] * (before == label) + [label] * frames
    assert ENCODER.ctc_decode(path) == text


def test_labels_may_come_in_a_tensor():
    assert ENCODER.ctc_decode(torch.tensor([8, 9, 9])) == "hi"


def test_an_own_alphabet_is_numbered_in_its_order():
    encoder = CharEncoder("中文a")
    assert (encoder.encode("a文中A"), encoder.vocab_size) == ([3, 2, 1, 3], 4)


@pytest.mark.parametrize("arguments", [{"alphabet": "aba"}, {"alphabet": ["ab", "c"]}, {"unknown": "ignore"}])
def test_a_broken_alphabet_or_rule_is_refused(arguments):
    with pytest.raises(ValueError, match=r"alphabet|unknown"):
        CharEncoder(**arguments)


def test_the_reference_folds_letters_and_keeps_every_character():
    for unknown in ("error", "drop"):
        encoder = CharEncoder("english", unknown)
        assert encoder.reference("Twenty-Five Café 7") == "twenty-five café 7"
    assert CharEncoder("Ab").reference("aAbB") == "aAbb"


def test_mandarin_has_the_characters_of_the_standard_gb_2312_behind_those_of_english():
    encoder = CharEncoder("mandarin")
    in_the_standard = {char for char in map(chr, range(0x4E00, 0xA000)) if is_encodable(char)}
    assert len(in_the_standard) == 6763 and encoder.vocab_size == 6763 + 29
    assert encoder.alphabet[:28] == ENCODER.alphabet and set(encoder.alphabet[28:]) == in_the_standard
    assert encoder.alphabet[28] == "啊" and encoder.alphabet[-1] == "齄"  # first and last of the table
    assert encoder.encode("Hello 北京")[:6] == ENCODER.encode("hello ") and encoder.decode(encoder.encode("北京")) == "北京"


def is_encodable(char: str) -> bool:
    try:
        return bool(char.encode("gb2312"))
    except UnicodeEncodeError:
        return False


def test_the_alphabet_of_transcripts_holds_their_characters_once_in_lower_case():
    encoder = CharEncoder.from_transcripts(["Bad ab", "中b"], unknown="drop")
    assert (encoder.alphabet, encoder.unknown) == ([" ", "a", "b", "d", "中"], "drop")
    assert encoder.encode("Ab中!") == [2, 3, 5]


def test_a_mark_of_decomposed_unicode_is_named_with_what_to_do():
    with pytest.raises(
        ValueError, match=r"COMBINING ACUTE ACCENT, a mark of decomposed Unicode: compose the text with unicodedata"
    ):
        ENCODER.encode("cafe\u0301")


@pytest.mark.parametrize(
    ("alphabet", "spaced"),
    [
        ("english", True),
        ("mandarin", False),
        ("abc中", False),
        ("абв ", True),
        ("한국", True),
        ("あ", False),
        ("กข ", False),
        ("aé ", True),
    ],
)
def test_words_are_counted_where_spaces_part_them_and_else_characters(alphabet, spaced):
    encoder = CharEncoder(alphabet)
    assert is_spaced(encoder) == spaced and measure_of(encoder) == ("WER" if spaced else "CER")
    counts = count_errors(["ab cd", "e f"], ["a bcd", "ef"], encoder)
    assert (counts.errors, counts.reference_length) == ((4, 4) if spaced else (0, 6))
    assert counted_units(" ab c", encoder) == (["ab", "c"] if spaced else ["a", "b", "c"])


@pytest.mark.parametrize(("alphabet", "joint"), [("english", " "), ("ab", ""), ("mandarin", ""), ("ab ", " "), ("北 京", "")])
def test_words_are_joined_by_a_space_where_the_alphabet_has_one_that_parts_them(alphabet, joint):
    assert joint_of_words(CharEncoder(alphabet)) == joint
