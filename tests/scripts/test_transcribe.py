"""transcribe.py as a user runs it."""

from __future__ import annotations

import io
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import train_minimal
import transcribe
from decoding.ngrams import NGramModel
from helpers import TINY
from implementation import CharEncoder
from models.checkpoints import load_checkpoint, save_checkpoint
from models.streaming import Heard


def test_any_rate_and_channels_text_and_json(run_folder, tmp_path, capsys):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal((22050, 2)), 22050)
    soundfile.write(tmp_path / "b.flac", 0.1 * rng.standard_normal(8000), 8000)
    files = [str(tmp_path / "a.wav"), str(tmp_path / "b.flac")]
    assert transcribe.main([str(run_folder / "checkpoint.pt"), *files]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == files
    assert transcribe.main([str(run_folder / "checkpoint.pt"), "--json", "--beam", "4", *files]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == files and [line["seconds"] for line in lines] == [1.0, 1.0]


def test_a_bad_file_is_named_and_the_others_are_done(run_folder, tmp_path, capsys):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    soundfile.write(tmp_path / "short.wav", np.zeros(150), 8000)
    soundfile.write(tmp_path / "good.wav", np.zeros(8000), 8000)
    files = [str(tmp_path / name) for name in ("bad.wav", "short.wav", "good.wav")]
    assert transcribe.main([str(run_folder / "checkpoint.pt"), *files, str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "bad.wav" in captured.err and "good.wav" in captured.out and "short.wav" not in captured.out
    assert "short.wav: lasts 18.8 ms, too short for speech" in captured.err
    assert f"{tmp_path}: a folder, not an audio file" in captured.err


def test_a_checkpoint_of_a_stopped_run_is_warned_of(run_folder, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
    trained = load_checkpoint(run_folder / "checkpoint.pt")
    assert trained.training["best_wer"] > 0.5 and trained.training["epoch"] in (1, 2) and trained.training["epochs"] == 2
    expected = {0.97: "got 97 % of the words in its dev set wrong", float("inf"): "was not tried on a dev set", 0.2: ""}
    for wer, words in expected.items():
        state = {"best_wer": wer, "epoch": 1, "epochs": 9}
        save_checkpoint(tmp_path / "c.pt", trained.model, trained.config, trained.encoder, state)
        assert transcribe.main([str(tmp_path / "c.pt"), str(tmp_path / "a.wav")]) == 0
        said = capsys.readouterr().err
        assert (words in said and "after 1 of 9 epochs" in said) if words else "warning" not in said


@pytest.mark.parametrize("content", [b"RIFF\x24\x00\x00\x00WAVEfmt ", b"\x80\x02.", b"0"])
def test_audio_in_the_checkpoints_place_is_named(tmp_path, content, capsys):
    (tmp_path / "mine.wav").write_bytes(content)
    assert transcribe.main([str(tmp_path / "mine.wav"), "checkpoint.pt"]) == 2
    assert "mine.wav: this is audio, not a checkpoint" in capsys.readouterr().err


def test_swapped_arguments_are_told_with_the_right_command(run_folder, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    checkpoint = str(run_folder / "checkpoint.pt")
    assert transcribe.main([str(tmp_path / "a.wav"), checkpoint]) == 2
    said = capsys.readouterr().err
    assert f"the checkpoint comes first: python transcribe.py {checkpoint} {tmp_path / 'a.wav'}" in said and said.count("\n") == 1


def with_outputs(monkeypatch, checkpoint, path, sure=0.97):
    """The checkpoint as if its network gave these labels, one a frame, each with this probability."""
    outputs = torch.full((len(path), 1, 29), (1 - sure) / 28).double()
    outputs[range(len(path)), 0, path] = sure
    monkeypatch.setattr(checkpoint.model, "forward", lambda features, lengths: (outputs.log(), torch.tensor([len(path)])))
    monkeypatch.setattr(transcribe, "load_checkpoint", lambda *_: checkpoint)


def spelt(text):
    """Labels of the text with a blank behind each."""
    return [label for letter in CharEncoder().encode(text) for label in (letter, 0)]


@pytest.mark.parametrize("flags", [[], ["--beam", "6", "--nbest", "6"], ["--lm", "LM", "--lexicon", "--nbest", "9"]])
def test_texts_are_written_as_references_are(small_corpus, monkeypatch, capsys, flags):
    folder, samples = small_corpus
    word = samples[0].transcript.split()[0]
    checkpoint = load_checkpoint(folder / "run" / "checkpoint.pt")
    with_outputs(monkeypatch, checkpoint, spelt(f" {word}  {word} "), sure=0.8)
    flags = [str(folder / "lm.arpa") if flag == "LM" else flag for flag in flags]
    assert transcribe.main(["c.pt", str(folder / "0.wav"), "--json", *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    texts = [hypothesis["text"] for hypothesis in found.get("nbest", [])]
    assert all(text == " ".join(text.split()) for text in [found["text"], *texts]) and len(set(texts)) == len(texts)
    assert found["text"] == f"{word} {word}"


def test_words_that_the_language_model_does_not_know_are_told(small_corpus, tmp_path, monkeypatch, capsys):
    folder, _ = small_corpus
    NGramModel.train(["hello moon"]).write_arpa(tmp_path / "lm.arpa")
    checkpoint = load_checkpoint(folder / "run" / "checkpoint.pt")
    for text, unknown in (("hello zebra quick moon", ["zebra", "quick"]), ("hello moon", [])):
        with_outputs(monkeypatch, checkpoint, spelt(text), sure=0.999)
        assert transcribe.main(["c.pt", str(folder / "0.wav"), "--json", "--lm", str(tmp_path / "lm.arpa")]) == 0
        out, err = capsys.readouterr()
        assert (json.loads(out)["text"], json.loads(out)["unknown"]) == (text, unknown)
        assert ("0.wav: 2 of its words are not in the language model: zebra, quick\n" in err) == bool(unknown)


def test_the_penalty_of_a_letter_is_the_flags_or_else_the_tuned_or_else_the_alphabets(small_corpus, tmp_path, monkeypatch):
    folder, _ = small_corpus
    (tmp_path / "checkpoint.pt").write_bytes((folder / "run" / "checkpoint.pt").read_bytes())
    command, seen, real = (
        [str(tmp_path / "checkpoint.pt"), str(folder / "0.wav"), "--lm", str(folder / "lm.arpa")],
        [],
        transcribe.make_scorer,
    )
    monkeypatch.setattr(transcribe, "make_scorer", lambda *given: seen.append(real(*given)) or seen[-1])
    assert transcribe.main([*command, "--beam", "2"]) == 0
    (tmp_path / "decoder.json").write_text('{"alpha": 1, "beta": 1, "lm": "lm.arpa", "lexicon": false, "unknown_penalty": 1.25}')
    for flags in ([], ["--unknown-penalty", "0"]):
        assert transcribe.main([*command, "--beam", "2", *flags]) == 0
    assert [scorer.unknown_penalty for scorer in seen] == [pytest.approx(np.log(27)), 1.25, 0]


@pytest.mark.parametrize("beam", ["1", "4"])
def test_how_sure_the_model_is(small_corpus, monkeypatch, capsys, beam):
    folder, _ = small_corpus
    checkpoint = load_checkpoint(folder / "run" / "checkpoint.pt")
    assert {"slope", "offset", "unusual"} == checkpoint.training["calibration"].keys()  # what training leaves
    for slope, offset, posterior, sure, warned in (
        (1.0, 0.0, 0.9, 0.9, False), (1.0, 0.0, 0.4, 0.4, True), (2.0, -1.0, 0.9, 0.968, False), (1.0, -3.0, 0.9, 0.309, True),
    ):  # fmt: skip
        checkpoint.training["calibration"] = {"slope": slope, "offset": offset}
        with_outputs(monkeypatch, checkpoint, spelt("ab c"), posterior)
        assert transcribe.main(["c.pt", str(folder / "0.wav"), "--json", "--times", "--beam", beam]) == 0
        out, err = capsys.readouterr()
        found = json.loads(out)
        assert found["confidence"] == sure and [word["confidence"] for word in found["words"]] == [sure, sure]
        assert found["speech"] is True and ("unlike those it was trained on" in err) == warned


def test_silence_is_no_speech(small_corpus, tmp_path, monkeypatch, capsys):
    folder, _ = small_corpus
    checkpoint = load_checkpoint(folder / "run" / "checkpoint.pt")
    with_outputs(monkeypatch, checkpoint, [0] * 20)
    noise = np.random.default_rng(0).standard_normal(8000)
    for level, speech, said in ((0.0, False, "no speech found"), (0.0005, False, "no speech"), (0.1, True, "no text found")):
        soundfile.write(tmp_path / "a.flac", level * noise, 8000, subtype="PCM_24")
        assert transcribe.main(["c.pt", str(tmp_path / "a.flac"), "--json"]) == 0
        out, err = capsys.readouterr()
        found = json.loads(out)
        assert (found["text"], found["speech"], found["confidence"]) == ("", speech, None) and said in err


def test_a_folder_in_the_checkpoints_place_says_which_file(run_folder, capsys):
    assert transcribe.main([str(run_folder), "a.wav"]) == 2
    assert f"{run_folder} is a folder; give the file, such as {run_folder / 'checkpoint.pt'}" in capsys.readouterr().err


def test_a_missing_language_model_says_how_one_is_made(run_folder, capsys):
    assert transcribe.main([str(run_folder / "checkpoint.pt"), "a.wav", "--lm", "none.arpa"]) == 2
    assert "none.arpa: no such file; python train_language_model.py TEXT -o none.arpa" in capsys.readouterr().err


def test_no_checkpoint_is_an_error_of_one_sentence(tmp_path, capsys):
    assert transcribe.main([str(tmp_path / "none.pt"), "a.wav"]) == 2
    assert "none.pt: no such file" in capsys.readouterr().err


def test_transcribe_with_a_language_model_shows_scores_and_times(small_corpus, capsys):
    folder, _ = small_corpus
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
        (["--unknown-penalty", "0"], "--unknown-penalty needs a language model: add --lm FILE"),
        (["--lm", "x.arpa", "--unknown-penalty", "-1"], "--unknown-penalty must be at least 0, not -1"),
        (["--lm", "x.arpa", "--unknown-penalty", "nan"], "--unknown-penalty must be at least 0, not nan"),
        (["--alpha", "0"], "--alpha needs a language model: add --lm FILE"),
        (["--alpha", "1"], "--alpha needs a language model: add --lm FILE"),
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


def test_a_broken_language_model_is_an_error_of_one_sentence(small_corpus, tmp_path, capsys):
    folder, _ = small_corpus
    (tmp_path / "bad.arpa").write_text("\\data\\\nngram 1=2\n\n\\1-grams:\n-1\tthe\n\n\\end\\\n")
    files = [str(folder / "run" / "checkpoint.pt"), str(folder / "0.wav")]
    assert transcribe.main([*files, "--lm", str(tmp_path / "bad.arpa")]) == 2
    error = capsys.readouterr().err
    assert "bad.arpa" in error and "Traceback" not in error and error.count("\n") == 1


def test_tuned_weights_are_read_with_care(small_corpus, tmp_path, capsys):
    folder, _ = small_corpus
    (tmp_path / "checkpoint.pt").write_bytes((folder / "run" / "checkpoint.pt").read_bytes())
    command = [str(tmp_path / "checkpoint.pt"), str(folder / "0.wav"), "--lm", str(folder / "lm.arpa"), "--beam", "4"]
    of_penalty = ('{"alpha": 1, "beta": 1, "unknown_penalty": "x"}', '{"alpha": 1, "beta": 1, "unknown_penalty": -1}')
    of_others = ('{"alpha": 1, "beta": 1, "lm": 5}', '{"alpha": 1, "beta": 1, "unit": 5}', '{"alpha": -1, "beta": 1}')
    for broken in (*of_penalty, *of_others, "{", "[]", '{"alpha": 1}', '{"alpha": NaN, "beta": 1}', '{"alpha": "1", "beta": 1}'):
        (tmp_path / "decoder.json").write_text(broken)
        assert transcribe.main(command) == 2
        assert "decoder.json is broken" in capsys.readouterr().err
    (tmp_path / "decoder.json").write_text('{"alpha": 1, "beta": 1, "lm": "x/lm.arpa", "lexicon": false, "unit": "word"}')
    assert transcribe.main(command) == 0
    assert "tuned with" not in capsys.readouterr().err
    assert transcribe.main([*command, "--lexicon"]) == 0
    assert "were tuned with --lm x/lm.arpa and may not suit this search" in capsys.readouterr().err
    assert transcribe.main([*command, "--lexicon", "--alpha", "1", "--beta", "1"]) == 0
    assert "tuned with" not in capsys.readouterr().err


def test_the_unit_of_the_language_model_can_be_said(small_corpus, tmp_path, capsys, monkeypatch):
    folder, samples = small_corpus
    NGramModel.train([sample.transcript.replace(" ", "") for sample in samples], 2, "character").write_arpa(tmp_path / "lm.arpa")
    command = [str(folder / "run" / "checkpoint.pt"), str(folder / "0.wav"), "--lm", str(tmp_path / "lm.arpa"), "--beam", "4"]
    assert transcribe.main([*command, "--unit", "character", "--lexicon"]) == 2
    assert "model of characters" in capsys.readouterr().err
    assert transcribe.main([*command, "--unit", "character"]) == 0
    (tmp_path / "checkpoint.pt").write_bytes((folder / "run" / "checkpoint.pt").read_bytes())
    (tmp_path / "decoder.json").write_text('{"alpha": 1, "beta": 1, "lm": "lm.arpa", "lexicon": false, "unit": "character"}')
    seen, make = [], transcribe.make_scorer
    monkeypatch.setattr(transcribe, "make_scorer", lambda *given: seen.append(given[2]) or make(*given))
    assert transcribe.main([str(tmp_path / "checkpoint.pt"), *command[1:]]) == 0 and seen == ["character"]
    with pytest.raises(SystemExit):
        train_minimal.main(["--lm", "train", "--unit", "character"])
    assert "--unit says how to read the model of --lm FILE" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------
# Streams
# ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forward_only(tmp_path_factory):
    """A tiny forward-only run."""
    folder = tmp_path_factory.mktemp("forward")
    assert train_minimal.main([*TINY, "--epochs", "1", "--forward-only", "--row-conv", "2", "--output-dir", str(folder)]) == 0
    return folder / "checkpoint.pt"


def send(monkeypatch, samples: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(samples))))


def noise(seconds: float, rate: int) -> np.ndarray:
    return (3000 * np.random.default_rng(0).standard_normal(round(seconds * rate))).clip(-32768, 32767).astype("<i2")


@pytest.mark.parametrize("search", [[], ["--beam", "5"]])
def test_a_stream_ends_with_the_text_of_the_file(forward_only, search, tmp_path, capsys, monkeypatch):
    rate = load_checkpoint(forward_only).model.features.sample_rate
    soundfile.write(tmp_path / "a.wav", noise(1.5, rate), rate)
    whole, lines = [str(forward_only), "--json", *search], []
    assert transcribe.main([*whole, str(tmp_path / "a.wav")]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert transcribe.main([*whole, "--stream", str(tmp_path / "a.wav")]) == 0
    lines.append(capsys.readouterr().out.splitlines())
    send(monkeypatch, noise(1.5, rate).tobytes())
    assert transcribe.main([*whole, "--stream", "-"]) == 0
    lines.append(capsys.readouterr().out.splitlines())
    send(monkeypatch, noise(1.5, rate).tobytes())
    assert transcribe.main([*whole, "--stream", "-", "--rate", str(rate)]) == 0
    lines.append(capsys.readouterr().out.splitlines())
    for of_stream in lines:
        *parts, last = [json.loads(line) for line in of_stream]
        assert (last["text"], last["seconds"]) == (expected["text"], 1.5)
        assert last["text"].startswith("".join(part["new"] for part in parts))
        assert [word["text"] for word in last["words"]] == last["text"].split()


def test_a_stream_shows_the_end_of_its_text_and_what_may_change(capsys):
    transcribe.show_partial(Path("a.wav"), 12.34, Heard("one two", " two", [], " thr"), False)
    transcribe.show_partial(Path("a.wav"), 99.0, Heard("abcde " * 30 + "end", "end", [], ""), False)
    transcribe.show_partial(Path("a.wav"), 0.5, Heard("", "", [], "o"), False)
    transcribe.show_partial(
        Path("a.wav"),
        1.0,
        Heard(
            "你" * 70,
            "你",
            [],
            "",
        ),
        False,
    )
    transcribe.show_partial(Path("a.wav"), 1.0, Heard("", "", [], "abcde " * 30 + "end"), False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "     1.0 s  ... " + "你" * 50 and lines[4].startswith("     1.0 s  [... abcde") and len(lines[4]) < 80
    assert lines[0] == "    12.3 s  one two [thr]" and lines[2] == "     0.5 s  [o]"
    assert lines[1].startswith("    99.0 s  ... abcde") and lines[1].endswith("abcde end") and len(lines[1]) < 80


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (b"", 1, "-: no audio arrived"),
        (b"x", 1, "-: no audio arrived"),
        (noise(1, 16000).tobytes()[:200], 1, "-: lasts 6.2 ms, too short for speech: one window takes 20 ms"),
        (b"some words of a text, which is no sound at all, but long enough\n" * 9, 1, "but this begins like a text"),
        (bytes(40000), 0, "-: no speech found: it is silent"),
        (noise(1, 16000).tobytes() + b"x", 0, "the last byte is half a 16-bit sample"),
        (np.full(16000, 32767, "<i2").tobytes(), 0, "100% of its samples are at full scale: turn the recording level down"),
        (b"RIFF" + bytes(100), 1, "raw samples are expected, but this begins like a WAV file"),
    ],
    ids=["empty", "half", "short", "text", "silent", "odd", "clipped", "wav"],
)
def test_a_stream_that_is_no_speech_is_said_in_a_sentence(forward_only, sent, code, said, capsys, monkeypatch, caplog):
    send(monkeypatch, sent)
    assert transcribe.main([str(forward_only), "--stream", "-"]) == code
    assert said in capsys.readouterr().err + caplog.text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stream"], "no audio given: name files, - for standard input, or --microphone"),
        (["--microphone", "a.wav"], "--microphone takes no files"),
        (["--stream", "-", "-"], "- is named twice"),
        (["--stream", "a.wav", "--rate", "8000"], "--rate is for raw audio from standard input"),
        (["-", "--rate", "8000"], "--rate is for raw audio from standard input"),
        (["--stream", "-", "--rate", "16"], "--rate must lie between 1000 and 768000 Hz, not 16"),
        (["--stream", "-", "--settle-after", "2"], "--settle-after needs a stream with a beam search"),
        (
            ["--stream", "-", "--beam", "4", "--settle-after", "-2"],
            "--settle-after must be a number of seconds",
        ),
        (["--stream", "-", "--nbest", "2", "--beam", "4"], "--nbest needs whole files, since a stream has one text"),
    ],
)
def test_flags_that_fit_no_stream_are_refused(forward_only, flags, message, capsys):
    with pytest.raises(SystemExit):
        transcribe.main([str(forward_only), *flags])
    assert message in capsys.readouterr().err


def test_a_bidirectional_checkpoint_can_not_hear_a_stream(run_folder, capsys):
    assert transcribe.main([str(run_folder / "checkpoint.pt"), "--stream", "-"]) == 2
    said = capsys.readouterr().err
    assert "its layers are bidirectional, so they need the end of the utterance first: train another with" in said


def test_an_interrupt_stops_files_as_it_does_without_stream(forward_only, tmp_path, monkeypatch, capsys):
    soundfile.write(tmp_path / "a.wav", noise(1, 16000), 16000)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(transcribe, "show_partial", interrupted)
    monkeypatch.setattr(transcribe.StreamingRecognizer, "accept", interrupted)
    assert transcribe.main([str(forward_only), "--stream", str(tmp_path / "a.wav"), str(tmp_path / "a.wav")]) == 130
    assert capsys.readouterr().out == ""


def test_the_microphone_is_heard_until_it_ends(forward_only, monkeypatch, capsys):
    rate = 44100

    @contextmanager
    def device():
        yield rate, iter(np.array_split(noise(1, rate), 10))

    monkeypatch.setattr(transcribe, "microphone", device)
    assert transcribe.main([str(forward_only), "--microphone", "--json"]) == 0
    captured = capsys.readouterr()
    assert "listening at 44100 Hz; press Ctrl-C to stop" in captured.err
    assert json.loads(captured.out.splitlines()[-1])["seconds"] == 1.0


def test_a_closed_standard_input_is_called_that(forward_only, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert transcribe.main([str(forward_only), "--stream", "-"]) == 1
    assert "-: standard input is closed: send raw audio with" in capsys.readouterr().err
