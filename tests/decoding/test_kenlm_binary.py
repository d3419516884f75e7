"""KenLM's binaries against the ARPA files that they were made from, by our own reader."""

from __future__ import annotations

import importlib.util
import pickle
import struct
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import train_language_model
from decoding import kenlm_binary
from decoding.kenlm_binary import KenlmError, KenlmModel
from decoding.ngrams import LanguageModel, NGramModel
from decoding.scorers import make_scorer, read_language_model
from implementation import CharEncoder, prefix_beam_search
from speech.alphabets import BigramEncoder

MADE = Path(__file__).parent / "kenlm_files"  # its README.md says how
KINDS = ["probing", "trie", "quantised", "array", "quantised_array"]
FILES = [*(f"words.{kind}" for kind in KINDS), "characters.trie", "capitals.probing", "no_unk.probing", "no_unk.trie"]
ENGLISH = CharEncoder()
ENCODERS = {"letters": ENGLISH, "pairs": BigramEncoder([*ENGLISH.alphabet, "th", "at", "ca", "zz"])}
NEAR = {"rel": 1e-6, "abs": 1e-5}  # KenLM counts in single precision

needs_kenlm = pytest.mark.skipif(importlib.util.find_spec("kenlm") is None, reason="pip install kenlm==0.3.0")


def both(name: str) -> tuple[KenlmModel, NGramModel]:
    """The binary, and the ARPA file that it was made from."""
    return read_language_model(MADE / name), read_language_model((MADE / name).with_suffix(".arpa"))


def random_texts(model: NGramModel, many: int) -> list[str]:
    """Of words (or characters) that the model knows, and some that it doesn't."""
    rng = np.random.default_rng(0)
    tokens = [*sorted(model.vocabulary - {"<space>"}), *(["zebra", "Cat"] if model.unit == "word" else ["z", " ", "ß"])]
    join = " " if model.unit == "word" else ""
    return [join.join(rng.choice(tokens, rng.integers(0, 9))) for _ in range(many)]


@needs_kenlm
@pytest.mark.parametrize("name", FILES)
def test_a_binary_knows_the_words_of_its_arpa_file(name):
    binary, model = both(name)
    assert (binary.vocabulary, binary.order, binary.unit) == (model.vocabulary, model.order, model.unit)
    for token in ("<s>", "</s>", "<unk>", "<space>", "zebra"):
        assert binary.knows(token) == model.knows(token)


@needs_kenlm
@pytest.mark.parametrize("name", FILES)
def test_every_ngram_of_a_binary_has_the_probability_of_the_arpa_file(name):
    binary, model = both(name)
    for *before, last in model.ngrams:
        state, expected = binary.no_context(), model.no_context()
        for token in before:
            state, expected = binary.after(state, token), model.after(expected, token)
        if last != "<s>":  # which follows nothing
            tokens = [last, "cat", "zebra", "</s>"]
            assert binary.log_p(state, tokens) == pytest.approx(model.log_p(expected, tokens), **NEAR)


@needs_kenlm
@pytest.mark.parametrize("name", FILES)
def test_texts_have_the_same_scores(name):
    binary, model = both(name)
    for text in random_texts(model, 100):
        for bos, eos in ((True, True), (True, False), (False, True)):
            assert binary.score(text, bos, eos) == pytest.approx(model.score(text, bos, eos), **NEAR)


@needs_kenlm
@pytest.mark.parametrize("lexicon", [False, True], ids=["all words", "lexicon"])
@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("name", FILES)
def test_the_beam_search_finds_the_same(name, encoder, lexicon, capsys):
    if name.startswith("characters"):
        lexicon = False
    scorers = [make_scorer(MADE / file, encoder, None, lexicon) for file in (name, f"{name.split('.')[0]}.arpa")]
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in told[: len(told) // 2]] == [
        line.partition(": ")[2] for line in told[len(told) // 2 :]
    ]
    rng = np.random.default_rng(0)
    for text in ("the cat's zebra sat", "a hat on"):
        logits = rng.normal(size=(2 * len(text), encoder.vocab_size))
        for frame, label in enumerate(encoder.encode(text)):
            logits[2 * frame, label] += 5
            logits[2 * frame + 1, 0] += 3
        log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        found, expected = (prefix_beam_search(log_probs, 10, scorer, 0.8, 1.0) for scorer in scorers)
        assert [hypothesis.labels for hypothesis in found] == [hypothesis.labels for hypothesis in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert (ours.log_lm, ours.score) == pytest.approx((theirs.log_lm, theirs.score), **NEAR)
        assert scorers[0].unknown_words(text) == scorers[1].unknown_words(text)


@needs_kenlm
def test_capitals_of_a_binary_are_read_in_the_case_of_the_alphabet(capsys):
    scorer = make_scorer(MADE / "capitals.probing", ENGLISH, lexicon=True)
    assert "read in lower case, to fit the alphabet: 11 of the 12 words that it knows, " in capsys.readouterr().err
    assert scorer.unwritable == ["CAFÉ"] and scorer.unknown_words("the cat CAT zoo") == ["CAT", "zoo"]
    words = NGramModel.read_arpa(MADE / "words.arpa")
    assert scorer.model.score("the cat's dog") == pytest.approx(words.score("the cat's dog"), **NEAR)


@needs_kenlm
def test_a_states_place_in_a_dict_is_that_of_an_equal_one():
    model = read_language_model(MADE / "words.trie")
    walked = [model.after(model.after(model.start(), word), "cat") for word in ("the", "the", "a")]
    assert len(set(walked)) == 2 and walked[0] == walked[1] != walked[2]
    model.log_p(walked[0], ["sat", "zebra"])
    assert walked[0] == walked[1]  # asking changes no state


@needs_kenlm
def test_a_scorer_can_be_sent_to_another_process():
    scorer = make_scorer(MADE / "words.trie", ENGLISH)
    state = scorer.advance(scorer.start(), 1)
    asked = scorer.scores(state, np.arange(29))[0].tolist()
    again = pickle.loads(pickle.dumps(scorer))
    assert again.scores(again.advance(again.start(), 1), np.arange(29))[0].tolist() == asked
    assert again.finish(again.start()) == scorer.finish(scorer.start())


@needs_kenlm
def test_a_binary_is_mapped_and_not_read(monkeypatch):
    import kenlm

    opened = []

    class Watched(kenlm.Model):
        def __init__(self, path, config):
            super().__init__(path, config)
            opened.append(config.load_method)

    monkeypatch.setattr(kenlm, "Model", Watched)
    pickle.loads(pickle.dumps(KenlmModel(MADE / "words.trie")))
    assert opened == [kenlm.LoadMethod.LAZY] * 2


@needs_kenlm
def test_score_asks_a_binary(capsys):
    assert train_language_model.main([str(MADE / "capitals.probing"), "--score", "the zebra"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("  the") and lines[1].endswith("  zebra  (unknown)")


@needs_kenlm
def test_words_in_an_alphabet_without_spaces_need_their_unit():
    encoder = CharEncoder("".join(letter for letter in ENGLISH.alphabet if letter != " "))
    with pytest.raises(
        ValueError, match=r"words\.trie: is a model of words, but the alphabet has no space .*--unit word if each"
    ):
        make_scorer(MADE / "words.trie", encoder)
    assert isinstance(make_scorer(MADE / "words.trie", encoder, "word").model, LanguageModel)


# ---------------------------------------------------------------------------------------------
# The words at the end
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uncounted", [0, 1], ids=["<unk> counted", "<unk> not counted"])
def test_the_words_are_found_behind_whatever_stands_before_them(tmp_path, uncounted):
    rng = np.random.default_rng(0)
    words = ["<unk>", *(f"{i}" + "é" * rng.integers(1, 200) for i in range(50)), "a<unk>"]
    header = kenlm_binary._HEADER.pack(3, True, len(words) - uncounted)
    for end in (b"", b"\0", b"x", b"\0<unk>", b"\0\0\0"):  # of the search's data
        data = rng.integers(0, 3, 5000).astype(np.uint8).tobytes() + end
        (tmp_path / "lm").write_bytes(header + data + "".join(word + "\0" for word in words).encode())
        assert kenlm_binary._read_words(tmp_path / "lm") == words


@pytest.mark.parametrize("uncounted", [0, 1], ids=["<unk> counted", "<unk> not counted"])
def test_the_words_are_found_wherever_the_piece_that_is_read_first_begins(tmp_path, uncounted):
    for length in range(1, 200):
        words = ["<unk>", *"abcdefgh", "x" * length]
        header = kenlm_binary._HEADER.pack(3, True, len(words) - uncounted)
        (tmp_path / "lm").write_bytes(header + b"\1" * 500 + "".join(word + "\0" for word in words).encode())
        assert kenlm_binary._read_words(tmp_path / "lm") == words


# ---------------------------------------------------------------------------------------------
# What can't be read
# ---------------------------------------------------------------------------------------------


@needs_kenlm
@pytest.mark.parametrize("name", [*(f"words.{kind}" for kind in KINDS), "no_unk.probing"])
def test_a_binary_that_is_cut_off_is_refused_with_one_sentence(tmp_path, capfd, name):
    whole = (MADE / name).read_bytes()
    for size in (
        *range(40, 200, 13),
        *range(200, len(whole) - 150, 997),
        *range(len(whole) - 150, len(whole), 5),
        len(whole) - 1,
    ):
        (tmp_path / "lm.bin").write_bytes(whole[:size])
        with pytest.raises(KenlmError, match=r"lm\.bin: .*(cannot read|not complete).*; get it again, or make it from") as error:
            read_language_model(tmp_path / "lm.bin")
        assert "\n" not in str(error.value) and "Exception" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@needs_kenlm
@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (
            b"version 5",
            b"version 4",
            r"\(Binary file has version 4 but this implementation expects version 5 .*\); .*build_binary",
        ),
        (b"format version 5\n", b"incomplete\n format", r"\(This binary file did not finish building\); get it again"),
        (struct.pack("<B", 4) + bytes(3), struct.pack("<B", 9) + bytes(3), r"order 9 but KenLM was compiled to support up to 6"),
        ("café".encode(), "café".encode("latin-1") + b"x", r"the words of the binary are not in UTF-8; write the ARPA file in"),
    ],
)
def test_a_binary_of_another_form_is_refused(tmp_path, old, new, what):
    (tmp_path / "lm.bin").write_bytes((MADE / "words.trie").read_bytes().replace(old, new, 1))
    with pytest.raises(KenlmError, match=what) as error:
        read_language_model(tmp_path / "lm.bin")
    assert "\n" not in str(error.value) and "Exception" not in str(error.value)


@needs_kenlm
def test_a_binary_without_its_words_is_refused():
    with pytest.raises(KenlmError, match=r"does not hold its words, which the search needs; build it again without -v"):
        make_scorer(MADE / "words.without_words", ENGLISH)


@pytest.mark.parametrize("there", [None, ModuleType("kenlm")], ids=["nothing", "a folder of that name"])
def test_without_the_package_a_binary_is_refused(monkeypatch, there):
    monkeypatch.setitem(sys.modules, "kenlm", there)
    with pytest.raises(
        KenlmError, match=r"words\.trie is a KenLM binary, and .*pip install kenlm==0\.3\.0, or give the ARPA file"
    ):
        make_scorer(MADE / "words.trie", ENGLISH)
    assert read_language_model(MADE / "words.arpa").knows("cat")


@needs_kenlm
@pytest.mark.parametrize(("name", "at"), [("words.trie", 408), ("words.trie", 522), ("words.probing", 258)])
def test_a_binary_that_kenlm_crashes_on_is_refused(tmp_path, name, at):
    data = bytearray((MADE / name).read_bytes())
    data[at : at + 4] = b"\xff" * 4
    (tmp_path / "lm.bin").write_bytes(data)
    with pytest.raises(
        KenlmError,
        match=r"lm\.bin: the binary is damaged, since KenLM crashes on it or never ends; get it again, or make it from",
    ):
        read_language_model(tmp_path / "lm.bin")


@needs_kenlm
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of processor time")
def test_a_binary_with_a_full_table_in_which_kenlm_searches_for_ever_is_refused(tmp_path, monkeypatch):
    """Found by fuzzing."""
    data = bytearray((MADE / "words.probing").read_bytes())
    data[152:416] = b"\1" * 264  # all 22 places of the table of words, also the free ones
    (tmp_path / "lm.bin").write_bytes(data)
    monkeypatch.setattr(kenlm_binary, "_WORK", 1)
    with pytest.raises(KenlmError, match="KenLM crashes on it or never ends"):
        read_language_model(tmp_path / "lm.bin")


@needs_kenlm
def test_a_binary_with_nan_in_it_is_refused_when_it_gives_it(tmp_path):
    """Found by fuzzing."""
    data = bytearray((MADE / "words.probing").read_bytes())
    data[416:420] = struct.pack("<f", float("nan"))  # the probability of <unk>, the first word
    (tmp_path / "lm.bin").write_bytes(data)
    with pytest.raises(KenlmError, match=r"lm\.bin: the binary is damaged, since it gives nan"):
        read_language_model(tmp_path / "lm.bin").score("xyz")
