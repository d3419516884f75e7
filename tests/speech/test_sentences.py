"""Sentences to learn a language model from: the lines of a text, or the transcripts of a corpus."""

from __future__ import annotations

import gzip

import pytest

from speech.sentences import in_alphabet, read_sentences


def test_blanks_around_and_between_words_of_a_text_do_not_count(tmp_path):
    (tmp_path / "texts.txt").write_text("\tThe  cat \n\n   sat\u00a0down\n")
    assert read_sentences(tmp_path / "texts.txt") == ["the cat", "sat down"]


@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_text_in_another_code_packed_or_with_marks(tmp_path, code, pack):
    (tmp_path / "a.txt").write_bytes(pack("Hello there\r\n<s> the moon </s>\r\n".encode(code)))
    assert read_sentences(tmp_path / "a.txt") == ["hello there", "the moon"]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\3\4\0\0hello", "not a text, since it holds zero bytes"),
        (b" \n", "there is no text in it"),
        (b"", "there is no text in it"),
        (gzip.compress(b"hello there", mtime=0)[:-9], "is compressed, but cannot be unpacked"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, data, what):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(ValueError, match=what):
        read_sentences(tmp_path / "a.txt")


def test_a_missing_text_says_what_to_give(tmp_path):
    with pytest.raises(ValueError, match=r"texts\.txt: no such file or folder; give a text file, or a corpus"):
        read_sentences(tmp_path / "texts.txt")


def test_a_language_model_is_no_text(tmp_path):
    (tmp_path / "lm.txt").write_text("\\data\\\nngram 1=1\n\n\\1-grams:\n-1 a\n\\end\\\n")
    with pytest.raises(ValueError, match=r"lm\.txt is already a language model"):
        read_sentences(tmp_path / "lm.txt")


@pytest.mark.parametrize(
    ("text", "expected", "left_out"),
    [
        ("Don’t — stop, please!", "don't stop please", {}),
        ("the “naïve” café\u00a0owner", "the naive cafe owner", {}),
        ("twenty-five (and more)...", "twenty five and more", {}),
        ("it costs 5 or 55 dollars", "it costs or dollars", {"5": 3}),
        ("r&b is not rb", "r b is not rb", {"&": 1}),
    ],
)
def test_sentences_are_written_as_transcripts_are_and_what_is_left_out_is_counted(text, expected, left_out):
    assert in_alphabet([text.lower()]) == ([expected], left_out)


def test_a_sentence_of_which_nothing_is_left_goes():
    assert in_alphabet(["the cat sat", "7", "...", "a mat"]) == (["the cat sat", "a mat"], {"7": 1})


def test_another_alphabet_keeps_its_own_characters():
    assert in_alphabet(["你好，号", "naïve 你"], "你好号ï ") == (["你好号", "ï 你"], {"n": 1, "a": 1, "v": 1, "e": 1})
    assert in_alphabet(["the 2nd"], [*"abcdefghijklmnopqrstuvwxyz 2"]) == (["the 2nd"], {})


def test_an_alphabet_that_can_not_be_meant_is_refused():
    with pytest.raises(ValueError, match=r"'english' can write only 2 of the 5 characters of these texts; .*'any'"):
        in_alphabet(["你好", "号 ok"])
    assert in_alphabet(["你好 abc"]) == (["abc"], {"你": 1, "好": 1})
