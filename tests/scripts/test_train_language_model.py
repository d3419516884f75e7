"""train_language_model.py: a model from a text or a corpus, the score of a text, errors of one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

import train_language_model
from decoding.ngrams import NGramModel


def run(capsys: pytest.CaptureFixture, *arguments: Path | str) -> tuple[int, str, str]:
    status = train_language_model.main([str(argument) for argument in arguments])
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
    status, out, err = run(capsys, sentences, "-o", arpa, "--order", "2")
    assert (status, err) == (0, "") and "word model of 2 sentences, 7 1-grams, 6 2-grams" in out
    model = NGramModel.train(["the cat sat", "the dog sat"], 2)
    assert NGramModel.read_arpa(arpa).ngrams == model.ngrams
    status, out, err = run(capsys, arpa, "--score", "The CAT flew")
    lines = [line.split() for line in out.splitlines()]
    assert [line[1:] for line in lines[:4]] == [["the"], ["cat"], ["flew", "(unknown)"], ["</s>"]]
    assert float(lines[4][0]) == pytest.approx(model.score("the cat flew"), abs=1e-3)
    assert float(lines[4][-1]) == pytest.approx(model.perplexity("the cat flew"), abs=1e-2)


@pytest.mark.parametrize("path", ["", "manifest.tsv"])
def test_train_on_the_transcripts_of_a_split(tmp_path, capsys, path):
    arpa = tmp_path / "lm.arpa"
    assert run(capsys, corpus(tmp_path) / path, "-o", arpa, "--unit", "character")[0] == 0
    assert NGramModel.read_arpa(arpa).ngrams == NGramModel.train(["a b", "b a"], unit="character").ngrams
    assert run(capsys, tmp_path / path, "-o", arpa, "--split", "dev", "--overwrite")[0] == 0
    assert NGramModel.read_arpa(arpa).vocabulary == {"c"}
    status, _, err = run(capsys, tmp_path / path, "-o", arpa, "--split", "test", "--overwrite")
    assert status == 2 and "no split 'test'; it has dev, train" in err


def test_what_the_alphabet_can_not_write_is_told(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("Don’t stop, 2 cats!\nthe “café” in 22\n", encoding="utf-8")
    status, _, err = run(capsys, tmp_path / "text.txt", "-o", tmp_path / "lm.arpa")
    assert status == 0 and err.count("\n") == 1
    assert "text.txt: left out, since they are not in the alphabet: '2' 3 times; spell them out" in err
    assert NGramModel.read_arpa(tmp_path / "lm.arpa").vocabulary == {"don't", "stop", "cats", "the", "cafe", "in"}


@pytest.mark.parametrize(("alphabet", "known"), [("你好 ", {"你", "好"}), ("any", {"你", "好", "，", "2"})])
def test_the_alphabet_may_be_another_one(tmp_path, capsys, alphabet, known):
    (tmp_path / "text.txt").write_text("你好，2你\n好 你\n", encoding="utf-8")
    asked = ("-o", tmp_path / "lm.arpa", "--unit", "character")
    status, _, err = run(capsys, tmp_path / "text.txt", *asked)
    assert status == 2 and "'english' can write only 0 of the 6 characters" in err and "--alphabet" in err
    status, _, err = run(capsys, tmp_path / "text.txt", *asked, "--alphabet", alphabet)
    assert status == 0 and ("'2' once" in err) == (alphabet != "any")
    assert NGramModel.read_arpa(tmp_path / "lm.arpa").vocabulary == known | {"<space>"}


def test_a_corpus_too_broken_to_train_on_is_refused(tmp_path, capsys):
    corpus(tmp_path)
    (tmp_path / "0.wav").unlink()
    status, _, err = run(capsys, tmp_path, "-o", tmp_path / "lm.arpa")
    assert status == 2 and "1 of 3 lines are bad" in err and "0.wav not found" in err


def test_an_existing_output_is_kept(tmp_path, capsys, sentences):
    arpa = tmp_path / "lm.arpa"
    arpa.write_text("mine")
    status, out, err = run(capsys, sentences, "-o", arpa)
    assert (status, out, arpa.read_text()) == (2, "", "mine") and "--overwrite" in err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["missing.txt", "-o", "lm.arpa"], "missing.txt"),
        (["text.txt", "-o", "missing/lm.arpa"], "folder"),
        (["text.txt", "-o", "lm.arpa", "--order", "0"], "at least 1, not 0"),
        (["latin.txt", "-o", "lm.arpa"], "latin.txt:2: not UTF-8 text"),
        (["manifest.tsv", "-o", "lm.arpa"], "first line must be a header"),
        ([".", "-o", "lm.arpa"], "first line must be a header"),
        (["text.txt", "--score", "a"], r"text.txt: no line is \data\, so this is not an ARPA file"),
        (["missing.arpa", "--score", "a"], "missing.arpa"),
    ],
)
def test_errors_are_one_sentence(tmp_path, capsys, monkeypatch, sentences, arguments, what):
    monkeypatch.chdir(tmp_path)
    Path("latin.txt").write_bytes("one\ncaf\xe9\n".encode("latin-1"))
    Path("manifest.tsv").write_text("a\tb\n")
    status, out, err = run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ") and what in err
    assert not Path("lm.arpa").exists()


def test_a_folder_that_can_not_be_written_to_is_told_before_the_text_is_read(tmp_path, monkeypatch, capsys):
    def locked(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", locked)
    monkeypatch.setattr(train_language_model, "read_sentences", None)
    (tmp_path / "t.txt").write_text("some words\n")
    assert train_language_model.main([str(tmp_path / "t.txt"), "-o", str(tmp_path / "lm.arpa")]) == 2
    assert f"{tmp_path}: nothing can be written there (Permission denied); choose another -o" in capsys.readouterr().err
