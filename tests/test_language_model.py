"""N-gram models against Kneser-Ney smoothing by definition, and KenLM; scorers against the score of the whole text."""

from __future__ import annotations

import functools
import math
import pickle
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path

import language_model
import numpy as np
import pytest
from bigrams import BigramEncoder
from hypothesis import given
from hypothesis import strategies as st
from language_model import ArpaError, CharacterScorer, NGramModel, WordScorer

from implementation import CharEncoder

SENTENCES = ("the cat sat on the mat", "the dog sat", "a cat saw the dog on a mat", "it's a dog", "no")
ENGLISH = CharEncoder()

corpora = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), min_size=1, max_size=8)
orders = st.integers(1, 4)
texts = st.text(alphabet="abz' ", max_size=12)


def kneser_ney(sentences: list[list[str]], order: int) -> Callable[[str, tuple[str, ...]], float]:
    """p(word, context) as Chen and Goodman define it, counted anew from the sentences for each question."""
    texts = [("<s>", *sentence, "</s>") for sentence in sentences]
    grams = {text[i:j] for text in texts for i in range(len(text)) for j in range(i + 1, len(text) + 1) if j - i <= order}
    followers = {word for sentence in sentences for word in sentence} | {"</s>", "<unk>"}

    @functools.cache
    def count(gram):
        if len(gram) == order or gram[0] == "<s>":
            return sum(text[i:i + len(gram)] == gram for text in texts for i in range(len(text)))
        return len({(word,) for word in followers | {"<s>"} if (word, *gram) in grams})

    @functools.cache
    def discount(n):
        counts = [count(gram) for gram in grams if len(gram) == n and gram != ("<s>",)]
        if 1 in counts and 2 in counts:
            return counts.count(1) / (counts.count(1) + 2 * counts.count(2))
        return 0.5

    def probability(word, context):
        lower = probability(word, context[1:]) if context else 1 / len(followers)
        counts = [count((*context, w)) for w in followers]
        if not sum(counts):
            return lower
        d = discount(len(context) + 1)
        seen = sum(c > 0 for c in counts)
        return (max(count((*context, word)) - d, 0) + d * seen * lower) / sum(counts)

    return probability


# ---------------------------------------------------------------------------------------------
# Smoothing
# ---------------------------------------------------------------------------------------------


@given(corpora, orders)
def test_every_probability_is_that_of_the_definition(sentences, order):
    model = NGramModel.train([" ".join(sentence) for sentence in sentences], order)
    probability = kneser_ney(sentences, order)
    for context in [start + rest for start in ((), ("<s>",)) for n in range(order) for rest in product("abz", repeat=n)]:
        context = context[:order - 1]
        known = tuple(word if (word,) in model.ngrams else "<unk>" for word in context)
        for word in (*"abcd", "</s>", "<unk>"):
            expected = probability(word if (word,) in model.ngrams else "<unk>", known)
            assert model.next(known, word)[0] == pytest.approx(math.log(expected), abs=2e-6)


def test_two_sentences_by_hand():
    """Pairs: <s>a twice, ab, ac, b</s>, c</s> once: D = 4/6. Before a, b, c stands one token, before </s> two: D = 3/5."""
    model = NGramModel.train(["a b", "a c"], order=2)
    a, end, unknown = 0.4 / 5 + 0.48 / 5, 1.4 / 5 + 0.48 / 5, 0.48 / 5
    b_after_a = (1 - 2 / 3) / 2 + 2 / 3 * a  # b is as a
    expected = {((), "a"): a, ((), "?"): unknown, (("a",), "b"): b_after_a, (("a",), "a"): 2 / 3 * a, (("z",), "</s>"): end}
    found = {(context, word): math.exp(model.next(context, word)[0]) for context, word in expected}
    assert found == pytest.approx(expected, rel=1e-6)
    expected = ((2 - 2 / 3) / 2 + 1 / 3 * a) * b_after_a * (1 / 3 + 2 / 3 * end)
    assert model.score("a b") == pytest.approx(math.log(expected), abs=1e-6)


@given(corpora, orders, st.sampled_from(["word", "character"]))
def test_probabilities_sum_to_one_in_every_context(sentences, order, unit):
    model = NGramModel.train([" ".join(sentence) for sentence in sentences], order, unit)
    contexts = {ngram[:-1] for ngram in model.ngrams} | {ngram for ngram in model.ngrams if len(ngram) < order}
    for context in contexts | {("<unk>",) * (order - 1)}:
        total = sum(math.exp(model.next(context, token)[0]) for token in model.vocabulary | {"</s>", "<unk>"})
        assert total == pytest.approx(1, abs=2e-6)


def test_characters_are_tokens_and_a_space_is_one_of_them():
    model = NGramModel.train(["ab a"], order=2, unit="character")
    assert model.tokens("ab\ta") == ["a", "b", "<space>", "a"]
    assert model.vocabulary == {"a", "b", "<space>"}
    assert ("b", "<space>") in model.ngrams
    assert NGramModel.train(["ab"], unit="character").vocabulary == {"a", "b", "<space>"}


def test_an_order_beyond_the_longest_sentence_changes_nothing():
    long, short = NGramModel.train(["yes", "no"], order=9), NGramModel.train(["yes", "no"], order=3)
    assert (long.ngrams, long.order) == (short.ngrams, 3)


def test_blank_texts_are_left_out_and_one_text_may_come_alone():
    assert NGramModel.train(["", "a b", " "]).ngrams == NGramModel.train("a b").ngrams


@pytest.mark.parametrize(("arguments", "what"), [
    ((["a"], 0), "at least 1"), ((["a"], 2, "letter"), "'word' or 'character'"), (([" "],), "no text"), ((["a </s>"],), "</s>")])
def test_what_cannot_be_trained_is_refused(arguments, what):
    with pytest.raises(ValueError, match=what):
        NGramModel.train(*arguments)


def test_score_without_beginning_or_end():
    model = NGramModel.train(SENTENCES)
    state, whole = model.start(), 0.0
    for word in "the cat".split():
        log_p, state = model.next(state, word)
        whole += log_p
    assert model.score("the cat", eos=False) == whole
    assert model.score("the cat") == whole + model.end(state)
    assert model.score("cat", bos=False, eos=False) == pytest.approx(math.log(10) * model.ngrams["cat",][0])


def test_a_state_holds_no_more_than_the_model_looks_at():
    model, unigrams = NGramModel.train(SENTENCES), NGramModel.train(SENTENCES, order=1)
    assert model.start() == ("<s>",)
    assert model.next(("the", "cat"), "xyz")[1] == ("cat", "<unk>")
    assert unigrams.start() == unigrams.next((), "cat")[1] == ()


def test_perplexity_counts_ends_and_unknown_words():
    model = NGramModel.train(SENTENCES)
    texts = ["the cat sat", "the zebra"]
    assert model.perplexity(texts) == pytest.approx(math.exp(-(model.score(texts[0]) + model.score(texts[1])) / 7))
    assert model.perplexity("no") == pytest.approx(math.exp(-model.score("no") / 2))
    with pytest.raises(ValueError, match="at least one"):
        model.perplexity([])


# ---------------------------------------------------------------------------------------------
# ARPA files
# ---------------------------------------------------------------------------------------------


@given(corpora, orders, st.sampled_from(["word", "character"]))
def test_a_model_read_back_is_the_same(tmp_path_factory, sentences, order, unit):
    path = tmp_path_factory.mktemp("arpa") / "lm.arpa"
    model = NGramModel.train(["".join(sentence) for sentence in sentences], order, unit)
    model.write_arpa(path)
    again = NGramModel.read_arpa(path)
    assert (again.ngrams, again.order, again.unit) == (model.ngrams, model.order, unit)


def test_a_file_to_the_letter(tmp_path):
    """One sentence, a: D = 1/2 everywhere, p(a) = p(</s>) = 1/4 + 1/6, p(<unk>) = 1/6, p(a|<s>) = 1/2 + p(a)/2."""
    NGramModel.train(["a"], order=2).write_arpa(tmp_path / "lm.arpa")
    assert (tmp_path / "lm.arpa").read_text().split("\n") == [
        "\\data\\", "ngram 1=4", "ngram 2=2", "",
        "\\1-grams:", "-0.3802112\t</s>\t0.0", "-99.0\t<s>\t-0.30103", "-0.7781513\t<unk>\t0.0", "-0.3802112\ta\t-0.30103", "",
        "\\2-grams:", "-0.1497623\t<s> a", "-0.1497623\ta </s>", "",
        "\\end\\", ""]


def random_sentences(count: int) -> list[str]:
    rng = random.Random(1)
    words = [*{word for sentence in SENTENCES for word in sentence.split()}, "zebra", "naïve", "<unk>"]
    return [" ".join(rng.choices(sorted(words), k=rng.randint(0, 8))) for _ in range(count)]


def pruned(model: NGramModel) -> NGramModel:
    """Without a third of the longer n-grams, and with other back-off weights, some above 1."""
    rng, ngrams = random.Random(2), {}
    for ngram in sorted(model.ngrams, key=len):
        if len(ngram) == 1 or (rng.random() < 0.67 and {ngram[:-1], ngram[1:]} <= ngrams.keys()):
            log_p, _ = model.ngrams[ngram]
            ngrams[ngram] = log_p, rng.uniform(-1, 0.3) if len(ngram) < model.order and ngram[-1] != "</s>" else 0.0
    return NGramModel(ngrams, model.order, model.unit)


@pytest.mark.parametrize("change", ["none", "pruned", "no <unk>", "<UNK>", "order 2", "characters"])
def test_kenlm_gives_the_same_scores(tmp_path, change):
    kenlm = pytest.importorskip("kenlm")
    unit = "character" if change == "characters" else "word"
    model = NGramModel.train(SENTENCES, 2 if change == "order 2" else 4, unit)
    model = pruned(model) if change == "pruned" else model
    if change == "no <unk>":
        del model.ngrams["<unk>",]
    path = tmp_path / "lm.arpa"
    model.write_arpa(path)
    if change == "<UNK>":
        path.write_text(path.read_text().replace("<unk>", "<UNK>"))
    model, other = NGramModel.read_arpa(path), kenlm.Model(str(path))
    for text in random_sentences(1000):
        tokens = " ".join(model.tokens(text))
        for bos, eos in ((True, True), (False, False)):
            assert model.score(text, bos, eos) / math.log(10) == pytest.approx(other.score(tokens, bos, eos), abs=1e-4)


ARPA = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-99\t<s>\t-0.3
-0.5\t</s>
-1.0\t<unk>
-0.4\ta\t-0.2

\\2-grams:
-0.1\t<s> a
-0.2\ta </s>

\\end\\
"""


def test_a_file_written_by_hand(tmp_path):
    path = tmp_path / "lm.arpa"
    for text in (ARPA, "\ufeff" + ARPA.replace("\n", "\r\n"), ARPA.replace("\t", " "), "\n" + ARPA + "\n"):
        path.write_text(text, encoding="utf-8", newline="")
        model = NGramModel.read_arpa(path)
        assert model.score("a") == pytest.approx(math.log(10) * (-0.1 - 0.2))
        assert model.score("a b") == pytest.approx(math.log(10) * (-0.1 - 0.2 - 1.0 - 0.5))
        assert (model.order, model.unit, NGramModel.read_arpa(path, "character").unit) == (2, "word", "character")


@pytest.mark.parametrize(("old", "new", "line", "what"), [
    ("\\data\\", "data", 1, r"\\data\\ must come next"),
    ("ngram 1=4", "ngram 1=5", 11, "with 4 n-grams, but line 2 announces 5"),
    ("ngram 2=2", "ngram 2=1", 15, "with 2 n-grams, but line 3 announces 1"),
    ("ngram 2=2", "ngram 2=two", 3, "'ngram 2='"),
    ("ngram 2=2", "ngram 3=2", 3, "'ngram 2='"),
    ("ngram 2=2", "", 6, "highest order, 1, has no back-off weight; take -0.3 out"),
    ("ngram 1=4\nngram 2=2\n", "", 3, "'ngram 1='"),
    ("\\1-grams:", "", 6, "'ngram 3='"),
    ("\\2-grams:", "", 12, "1 token and"),
    ("\\2-grams:", "\\3-grams:", 11, r"\\2-grams: must come next"),
    ("\\2-grams:\n-0.1\t<s> a\n-0.2\ta </s>\n\n", "", 11, r"\\2-grams: must come next"),
    ("\\end\\\n", "", 15, r"\\end\\ must come next, but the file ends"),
    ("-0.2\ta </s>\n\n\\end\\\n", "", 13, r"\\end\\ must come next, but the file ends"),
    (ARPA[ARPA.index("-0.5"):], "", 7, r"\\2-grams: must come next, but the file ends"),
    ("\\end\\\n", "\\end\\\nmore", 16, "'more' stands after"),
    ("-0.4\ta\t-0.2", "0.4\ta\t-0.2", 9, "0.4 is above 0"),
    ("-0.4\ta\t-0.2", "nan\ta\t-0.2", 9, "must be a log10 probability, 1 token"),
    ("-0.4\ta\t-0.2", "-0.4\ta\t-inf", 9, "must be a log10 probability"),
    ("-0.4\ta\t-0.2", "-0.4", 9, "must be a log10 probability"),
    ("-0.4\ta\t-0.2", "-0.4\ta\tb", 9, "must be a log10 probability"),
    ("-0.4\ta\t-0.2", "minus\ta\t-0.2", 9, "must be a log10 probability"),
    ("-0.1\t<s> a", "-0.1\t<s>", 12, "2 tokens"),
    ("-0.1\t<s> a", "-0.1\t<s> a -0.1 b", 12, "2 tokens"),
    ("-0.1\t<s> a", "-0.1\t<s> a -0.1", 12, "highest order, 2, has no back-off weight"),
    ("-0.2\ta </s>", "-0.2\t<s> a", 13, "'<s> a' is listed twice"),
    ("-0.1\t<s> a", "-0.1\t<s> b", 12, "'<s> b' needs 'b' among the 1-grams"),
    ("-0.1\t<s> a", "-0.1\tb a", 12, "'b a' needs 'b' among the 1-grams"),
    ("</s>", "b", 11, "</s> is not among the 1-grams"),
    ("-0.4\ta\t-0.2", "-0.4\t\xff\t-0.2", 9, "UTF-8"),
])
def test_a_broken_file_is_refused_with_its_line(tmp_path, old, new, line, what):
    path = tmp_path / "broken.arpa"
    assert old in ARPA
    path.write_bytes(ARPA.replace(old, new).encode("latin-1"))
    with pytest.raises(ArpaError, match=rf"broken\.arpa:{line}: .*{what}"):
        NGramModel.read_arpa(path)


def test_a_missing_file_says_how_one_is_made(tmp_path):
    with pytest.raises(ArpaError, match=r"no\.arpa: no such file; python language_model\.py train TEXT -o .*no\.arpa makes one"):
        NGramModel.read_arpa(tmp_path / "no.arpa")
    with pytest.raises(ValueError, match=r"texts\.txt: no such file or folder; give a text file, or a corpus"):
        language_model.read_sentences(tmp_path / "texts.txt")


def test_blanks_around_and_between_words_of_a_text_do_not_count(tmp_path):
    (tmp_path / "texts.txt").write_text("\tThe  cat \n\n   sat\u00a0down\n")
    assert language_model.read_sentences(tmp_path / "texts.txt") == ["the cat", "sat down"]


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "lm.arpa").touch()
    with pytest.raises(ArpaError, match=r"lm\.arpa:1: \\data\\ must come next, but the file ends"):
        NGramModel.read_arpa(tmp_path / "lm.arpa")


# ---------------------------------------------------------------------------------------------
# Scorers
# ---------------------------------------------------------------------------------------------

LETTERS = CharEncoder("abz' ")
SMALL = ("ab a", "a a' ba", "b ab", "z b ab")
PAIRS = BigramEncoder([*LETTERS.alphabet, "ab", "a'", "zz"])
encoders = pytest.mark.parametrize("encoder", [LETTERS, PAIRS], ids=["letters", "pairs"])


def walk(scorer, labels: list[int]) -> tuple[float, int]:
    """Sums over a text of what the scorer adds for each label and at the end."""
    state, total, words = scorer.start(), 0.0, 0
    for label in labels:
        log_p, completed = scorer.scores(state)
        assert log_p[0] == completed[0] == 0 and log_p.dtype == completed.dtype == np.float64
        total, words, state = total + log_p[label], words + completed[label], scorer.advance(state, label)
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
    log_p, words = scorer.scores(state)
    assert log_p.tolist() == [0, 0, 0, 0, 0, model.next(model.start(), "ab")[0]]
    assert words.tolist() == [0, 0, 0, 0, 0, 1]
    after = scorer.advance(state, space)
    assert not any(array.any() for array in scorer.scores(after))  # no second word from a second space
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
            so_far += scorer.scores(state)[0][label]
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
    log_p, _ = CharacterScorer(model, ENGLISH).scores((("a",), True))
    assert log_p[3] == log_p[28] == pytest.approx(model.next(("a",), "<unk>")[0])
    seen = [LETTERS.encode(c)[0] for c in "ab "]
    end = math.exp(model.end(("a",)))
    assert np.exp(CharacterScorer(model, LETTERS).scores((("a",), True))[0][[*seen, 3]]).sum() + end == pytest.approx(1, abs=1e-6)


def test_the_memory_of_a_scorer_is_bounded():
    squares = language_model._Cache(lambda x: x * x, size=3)
    assert [squares[x] for x in (1, 2, 3, 4, 4, 1)] == [1, 4, 9, 16, 16, 1]
    assert dict(squares) == {4: 16, 1: 1}


@pytest.mark.parametrize(("kind", "unit", "training", "lexicon", "what"), [
    (WordScorer, "character", "a b", None, "over words"),
    (CharacterScorer, "word", "a b", None, "over characters"),
    (WordScorer, "word", "THE CAT", None, "write none of the model.s words, such as .CAT."),
    (WordScorer, "word", "the cat", ["no", "new york", "N", "5"], "cannot write 3 of its words, such as '5'"),
    (WordScorer, "word", "the cat", [], "it is empty"),
    (CharacterScorer, "character", "a café naïf", None, "lacks 2 characters that the model knows: 'é', 'ï';"),
    (CharacterScorer, "character", "the café", None, "lacks 1 characters that the model knows: 'é';"),
])
def test_a_model_that_does_not_fit_the_encoder_is_refused(kind, unit, training, lexicon, what):
    with pytest.raises(ValueError, match=what):
        kind(NGramModel.train([training], 2, unit), ENGLISH, *([lexicon] if kind is WordScorer else []))


def test_a_lexicon_leaves_out_words_that_the_alphabet_can_not_write_and_says_so(tmp_path, capsys):
    NGramModel.train(["the café 2"]).write_arpa(tmp_path / "lm.arpa")
    scorer = language_model.make_scorer(tmp_path / "lm.arpa", ENGLISH, lexicon=True)
    assert scorer.unwritable == ["2", "café"] and "2 words, '2', 'café'" in capsys.readouterr().err
    assert walk(scorer, ENGLISH.encode("the"))[0] > -math.inf and walk(scorer, ENGLISH.encode("caf"))[0] == -math.inf
    language_model.make_scorer(tmp_path / "lm.arpa", ENGLISH)
    assert not capsys.readouterr().err


def test_a_model_of_characters_has_no_lexicon(tmp_path):
    NGramModel.train(["the cat"], 2, "character").write_arpa(tmp_path / "lm.arpa")
    with pytest.raises(ValueError, match=r"lm\.arpa is a model of characters.*leave out --lexicon"):
        language_model.make_scorer(tmp_path / "lm.arpa", ENGLISH, lexicon=True)


def test_words_outside_the_alphabet_do_no_harm_without_a_lexicon():
    assert walk(WordScorer(NGramModel.train(["the café"]), ENGLISH), ENGLISH.encode("the cafe"))[1] == 2


# ---------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture, *arguments: Path | str) -> tuple[int, str, str]:
    status = language_model.main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


@pytest.fixture
def sentences(tmp_path) -> Path:
    (tmp_path / "text.txt").write_text("The cat sat\n\nthe DOG sat\n")
    return tmp_path / "text.txt"


def corpus(folder: Path) -> Path:
    lines = [f"{n}.wav\t{text}\t{split}\t1" for n, (text, split) in enumerate([("A B", "train"), ("c", "dev"), ("b a", "train")])]
    for n in range(3):
        (folder / f"{n}.wav").touch()
    (folder / "manifest.tsv").write_text("\n".join(["path\ttranscript\tsplit\tseconds", *lines]))
    return folder


def test_train_and_score_a_text_file(tmp_path, capsys, sentences):
    arpa = tmp_path / "lm.arpa"
    status, out, err = run(capsys, "train", sentences, "-o", arpa, "--order", "2")
    assert (status, err) == (0, "") and "word model of 2 sentences, 7 1-grams, 6 2-grams" in out
    model = NGramModel.train(["the cat sat", "the dog sat"], 2)
    assert NGramModel.read_arpa(arpa).ngrams == model.ngrams
    status, out, err = run(capsys, "score", arpa, "The CAT flew")
    lines = [line.split() for line in out.splitlines()]
    assert [line[1:] for line in lines[:4]] == [["the"], ["cat"], ["flew", "(unknown)"], ["</s>"]]
    assert float(lines[4][0]) == pytest.approx(model.score("the cat flew"), abs=1e-3)
    assert float(lines[4][-1]) == pytest.approx(model.perplexity("the cat flew"), abs=1e-2)


@pytest.mark.parametrize("path", ["", "manifest.tsv"])
def test_train_on_the_transcripts_of_a_split(tmp_path, capsys, path):
    arpa = tmp_path / "lm.arpa"
    assert run(capsys, "train", corpus(tmp_path) / path, "-o", arpa, "--unit", "character")[0] == 0
    assert NGramModel.read_arpa(arpa).ngrams == NGramModel.train(["a b", "b a"], unit="character").ngrams
    assert run(capsys, "train", tmp_path / path, "-o", arpa, "--split", "dev", "--overwrite")[0] == 0
    assert NGramModel.read_arpa(arpa).vocabulary == {"c"}
    status, _, err = run(capsys, "train", tmp_path / path, "-o", arpa, "--split", "test", "--overwrite")
    assert status == 2 and "no split 'test'; it has dev, train" in err


def test_a_corpus_too_broken_to_train_on_is_refused(tmp_path, capsys):
    corpus(tmp_path)
    (tmp_path / "0.wav").unlink()
    status, _, err = run(capsys, "train", tmp_path, "-o", tmp_path / "lm.arpa")
    assert status == 2 and "1 of 3 lines are bad" in err and "0.wav not found" in err


def test_an_existing_output_is_kept(tmp_path, capsys, sentences):
    arpa = tmp_path / "lm.arpa"
    arpa.write_text("mine")
    status, out, err = run(capsys, "train", sentences, "-o", arpa)
    assert (status, out, arpa.read_text()) == (2, "", "mine") and "--overwrite" in err


@pytest.mark.parametrize(("arguments", "what"), [
    (["train", "missing.txt", "-o", "lm.arpa"], "missing.txt"),
    (["train", "text.txt", "-o", "missing/lm.arpa"], "folder"),
    (["train", "text.txt", "-o", "lm.arpa", "--order", "0"], "at least 1, not 0"),
    (["train", "latin.txt", "-o", "lm.arpa"], "latin.txt:2: not text in UTF-8"),
    (["train", "manifest.tsv", "-o", "lm.arpa"], "first line must be a header"),
    (["train", ".", "-o", "lm.arpa"], "first line must be a header"),
    (["score", "text.txt", "a"], r"text.txt:1: \data\ must come next"),
    (["score", "missing.arpa", "a"], "missing.arpa"),
])
def test_errors_are_one_sentence(tmp_path, capsys, monkeypatch, sentences, arguments, what):
    monkeypatch.chdir(tmp_path)
    Path("latin.txt").write_bytes("one\ncaf\xe9\n".encode("latin-1"))
    Path("manifest.tsv").write_text("a\tb\n")
    status, out, err = run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ") and what in err
    assert not Path("lm.arpa").exists()
