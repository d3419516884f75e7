"""N-gram models against Kneser-Ney smoothing by definition, and KenLM; their files."""

from __future__ import annotations

import bz2
import functools
import gzip
import lzma
import math
import pickle
import random
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding import arpa
from decoding.arpa import ArpaError, NGrams
from decoding.ngrams import NGramModel

SENTENCES = ("the cat sat on the mat", "the dog sat", "a cat saw the dog on a mat", "it's a dog", "no")

corpora = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), min_size=1, max_size=8)
orders = st.integers(1, 4)

LN10 = math.log(10)


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


@pytest.mark.parametrize("change", ["none", "pruned", "no <unk>", "<UNK>", "order 2", "characters", "empty order"])
def test_kenlm_gives_the_same_scores(tmp_path, change):
    kenlm = pytest.importorskip("kenlm")
    unit = "character" if change == "characters" else "word"
    model = NGramModel.train(SENTENCES, 2 if change == "order 2" else 4, unit)
    model = pruned(model) if change in ("pruned", "empty order") else model
    if change == "no <unk>":
        del model.ngrams["<unk>",]
    if change == "empty order":
        model = NGramModel({ngram: values for ngram, values in model.ngrams.items() if len(ngram) < 3}, 4, unit)
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
        ("ngram 1=4", "ngram 1=5", 11, "with 4 n-grams, but line 2 announces 5"),
        ("ngram 2=2", "ngram 2=1", 15, "with 2 n-grams, but line 3 announces 1"),
        ("ngram 2=2", "ngram 2=two", 3, "'ngram 2='"),
        ("ngram 2=2", "ngram 3=2", 3, "'ngram 2='"),
        ("ngram 2=2", "", 6, "highest order, 1, has no back-off weight; remove -0.3"),
        ("ngram 1=4\nngram 2=2\n", "", 3, "'ngram 1='"),
        ("\\1-grams:", "", 6, "'ngram 3='"),
        ("\\2-grams:", "", 12, "1 token and"),
        ("\\2-grams:", "\\3-grams:", 11, r"\\2-grams: must come next"),
        ("\\2-grams:\n-0.1\t<s> a\n-0.2\ta </s>\n\n", "", 11, r"\\2-grams: must come next"),
        ("-0.2\ta </s>\n\n\\end\\\n", "", 13, "with 1 n-grams, but line 3 announces 2"),
        (ARPA[ARPA.index("-0.5") :], "", 7, "with 1 n-grams, but line 2 announces 4"),
        (ARPA[ARPA.index("\\2-grams") :], "", 11, r"\\2-grams: must come next, but the file ends"),
        ("\\end\\\n", "\\end\\\nmore", 16, "'more' comes after"),
        ("-0.4\ta\t-0.2", "0.4\ta\t-0.2", 9, "0.4 is above 0"),
        ("-0.4\ta\t-0.2", "nan\ta\t-0.2", 9, "must be a log10 probability, 1 token"),
        ("-0.4\ta\t-0.2", "-0.4\ta\tinf", 9, "must be a log10 probability"),
        ("-0.4\ta\t-0.2", "-0.4", 9, "must be a log10 probability"),
        ("-0.4\ta\t-0.2", "-0.4\ta\tb", 9, "must be a log10 probability"),
        ("-0.4\ta\t-0.2", "minus\ta\t-0.2", 9, "must be a log10 probability"),
        ("-0.1\t<s> a", "-0.1\t<s>", 12, "2 tokens"),
        ("-0.1\t<s> a", "-0.1\t<s> a -0.1 b", 12, "2 tokens"),
        ("-0.1\t<s> a", "-0.1\t<s> a -0.1", 12, "highest order, 2, has no back-off weight"),
        ("-0.2\ta </s>", "-0.2\t<s> a", 13, "'<s> a' is listed twice"),
        ("-0.1\t<s> a", "-0.1\t<s> b", 12, "'<s> b' needs 'b' among the 1-grams"),
        ("-0.1\t<s> a", "-0.1\tb a", 12, "'b a' needs 'b' among the 1-grams"),
        ("-0.4\ta\t-0.2", "-0.4\t<UNK>\t-0.2", 9, "'<unk>' is listed twice"),
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


@pytest.mark.parametrize("ngram", ["a a </s>", "<s> <unk> a", "<unk> a a"])
def test_a_longer_ngram_needs_its_beginning(tmp_path, ngram):
    longer = f"\\3-grams:\n-0.1\t<s> a </s>\n-0.1\t{ngram}\n\n\\end\\"
    (tmp_path / "lm.arpa").write_text(ARPA.replace("\\end\\", longer).replace("ngram 2=2", "ngram 2=2\nngram 3=2"))
    with pytest.raises(ArpaError, match=rf"lm\.arpa:18: '{ngram}' needs '{ngram[: ngram.rindex(' ')]}' among the 2-grams"):
        NGramModel.read_arpa(tmp_path / "lm.arpa")


def test_a_missing_file_says_how_one_is_made(tmp_path):
    with pytest.raises(ArpaError, match=r"no\.arpa: no such file; python train_language_model\.py TEXT -o .*no\.arpa makes one"):
        NGramModel.read_arpa(tmp_path / "no.arpa")


OTHER_TOOLS = {
    "preamble": lambda text: "Made by a toolkit\n\\1-grams of caf\xe9\n\n" + text,
    "mark of order": lambda text: "\ufeff" + text,
    "mark of order and preamble": lambda text: "\ufeffngram 1=7\n" + text,
    "Windows": lambda text: text.replace("\n", "\r\n"),
    "blanks": lambda text: text.replace("\t", "   "),
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "empty order": lambda text: text.replace("ngram 2=2", "ngram 2=2\nngram 3=0").replace("\\end", "\\3-grams:\n\n\\end"),
    "order left out": lambda text: text.replace("ngram 2=2", "ngram 2=2\nngram 3=0\nngram 4=0"),
    "capitals": lambda text: text.replace("<unk>", "<UNK>"),
    "spaces announced": lambda text: text.replace("ngram 1=4", "ngram  1 = 4"),
    "no weight": lambda text: text.replace("-99\t<s>\t-0.3", "-99\t<s>\t-0.3\t").replace("</s>\n-1.0", "</s>\t0\n-1.0"),
    "exponents": lambda text: text.replace("-0.4\ta", "-4.0E-1\ta"),
}


@pytest.mark.parametrize("change", OTHER_TOOLS.values(), ids=OTHER_TOOLS.keys())
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_what_other_tools_write_differently_changes_nothing(tmp_path, capsys, change, pack):
    path = tmp_path / "lm.gz"  # the name says nothing
    path.write_bytes(pack(change(ARPA).encode()))
    model, expected = NGramModel.read_arpa(path), hand_written(tmp_path)
    assert (model.ngrams, model.vocabulary) == (expected.ngrams, {"a"})
    assert model.score("a b a") == pytest.approx(expected.score("a b a"))
    assert arpa._read_with_care(path)[0] == expected.ngrams
    assert capsys.readouterr() == ("", "")


def hand_written(folder) -> NGramModel:
    (folder / "plain.arpa").write_text(ARPA)
    return NGramModel.read_arpa(folder / "plain.arpa")


def test_a_preamble_need_not_be_text(tmp_path):
    (tmp_path / "lm.arpa").write_bytes(b"caf\xe9\n" + ARPA.encode())
    assert NGramModel.read_arpa(tmp_path / "lm.arpa").ngrams == hand_written(tmp_path).ngrams


def test_a_file_without_its_end_is_read_and_told(tmp_path, capsys):
    (tmp_path / "lm.arpa").write_text(ARPA.replace("\\end\\\n", ""))
    assert NGramModel.read_arpa(tmp_path / "lm.arpa").ngrams == hand_written(tmp_path).ngrams
    assert "lm.arpa: ends without \\end\\, but all n-grams" in capsys.readouterr().err


def test_minus_infinity_is_the_logarithm_of_zero(tmp_path):
    (tmp_path / "lm.arpa").write_text(ARPA.replace("-1.0\t<unk>", "-inf\t<unk>\t-inf").replace("-99\t<s>", "-INF\t<s>"))
    model = NGramModel.read_arpa(tmp_path / "lm.arpa")
    assert model.ngrams["<unk>",] == (-99, -99) and model.ngrams["<s>",] == (-99, -0.3)
    assert arpa._read_with_care(tmp_path / "lm.arpa")[0] == model.ngrams
    assert model.score("b") == pytest.approx(math.log(10) * (-0.3 - 99 - 99 - 0.5))  # <unk> after <s>, then </s> after <unk>


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (
            b"mmap lm http://kheafield.com/code format version 5\n\0",
            r"is a KenLM binary, not an ARPA file; --lm takes .*pip install kenlm",
        ),
        (b"SRILM_BINARY_NGRAM_002\n", "is an SRILM binary: ngram -lm .*lm -write-lm lm.arpa turns it into an ARPA file"),
        (b"\x0f\0\0\0Darpa Trigram LM\0", "is a CMU Sphinx binary: sphinx_lm_convert -i .*lm -o"),
        (b"PK\x03\x04", "is a zip archive: unzip"),
        (ARPA.encode("utf-16"), "is text in UTF-16: iconv -f UTF-16 -t UTF-8"),
        (b"PK\x05\x06" + bytes(18), "is a zip archive: unzip"),
        (bytes(257) + b"ustar\x0000", "is a tar archive: tar -xf"),
        (b"RIFF\0\0\0\0WAVE", "is audio, not a language model: give an ARPA file"),
        (b"OggS\0\2", "is audio, not a language model"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is binary data, not a language model: give an ARPA file; python train_language_model.py"),
        (b"\x80\x02}q\0.", "is a Python pickle, perhaps a network's weights, not a language model"),
        (b"# A title\n\nText\n", r"not an ARPA file \(it begins with '# A title'\); .* python train_language_model.py .*lm -o"),
        (
            b'{"alpha": 1}',
            r"not an ARPA file \(it begins .*\); a JSON file such as decoder.json only holds settings of the search",
        ),
        (
            gzip.compress(b"# A title\n", mtime=0),
            r"begins with '# A title'.*unpack it, then python train_language_model.py TEXT -o",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the model itself; fetch it: git lfs pull"),
        (b"<!DOCTYPE html><title>404", "is a web page .the download failed., not a language model"),
        (b"", "is empty; python train_language_model.py TEXT -o lm.arpa makes one"),
        (gzip.compress(b"", mtime=0), "is, once unpacked, empty; python"),
        (b" \n\n", "holds nothing but blank lines, not a language model: give an ARPA file"),
        (gzip.compress(ARPA.encode(), mtime=0)[:-20], "is compressed, but cannot be unpacked to its end"),
        (b"\x1f\x8bnothing", "is compressed, but cannot be unpacked to its end"),
        (b"BZhnothing", "is compressed, but cannot be unpacked to its end"),
        (gzip.compress(b"mmap lm http://kheafield.com/code", mtime=0), "is, once unpacked, a KenLM binary"),
    ],
)
def test_what_is_no_arpa_file_is_named_as_what_it_is(tmp_path, start, what):
    (tmp_path / "lm").write_bytes(start)
    with pytest.raises(ArpaError, match=what) as error:
        NGramModel.read_arpa(tmp_path / "lm")
    assert str(tmp_path / "lm") in str(error.value)


@pytest.mark.parametrize("cut", [None, 400])
@pytest.mark.parametrize("packed", [False, True])
def test_a_checkpoint_is_named_as_one(run_folder, tmp_path, cut, packed):
    content = (run_folder / "checkpoint.pt").read_bytes()[:cut]
    (tmp_path / "lm").write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ArpaError, match=f"lm is{', once unpacked,' if packed else ''} a checkpoint with a network's weights"):
        NGramModel.read_arpa(tmp_path / "lm")


@pytest.mark.parametrize("before", ["RIFF ", "ID3 of\n", "PK\n", "OggS\n", "abc\N{EM DASH} KenLM\n", "# A title\n"])
def test_lines_before_the_data_may_begin_like_another_kind_of_file(tmp_path, before):
    (tmp_path / "lm.arpa").write_text(before + "\n" + ARPA, encoding="utf-8")
    assert NGramModel.read_arpa(tmp_path / "lm.arpa").ngrams == hand_written(tmp_path).ngrams


def test_a_folder_is_named_as_one(tmp_path):
    with pytest.raises(ArpaError, match="is a folder; give an ARPA file"):
        NGramModel.read_arpa(tmp_path)


def test_a_fault_of_the_disk_is_no_fault_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "lm.arpa").write_text(ARPA)
    monkeypatch.setattr(arpa, "_lines_before_data", lambda file: exec("raise OSError(5, 'Input/output error')"))
    with pytest.raises(OSError, match="Input/output"):
        NGramModel.read_arpa(tmp_path / "lm.arpa")


# ---------------------------------------------------------------------------------------------
# Two readers, one result
# ---------------------------------------------------------------------------------------------


@given(corpora, orders, st.sampled_from(["word", "character"]))
def test_the_fast_reader_reads_what_the_careful_one_does(tmp_path_factory, sentences, order, unit):
    path = tmp_path_factory.mktemp("arpa") / "lm.arpa"
    pruned(NGramModel.train([" ".join(sentence) for sentence in sentences], order, unit)).write_arpa(path)
    with path.open("rb") as file:
        fast = arpa._read_fast(file)
    careful = arpa._read_with_care(path)
    assert isinstance(fast[0], NGrams) and isinstance(careful[0], dict)
    assert fast == careful and len(fast[0]) == len(careful[0])
    for ngram in [(), ("<s>", "zebra"), ("zebra", "a"), ("a",) * 9, *careful[0]]:
        assert (ngram in fast[0], fast[0].get(ngram)) == (ngram in careful[0], careful[0].get(ngram))
    with pytest.raises(KeyError):
        fast[0]["a", "zebra"]


@settings(max_examples=200)
@given(st.integers(0, len(ARPA) - 1), st.integers(0, 3), st.sampled_from([*"\t \na-29é\\", "<s>", ""]))
def test_whatever_happened_to_a_file_the_fast_reader_takes_what_the_careful_one_takes(tmp_path_factory, start, length, new):
    path = tmp_path_factory.mktemp("arpa") / "lm.arpa"
    path.write_text(ARPA[:start] + new + ARPA[start + length :], encoding="utf-8")
    try:
        with path.open("rb") as file:
            fast = arpa._read_fast(file)
    except (LookupError, ValueError, OverflowError):
        return
    assert fast == arpa._read_with_care(path)


def test_a_large_file_is_read_by_the_fast_reader_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(arpa, "_read_with_care", None)
    monkeypatch.setattr(arpa, "_AT_ONCE", 7)
    model = NGramModel.train(random_sentences_of(300), 4)
    model.write_arpa(tmp_path / "lm.arpa")
    again = NGramModel.read_arpa(tmp_path / "lm.arpa")
    assert again.ngrams == model.ngrams
    size = sum(len(pickle.dumps(level)) for level in again.ngrams._levels)
    assert size < 27 * len(model.ngrams)
    assert pickle.loads(pickle.dumps(again)).score("the cat") == model.score("the cat")


def random_sentences_of(count: int) -> list[str]:
    return [sentence.replace("<unk>", "unk") for sentence in random_sentences(count)]


def test_a_model_read_from_a_file_says_of_many_tokens_at_once_what_the_trained_one_says(tmp_path):
    """After "a" come 100 words, after others one or two: found by halving, and all taken out."""
    words = [f"w{n}" for n in range(100)]
    model = NGramModel.train([f"a {word} b" for word in words] + ["a b", "b w3 a"], 3)
    model.write_arpa(tmp_path / "lm.arpa")
    read = NGramModel.read_arpa(tmp_path / "lm.arpa")
    tokens = ["zebra", *words, "a", "b", "</s>", "<s>", "zebra"]
    for state in (
        (),
        ("a",),
        ("b",),
        ("w3",),
        ("zebra",),
        ("<s>", "a"),
        ("a", "w7"),
        ("w3", "a"),
        ("a", "zebra"),
        ("zebra", "a"),
    ):
        for either in (model, read):
            assert either.log_p(state, tokens) == [model.log_p(state, (token,))[0] for token in tokens]
        backed_off = [model.log_p(state[1:], (token,))[0] + LN10 * model.ngrams.get(state, (0, 0))[1] for token in tokens]
        for token, value, lower in zip(tokens, read.log_p(state, tokens), backed_off, strict=True):
            known = (*state, token if (token,) in model.ngrams else "<unk>")
            assert value == pytest.approx(LN10 * model.ngrams[known][0] if known in model.ngrams else lower)
