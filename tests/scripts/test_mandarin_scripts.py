"""The scripts on a small corpus in Chinese characters: the same commands as in English, errors counted by characters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import train_language_model
import train_minimal
import transcribe
import tune_decoder
import visualization
from decoding.ngrams import NGramModel
from implementation import CharEncoder
from models.checkpoints import load_checkpoint, save_checkpoint
from training import report
from training.loop import read_metrics

SMALL = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "8"]
WORDS = {"数字": "shu4 zi4", "语音": "yu3 yin1", "北京": "bei3 jing1", "背景": "bei4 jing3"}


def few_pairs(monkeypatch) -> None:
    """Four pairs of alpha and beta are tried, which is quick."""
    real = report.tune
    monkeypatch.setattr(report, "tune", lambda *a, **k: real(*a, alphas=(0.0, 1.0), betas=(0.0, 1.0), **k))


@pytest.fixture(scope="module")
def hanzi(tmp_path_factory) -> Path:
    """Twelve noises that are called words, and a run on them with a language model, all in one folder."""
    folder = tmp_path_factory.mktemp("hanzi")
    rng, rows = np.random.default_rng(0), ["path\tspeaker\tsplit\ttranscript\tpinyin"]
    for number, (word, pinyin) in enumerate(list(WORDS.items()) * 3):
        soundfile.write(folder / f"{number}.wav", 0.1 * rng.standard_normal(8000), 8000)
        split = "train" if number < 6 else "dev" if number < 9 else "test"
        rows.append(f"{number}.wav\ts{number % 2}\t{split}\t{word}\t{pinyin}")
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as monkeypatch:
        few_pairs(monkeypatch)
        flags = ["--alphabet", "corpus", "--epochs", "2", "--lm", "train", "--output-dir", str(folder / "run")]
        assert train_minimal.main(["--data", str(folder), *SMALL, *flags]) == 0
    return folder


def test_a_run_is_measured_by_characters_and_has_no_word_errors(hanzi):
    results = json.loads((hanzi / "run" / "results.json").read_text())
    assert set(results) == {"dev", "test"} and set(results["test"]) == {"cer", "character_errors", "characters"}
    assert results["dev"]["characters"] == 6
    history = read_metrics(hanzi / "run" / "metrics.jsonl")
    assert all("dev_wer" not in line and line["dev_characters"] == 6 for line in history)
    checkpoint = load_checkpoint(hanzi / "run" / "checkpoint.pt")
    assert checkpoint.training["best_cer"] == min(line["dev_cer"] for line in history) == results["dev"]["cer"]
    assert checkpoint.encoder.alphabet == sorted("数字语音北京背景")
    decoder = json.loads((hanzi / "run" / "decoder.json").read_text())
    assert decoder["unit"] == "character" and "beam 200" in decoder["results"]["dev"]
    assert all(set(rates) == {"cer", "character_errors", "characters"} for rates in decoder["results"]["dev"].values())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--alphabet", "english"], r"12 of 12 utterances have letters that the alphabet lacks, more than 1 %: '数' 3 times, "),
        ([], "--alphabet corpus takes the characters of the training transcripts, or --alphabet mandarin has 6,763 Chinese "),
        (["--unknown", "drop"], "--alphabet corpus takes the characters of the training transcripts, or --alphabet mandarin"),
        (
            ["--alphabet", "english", "--transcript-column", "pinyin"],
            "0.wav; write numbers in words, or --alphabet corpus takes the characters of the training transcripts, or",
        ),
        (["--alphabet", "corpus", "--n-train", "2", "--train", "one"], "no utterance is in the split 'one'"),
        (["--alphabet", "no.txt"], "--alphabet no.txt: no such file; give english, mandarin, corpus, or a text file"),
        (
            ["--alphabet", "corpus", "--transcript-column", "x"],
            "there is no column 'x'; there are path, speaker, split, transcript",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence_with_what_to_do(hanzi, tmp_path, capsys, flags, says):
    try:
        status = train_minimal.main(["--data", str(hanzi), *SMALL, *flags, "--output-dir", str(tmp_path / "run")])
    except SystemExit as end:
        status = end.code
    error = capsys.readouterr().err
    assert status == 2 and error.count("\n") == 1 and not (tmp_path / "run").exists()
    assert says in error


def test_a_run_is_taken_up_with_its_alphabet_alone(hanzi, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in (hanzi / "run").iterdir()}
    flags = ["--data", str(hanzi), *SMALL, "--epochs", "2", "--resume", str(hanzi / "run")]
    assert train_minimal.main([*flags, "--alphabet", "mandarin"]) == 2
    error = capsys.readouterr().err
    assert "can't resume with another alphabet: there were 9 outputs, now there are 6792; the outputs differ in ' '" in error
    assert {path.name: path.read_bytes() for path in (hanzi / "run").iterdir()} == before
    with pytest.raises(SystemExit):
        train_minimal.main(["--data", str(hanzi), "--checkpoint", str(hanzi / "run" / "checkpoint.pt"), "--alphabet", "corpus"])
    assert "--checkpoint brings its own alphabet: leave out --alphabet" in capsys.readouterr().err


@pytest.mark.slow
def test_pinyin_is_measured_by_its_syllables(hanzi, tmp_path):
    flags = ["--alphabet", "corpus", "--transcript-column", "pinyin", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(hanzi), *SMALL, *flags]) == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["dev"]["words"] == 6
    assert " " in load_checkpoint(tmp_path / "run" / "checkpoint.pt").encoder.alphabet


def test_a_corpus_whose_dev_has_other_characters_says_how_to_count_them(hanzi, tmp_path, capsys):
    rows = (hanzi / "manifest.tsv").read_text(encoding="utf-8").replace("dev\t北京", "dev\t方京")
    for number in range(12):
        (tmp_path / f"{number}.wav").write_bytes((hanzi / f"{number}.wav").read_bytes())
    (tmp_path / "manifest.tsv").write_text(rows, encoding="utf-8")
    flags = ["--data", str(tmp_path), *SMALL, "--alphabet", "corpus", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(flags) == 2
    error = capsys.readouterr().err
    assert f"'方' once, first in {tmp_path / '6.wav'}; --alphabet mandarin has 6,763 Chinese characters, or " in error
    assert "or --unknown drop leaves them out of the training" in error
    assert train_minimal.main([*flags, "--unknown", "drop"]) == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["dev"]["characters"] == 6  # 方 counts


def test_transcribe_shows_characters_with_their_times(hanzi, capsys):
    command = [str(hanzi / "run" / "checkpoint.pt"), str(hanzi / "0.wav"), "--lm", str(hanzi / "run" / "lm.arpa")]
    assert transcribe.main([*command, "--beta", "4", "--json", "--times"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text"] and [word["text"] for word in found["words"]] == list(found["text"])
    assert all(word["start"] < word["end"] and 0 <= word["confidence"] <= 1 for word in found["words"])


def test_warning_and_tuning_are_in_characters(hanzi, tmp_path, capsys, monkeypatch):
    few_pairs(monkeypatch)
    checkpoint = load_checkpoint(hanzi / "run" / "checkpoint.pt")
    state = {"best_cer": 0.9, "epoch": 1, "epochs": 9}
    save_checkpoint(tmp_path / "c.pt", checkpoint.model, checkpoint.config, checkpoint.encoder, state)
    assert transcribe.main([str(tmp_path / "c.pt"), str(hanzi / "0.wav")]) == 0
    assert "got 90 % of the characters in its dev set wrong after 1 of 9 epochs" in capsys.readouterr().err
    assert tune_decoder.main([str(tmp_path / "c.pt"), "--data", str(hanzi), "--lm", str(hanzi / "run" / "lm.arpa")]) == 0
    out = capsys.readouterr().out
    assert "WER" not in out and any(line.startswith("test") and "beam 200 + language model" in line for line in out.splitlines())


def test_a_language_model_of_another_alphabet_is_refused_in_a_sentence(hanzi, tmp_path, capsys):
    NGramModel.train(["see the moon"], 2, "character").write_arpa(tmp_path / "english.arpa")
    assert (
        transcribe.main([str(hanzi / "run" / "checkpoint.pt"), str(hanzi / "0.wav"), "--lm", str(tmp_path / "english.arpa")]) == 2
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "the alphabet cannot write 7 of the 7 characters that it knows" in error
    assert "--alphabet" in error


def test_a_corpus_of_another_language_is_refused_in_a_sentence_when_tuning(hanzi, small_corpus, capsys):
    model, corpus, lm = hanzi / "run" / "checkpoint.pt", small_corpus[0], hanzi / "run" / "lm.arpa"
    command = [str(model), "--data", str(corpus), "--lm", str(lm), "--overwrite"]
    for flags, says in (([], "3 of 3 utterances of dev can't be written in the model's alphabet, which lacks "),
                        (["--unknown", "drop"], "no utterance of the split 'dev' can be used")):  # fmt: skip
        assert tune_decoder.main([*command, *flags]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and says in error


@pytest.mark.parametrize(("flags", "unit"), [(["--alphabet", "mandarin"], "character"), (["--alphabet", "corpus"], "character"),
                         (["--alphabet", "corpus", "--transcript-column", "pinyin"], "word")])  # fmt: skip
def test_language_models_are_of_characters_where_no_space_parts_words(hanzi, tmp_path, capsys, flags, unit):
    assert train_language_model.main([str(hanzi), "-o", str(tmp_path / "lm.arpa"), *flags]) == 0
    assert f"lm.arpa: {unit} model of 6 sentences" in capsys.readouterr().out
    assert NGramModel.read_arpa(tmp_path / "lm.arpa").unit == unit


@pytest.mark.slow
def test_pictures_are_made_with_or_without_a_font(hanzi, tmp_path, capsys):
    flags = ["--checkpoint", str(hanzi / "run" / "checkpoint.pt"), "--data", str(hanzi), "--output-dir", str(tmp_path)]
    assert visualization.main(flags) == 0
    assert "the model did not train on: CER" in capsys.readouterr().out and (tmp_path / "ctc_output.png").is_file()


@pytest.mark.slow
def test_the_large_alphabet_trains_and_decodes_as_any_other(hanzi, tmp_path, capsys):
    flags = ["--alphabet", "mandarin", "--epochs", "1", "--join", "2", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(hanzi), *SMALL, *flags]) == 0
    assert "alphabet mandarin: 6791 characters" in capsys.readouterr().out
    encoder = load_checkpoint(tmp_path / "run" / "checkpoint.pt").encoder
    assert encoder.alphabet == CharEncoder("mandarin").alphabet
    command = [str(tmp_path / "run" / "checkpoint.pt"), str(hanzi / "0.wav"), "--beam", "20"]
    assert transcribe.main([*command, "--lm", str(hanzi / "run" / "lm.arpa")]) == 0
