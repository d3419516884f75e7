"""Tuning the language model's weights, and decoding files with them."""

from __future__ import annotations

import json

import matplotlib.image
import numpy as np
import pytest
import soundfile
import torch
from bigrams import BigramEncoder
from language_model import NGramModel, WordScorer

import train_minimal
import transcribe
import tune_decoder
from implementation import CharEncoder, generate_synthetic_dataset
from training import load_checkpoint
from tune_decoder import Output, Tuning, count_search_errors, tune

ENCODER = CharEncoder()
SENTENCES = ["the cat sat", "the cat ran", "a cat sat", "the dog ran"]


def heard(text: str, doubtful: int, other: str) -> Output:
    """Clear log-probabilities of a text, but at one place ``other`` is a little likelier than the right letter."""
    probabilities = np.full((len(text), ENCODER.vocab_size), 1e-4)
    labels = ENCODER.encode(text)
    probabilities[range(len(text)), labels] = 1.0
    probabilities[doubtful, labels[doubtful]], probabilities[doubtful, ENCODER.encode(other)[0]] = 0.4, 0.6
    return Output(np.log(probabilities / probabilities.sum(1, keepdims=True)), text)


@pytest.fixture(scope="module")
def scorer():
    return WordScorer(NGramModel.train(SENTENCES, order=2), ENCODER)


def test_the_language_model_mends_what_the_ear_got_wrong(scorer):
    dev = [heard("the cat sat", 5, "o"), heard("the dog ran", 4, "b")]
    assert count_search_errors(dev, ENCODER, 20).errors == 2  # cot, bog
    assert count_search_errors(dev, ENCODER, 20, scorer, alpha=1.0).errors == 0


def test_the_grid_holds_the_errors_of_each_pair_and_the_best_is_in_it(scorer):
    dev = [heard("the cat sat", 5, "o"), heard("a cat sat", 3, "u")]
    tuning = tune(dev, ENCODER, scorer, 20, alphas=(0.0, 1.0), betas=(0.0, 1.0, 2.0))
    expected = [[count_search_errors(dev, ENCODER, 20, scorer, a, b).errors for b in (0.0, 1.0, 2.0)] for a in (0.0, 1.0)]
    assert tuning.errors.tolist() == expected and tuning.words == 6
    assert expected[0][0] == 2 and expected[1][0] == 0 and tuning.best[0] == 1.0


def test_of_equal_pairs_the_middle_one_is_taken():
    errors = np.array([[9, 9, 9], [3, 3, 3], [9, 9, 9]])
    assert Tuning((0.0, 1.0, 2.0), (-1.0, 0.0, 1.0), errors, 100).best == (1.0, 0.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A small manifest with its own dev and test, a checkpoint trained for a moment, and a language model."""
    folder = tmp_path_factory.mktemp("tune")
    np.random.seed(0)
    samples = generate_synthetic_dataset(12, 8000, max_words=2)
    rows = ["path\tspeaker\tsplit\ttranscript"]
    for number, sample in enumerate(samples):
        soundfile.write(folder / f"{number}.wav", sample.audio.numpy(), 8000)
        split = "train" if number < 6 else "dev" if number < 9 else "test"
        rows.append(f"{number}.wav\ts{number % 2}\t{split}\t{sample.transcript}")
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n")
    NGramModel.train([sample.transcript for sample in samples[:6]], order=2).write_arpa(folder / "lm.arpa")
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(folder / "run")]
    assert train_minimal.main(["--data", str(folder), *small]) == 0
    return folder, samples


def tune_arguments(folder) -> list[str]:
    return [str(folder / "run" / "checkpoint.pt"), "--data", str(folder), "--lm", str(folder / "lm.arpa"), "--beam", "4"]


def test_alpha_and_beta_are_chosen_on_dev_alone(corpus, capsys, monkeypatch):
    folder, samples = corpus
    seen, real = [], tune_decoder.tune

    def spy(dev, *arguments, **options):
        seen.extend(output.reference for output in dev)
        return real(dev, *arguments, alphas=(0.0, 0.5), betas=(0.0, 1.0), on_pair=options["on_pair"])

    monkeypatch.setattr(tune_decoder, "tune", spy)
    assert tune_decoder.main([*tune_arguments(folder), "--tune-beam", "2"]) == 0
    assert seen == [sample.transcript for sample in samples[6:9]]
    out = capsys.readouterr().out
    for name in ("dev", "test"):
        for kind in ("greedy", "beam 4 ", "beam 4 + language model"):
            assert any(line.startswith(name) and kind in line and "WER" in line for line in out.splitlines())
    settings = json.loads((folder / "run" / "decoder.json").read_text())
    assert settings["alpha"] in (0.0, 0.5) and settings["beta"] in (0.0, 1.0)
    picture = matplotlib.image.imread(folder / "run" / "tuning.png")
    assert min(picture.shape[:2]) > 200 and picture[..., :3].std() > 0.05
    with pytest.raises(SystemExit):
        tune_decoder.main(tune_arguments(folder))
    assert "--overwrite replaces it" in capsys.readouterr().err


def test_transcribe_with_a_language_model_shows_scores_and_times(corpus, capsys):
    folder, _ = corpus
    command = [str(folder / "run" / "checkpoint.pt"), str(folder / "0.wav"), "--lm", str(folder / "lm.arpa"), "--beam", "8"]
    assert transcribe.main([*command, "--nbest", "3", "--times", "--alpha", "0.5", "--beta", "2", "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["text"] == line["nbest"][0]["text"] and 1 <= len(line["nbest"]) <= 3
    for found in line["nbest"]:
        assert found["score"] == pytest.approx(found["log_ctc"] + 0.5 * found["log_lm"] + 2 * found["words"])
    assert " ".join(word["text"] for word in line["words"]) == " ".join(line["text"].split())
    assert all(0 <= word["start"] < word["end"] <= line["seconds"] + 0.1 for word in line["words"])
    assert transcribe.main([*command, "--nbest", "2", "--times", "--lexicon"]) == 0
    assert "= ctc" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--alpha", "1"], "--alpha weighs a language model: add --lm"),
        (["--lm", "x.arpa", "--alpha", "-1"], "--alpha must be at least 0, not -1"),
        (["--nbest", "3"], "--nbest 3 needs a beam search at least as wide"),
        (["--beam", "0"], "--beam must be at least 1, not 0"),
        (["--lm", "x.arpa", "--beta", "nan"], "--beta must be a finite number, not nan"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit):
        transcribe.main(["checkpoint.pt", "a.wav", *flags])
    assert message in capsys.readouterr().err


def test_a_broken_language_model_is_an_error_of_one_sentence(corpus, tmp_path, capsys):
    folder, _ = corpus
    (tmp_path / "bad.arpa").write_text("\\data\\\nngram 1=2\n\n\\1-grams:\n-1\tthe\n\n\\end\\\n")
    files = [str(folder / "run" / "checkpoint.pt"), str(folder / "0.wav")]
    assert transcribe.main([*files, "--lm", str(tmp_path / "bad.arpa")]) == 2
    error = capsys.readouterr().err
    assert "bad.arpa" in error and "Traceback" not in error and error.count("\n") == 1


def test_training_makes_and_uses_the_language_model_of_its_transcripts(corpus, tmp_path, capsys):
    folder, samples = corpus
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(folder), *small, "--lm", "train", "--lexicon"]) == 0
    out = capsys.readouterr().out
    assert "tuned on dev" in out and out.count("+ language model") == 2  # dev and test
    words = {word for sample in samples[:6] for word in sample.transcript.split()}
    assert NGramModel.read_arpa(tmp_path / "run" / "lm.arpa").vocabulary == words
    assert json.loads((tmp_path / "run" / "decoder.json").read_text())["lexicon"] is True


def test_test_audio_that_can_not_be_read_is_named_at_the_end(corpus, tmp_path, capsys):
    folder, _ = corpus
    for file in folder.iterdir():
        if file.suffix in (".wav", ".tsv"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    soundfile.write(tmp_path / "11.flac", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
    broken = (tmp_path / "11.flac").read_bytes()
    (tmp_path / "11.flac").write_bytes(broken[: len(broken) // 3] + b"\0" * 400)  # a whole header, broken audio
    manifest = (tmp_path / "manifest.tsv").read_text().replace("11.wav", "11.flac")
    (tmp_path / "manifest.tsv").write_text(manifest)
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(tmp_path), *small]) == 2  # 1 of 3 is more than 1 %
    captured = capsys.readouterr()
    assert "epoch   1/1" in captured.out and "11.flac" in captured.err and "1 of 3 utterances are bad" in captured.err
    assert "not evaluated: test: 1 of 3" in captured.err
    assert list(json.loads((tmp_path / "run" / "results.json").read_text())) == ["dev"]  # not lost
    assert (tmp_path / "run" / "checkpoint.pt").exists() and (tmp_path / "run" / "predictions.png").exists()


def test_overwrite_does_not_delete_the_language_model_that_it_is_to_use(corpus, tmp_path, capsys):
    folder, _ = corpus
    (tmp_path / "lm.arpa").write_bytes((folder / "lm.arpa").read_bytes())
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path), "--overwrite"]
    assert train_minimal.main(["--data", str(folder), *small, "--lm", str(tmp_path / "lm.arpa")]) == 2
    assert "copy it to another folder first" in capsys.readouterr().err and (tmp_path / "lm.arpa").exists()


def test_a_split_of_another_name_is_not_left_out_silently(corpus, tmp_path, capsys):
    folder, _ = corpus
    manifest = (folder / "manifest.tsv").read_text().replace("\ttest\t", "\teval\t")
    for file in folder.glob("*.wav"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "manifest.tsv").write_text(manifest)
    train_minimal.prepare(train_minimal.parse_args(["--data", str(tmp_path), "--rnn-hidden", "16"]))
    assert "split 'eval': 3 utterances, neither trained nor tested on" in capsys.readouterr().out


def test_bigram_outputs_train_save_and_transcribe(corpus, tmp_path, capsys):
    folder, _ = corpus
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(folder), *small, "--bigrams", "--time-strides", "3,2"]) == 0
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert isinstance(checkpoint.encoder, BigramEncoder) and checkpoint.model.vocab_size == checkpoint.encoder.vocab_size > 29
    command = [str(tmp_path / "run" / "checkpoint.pt"), str(folder / "0.wav")]
    assert transcribe.main([*command, "--lm", str(folder / "lm.arpa"), "--beam", "4", "--lexicon", "--times"]) == 0
    assert "0.wav\t" in capsys.readouterr().out
    again = ["--data", str(folder), "--checkpoint", str(tmp_path / "run" / "checkpoint.pt"), "--epochs", "1"]
    assert train_minimal.main([*again, "--output-dir", str(tmp_path / "more")]) == 0
    assert load_checkpoint(tmp_path / "more" / "checkpoint.pt").encoder.alphabet == checkpoint.encoder.alphabet


def test_a_language_model_that_does_not_fit_is_refused_before_training(corpus, tmp_path, capsys):
    folder, _ = corpus
    (tmp_path / "bad.arpa").write_text("\\data\\\nngram 1=2\n\n\\1-grams:\n-1\tthe\n\n\\end\\\n")
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(folder), *small, "--lm", str(tmp_path / "bad.arpa")]) == 2
    captured = capsys.readouterr()
    assert "bad.arpa:7: section" in captured.err and "epoch" not in captured.out and not (tmp_path / "run").exists()


def test_dropped_characters_trouble_neither_the_search_nor_bigrams(corpus, tmp_path):
    folder, samples = corpus
    for file in folder.glob("*.wav"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest = (folder / "manifest.tsv").read_text()
    manifest = manifest.replace(f"dev\t{samples[6].transcript}", f"dev\tcafé {samples[6].transcript}")
    manifest = manifest.replace(f"train\t{samples[0].transcript}", f"train\té {samples[0].transcript}")
    (tmp_path / "manifest.tsv").write_text(manifest)
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(tmp_path), *small, "--unknown", "drop", "--lm", "train", "--bigrams"]) == 0
    assert (tmp_path / "run" / "decoder.json").exists()


def test_bigrams_are_learnt_from_the_utterances_that_are_trained_on(corpus, tmp_path):
    folder, samples = corpus
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(folder), *small, "--bigrams", "--n-train", "2"]) == 0
    expected = BigramEncoder.learn([sample.transcript for sample in samples[:2]]).alphabet
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").encoder.alphabet == expected


def test_times_are_of_the_labels_that_were_found(corpus, monkeypatch):
    """c after ab and x, in an alphabet where the same text may also be cut as a, b: its time is that of its own frame."""
    folder, _ = corpus
    encoder, (blank, x, pair, c) = BigramEncoder(["a", "b", "c", "x", "ab"]), (0, 4, 5, 3)
    path = [x, blank, pair, blank, c, blank, blank, blank, blank, blank]
    log_probs = np.log(np.where(np.eye(6)[path] == 1, 0.95, 0.01)).astype(np.float32)
    checkpoint = load_checkpoint(folder / "run" / "checkpoint.pt")
    model = checkpoint.model
    monkeypatch.setattr(model, "forward", lambda features, lengths: (torch.tensor(log_probs)[:, None], torch.tensor([10])))
    checkpoint.encoder = encoder
    for decoder in (None, transcribe.Decoder(beam=4)):
        found = transcribe.transcribe(checkpoint, folder / "0.wav", decoder, times=True)
        hop = model.time_stride * 0.01
        assert found["text"] == "xabc" and [unit["text"] for unit in found["characters"]] == ["x", "ab", "c"]
        assert [unit["start"] for unit in found["characters"]] == pytest.approx([0.0, 2 * hop, 4 * hop])


def test_tuned_weights_are_read_with_care(corpus, tmp_path, capsys):
    folder, _ = corpus
    (tmp_path / "checkpoint.pt").write_bytes((folder / "run" / "checkpoint.pt").read_bytes())
    command = [str(tmp_path / "checkpoint.pt"), str(folder / "0.wav"), "--lm", str(folder / "lm.arpa"), "--beam", "4"]
    for broken in ("{", "[]", '{"alpha": 1}', '{"alpha": NaN, "beta": 1}', '{"alpha": "1", "beta": 1}'):
        (tmp_path / "decoder.json").write_text(broken)
        assert transcribe.main(command) == 2
        assert "decoder.json is broken" in capsys.readouterr().err
    (tmp_path / "decoder.json").write_text('{"alpha": 1, "beta": 1, "lm": "x/lm.arpa", "lexicon": false, "unit": "word"}')
    assert transcribe.main(command) == 0
    assert "tuned with" not in capsys.readouterr().err
    assert transcribe.main([*command, "--lexicon"]) == 0
    assert "were tuned with --lm x/lm.arpa, and may not suit this search" in capsys.readouterr().err
    assert transcribe.main([*command, "--lexicon", "--alpha", "1", "--beta", "1"]) == 0
    assert "tuned with" not in capsys.readouterr().err


def test_the_unit_of_the_language_model_can_be_said(corpus, tmp_path, capsys, monkeypatch):
    folder, samples = corpus
    NGramModel.train([sample.transcript.replace(" ", "") for sample in samples], 2, "character").write_arpa(tmp_path / "lm.arpa")
    command = [str(folder / "run" / "checkpoint.pt"), str(folder / "0.wav"), "--lm", str(tmp_path / "lm.arpa"), "--beam", "4"]
    assert transcribe.main([*command, "--unit", "character", "--lexicon"]) == 2
    assert "model of characters" in capsys.readouterr().err
    assert transcribe.main([*command, "--unit", "character"]) == 0
    (tmp_path / "checkpoint.pt").write_bytes((folder / "run" / "checkpoint.pt").read_bytes())
    (tmp_path / "decoder.json").write_text('{"alpha": 1, "beta": 1, "lm": "lm.arpa", "lexicon": false, "unit": "character"}')
    seen = []
    monkeypatch.setattr(transcribe, "make_scorer", lambda path, encoder, unit, lexicon: seen.append(unit))
    assert transcribe.main([str(tmp_path / "checkpoint.pt"), *command[1:]]) == 0 and seen == ["character"]
    with pytest.raises(SystemExit):
        train_minimal.main(["--lm", "train", "--unit", "character"])
    assert "--unit says how the model of --lm FILE" in capsys.readouterr().err
