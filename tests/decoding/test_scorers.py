"""Scorers of the beam search against the score of the whole text."""

from __future__ import annotations

import math
import pickle
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoding import scorers
from decoding.ngrams import NGramModel
from decoding.scorers import CharacterScorer, WordScorer, make_scorer
from implementation import CharEncoder
from speech.alphabets import BigramEncoder

ENGLISH = CharEncoder()

orders = st.integers(1, 4)
texts = st.text(alphabet="abz' ", max_size=12)

LETTERS = CharEncoder("abz' ")
SMALL = ("ab a", "a a' ba", "b ab", "z b ab")
PAIRS = BigramEncoder([*LETTERS.alphabet, "ab", "a'", "zz"])
encoders = pytest.mark.parametrize("encoder", [LETTERS, PAIRS], ids=["letters", "pairs"])


def walk(scorer, labels: list[int]) -> tuple[float, int]:
    """Sums over a text of what the scorer adds for each label and at the end."""
    state, total, words = scorer.start(), 0.0, 0
    for label in labels:
        log_p, completed = scorer.scores(state, np.array([label, 0, label]))
        assert log_p[1] == completed[1] == 0 and log_p.dtype == completed.dtype == np.float64
        assert (log_p[0], completed[0]) == (log_p[2], completed[2])
        total, words, state = total + log_p[0], words + completed[0], scorer.advance(state, label)
        hash(state)
        log_p[:], completed[:] = 7, 7  # the caller may do with them as it likes
    log_p, completed = scorer.finish(state)
    return total + log_p, words + completed


@encoders
@pytest.mark.parametrize(("kind", "unit"), [(WordScorer, "word"), (CharacterScorer, "character")])
@given(text=texts, order=orders)
def test_the_scores_of_a_text_add_up_to_the_models(encoder, kind, unit, text, order):
    model = NGramModel.train(SMALL, order, unit)
    scorer = kind(model, encoder)
    for _ in range(2):  # the second time from what is remembered
        log_p, words = walk(scorer, encoder.encode(text))
        assert log_p == pytest.approx(model.score(text))
        assert words == len(text.split())
    assert pickle.loads(pickle.dumps(scorer)).start() == scorer.start()


def test_a_word_scores_when_the_space_completes_it():
    model = NGramModel.train(SMALL)
    scorer, (a, b, space) = WordScorer(model, LETTERS), LETTERS.encode("ab ")
    state = scorer.advance(scorer.advance(scorer.start(), a), b)
    log_p, words = scorer.scores(state, np.array([a, space, b]))
    assert log_p.tolist() == [0, model.next(model.start(), "ab")[0], 0]
    assert words.tolist() == [0, 1, 0]
    after = scorer.advance(state, space)
    assert not any(array.any() for array in scorer.scores(after, np.arange(6)))  # no second word from a second space
    assert scorer.advance(after, space) == after


def test_the_blank_leads_nowhere():
    words, characters = NGramModel.train(SMALL), NGramModel.train(SMALL, 3, "character")
    for scorer in (WordScorer(words, LETTERS), CharacterScorer(characters, LETTERS)):
        state = scorer.advance(scorer.start(), 1)
        assert scorer.advance(state, 0) == state


@encoders
@pytest.mark.parametrize("lexicon", [True, ["ab", "a", "z'z"]])
def test_a_lexicon_lets_through_its_words_only(encoder, lexicon):
    """All label sequences up to four: a label scores -inf just where no text of the lexicon begins so."""
    model = NGramModel.train(SMALL)
    words = {"ab", "a", "a'", "ba", "b", "z"} if lexicon is True else set(lexicon)
    scorer = WordScorer(model, encoder, lexicon)
    begins = {word[:end] for word in words for end in range(len(word) + 1)}
    for labels in product(range(1, encoder.vocab_size), repeat=4):
        text = encoder.decode(labels)
        *complete, last = text.split(" ")
        log_p, _ = walk(scorer, labels)
        allowed = all(not word or word in words for word in [*complete, last])
        assert log_p == (pytest.approx(model.score(text)) if allowed else -math.inf)
        state, so_far = scorer.start(), 0.0
        for label in labels:
            so_far += scorer.scores(state, np.array([label]))[0][0]
            state = scorer.advance(state, label)
        assert (so_far > -math.inf) == (all(not word or word in words for word in complete) and last in begins)


def test_a_word_outside_the_lexicon_is_none_though_it_begins_one():
    scorer = WordScorer(NGramModel.train(SMALL), LETTERS, ["ab"])
    assert scorer.finish(scorer.advance(scorer.start(), 1))[0] == -math.inf
    assert WordScorer(scorer.model, LETTERS, False).finish((("<s>",), "a"))[0] > -math.inf
    assert WordScorer(scorer.model, LETTERS, "ab").finish((("<s>",), "ab"))[0] > -math.inf  # one word may come alone


def test_without_a_space_in_the_alphabet_each_character_counts():
    model = NGramModel.train(["中文", "文中文"], 2, "character")
    log_p, words = walk(CharacterScorer(model, CharEncoder("中文")), [1, 2, 1])
    assert (log_p, words) == (pytest.approx(model.score("中文中")), 3)
    model = NGramModel.train(["yes", "no"])
    assert walk(WordScorer(model, CharEncoder("yesno"), True), [1, 2, 3]) == (pytest.approx(model.score("yes")), 1)


def test_characters_that_the_model_does_not_know_are_unknown_to_it():
    model = NGramModel.train(["aa", "ab"], 2, "character")
    log_p, _ = CharacterScorer(model, ENGLISH).scores((("a",), True), np.array([3, 28]))
    assert log_p[0] == log_p[1] == pytest.approx(model.next(("a",), "<unk>")[0])
    seen = [LETTERS.encode(c)[0] for c in "ab "]
    end = math.exp(model.end(("a",)))
    log_p, _ = CharacterScorer(model, LETTERS).scores((("a",), True), np.array([*seen, 3]))
    assert np.exp(log_p).sum() + end == pytest.approx(1, abs=1e-6)


@encoders
@pytest.mark.parametrize("kind", ["words", "lexicon", "characters"])
@given(asked=st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=6), text=texts)
def test_what_a_label_scores_does_not_depend_on_the_others_asked_or_on_what_was_asked_before(encoder, kind, asked, text):
    model = NGramModel.train(SMALL, 3, "character" if kind == "characters" else "word")

    def fresh() -> WordScorer | CharacterScorer:
        return CharacterScorer(model, encoder) if kind == "characters" else WordScorer(model, encoder, kind == "lexicon")

    scorer, state = fresh(), fresh().start()
    for label in encoder.encode(text):
        state = scorer.advance(state, label)
    for labels in (*asked, range(encoder.vocab_size)):
        log_p, words = scorer.scores(state, np.array(labels, dtype=int))
        alone = [fresh().scores(state, np.array([label])) for label in labels]
        assert log_p.tolist() == [float(answer[0][0]) for answer in alone]
        assert words.tolist() == [float(answer[1][0]) for answer in alone]


class Counted(NGramModel):
    """Counts the tokens whose probability it looks up."""

    looked_up = 0

    def log_p(self, state, tokens):
        self.looked_up += len(tokens)
        return super().log_p(state, tokens)


def test_of_a_large_alphabet_only_the_labels_asked_are_looked_up_and_each_once():
    hanzi = [chr(0x4E00 + i) for i in range(6800)]
    trained = NGramModel.train(["".join(hanzi[i : i + 8]) for i in range(0, 400, 4)], 3, "character")
    model = Counted(trained.ngrams, trained.order, trained.unit)
    scorer, state = CharacterScorer(model, CharEncoder(hanzi)), (("<s>", hanzi[0]), False)
    for labels, looked_up in ((range(1, 41), 40), (range(1, 41), 40), (range(21, 61), 60), ([0], 60)):
        log_p, _ = scorer.scores(state, np.array(labels))
        assert model.looked_up == looked_up
        assert log_p.tolist() == [trained.next(state[0], hanzi[label - 1])[0] if label else 0.0 for label in labels]
    for i in range(1000):
        scorer.scores(((hanzi[i],), False), np.array([1, 2]))
    assert sum(row.nbytes for row in scorer._known.values()) <= 20e6


def test_a_word_in_its_context_is_looked_up_once():
    trained = NGramModel.train(SMALL)
    model = Counted(trained.ngrams, trained.order, trained.unit)
    scorer, space = WordScorer(model, LETTERS), np.array(LETTERS.encode(" "))
    first = scorer.scores((("<s>",), "ab"), space)[0]
    assert scorer.scores((("<s>",), "ab"), space)[0] == first == trained.next(("<s>",), "ab")[0]
    assert model.looked_up == 1
    scorer.scores((("<s>",), "ab"), np.array(LETTERS.encode("abz'")))  # no space asked, so no word complete
    assert model.looked_up == 1
    assert scorer._log_p.size == 2**16


def test_the_memory_of_a_scorer_is_bounded():
    squares = scorers._Cache(lambda x: x * x, size=3)
    assert [squares[x] for x in (1, 2, 3, 4, 4, 1)] == [1, 4, 9, 16, 16, 1]
    assert dict(squares) == {4: 16, 1: 1}


@pytest.mark.parametrize(
    ("kind", "unit", "training", "lexicon", "what"),
    [
        (WordScorer, "character", "a b", None, "over words"),
        (CharacterScorer, "word", "a b", None, "over characters"),
        (WordScorer, "word", "THE CAT", None, "write none of the model.s words, such as .CAT."),
        (WordScorer, "word", "the cat", ["no", "new york", "N", "5"], "cannot write 3 of its words, such as '5'"),
        (WordScorer, "word", "the cat", [], "it is empty"),
        (CharacterScorer, "character", "a café naïf", None, "lacks 2 characters that the model knows: 'é', 'ï';"),
        (CharacterScorer, "character", "the café", None, "lacks 1 characters that the model knows: 'é';"),
    ],
)
def test_a_model_that_does_not_fit_the_encoder_is_refused(kind, unit, training, lexicon, what):
    with pytest.raises(ValueError, match=what):
        kind(NGramModel.train([training], 2, unit), ENGLISH, *([lexicon] if kind is WordScorer else []))


def test_a_lexicon_leaves_out_words_that_the_alphabet_can_not_write_and_says_so(tmp_path, capsys):
    NGramModel.train(["the café 2"]).write_arpa(tmp_path / "lm.arpa")
    scorer = make_scorer(tmp_path / "lm.arpa", ENGLISH, lexicon=True)
    assert scorer.unwritable == ["2", "café"] and "2 words, '2', 'café'" in capsys.readouterr().err
    assert walk(scorer, ENGLISH.encode("the"))[0] > -math.inf and walk(scorer, ENGLISH.encode("caf"))[0] == -math.inf
    make_scorer(tmp_path / "lm.arpa", ENGLISH)
    assert not capsys.readouterr().err


def test_a_model_of_characters_has_no_lexicon(tmp_path):
    NGramModel.train(["the cat"], 2, "character").write_arpa(tmp_path / "lm.arpa")
    with pytest.raises(ValueError, match=r"lm\.arpa is a model of characters.*leave out --lexicon"):
        make_scorer(tmp_path / "lm.arpa", ENGLISH, lexicon=True)


def test_words_outside_the_alphabet_do_no_harm_without_a_lexicon():
    assert walk(WordScorer(NGramModel.train(["the café"]), ENGLISH), ENGLISH.encode("the cafe"))[1] == 2
