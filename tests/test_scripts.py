"""The scripts as a user runs them: train_minimal.py, transcribe.py, visualization.py, setup.py."""

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
import paper_charts
import pytest
import soundfile
import torch
import training_run

import setup
import train_minimal
import transcribe
import visualization
from implementation import generate_synthetic_audio
from training import load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
TINY = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--n-train", "16", "--n-val", "4"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A tiny run of two epochs and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    assert train_minimal.main([*TINY, "--epochs", "2", "--output-dir", str(folder)]) == 0
    return folder


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


def test_a_number_that_another_run_takes_meanwhile_is_left_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = train_minimal.parse_args(TINY)
    folders = [train_minimal.choose_folder(args) for _ in range(2)]  # both before either is made
    assert folders == [Path("runs/001")] * 2
    assert [train_minimal.open_folder(folder, args, []) for folder in folders] == [Path("runs/001"), Path("runs/002")]


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = ("seconds",)
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]


@pytest.mark.slow
def test_ctrl_c_within_a_step_or_while_dev_is_evaluated_ends_as_the_whole_run(run_folder, tmp_path, monkeypatch):
    flags, real = [*TINY, "--epochs", "2"], (training_run.evaluate, torch.Tensor.backward)
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
        monkeypatch.setattr(training_run, "evaluate", evaluate)
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
    assert "holds weights alone" in capsys.readouterr().err


def prepared(*flags):
    """Trainer, configuration and dev set that the flags lead to."""
    trainer, config, _, evaluation, _ = train_minimal.prepare(train_minimal.parse_args([*TINY, *flags]))
    return trainer, config, evaluation["dev"]


def test_flags_reach_what_they_name(monkeypatch):
    voices = []
    real = train_minimal.generate_synthetic_dataset
    monkeypatch.setattr(
        train_minimal, "generate_synthetic_dataset", lambda *a, **k: (voices.append(k.get("speakers")), real(*a, **k))[1]
    )
    trainer, config, _ = prepared()
    assert voices[1] is train_minimal.VALIDATION_SPEAKERS and voices[0] is None
    assert trainer.data.augmentation == train_minimal.SYNTHETIC_AUGMENTATION and trainer.sampler.sortagrad
    assert config.batch_norm == "output" and isinstance(trainer.optimizer, torch.optim.AdamW) and trainer.schedule == "onecycle"
    trainer, config, _ = prepared("--no-augment", "--no-sortagrad", "--batch-norm", "paper", "--optimizer", "sgd",
                                  "--schedule", "anneal", "--batch-size", "3", "--lr", "1e-4", "--dropout", "0.25")  # fmt: skip
    assert trainer.data.augmentation is None and not trainer.sampler.sortagrad
    assert config.batch_norm == "input" and config.dropout == 0.25 and trainer.model.dropout.p == 0.25
    assert isinstance(trainer.optimizer, torch.optim.SGD) and trainer.optimizer.param_groups[0]["nesterov"]
    assert (trainer.schedule, trainer.sampler.batch_size, trainer.lr) == ("anneal", 3, 1e-4)


def test_resume_wants_the_same_settings(run_folder, capsys):
    assert train_minimal.main([*TINY, "--epochs", "3", "--resume", str(run_folder)]) == 2
    assert "epochs was 2, is 3" in capsys.readouterr().err
    assert train_minimal.main([*TINY, "--epochs", "2", "--time-strides", "3,1", "--resume", str(run_folder)]) == 2
    assert "another model: time_strides was [2, 2], is [3, 1]" in capsys.readouterr().err
    assert train_minimal.main([*TINY, "--epochs", "2", "--bigrams", "--resume", str(run_folder)]) == 2
    assert "another model: outputs was 29, is " in capsys.readouterr().err


def test_training_starts_from_a_checkpoint(run_folder, tmp_path, capsys):
    flags = ["--checkpoint", str(run_folder / "checkpoint.pt"), "--output-dir", str(tmp_path / "b"), "--epochs", "1"]
    assert train_minimal.main([*TINY, *flags]) == 0
    flags[3] = str(tmp_path / "c")
    assert train_minimal.main([*flags, "--rnn-hidden", "32", "--batch-norm", "paper"]) == 2
    said = capsys.readouterr().err
    assert "brings its own model: leave out --rnn-hidden (there 16), --batch-norm (there output)" in said


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
        (["--epochs", "0"], "--epochs must be at least 1, not 0"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--n-conv", "4"], "--n-conv must be 1, 2 or 3"),
        (["--n-rnn", "8"], "--n-rnn must be 1 to 7"),
        (["--lr", "0"], "--lr must be above 0"),
        (["--n-fft", "129"], "--n-fft must be even"),
        (["--max-seconds", "9"], "--max-seconds leaves out long recordings of --data"),
        (["--join", "3"], "--join joins recordings of --data"),
        (["--resume", "x", "--checkpoint", "y"], "choose one"),
        (["--resume", "x", "--output-dir", "y"], "goes on in its own folder"),
        (["--resume", "x", "--overwrite"], "choose one"),
        (["--data", ""], "--data is empty"),
        (["--output-dir", ""], "--output-dir is empty"),
        (["--num-workers", "-1"], "--num-workers must be at least 0"),
        (["--seed", "-1"], "--seed must be 0 to 2^32 - 1, not -1"),
        (["--time-strides", "2,2,2"], "wants 2 strides"),
        (["--time-strides", "fast"], "whole numbers"),
        (["--rnn-type", "transformer"], "invalid choice"),
        (["--dropout", "1"], "below 1"),
    ],
)
def test_wrong_flags_are_refused_plainly(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        train_minimal.parse_args(flags)
    assert stop.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--resume", "no/such/run"], "no last.pt there"),
        (["--resume", "no/such/run", "--output-dir", "no/such/run/"], "no last.pt there"),
        (["--resume", __file__], "is a file: give the folder of the run"),
        (["--output-dir", __file__], "is a file: choose another folder"),
        (["--checkpoint", "no.pt"], "no.pt: no such file"),
        (["--device", "abacus"], "device 'abacus' is not here"),
    ],
)
def test_what_is_not_there_is_named_without_a_traceback(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train_minimal.main(flags) == 2
    assert message in capsys.readouterr().err


def test_help_gives_defaults_and_sources(capsys):
    with pytest.raises(SystemExit):
        train_minimal.parse_args(["--help"])
    text = capsys.readouterr().out
    assert "(default: None)" not in text and "(default: 8)" in text
    flags = (
        "--epochs --batch-size --lr --n-train --n-val --n-conv --n-rnn --rnn-hidden --rnn-type --n-fft --seed --output-dir "
        "--no-sortagrad --data --join --optimizer --schedule --precision --device --resume --checkpoint"
    )
    assert all(flag in text for flag in flags.split())
    assert "arXiv Table 4" in text and "Hz" in text and "default:" in text


def test_ctrl_c_leaves_a_checkpoint_that_can_be_used_and_resumed(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, str(ROOT / "train_minimal.py"), *TINY, "--epochs", "400", "--output-dir", str(folder)]
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


class TestTranscribe:
    def test_any_rate_and_channels_text_and_json(self, run_folder, tmp_path, capsys):
        rng = np.random.default_rng(0)
        soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal((22050, 2)), 22050)
        soundfile.write(tmp_path / "b.flac", 0.1 * rng.standard_normal(8000), 8000)
        files = [str(tmp_path / "a.wav"), str(tmp_path / "b.flac")]
        assert transcribe.main([str(run_folder / "checkpoint.pt"), *files]) == 0
        assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == files
        assert transcribe.main([str(run_folder / "checkpoint.pt"), "--json", "--beam", "4", *files]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["file"] for line in lines] == files and [line["seconds"] for line in lines] == [1.0, 1.0]

    def test_a_bad_file_is_named_and_the_others_are_done(self, run_folder, tmp_path, capsys):
        (tmp_path / "bad.wav").write_bytes(b"no audio")
        soundfile.write(tmp_path / "short.wav", np.zeros(150), 8000)
        soundfile.write(tmp_path / "good.wav", np.zeros(8000), 8000)
        files = [str(tmp_path / name) for name in ("bad.wav", "short.wav", "good.wav")]
        assert transcribe.main([str(run_folder / "checkpoint.pt"), *files, str(tmp_path)]) == 1
        captured = capsys.readouterr()
        assert "bad.wav" in captured.err and "good.wav" in captured.out and "short.wav" not in captured.out
        assert "short.wav: lasts 18.8 ms, too short for speech" in captured.err
        assert f"{tmp_path}: a folder, not an audio file" in captured.err

    def test_a_checkpoint_of_a_stopped_run_is_warned_of(self, run_folder, tmp_path, capsys):
        soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
        trained = load_checkpoint(run_folder / "checkpoint.pt")
        assert trained.training["best_wer"] > 0.5 and trained.training["epoch"] in (1, 2) and trained.training["epochs"] == 2
        expected = {0.97: "97 % of the words of its dev set wrong", float("inf"): "no try on its dev set yet", 0.2: ""}
        for wer, words in expected.items():
            state = {"best_wer": wer, "epoch": 1, "epochs": 9}
            save_checkpoint(tmp_path / "c.pt", trained.model, trained.config, trained.encoder, state)
            assert transcribe.main([str(tmp_path / "c.pt"), str(tmp_path / "a.wav")]) == 0
            said = capsys.readouterr().err
            assert (words in said and "after 1 of 9 epochs" in said) if words else not said

    @pytest.mark.parametrize("content", [b"RIFF\x24\x00\x00\x00WAVEfmt ", b"\x80\x02.", b"0"])
    def test_audio_in_the_checkpoints_place_is_named(self, tmp_path, content, capsys):
        (tmp_path / "mine.wav").write_bytes(content)
        assert transcribe.main([str(tmp_path / "mine.wav"), "checkpoint.pt"]) == 2
        assert "mine.wav: not a checkpoint of this library" in capsys.readouterr().err

    def test_a_folder_in_the_checkpoints_place_says_which_file(self, run_folder, capsys):
        assert transcribe.main([str(run_folder), "a.wav"]) == 2
        assert f"{run_folder} is a folder; give the file, {run_folder / 'checkpoint.pt'}" in capsys.readouterr().err

    def test_a_missing_language_model_says_how_one_is_made(self, run_folder, capsys):
        assert transcribe.main([str(run_folder / "checkpoint.pt"), "a.wav", "--lm", "none.arpa"]) == 2
        assert "none.arpa: no such file; python language_model.py train TEXT -o none.arpa" in capsys.readouterr().err

    def test_no_checkpoint_is_an_error_of_one_sentence(self, tmp_path, capsys):
        assert transcribe.main([str(tmp_path / "none.pt"), "a.wav"]) == 2
        assert "none.pt: no such file" in capsys.readouterr().err


class TestVisualization:
    def test_draws_everything_of_a_run(self, run_folder, tmp_path, capsys):
        flags = ["--checkpoint", str(run_folder / "checkpoint.pt"), "--output-dir", str(tmp_path)]
        assert visualization.main(flags) == 0
        pictures = {path.stem for path in tmp_path.glob("*.png")}
        measured = "waveform_to_features architecture first_layer_filters activations ctc_output alignment beam_search_tree "
        assert pictures == {*measured.split(), "predictions", "sortagrad", "training_curves", *paper_charts.CHARTS}
        assert all(matplotlib.image.imread(path)[..., :3].std() > 0.03 for path in tmp_path.glob("*.png"))
        assert f"{len(pictures)} pictures in {tmp_path}" in capsys.readouterr().out

    def test_takes_the_newest_run_and_trains_one_if_there_is_none(self, run_folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        called = []

        def train(command, check):
            called.append(command[1])
            (tmp_path / "runs" / "001").mkdir(parents=True)
            (tmp_path / "runs" / "001" / "checkpoint.pt").write_bytes((run_folder / "checkpoint.pt").read_bytes())

        monkeypatch.setattr(visualization.subprocess, "run", train)
        assert visualization.newest_checkpoint() == Path("runs/001/checkpoint.pt")
        assert called == [str(ROOT / "train_minimal.py")]
        assert visualization.newest_checkpoint() == Path("runs/001/checkpoint.pt") and len(called) == 1

    def test_what_a_corpus_can_not_give_is_named_and_the_rest_drawn(self, run_folder, tmp_path, capsys):
        rows = ["path\ttranscript\tsplit\tseconds"]
        for i, (text, split) in enumerate([("hello", "train"), ("moon tree", "dev"), ("book", "dev"), ("5 apples", "dev")]):
            soundfile.write(tmp_path / f"{i}.wav", generate_synthetic_audio("hello moon", speaker=i).numpy(), 16000)
            rows.append(f"{i}.wav\t{text}\t{split}\t1.0")
        (tmp_path / "2.wav").write_bytes(b"no audio")
        (tmp_path / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        flags = ["--checkpoint", str(run_folder / "checkpoint.pt"), "--data", str(tmp_path), "--output-dir", str(tmp_path / "p")]
        assert visualization.main(flags) == 0
        out = capsys.readouterr().out
        assert "left out: " in out and "2.wav" in out and "character '5'" in out and "1 utterances that" in out

    @pytest.mark.parametrize("flags", [["--checkpoint", "none.pt"], ["--checkpoint", "RUN", "--data", "no/such/folder"]])
    def test_what_is_not_there_is_named(self, run_folder, flags, capsys):
        assert visualization.main([flag.replace("RUN", str(run_folder / "checkpoint.pt")) for flag in flags]) == 2
        assert flags[-1] in capsys.readouterr().err


class TestSetup:
    def test_says_what_is_there_and_runs_a_model(self, capsys):
        assert setup.main([]) in (0, 1)
        out = capsys.readouterr().out
        assert "torch" in out and "a small model forward and back" in out and "Python 3" in out

    def test_names_a_missing_package_and_the_mend(self, capsys, monkeypatch):
        monkeypatch.setattr(setup, "NEEDED", ("no-such-package",))
        assert setup.main([]) == 1
        out = capsys.readouterr().out
        assert "no-such-package missing" in out and "pip install -r requirements.txt" in out

    def test_is_no_installer(self, capsys):
        assert setup.main(["install"]) == 2
        assert "pip install -r requirements.txt" in capsys.readouterr().out


@pytest.mark.skipif(not (DATA / "fsdd").is_dir(), reason="no real speech at ../shared/data")
def test_real_digits_join_and_bad_lines(tmp_path, capsys):
    manifest = (DATA / "fsdd" / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    rows = [row.replace("wav/", f"{DATA / 'fsdd' / 'wav'}/", 1) for row in manifest]
    (tmp_path / "manifest.tsv").write_text("\n".join([*rows, "gone.flac\tx\ttrain\t1.0\tone"]) + "\n", encoding="utf-8")
    flags = ["--data", str(tmp_path), "--join", "3", "--n-train", "40", "--n-val", "10", "--epochs", "1", "--max-seconds", "0.6"]
    tiny = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--output-dir", str(tmp_path / "run")]
    assert train_minimal.main([*flags, *tiny]) == 0
    out = capsys.readouterr().out
    assert "gone.flac" in out and "test_unseen: 500 utterances" in out and "8000 Hz" in out
    longer = sum(float(row.split("\t")[3]) > 0.6 for row in rows[1:] if "\ttrain\t" in row)
    assert longer and f"longer than 0.6 s, left out: {longer} recordings of train" in out
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
