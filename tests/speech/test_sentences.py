"""Sentences to learn a language model from: the lines of a text, or the transcripts of a corpus."""

from __future__ import annotations

import pytest

from speech.sentences import read_sentences


def test_blanks_around_and_between_words_of_a_text_do_not_count(tmp_path):
    (tmp_path / "texts.txt").write_text("\tThe  cat \n\n   sat\u00a0down\n")
    assert read_sentences(tmp_path / "texts.txt") == ["the cat", "sat down"]


def test_a_missing_text_says_what_to_give(tmp_path):
    with pytest.raises(ValueError, match=r"texts\.txt: no such file or folder; give a text file, or a corpus"):
        read_sentences(tmp_path / "texts.txt")
