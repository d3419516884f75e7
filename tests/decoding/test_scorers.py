"""Scorers of the beam search against the score of the whole text."""

from __future__ import annotations

import gzip
import math
import pickle
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding import scorers
from decoding.ngrams import NGramModel
from decoding.scorers import CharacterScorer, WordScorer, make_scorer
from implementation import PAPER_PRUNING, CharEncoder, is_spaced, plain_definitions, prefix_beam_search
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


def by_definition(model: NGramModel, text: str, penalty: float) -> float:
    """log p_lm of a text of words: known ones as the model says, unknown ones by letter; after one of those nothing is known."""
    total, context = 0.0, model.start()
    for word in text.split():
        known = (word,) in model.ngrams
        total += model.next(context, word)[0] if known else -penalty * len(word)
        context = model.after(context, word) if known else model.after((), "<unk>")
    return total + model.end(context)


@encoders
@given(text=texts, order=orders, penalty=st.floats(0, 9))
def test_the_scores_of_a_text_add_up_to_those_of_its_words(encoder, text, order, penalty):
    model = NGramModel.train(SMALL, order)
    scorer = WordScorer(model, encoder, unknown_penalty=penalty)
    for _ in range(2):  # the second time from what is remembered
        log_p, words = walk(scorer, encoder.encode(text))
        assert log_p == pytest.approx(by_definition(model, text, penalty))
        if not scorer.unknown_words(text):
            assert log_p == pytest.approx(model.score(text))
        assert words == len(text.split())
    assert pickle.loads(pickle.dumps(scorer)).start() == scorer.start()


@encoders
@given(text=texts, order=orders)
def test_the_scores_of_a_text_add_up_to_the_models(encoder, text, order):
    model = NGramModel.train(SMALL, order, "character")
    scorer = CharacterScorer(model, encoder)
    for _ in range(2):
        log_p, words = walk(scorer, encoder.encode(text))
        assert (log_p, words) == (pytest.approx(model.score(text)), len(text.split()))
    assert pickle.loads(pickle.dumps(scorer)).start() == scorer.start()


def test_a_word_scores_when_the_space_completes_it():
    model = NGramModel.train(SMALL)
    scorer, (a, b, space) = WordScorer(model, LETTERS, unknown_penalty=2.0), LETTERS.encode("ab ")
    state = scorer.advance(scorer.advance(scorer.start(), a), b)
    log_p, words = scorer.scores(state, np.array([a, space, b]))
    assert log_p.tolist() == [-6, model.next(model.start(), "ab")[0], -6]  # aba and abb are no words: 2 nats a letter
    assert words.tolist() == [0, 1, 0]
    after = scorer.advance(state, space)
    assert scorer.scores(after, np.array([0, a, b, space]))[0].tolist() == [0, 0, 0, 0]  # no second word from a second space
    assert not scorer.scores(after, np.arange(6))[1].any()
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
    scorer = WordScorer(model, encoder, lexicon, 2.0)
    begins = {word[:end] for word in words for end in range(len(word) + 1)}
    for labels in product(range(1, encoder.vocab_size), repeat=4):
        text = encoder.decode(labels)
        *complete, last = text.split(" ")
        log_p, _ = walk(scorer, labels)
        allowed = all(not word or word in words for word in [*complete, last])
        assert log_p == (pytest.approx(by_definition(model, text, 2.0)) if allowed else -math.inf)
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
    for i in range(3000):
        scorer.scores(((hanzi[i],), False), np.array([1, 2]))
    assert len(scorer._known) <= 2**11


@pytest.mark.parametrize("unk", [True, False])
def test_a_model_that_was_read_says_the_same_of_many_labels_at_once(tmp_path, unk):
    alphabet = [" ", *(chr(0x4E00 + i) for i in range(1500))]
    texts = ["".join(alphabet[1 + i * i % 40] for i in range(n, n + 9)) + " " + alphabet[n] for n in range(1, 30)]
    model = NGramModel.train(texts, 4, "character")
    if not unk:
        del model.ngrams["<unk>",]
    model.write_arpa(tmp_path / "lm.arpa")
    encoder = CharEncoder(alphabet)
    read, plain = (CharacterScorer(m, encoder, 2.5) for m in (NGramModel.read_arpa(tmp_path / "lm.arpa"), model))
    assert read._numbers is not None and plain._numbers is None
    labels = np.array([5, 1, 900, 0, 17, 2, 1499, 26])  # in no order; the blank and unknown ones among them
    states = []
    for text in ("", texts[0][:1], texts[3][:5], alphabet[700], texts[9] + alphabet[1000]):
        state = read.start()
        for label in encoder.encode(text):
            state = read.advance(state, label)
        (log_p, words), (expected, expected_words) = read.scores(state, labels), plain.scores(state, labels)
        assert log_p.tolist() == expected.tolist() and words.tolist() == expected_words.tolist()
        states.append(state)
    at_once = zip(*read.scores_of(states, labels), strict=True)
    for state, answers in zip(states, at_once, strict=True):
        assert [row.tolist() for row in answers] == [row.tolist() for row in plain.scores(state, labels)]
    assert pickle.loads(pickle.dumps(read)).scores(state, labels)[0].tolist() == log_p.tolist()


def test_the_search_among_many_symbols_is_the_one_of_the_definition(tmp_path):
    encoder = CharEncoder([chr(0x4E00 + i) for i in range(1500)])
    rng = np.random.default_rng(1)
    texts = ["".join(encoder.alphabet[i] for i in rng.integers(0, 9, 12)) for _ in range(60)]  # many tokens follow each other
    NGramModel.train(texts, 3, "character").write_arpa(tmp_path / "lm.arpa")
    scorer = CharacterScorer(NGramModel.read_arpa(tmp_path / "lm.arpa"), encoder)
    logits = rng.normal(size=(9, encoder.vocab_size))
    logits[:, :10] += 6 * rng.random((9, 10))
    rows = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    found = prefix_beam_search(rows, 8, scorer, 0.7, 1.5, **PAPER_PRUNING)
    with plain_definitions():
        expected = prefix_beam_search(rows, 8, scorer, 0.7, 1.5, **PAPER_PRUNING)
    assert [h.labels for h in found] == [h.labels for h in expected]
    for ours, other in zip(found, expected, strict=True):
        assert (ours.score, ours.log_lm, ours.words) == (pytest.approx(other.score), pytest.approx(other.log_lm), other.words)


def test_in_mandarin_beta_counts_characters_and_no_spaces():
    model = NGramModel.train(["中文 中", "文中文"], 2, "character")
    for alphabet in ("中文a ", "mandarin"):
        encoder = CharEncoder(alphabet)
        scorer = CharacterScorer(model, encoder)
        assert walk(scorer, encoder.encode("中文 a中")) == (pytest.approx(scorer.model.score("中文 a中")), 4)


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


# ---------------------------------------------------------------------------------------------
# Words that the model does not know
# ---------------------------------------------------------------------------------------------

unknown = st.lists(st.text("bcdfgq", min_size=1, max_size=9), min_size=2, max_size=5)  # no letter of the known words below
around = st.sampled_from(["", "hello", "hello moon"])
KNOWN = ("hello moon", "hello", "moon hello")


def without_unknown(model: NGramModel) -> NGramModel:
    return NGramModel({ngram: values for ngram, values in model.ngrams.items() if "<unk>" not in ngram}, model.order, "word")


def with_unknown_in_context(model: NGramModel) -> NGramModel:
    """As of a text with rare words replaced by <unk>: what follows depends on how many of them stand before."""
    longer = {("<s>", "<unk>"): (-0.1, -0.9), ("<unk>", "<unk>"): (-2.0, 0.4), ("<unk>", "</s>"): (-0.2, 0.0)}
    return NGramModel(model.ngrams | longer | {("<s>", "<unk>", "</s>"): (-0.05, 0.0)}, 3, "word")


MODELS = {
    "with <unk>": NGramModel.train(KNOWN),
    "without <unk>": without_unknown(NGramModel.train(KNOWN)),
    "<unk> in longer n-grams": with_unknown_in_context(NGramModel.train(KNOWN)),
    "unigrams": NGramModel.train(KNOWN, 1),
}
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


@models
@given(before=around, words=unknown, after=around)
def test_joining_unknown_words_or_parting_one_changes_nothing_but_the_count(model, before, words, after):
    scorer = WordScorer(model, ENGLISH)
    parted = " ".join([before, *words, after])
    joined = " ".join([before, "".join(words), after])
    assert scorer.unknown_words(parted) == words and scorer.unknown_words(joined) == ["".join(words)]
    log_p, count = walk(scorer, ENGLISH.encode(parted))
    assert walk(scorer, ENGLISH.encode(joined)) == (pytest.approx(log_p), count - len(words) + 1)


@models
@given(words=unknown)
def test_a_known_word_is_not_joined_to_an_unknown_one(model, words):
    scorer = WordScorer(model, ENGLISH)
    for parted, joined in ((f"hello {words[0]}", f"hello{words[0]}"), (f"{words[0]} moon", f"{words[0]}moon")):
        assert walk(scorer, ENGLISH.encode(parted))[0] > walk(scorer, ENGLISH.encode(joined))[0]


def heard(text: str, doubtful: dict[int, str], clear: float = 1 - 1e-6, likelier: float = 0.6) -> np.ndarray:
    """(T', V) log-probabilities of a text with a blank after each letter; at doubtful places another symbol is likelier."""
    rows = np.full((2 * len(text), ENGLISH.vocab_size), (1 - clear) / ENGLISH.vocab_size)
    rows[1::2, 0] = clear
    for place, label in enumerate(ENGLISH.encode(text)):
        rows[2 * place, label] = clear
        if place in doubtful:
            other = ENGLISH.encode(doubtful[place])[0] if doubtful[place] else 0
            rows[2 * place, [label, other]] = 1 - likelier, likelier
    return np.log(rows / rows.sum(1, keepdims=True))


def search(rows: np.ndarray, scorer: WordScorer, alpha: float, beta: float) -> str:
    return ENGLISH.decode(prefix_beam_search(rows, 25, scorer, alpha, beta, **PAPER_PRUNING)[0].labels)


@models
@settings(max_examples=12)
@given(words=unknown, alpha=st.floats(0.1, 3), beta=st.floats(0, 4))
def test_the_search_keeps_apart_unknown_words_that_it_hears_apart(model, words, alpha, beta):
    text = " ".join(["hello", *words, "moon"])
    spaces = {place: "" for place, letter in enumerate(text) if letter == " "}
    assert search(heard(text, spaces, likelier=0.3), WordScorer(model, ENGLISH), alpha, beta) == text


@models
@pytest.mark.parametrize("alpha", [0.3, 1, 2, 3])
def test_known_words_win_over_unknown_ones_that_sound_as_well(model, alpha):
    scorer = WordScorer(model, ENGLISH)
    assert search(heard("hello moon", {9: "m"}), scorer, alpha, 1) == "hello moon"  # n or m
    assert search(heard("bc hello moon", {4: "o"}), scorer, alpha, 1) == "bc hello moon"  # e or o, after an unknown word
    assert search(heard("hello moon", {5: ""}), scorer, alpha, 1) == "hello moon"  # a space or nothing
    assert search(heard("hello zebra quick moon", {}), scorer, alpha, 1) == "hello zebra quick moon"


def test_an_unknown_word_pays_as_soon_as_it_is_one():
    """Else the search would keep long words, which have not paid yet, and lose those that have."""
    scorer, state, paid = WordScorer(MODELS["with <unk>"], ENGLISH, unknown_penalty=3.0), ((), ""), []
    for label in ENGLISH.encode("help moo"):
        paid.append(scorer.scores(state, np.array([label]))[0][0])
        state = scorer.advance(state, label)
    assert paid == [0, 0, 0, -12, 0, 0, 0, 0]
    assert scorer.finish(state)[0] == pytest.approx(-9 + scorer.model.end(("<unk>",)))


@encoders
def test_without_a_penalty_each_letter_of_the_alphabet_is_as_likely_as_the_others(encoder):
    """Four letters: a, b, z and the apostrophe; so all unknown words of n letters together have probability 1."""
    words, characters = NGramModel.train(SMALL), NGramModel.train(["aa", "ab"], 2, "character")
    del characters.ngrams["<unk>",]
    for scorer in (WordScorer(words, encoder), CharacterScorer(characters, encoder)):
        assert scorer.unknown_penalty == pytest.approx(math.log(4))
    log_p, _ = walk(WordScorer(words, encoder), encoder.encode("zz'"))
    assert log_p - words.end(("<unk>",)) == pytest.approx(3 * math.log(1 / 4))
    assert WordScorer(words, ENGLISH).unknown_penalty == pytest.approx(math.log(27))
    assert WordScorer(words, ENGLISH, unknown_penalty=0).unknown_penalty == 0


@pytest.mark.parametrize("penalty", [-1, math.inf, math.nan])
@pytest.mark.parametrize(("kind", "unit"), [(WordScorer, "word"), (CharacterScorer, "character")])
def test_a_penalty_is_a_number_from_0_on(kind, unit, penalty):
    with pytest.raises(ValueError, match=r"penalty for an unknown word must be .* at least 0, not"):
        kind(NGramModel.train(KNOWN, 2, unit), ENGLISH, unknown_penalty=penalty)


def test_a_lexicon_may_hold_words_that_the_model_does_not_know():
    scorer = WordScorer(MODELS["without <unk>"], ENGLISH, ["hello", "zebra"], unknown_penalty=2.0)
    assert walk(scorer, ENGLISH.encode("zebra"))[0] == pytest.approx(-10 + scorer.model.end(("<unk>",)))
    assert walk(scorer, ENGLISH.encode("zebras"))[0] == -math.inf and scorer.unknown_words("zebra hello") == ["zebra"]


def test_after_an_unknown_word_nothing_is_known_of_what_was_before_it():
    model = MODELS["<unk> in longer n-grams"]
    assert model.end(("<unk>",)) != model.end(("<s>", "<unk>"))
    assert walk(WordScorer(model, ENGLISH, unknown_penalty=1.0), ENGLISH.encode("zebra"))[0] == -5 + model.end(("<unk>",))


def test_an_unknown_character_costs_the_penalty_where_the_model_has_no_unk():
    trained = NGramModel.train(["aa", "ab"], 2, "character")
    del trained.ngrams["<unk>",]
    scorer = CharacterScorer(trained, PAIRS, unknown_penalty=1.5)
    log_p, _ = scorer.scores((("a",), True), np.array(PAIRS.encode("z") + PAIRS.encode("zz") + PAIRS.encode("a'")))
    assert log_p.tolist() == pytest.approx([-1.5, -3, trained.next(("a",), "a")[0] - 1.5])
    assert scorer.unknown_words("a z b") == ["z"]


# ---------------------------------------------------------------------------------------------
# What a file is made of, and whether it fits
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "unit", "training", "lexicon", "what"),
    [
        (WordScorer, "character", "a b", None, "over words"),
        (CharacterScorer, "word", "a b", None, "over characters"),
        (
            WordScorer,
            "word",
            "THE CAT",
            None,
            "cannot write 2 of the 2 words that it knows, above all 'CAT', 'THE';",
        ),
        (WordScorer, "word", "the cat", ["no", "new york", "N", "5"], "cannot write 3 of its words, such as '5'"),
        (WordScorer, "word", "the cat", [], "it is empty"),
        (
            CharacterScorer,
            "character",
            "THE Cat",
            None,
            "write 4 of the 6 characters .* above all 'C', 'E', 'H', ...",
        ),
    ],
)
def test_a_model_that_does_not_fit_the_encoder_is_refused(kind, unit, training, lexicon, what):
    with pytest.raises(ValueError, match=what):
        kind(NGramModel.train([training], 2, unit), ENGLISH, *([lexicon] if kind is WordScorer else []))


def saved(folder, texts: list[str], order: int = 2, unit: str = "word", without: str = "") -> Path:
    """An ARPA file of a model, without the n-grams that hold a token."""
    model = NGramModel.train(texts, order, unit)
    ngrams = {ngram: values for ngram, values in model.ngrams.items() if without not in ngram}
    NGramModel(ngrams, model.order, unit).write_arpa(folder / "lm.arpa")
    return folder / "lm.arpa"


def test_what_the_alphabet_can_not_write_is_told_with_the_commonest_first(tmp_path, capsys):
    path = saved(tmp_path, ["the café", "the 2", "a 2", "an 2"], 1)
    for lexicon in (True, False):
        scorer = make_scorer(path, ENGLISH, lexicon=lexicon)
        assert scorer.unwritable == ["2", "café"]
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert (
            "lm.arpa: the alphabet cannot write 2 of the 5 words that it knows (40.0%), so they are never found: '2', 'café'"
            in told
        )
    assert walk(make_scorer(path, ENGLISH, lexicon=True), ENGLISH.encode("caf"))[0] == -math.inf
    assert walk(scorer, ENGLISH.encode("the cafe"))[1] == 2
    capsys.readouterr()
    make_scorer(saved(tmp_path, ["the cat"]), ENGLISH)
    assert capsys.readouterr() == ("", "")


def test_a_model_with_mostly_other_words_is_refused_with_the_commonest_and_what_to_do(tmp_path):
    path = saved(tmp_path, ["Hello, World!", "Hello, moon", "Hello, 2", "World!"], 1)
    with pytest.raises(ValueError, match=r"lm\.arpa: .* 3 of the 4 words .*'Hello,', 'World!', '2'; make one with train"):
        make_scorer(path, ENGLISH)
    half = saved(tmp_path, ["hello, moon"], 1)
    assert make_scorer(half, ENGLISH).unwritable == ["hello,"]


@pytest.mark.parametrize("unit", ["word", "character"])
@pytest.mark.parametrize("careful", [False, True], ids=["read fast", "read with care"])
def test_capitals_are_read_in_the_case_of_the_alphabet(tmp_path, capsys, unit, careful):
    """The official models of LibriSpeech are compressed, and all their words in capitals."""
    texts = ["THE CAT'S SAT", "THE CAT SAT ON", "A CAT"]
    path, packed = saved(tmp_path, texts, 3, unit), tmp_path / "3-gram.arpa.gz"
    blank = "\n" if careful else ""  # which the fast reader leaves to the other
    packed.write_bytes(gzip.compress(path.read_text().replace("\\1-grams:\n", "\\1-grams:\n" + blank).encode()))
    scorer = make_scorer(packed, ENGLISH)
    assert isinstance(scorer.model.ngrams, dict) == careful
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "3-gram.arpa.gz: read in lower case, to fit the alphabet: " in told
    assert ("6 of the 6 words" if unit == "word" else "8 of the 9 characters") in told
    expected = NGramModel.train([text.lower() for text in texts], 3, unit)
    for text in ("the cat's sat", "a cat on", "zoo the"):
        kind = WordScorer if unit == "word" else CharacterScorer
        assert walk(scorer, ENGLISH.encode(text)) == pytest.approx(walk(kind(expected, ENGLISH), ENGLISH.encode(text)))
    assert scorer.unwritable == [] and scorer.unknown_words("the zoo") == (["zoo"] if unit == "word" else ["z"])


def test_no_two_words_become_one_where_capitals_are_read_as_small_letters(tmp_path, capsys):
    path = saved(tmp_path, ["The cat", "the Moon", "MOON", "Moon", "the", "Café"], 1)
    scorer, model = make_scorer(path, ENGLISH), NGramModel.read_arpa(path)
    assert scorer.unwritable == ["Café", "MOON", "The"]  # "the" stays what it is, "Moon" is likelier than "MOON"
    assert (
        "1 of the 6 words that it knows, 'Moon'; 2 stay as they are, since they would be spelt like another: "
        in capsys.readouterr().err
    )
    for spelling, word in (("the", "the"), ("moon", "Moon"), ("cat", "cat")):
        assert scorer.model.log_p((), [spelling]) == model.log_p((), [word])
    assert not scorer.model.knows("Moon")
    assert make_scorer(saved(tmp_path, ["The the"], 1), ENGLISH).unwritable == ["The"]
    assert "read in lower case" not in capsys.readouterr().err


def test_capitals_that_the_alphabet_has_stay(tmp_path, capsys):
    scorer = make_scorer(saved(tmp_path, ["THE cat"], 2), CharEncoder("THEcat "))
    assert scorer.model.vocabulary == {"THE", "cat"} and capsys.readouterr() == ("", "")


def test_a_model_of_characters_may_know_some_that_the_alphabet_lacks(tmp_path, capsys):
    assert make_scorer(saved(tmp_path, ["the café 2"], 2, "character"), ENGLISH).unwritable == ["2", "é"]
    assert "2 of the 8 characters that it knows (25.0%), so they are never found: '2', 'é'" in capsys.readouterr().err


def test_a_model_of_characters_has_no_lexicon(tmp_path):
    with pytest.raises(ValueError, match=r"lm\.arpa: is a model of characters.*leave out --lexicon"):
        make_scorer(saved(tmp_path, ["the cat"], 2, "character"), ENGLISH, lexicon=True)


@pytest.mark.parametrize("alphabet", ["你好号", "你好号 ", "english"])
def test_a_model_of_characters_without_a_space_is_told_by_its_tokens(tmp_path, capsys, alphabet):
    text = "hello" if alphabet == "english" else "你好"
    path, encoder = saved(tmp_path, [text], 2, "character", without="<space>"), CharEncoder(alphabet)
    scorer = make_scorer(path, encoder)
    told = capsys.readouterr().err
    assert isinstance(scorer, CharacterScorer) and "read as a model of characters" in told
    spaced = is_spaced(encoder)  # a space that parts no Chinese words is not missed
    assert ("does not know <space>" in told) == spaced
    expected = NGramModel.read_arpa(path, "character").score(text)
    assert walk(scorer, encoder.encode(text)) == (pytest.approx(expected), 1 if spaced else len(text))
    if spaced:  # which adds nothing, and parts no n-gram
        assert walk(scorer, encoder.encode(f"{text[0]} {text[1:]} ")) == (pytest.approx(expected), 2)
    assert isinstance(make_scorer(path, encoder, "word"), WordScorer)


def test_marks_of_other_tools_do_not_make_words_of_characters(tmp_path):
    encoder = CharEncoder("你好号")
    assert isinstance(make_scorer(saved(tmp_path, ["你 好 号 <sil> [noise]"]), encoder), CharacterScorer)
    assert isinstance(make_scorer(saved(tmp_path, ["a b ab"]), ENGLISH), WordScorer)


def test_where_the_unit_can_not_be_told_it_is_asked(tmp_path):
    letters = saved(tmp_path, ["a b c d e f g h i j", "double"])
    with pytest.raises(
        ValueError, match=r"lm\.arpa: 10 of the 11 words are single characters, but not 'double', so.*--unit word or"
    ):
        make_scorer(letters, ENGLISH)
    assert isinstance(make_scorer(letters, ENGLISH, "word"), WordScorer)
    words = saved(tmp_path, ["你好 号", "号"])
    with pytest.raises(
        ValueError, match=r"the alphabet has no space to separate them: make a model of characters .*--unit character"
    ):
        make_scorer(words, CharEncoder("你好号"))
    commands = saved(tmp_path, ["yes", "no"])
    assert isinstance(make_scorer(commands, CharEncoder("yesno")), WordScorer)
