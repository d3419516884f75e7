"""train_minimal.py as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure

import train_minimal
import transcribe
from decoding.ngrams import NGramModel
from helpers import DATA, ROOT, TINY, needs_digits
from implementation import generate_synthetic_audio
from models.checkpoints import load_checkpoint
from speech.alphabets import BigramEncoder
from training import loop, report, run


@pytest.fixture(autouse=True)
def empty_pictures(monkeypatch):
    """Those of the tests' own runs; the pictures of ``run_folder`` are drawn and looked at."""
    for name in ("predictions", "training_curves", "tuning_surface"):
        monkeypatch.setattr(report, name, lambda *_: Figure((1, 1)))


def test_a_run_leaves_its_files(run_folder):
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert all(line["dev_words"] > 0 and 0 <= line["blank_share"] <= 1 for line in lines)
    for name in ("training_curves.png", "predictions.png"):
        picture = matplotlib.image.imread(run_folder / name)
        assert min(picture.shape[:2]) > 200 and picture[..., :3].std() > 0.05  # not blank
    assert (run_folder / "checkpoint.pt").exists() and (run_folder / "last.pt").exists()
    assert json.loads((run_folder / "results.json").read_text())["dev"]["words"] == lines[-1]["dev_words"]


def test_an_epoch_line_says_loss_rates_counts_blanks_and_speed(tmp_path, capsys):
    assert train_minimal.main([*TINY, "--epochs", "1", "--output-dir", str(tmp_path / "a")]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("epoch"))
    for word in ("loss", "WER", "CER", "%", "(", "/", "blank", "s audio/s"):
        assert word in line
    assert out.count("REF: ") == out.count("HYP: ") >= 3


def test_a_standing_run_is_not_overwritten_unasked(run_folder, capsys):
    before = (run_folder / "checkpoint.pt").read_bytes()
    assert train_minimal.main([*TINY, "--epochs", "1", "--output-dir", str(run_folder)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (run_folder / "checkpoint.pt").read_bytes() == before


def test_runs_number_themselves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert train_minimal.main([*TINY, "--epochs", "1"]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["001", "002"]


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = ("seconds",)
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]


@pytest.mark.slow
def test_ctrl_c_within_a_step_or_while_dev_is_evaluated_ends_as_the_whole_run(run_folder, tmp_path, monkeypatch):
    flags, real = [*TINY, "--epochs", "2"], (run.evaluate, torch.Tensor.backward)
    calls = {"evaluate": 0, "backward": 0}

    def evaluate(*arguments):
        calls["evaluate"] += 1
        if calls["evaluate"] in (1, 3):  # in the first epoch, and, once that was resumed, in the last one
            raise KeyboardInterrupt
        return real[0](*arguments)

    def backward(tensor, *arguments, **options):
        calls["backward"] += 1
        if calls["backward"] == 3:  # the first is that of try_longest_batch
            os.kill(os.getpid(), signal.SIGINT)
        return real[1](tensor, *arguments, **options)

    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(run, "evaluate", evaluate)
        assert train_minimal.main([*flags, "--output-dir", str(tmp_path / "a")]) == 130
        assert load_checkpoint(tmp_path / "a" / "last.pt").training["report"]["epoch"] == 1
        assert train_minimal.main([*flags, "--resume", str(tmp_path / "a")]) == 130
        assert train_minimal.main([*flags, "--resume", str(tmp_path / "a")]) == 0
        monkeypatch.setattr(torch.Tensor, "backward", backward)
        assert train_minimal.main([*flags, "--output-dir", str(tmp_path / "b")]) == 130
        assert load_checkpoint(tmp_path / "b" / "last.pt").training["trainer"]["batch"] == 2
        assert train_minimal.main([*flags, "--resume", str(tmp_path / "b")]) == 0
    finally:
        signal.signal(signal.SIGINT, old)
    whole = load_checkpoint(run_folder / "last.pt").model.state_dict()
    for name in "ab":
        assert metrics(tmp_path / name) == metrics(run_folder)
        found = load_checkpoint(tmp_path / name / "last.pt").model.state_dict()
        assert all(torch.equal(value, whole[key]) for key, value in found.items())


def test_infinite_gradients_end_the_run_with_a_sentence_and_what_was_saved_stays_good(run_folder, tmp_path, monkeypatch, capsys):
    flags, real, steps = [*TINY, "--epochs", "2"], torch.nn.utils.clip_grad_norm_, []

    def clip(*arguments):
        steps.append(real(*arguments))
        return steps[-1] if len(steps) < 4 else torch.tensor(torch.inf)  # the last of two steps in the second epoch

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    monkeypatch.setattr(loop, "MOST_SKIPPED_IN_A_ROW", 1)
    assert train_minimal.main([*flags, "--output-dir", str(tmp_path / "run")]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(said) == 1 and "the norm of the gradient is inf" in said[0] and "lower the learning rate" in said[0]
    last = load_checkpoint(tmp_path / "run" / "last.pt")
    assert last.training["trainer"]["epoch"] == 1 and all(
        torch.isfinite(value).all() for value in last.model.state_dict().values()
    )
    monkeypatch.undo()
    assert train_minimal.main([*flags, "--resume", str(tmp_path / "run")]) == 0
    assert metrics(tmp_path / "run") == metrics(run_folder)


def test_resume_wants_the_same_speech_and_flags_and_a_whole_state(run_folder, tmp_path, capsys):
    shutil.copytree(run_folder, tmp_path / "run")
    command = [*TINY, "--epochs", "2", "--resume", str(tmp_path / "run")]
    cases = {"no_augment was False, is True": ["--no-augment"], "no_sortagrad was False": ["--no-sortagrad"],
             "optimizer was adamw, is sgd": ["--optimizer", "sgd"], "transcripts was": ["--n-train", "17"]}  # fmt: skip
    for message, flags in cases.items():
        assert train_minimal.main([*command, *flags]) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "run" / "metrics.jsonl").write_text('{"epoch": 1')
    assert train_minimal.main(command) == 2
    assert "metrics.jsonl has a broken line" in capsys.readouterr().err
    shutil.copy(tmp_path / "run" / "checkpoint.pt", tmp_path / "run" / "last.pt")
    assert train_minimal.main(command) == 2
    assert "holds only weights" in capsys.readouterr().err


def test_resume_wants_the_same_settings(run_folder, capsys):
    assert train_minimal.main([*TINY, "--epochs", "3", "--resume", str(run_folder)]) == 2
    assert "epochs was 2, is 3" in capsys.readouterr().err
    assert train_minimal.main([*TINY, "--epochs", "2", "--time-strides", "3,1", "--resume", str(run_folder)]) == 2
    assert "another model: time_strides was [2, 2], is [3, 1]" in capsys.readouterr().err
    assert train_minimal.main([*TINY, "--epochs", "2", "--bigrams", "--resume", str(run_folder)]) == 2
    assert "another alphabet: there were 29 outputs, now there are " in capsys.readouterr().err


def test_training_starts_from_a_checkpoint(run_folder, tmp_path, capsys):
    flags = ["--checkpoint", str(run_folder / "checkpoint.pt"), "--output-dir", str(tmp_path / "b"), "--epochs", "1"]
    assert train_minimal.main([*TINY, *flags]) == 0
    flags[3] = str(tmp_path / "c")
    assert train_minimal.main([*flags, "--rnn-hidden", "32", "--batch-norm", "paper"]) == 2
    said = capsys.readouterr().err
    assert "brings its own model: leave out --rnn-hidden (it has 16), --batch-norm (it has output)" in said


def test_defaults_for_recordings_and_those_of_a_checkpoint(run_folder, tmp_path):
    speech = tmp_path / "speech"
    speech.mkdir()
    rows = ["path\ttranscript\tsplit"]
    for number, split in enumerate(("train", "train", "dev", "test")):
        soundfile.write(speech / f"{number}.wav", generate_synthetic_audio("hello", speaker=number).numpy(), 16000)
        rows.append(f"{number}.wav\thello\t{split}")
    (speech / "manifest.tsv").write_text("\n".join(rows) + "\n")
    small = ["--data", str(speech), "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1"]
    start = ["--checkpoint", str(run_folder / "checkpoint.pt")]
    cases = {"a": ([], 8000, [3, 1]), "b": (["--n-fft", "256"], 16000, [3, 1]), "c": (start, 16000, [2, 2])}
    for name, (flags, rate, strides) in cases.items():
        assert train_minimal.main([*small, *flags, "--output-dir", str(tmp_path / name)]) == 0
        config = load_checkpoint(tmp_path / name / "checkpoint.pt").config
        assert (config.sample_rate, config.time_strides) == (rate, strides)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--resume", "no/such/run"], "there is no last.pt in it"),
        (["--resume", "no/such/run", "--output-dir", "no/such/run/"], "there is no last.pt in it"),
        (["--resume", __file__], "is a file: give the folder of the run"),
        (["--output-dir", __file__], "is a file: choose another folder"),
        (["--checkpoint", "no.pt"], "no.pt: no such file"),
        (["--device", "abacus"], "there is no device 'abacus'"),
    ],
)
def test_what_is_not_there_is_named_without_a_traceback(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train_minimal.main(flags) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_that_can_be_used_and_resumed(tmp_path):
    folder = tmp_path / "run"
    script = [sys.executable, str(ROOT / "train_minimal.py"), *TINY, "--threads", "1"]
    command = [*script, "--epochs", "400", "--output-dir", str(folder)]
    listening = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}  # though a parent ignored it
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, **pipes, **listening)
    deadline = time.time() + 90
    while not (folder / "checkpoint.pt").exists() and time.time() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert f"--resume {folder}" in out and "Traceback" not in out
    audio = tmp_path / "a.wav"
    soundfile.write(audio, 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    assert transcribe.main([str(folder / "checkpoint.pt"), str(audio)]) == 0
    epochs = len((folder / "metrics.jsonl").read_text().splitlines())
    command[-2:] = ["--resume", str(folder)]
    resumed = subprocess.Popen(command, **pipes, **listening)
    deadline = time.time() + 90
    while len((folder / "metrics.jsonl").read_text().splitlines()) <= epochs and time.time() < deadline:
        time.sleep(0.1)
    resumed.send_signal(signal.SIGINT)
    out, _ = resumed.communicate(timeout=60)
    assert "resumed after" in out, out
    numbers = [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert numbers == sorted(set(numbers)) and numbers[0] == 1


@needs_digits
def test_real_digits_join_and_bad_lines(tmp_path, capsys):
    manifest = (DATA / "fsdd" / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    rows = [row.replace("wav/", f"{DATA / 'fsdd' / 'wav'}/", 1) for row in manifest[:1] + manifest[1::8]]
    (tmp_path / "manifest.tsv").write_text("\n".join([*rows, "gone.flac\tx\ttrain\t1.0\tone"]) + "\n", encoding="utf-8")
    flags = ["--data", str(tmp_path), "--join", "3", "--n-train", "40", "--n-val", "10", "--epochs", "1", "--max-seconds", "0.6"]
    tiny = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main([*flags, *tiny]) == 0
    out, unseen = capsys.readouterr().out, sum("\ttest_unseen\t" in row for row in rows)
    assert unseen > 50 and "gone.flac" in out and f"test_unseen: {unseen} utterances" in out and "8000 Hz" in out
    longer = sum(float(row.split("\t")[3]) > 0.6 for row in rows[1:] if "\ttrain\t" in row)
    assert longer and f"left out because they are longer than 0.6 s: {longer} recordings of train" in out
    assert "gone.flac" in (tmp_path / "run" / "left_out.txt").read_text()


def test_overwrite_deletes_nothing_before_the_new_run_is_ready(run_folder, tmp_path, capsys):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "checkpoint.pt").write_bytes((run_folder / "checkpoint.pt").read_bytes())
    assert train_minimal.main(["--data", "no/such/folder", "--output-dir", str(folder), "--overwrite"]) == 2
    assert (folder / "checkpoint.pt").exists()
    assert train_minimal.main([*TINY, "--epochs", "1", "--output-dir", str(folder), "--overwrite"]) == 0


def test_a_run_that_can_not_start_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train_minimal.main(["--data", "no/such/folder"]) == 2
    assert not Path("runs").exists()


def test_training_makes_and_uses_the_language_model_of_its_transcripts(small_corpus, tmp_path, capsys):
    folder, samples = small_corpus
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(folder), *small, "--lm", "train", "--lexicon"]) == 0
    out = capsys.readouterr().out
    assert "tuned on dev" in out and out.count("+ language model") == 2  # dev and test
    words = {word for sample in samples[:6] for word in sample.transcript.split()}
    assert NGramModel.read_arpa(tmp_path / "run" / "lm.arpa").vocabulary == words
    assert json.loads((tmp_path / "run" / "decoder.json").read_text())["lexicon"] is True


def test_test_audio_that_can_not_be_read_is_named_at_the_end(small_corpus, tmp_path, capsys):
    folder, _ = small_corpus
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


def test_overwrite_does_not_delete_the_language_model_that_it_is_to_use(small_corpus, tmp_path, capsys):
    folder, _ = small_corpus
    (tmp_path / "lm.arpa").write_bytes((folder / "lm.arpa").read_bytes())
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path), "--overwrite"]
    assert train_minimal.main(["--data", str(folder), *small, "--lm", str(tmp_path / "lm.arpa")]) == 2
    assert "copy it to another folder first" in capsys.readouterr().err and (tmp_path / "lm.arpa").exists()


def test_bigram_outputs_train_save_and_transcribe(small_corpus, tmp_path, capsys):
    folder, _ = small_corpus
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


def test_a_language_model_that_does_not_fit_is_refused_before_training(small_corpus, tmp_path, capsys):
    folder, _ = small_corpus
    (tmp_path / "bad.arpa").write_text("\\data\\\nngram 1=2\n\n\\1-grams:\n-1\tthe\n\n\\end\\\n")
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(folder), *small, "--lm", str(tmp_path / "bad.arpa")]) == 2
    captured = capsys.readouterr()
    assert "bad.arpa:7: section" in captured.err and "epoch" not in captured.out and not (tmp_path / "run").exists()


def test_dropped_characters_trouble_neither_the_search_nor_bigrams_and_flatter_no_rate(small_corpus, tmp_path, capsys):
    folder, samples = small_corpus
    for file in folder.glob("*.wav"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest = (folder / "manifest.tsv").read_text()
    manifest = manifest.replace(f"dev\t{samples[6].transcript}", f"dev\t5 café {samples[6].transcript}")
    manifest = manifest.replace(f"train\t{samples[0].transcript}", f"train\té {samples[0].transcript}")
    (tmp_path / "manifest.tsv").write_text(manifest)
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(tmp_path), *small, "--unknown", "drop", "--lm", "train", "--bigrams"]) == 0
    assert "left out of the transcripts, since the alphabet lacks them: '5' once\n" in capsys.readouterr().out
    assert train_minimal.main(["--data", str(tmp_path), *small[:-1], str(tmp_path / "other")]) == 2
    assert "'5' once, first in " in (error := capsys.readouterr().err)
    assert "; write numbers in words, or --alphabet corpus takes " in error and ", or --unknown drop leaves them out" in error
    words = 2 + sum(len(sample.transcript.split()) for sample in samples[6:9])
    assert json.loads((tmp_path / "run" / "results.json").read_text())["dev"]["words"] == words
    tuned = json.loads((tmp_path / "run" / "decoder.json").read_text())["results"]["dev"]
    assert [rates["words"] for rates in tuned.values()] == [words] * 3


def test_bigrams_are_learnt_from_the_utterances_that_are_trained_on(small_corpus, tmp_path):
    folder, samples = small_corpus
    small = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main(["--data", str(folder), *small, "--bigrams", "--n-train", "2"]) == 0
    taken = np.random.default_rng(0).choice(6, size=2, replace=False)  # drawn by the seed, not the first two
    expected = BigramEncoder.learn([samples[index].transcript for index in sorted(taken)]).alphabet
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").encoder.alphabet == expected


@pytest.mark.parametrize("preset", ["lesson", "paper", "librispeech-lstm"])
def test_presets_train_in_small(preset, tmp_path, capsys):
    flags = [*TINY[2:], "--preset", preset, "--epochs", "1", "--fc-hidden", "8", "--n-rnn", "2"]
    assert train_minimal.main([*flags, "--output-dir", str(tmp_path / "run")]) == 0
    assert f"preset {preset}: --" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").config.rnn_hidden == 16


def test_the_deployed_model_is_trained_and_hears_a_stream(tmp_path, capsys):
    flags = [*TINY, "--preset", "deployed", "--fc-hidden", "16", "--row-conv", "3", "--epochs", "1"]
    assert train_minimal.main([*flags, "--output-dir", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "preset deployed: --forward-only --rnn-type gru --n-rnn" in out and "forward-only gru layer of 16 units" in out
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16000)
    assert transcribe.main([str(tmp_path / "run" / "checkpoint.pt"), "--stream", str(tmp_path / "a.wav")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(str(tmp_path / "a.wav"))


def test_splits_to_train_choose_weights_and_test_on_are_named(tmp_path, capsys):
    rows, names = ["path\ttranscript\tsplit"], ["train-a", "train-b", "dev-a", "dev-b", "test-a", "test-b"]
    for name in names:
        for number in range(4):
            soundfile.write(tmp_path / f"{name}{number}.wav", generate_synthetic_audio("see", speaker=number).numpy(), 16000)
            rows.append(f"{name}{number}.wav\tsee\t{name}")
    (tmp_path / "manifest.tsv").write_text("\n".join(rows))
    command = ["--data", str(tmp_path), "--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "8", "--epochs", "1"]
    assert train_minimal.main([*command, "--output-dir", str(tmp_path / "run")]) == 2
    assert "several sets to choose the best weights on: dev-a, dev-b; name one with --dev NAME" in capsys.readouterr().err
    roles = ["--train", "train-b", "--dev", "dev-b", "--test", "test-a, dev-a"]
    assert train_minimal.main([*command, *roles, "--output-dir", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "training: 4 utterances" in out and "split 'train-a': 4 utterances, used for neither training nor testing" in out
    assert set(json.loads((tmp_path / "run" / "results.json").read_text())) == {"dev", "test-a", "test dev-a"}
    assert train_minimal.main([*command, "--dev", "dev-a", "--output-dir", str(tmp_path / "all")]) == 0
    assert "training: 8 utterances" in capsys.readouterr().out
    assert train_minimal.main([*command, "--train", "x", "--dev", "dev-a", "--output-dir", str(tmp_path / "no")]) == 2
    assert "no utterance is in the split 'x'; there are dev-a, dev-b, test-a" in capsys.readouterr().err
