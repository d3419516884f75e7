"""N-gram models against Kneser-Ney smoothing by definition, and KenLM; their files."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoding.arpa import ArpaError
from decoding.ngrams import NGramModel

SENTENCES = ("the cat sat on the mat", "the dog sat", "a cat saw the dog on a mat", "it's a dog", "no")

corpora = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), min_size=1, max_size=8)
orders = st.integers(1, 4)


def kneser_ney(sentences: list[list[str]], order: int) -> Callable[[str, tuple[str, ...]], float]:
    """p(word, context) as Chen and Goodman define it, counted anew from the sentences for each question."""
    texts = [("<s>", *sentence, "</s>") for sentence in sentences]
    grams = {text[i:j] for text in texts for i in range(len(text)) for j in range(i + 1, len(text) + 1) if j - i <= order}
    followers = {word for sentence in sentences for word in sentence} | {"</s>", "<unk>"}

    @functools.cache
    def count(gram):
        if len(gram) == order or gram[0] == "<s>":
            return sum(text[i : i + len(gram)] == gram for text in texts for i in range(len(text)))
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
        context = context[: order - 1]
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


@pytest.mark.parametrize(
    ("arguments", "what"),
    [((["a"], 0), "at least 1"), ((["a"], 2, "letter"), "'word' or 'character'"), (([" "],), "no text"), ((["a </s>"],), "</s>")],
)
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
        "\\data\\",
        "ngram 1=4",
        "ngram 2=2",
        "",
        "\\1-grams:",
        "-0.3802112\t</s>\t0.0",
        "-99.0\t<s>\t-0.30103",
        "-0.7781513\t<unk>\t0.0",
        "-0.3802112\ta\t-0.30103",
        "",
        "\\2-grams:",
        "-0.1497623\t<s> a",
        "-0.1497623\ta </s>",
        "",
        "\\end\\",
        "",
    ]


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


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
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
        (ARPA[ARPA.index("-0.5") :], "", 7, r"\\2-grams: must come next, but the file ends"),
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
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path, old, new, line, what):
    path = tmp_path / "broken.arpa"
    assert old in ARPA
    path.write_bytes(ARPA.replace(old, new).encode("latin-1"))
    with pytest.raises(ArpaError, match=rf"broken\.arpa:{line}: .*{what}"):
        NGramModel.read_arpa(path)


def test_a_missing_file_says_how_one_is_made(tmp_path):
    with pytest.raises(ArpaError, match=r"no\.arpa: no such file; python train_language_model\.py TEXT -o .*no\.arpa makes one"):
        NGramModel.read_arpa(tmp_path / "no.arpa")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "lm.arpa").touch()
    with pytest.raises(ArpaError, match=r"lm\.arpa:1: \\data\\ must come next, but the file ends"):
        NGramModel.read_arpa(tmp_path / "lm.arpa")
