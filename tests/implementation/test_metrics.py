"""Error rates against jiwer and against a distance written as a recursion."""

from __future__ import annotations

from functools import cache

import jiwer
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from implementation import (
    AudioSample,
    CharEncoder,
    DeepSpeech2,
    ErrorCounts,
    _edit_table,
    character_error_rate,
    count_character_errors,
    count_word_errors,
    edit_distance,
    edit_table_by_rows,
    evaluate,
    word_error_rate,
)

texts = st.lists(st.sampled_from(["a", "b", "ab", "ba", "abc"]), max_size=6).map(" ".join)
corpora = st.lists(st.tuples(texts, texts), min_size=1, max_size=4).map(lambda pairs: tuple(map(list, zip(*pairs, strict=True))))
symbols = st.text("abc", max_size=7)


@given(corpora)
def test_word_error_rate_equals_jiwers(corpus):
    theirs, ours = jiwer.process_words(*corpus), count_word_errors(*corpus)
    assert ours.rate == word_error_rate(*corpus) == pytest.approx(theirs.wer)
    assert ours.errors == theirs.substitutions + theirs.deletions + theirs.insertions
    assert ours.reference_length == theirs.hits + theirs.substitutions + theirs.deletions


@given(corpora)
def test_character_error_rate_equals_jiwers(corpus):
    theirs, ours = jiwer.process_characters(*corpus), count_character_errors(*corpus)
    assert ours.rate == character_error_rate(*corpus) == pytest.approx(theirs.cer)
    assert ours.errors == theirs.substitutions + theirs.deletions + theirs.insertions
    assert ours.reference_length == theirs.hits + theirs.substitutions + theirs.deletions


@given(symbols, symbols)
def test_edit_distance_equals_its_recursion(reference, hypothesis):
    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        replaced = distance(i - 1, j - 1) + (reference[i - 1] != hypothesis[j - 1])
        return min(replaced, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    assert edit_distance(reference, hypothesis) == distance(len(reference), len(hypothesis))


def test_edit_distance_takes_lists_of_words():
    assert edit_distance("the cat sat".split(), "the bat sat down".split()) == 2


@given(texts, texts)
def test_the_alignment_holds_both_texts_and_the_counts(reference, hypothesis):
    counts = count_word_errors(reference, hypothesis)
    [pairs] = counts.alignment
    assert [ref for ref, _ in pairs if ref is not None] == reference.split()
    assert [hyp for _, hyp in pairs if hyp is not None] == hypothesis.split()
    kinds = ["hit" if ref == hyp else "ins" if ref is None else "del" if hyp is None else "sub" for ref, hyp in pairs]
    assert [kinds.count(kind) for kind in ("hit", "sub", "del", "ins")] == [
        counts.hits, counts.substitutions, counts.deletions, counts.insertions
    ]  # fmt: skip
    assert counts.errors == edit_distance(reference.split(), hypothesis.split())


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", (3, 0, 0, 0)), ("a b c", "a x c", (2, 1, 0, 0)), ("a b c", "a c", (2, 0, 1, 0)),
        ("a c", "a b c", (2, 0, 0, 1)), ("a b", "", (0, 0, 2, 0)),
    ],
)  # fmt: skip
def test_each_kind_of_error_is_counted_as_itself(reference, hypothesis, expected):
    counts = count_word_errors(reference, hypothesis)
    assert (counts.hits, counts.substitutions, counts.deletions, counts.insertions) == expected


def test_the_rate_is_that_of_the_corpus_not_the_mean_of_the_utterances():
    assert word_error_rate(["a", "b c d"], ["x", "b c d"]) == 0.25


@pytest.mark.parametrize("rate", [word_error_rate, character_error_rate])
def test_empty_references(rate):
    assert rate("", "") == 0
    assert rate("", "a") == 1
    assert rate([], []) == 0
    assert rate(["", "a"], ["b", "a"]) == 1


def test_insertions_into_nothing_are_counted_one_by_one():
    assert word_error_rate("", "a b c") == 3
    assert character_error_rate("", "abc") == 3


def test_a_rate_may_exceed_one():
    assert word_error_rate("a", "b c d") == 3


def test_white_space_does_not_matter_to_words_but_to_characters():
    assert word_error_rate(" a  b\n", "a b") == 0
    assert character_error_rate("a b", "ab") == pytest.approx(1 / 3)


@pytest.mark.parametrize("count", [count_word_errors, count_character_errors])
def test_every_reference_needs_its_hypothesis(count):
    with pytest.raises(ValueError, match="2 references but 1 hypotheses"):
        count(["a", "b"], ["a"])


def test_aligned_lines_stand_above_each_other():
    counts = count_word_errors(["so", "the cat sat down on it"], ["so", "the bears sat on it now"])
    lines = ["REF: the cat   sat down on it ***", "HYP: the bears sat **** on it now", "         S         D          I"]
    assert counts.aligned_lines(1).splitlines() == lines
    assert counts.aligned_lines(0) == "REF: so\nHYP: so"


def test_errors_are_marked_in_any_script():
    """Chinese characters take two columns of a terminal, digits have no capitals."""
    assert count_word_errors("北京 7", "背景 8").aligned_lines(0).splitlines() == ["REF: 北京 7", "HYP: 背景 8", "     S    S"]
    assert count_word_errors("e\u0301te\u0301 a", "x b").aligned_lines(0).splitlines()[1:] == ["HYP: x   b", "     S   S"]
    lines = count_word_errors("我 在 北京", "我 北京").aligned_lines(0).splitlines()
    assert lines == ["REF: 我 在 北京", "HYP: 我 ** 北京", "        D"]


@given(st.lists(st.sampled_from("abcd"), max_size=9), st.lists(st.sampled_from("abcd"), max_size=9))
def test_the_table_by_rows_is_the_table_by_definition(reference, hypothesis):
    assert (_edit_table(reference, hypothesis) == edit_table_by_rows(reference, hypothesis)).all()


def test_utterances_are_ranked_by_their_share_of_errors():
    counts = count_word_errors(["a b c d", "a b", "a", ""], ["a b x y", "x y", "a", ""])
    assert counts.from_worst_to_best() == [1, 0, 2, 3]


def test_the_counts_print_the_rate_and_its_parts():
    assert str(ErrorCounts(hits=2, substitutions=1, deletions=1, insertions=0)) == "50.00 % (2/4: 1 sub, 1 del, 0 ins)"


def test_evaluation_counts_texts_without_stray_spaces():
    """As transcribe.py prints them, and as the transcripts of a corpus are read."""
    encoder = CharEncoder("english")
    model = DeepSpeech2(n_freq=65, vocab_size=encoder.vocab_size, n_conv=2, n_rnn=1, rnn_hidden=8)
    dataset = [AudioSample(torch.randn(16000), 16000, "see  the moon ")]
    result = evaluate(model, dataset, encoder, decode=lambda *_: [" see the   moon"])
    assert result["hypotheses"] == result["references"] == ["see the moon"]
    assert result["cer"] == 0 and result["characters"].reference_length == 12
