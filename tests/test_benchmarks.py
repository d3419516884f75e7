"""Each script in benchmarks/ runs in a small form and prints its table; what it measures is not judged here."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from helpers import ROOT
from implementation import CharEncoder, Features, generate_synthetic_dataset
from models.checkpoints import ModelConfig, save_checkpoint
from speech.corpora import read_corpus

BENCHMARKS = ROOT / "benchmarks"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("*.py") if path.name != "machine.py")
SLOW = ("data_parallel.py", "memory.py", "saving.py", "start.py")  # import torch two or three times more; write gigabytes
MARKS = dict.fromkeys(SLOW, pytest.mark.slow) | {"page.py": pytest.mark.browser}

# script -> arguments with which it takes a moment, and what its table must name; {folder} is that of the fixture `folder`
SMALL = {
    "arpa.py": (
        "--ngrams 60000 --order 2 --rounds 1",
        ("n-grams,", "this library", " s ", " MB", "largest difference in a sentence's log10 probability"),
    ),
    "alignment.py": (
        "{folder}/checkpoint.pt --data {folder} --join 3",
        ("word boundaries of test, 1 to 3 takes joined", "error: median", "an output frame"),
    ),
    "data_parallel.py": (
        "--batch 2 --frames 40 --bins 17 --hidden 8 --layers 1 --rounds 1 --plot {folder}/traffic.png",
        (
            "1 process of 1 thread",
            "its share alone",
            "2 processes of 1 thread",
            "gradients alone",
            "ms a step",
            "MB of gradients",
            "speed-up, round by round",
        ),
    ),
    "decode.py": (
        "--width 4 --utterances 2 --words 2 --rounds 1",
        ("this library, pruned", "this library, unpruned", "us a frame", "right"),
    ),
    "features.py": (
        "--utterances 2 --rounds 1 --rate 8000",
        ("n_fft 512", "n_fft 128", "scipy.signal.stft", "this library", "times this library's"),
    ),
    "memory.py": (
        "--only step --lengths 1 --steps 1 --rounds 1 --n-rnn 1 --rnn-hidden 8 --batch-size 2",
        ("peak before", "for the steps", "1.0 s", "MB"),
    ),
    "metrics.py": (
        "--utterances 20 --rounds 1",
        ("both count", "greedy_decode", "count_word_errors", "jiwer.process_words", "both of ours", "times as long as jiwer"),
    ),
    "page.py": (
        "{folder}/checkpoint.pt --words moon --rounds 1",
        ("an output frame lasts", "1 ends of 1 words", "from the end of a word to its text", "0 of 1 words were understood"),
    ),
    "saving.py": ("--rounds 1", ("default: 3 x 128", "5 x 512", " MB", "ms per save", "% of the time")),
    "start.py": (
        "--share 0.0003 --files 3 --n-rnn 1 --rnn-hidden 8 --batch-size 2",
        ("88 utterances", "first start", "second start", "read_corpus", "try_longest_batch", "end of the first step", " MB"),
    ),
    "streaming.py": (
        "--hidden 8 --seconds 1.2 --rounds 1 --frames 20",
        ("100 ms of audio, 5 x 8, one thread, greedy: median", "beam 20: median", "forward only", "of the time"),
    ),
    "train_step.py": (
        "--batch 2 --frames 40 --bins 17 --hidden 8 --layers 1 --rounds 1 --symbols 50",
        ("stock layers", "this library", "this library, 50 symbols", "ms a step", "ratio, round by round"),
    ),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Enough for what is small here; afterwards as many as before, whatever the script set."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus of eight words in the split test, and a checkpoint of an untrained model."""
    np.random.seed(0)
    torch.manual_seed(0)
    folder, rows = tmp_path_factory.mktemp("small"), ["path\ttranscript\tsplit"]
    for number, sample in enumerate(generate_synthetic_dataset(8, 8000, max_words=1)):
        soundfile.write(folder / f"{number}.wav", sample.audio.numpy(), sample.sample_rate)
        rows.append(f"{number}.wav\t{sample.transcript}\ttest")
    (folder / "manifest.tsv").write_text("\n".join(rows))
    config, encoder = ModelConfig(Features(sample_rate=8000, n_fft=64), n_rnn=1, rnn_hidden=8), CharEncoder()
    save_checkpoint(folder / "checkpoint.pt", config.build(encoder), config, encoder)
    return folder


def run_script(name: str, arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the script as ``python benchmarks/name arguments`` would, without importing torch once more."""
    monkeypatch.setattr(sys, "argv", [str(BENCHMARKS / name), *arguments.split()])
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    try:
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code


def check_table(name: str, arguments: str, expected: tuple[str, ...], monkeypatch, capsys) -> None:
    run_script(name, arguments, monkeypatch)
    printed = capsys.readouterr().out
    for text in expected:
        assert text in printed, printed


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=MARKS[name]) if name in MARKS else name for name in SCRIPTS],
)
def test_prints_its_table(name, folder, monkeypatch, capsys):
    assert name in SMALL, f"benchmarks/{name} needs small arguments in this test"
    arguments, expected = SMALL[name]
    check_table(name, arguments.format(folder=folder), expected, monkeypatch, capsys)


def test_the_search_with_language_models_prints_its_tables(monkeypatch, capsys):
    arguments = "--language-model --width 4 --utterances 1 --words 2 --rounds 1"
    kinds = [
        f"this library, {kind}, {pruned}" for kind in ("words", "lexicon", "characters") for pruned in ("pruned", "unpruned")
    ]
    expected = (
        "29 symbols",
        "6,792 symbols, 5-grams of characters, clear",
        "this library, no model, pruned",
        "us a frame",
        *kinds,
    )
    check_table("decode.py", arguments, expected, monkeypatch, capsys)


def test_the_simulated_corpus_is_as_large_as_librispeech_and_has_its_layout(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    script = runpy.run_path(str(BENCHMARKS / "start.py"))
    train = [(folder.split("/")[1], count) for folder, _, count in script["chapters"](1.0) if folder.startswith("train")]
    assert sum(count for _, count in train) == 281_241 and len({speaker for speaker, _ in train}) == 2338
    entries = script["make_files"](tmp_path, 4)
    utterances = script["make_corpus"](tmp_path / "LibriSpeech", entries, 0.01)
    corpus = read_corpus(tmp_path / "LibriSpeech")
    assert corpus.kind == "LibriSpeech" and not corpus.problems and len(corpus.utterances) == utterances == 2894
    speakers = {split: len({u.speaker for u in corpus.split(split)}) for split in corpus.splits}
    assert speakers["train-clean-100"] == 3 and speakers["train-other-500"] == 12 and speakers["dev-clean"] == 1
    assert corpus.splits["train-clean-360"] == 1040 and max(u.seconds for u in corpus.utterances) == 24.5


@pytest.mark.slow  # real time
def test_live_streams_print_their_table_and_are_drawn(tmp_path, monkeypatch, capsys):
    arguments = f"--dispatch --hidden 8 --seconds 0.4 --streams 1 3 --plot {tmp_path / 'streams.png'}"
    expected = ("1 streams: one by one: median", "3 streams: ", "in batches: median", "98th percentile", "batches of 2 or more")
    check_table("streaming.py", arguments, expected, monkeypatch, capsys)
    assert (tmp_path / "streams.png").stat().st_size > 10_000


@pytest.mark.slow  # a minute of audio
def test_memory_of_a_stream_prints_its_table(monkeypatch, capsys):
    check_table("streaming.py", "--memory 1 --hidden 8", ("after 1 minutes: ", " MB, +0.0%"), monkeypatch, capsys)


@pytest.mark.slow  # three processes that each import torch
def test_memory_with_many_hours_prints_its_table(monkeypatch, capsys):
    arguments = "--only start --files 2 --hours 0.05 --rounds 1 --n-rnn 1 --rnn-hidden 8 --batch-size 2"
    expected = ("durations given", "no durations", "read_corpus", "end of the first step", "longest minibatch", "dev read", "MB")
    check_table("memory.py", arguments, expected, monkeypatch, capsys)


@pytest.mark.slow  # 240 training steps
def test_memory_grows_no_more_after_the_first_steps(monkeypatch, capsys):
    """In 140 steps on ever other lengths; without bounds it grows by half. 2,000 steps are the benchmark's."""
    flags = "--features logmel --n-mels 40 --time-strides 3,1 --rnn-hidden 32 --n-rnn 1 --batch-size 8 --threads 1"
    arguments = f"--only growth --steps 240 --longest 3 {flags}"
    run_script("memory.py", arguments, monkeypatch)
    printed = capsys.readouterr().out
    growth = float(re.search(r"after 240 steps, compared with 100: .* at most ([+-][\d.]+) %", printed)[1])
    assert growth < 10, printed


@pytest.mark.slow  # two minutes of audio, three processes
def test_memory_of_a_long_recording_prints_its_table(monkeypatch, capsys):
    arguments = "--only recording --minutes 0.1 1.5 --n-rnn 1 --rnn-hidden 8 --n-fft 64"
    check_table("memory.py", arguments, ("0.1 min", "1.5 min", "MB before", "MB at most"), monkeypatch, capsys)


@pytest.mark.parametrize("name", SCRIPTS)
def test_explains_itself(name, monkeypatch, capsys):
    run_script(name, "--help", monkeypatch)
    printed = capsys.readouterr().out
    assert printed.startswith("usage:") and "--" in printed.replace("--help", "")
