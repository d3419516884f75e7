"""Reading real speech: every layout, every kind of bad line, audio files, datasets. Audio is made by the tests."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import corpora
import numpy as np
import pytest
import soundfile
import torch
from corpora import (
    BadAudio,
    Corpus,
    CorpusError,
    JoinedDataset,
    Problem,
    SpeechDataset,
    Utterance,
    check_problems,
    corpus_sample_rate,
    read_audio,
    read_corpus,
)
from hypothesis import given, settings
from hypothesis import strategies as st

RATE = 8000


def write_audio(path: Path, seconds: float = 0.1, rate: int = RATE, channels: int = 1, hertz: float = 440.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
    return path


def write_noise(path: Path, seconds: float = 1.0, rate: int = RATE) -> Path:
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate)), rate)
    return path


def manifest(folder: Path, text: str | bytes, name: str = "manifest.tsv", audio: str = "a b c") -> Path:
    for stem in audio.split():
        write_audio(folder / f"{stem}.wav")
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def told(corpus: Corpus) -> list[tuple]:
    """Everything an utterance says but its path, which is shown relative to the corpus."""
    return [(u.path.relative_to(corpus.root).as_posix(), u.transcript, u.speaker, u.split) for u in corpus.utterances]


# ---------------------------------------------------------------------------------------------
# Layouts
# ---------------------------------------------------------------------------------------------

ROWS = [("a.wav", "hello  world ", "ann", "train", "0.3"), ("b.wav", "It's 5, OK", "bob", "valid", "0.3"),
        ("c.wav", "你好", "bob", "Test", "0.3")]
EXPECTED = [("a.wav", "hello world", "ann", "train"), ("b.wav", "It's 5, OK", "bob", "dev"),
            ("c.wav", "你好", "bob", "test")]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_tsv_manifest(tmp_path, bom, newline):
    rows = [("path", "transcript", "speaker", "split", "seconds"), *ROWS]
    text = "".join("\t".join(row) + newline for row in rows)
    corpus = read_corpus(manifest(tmp_path, bom + text.encode()).parent)
    assert (corpus.kind, told(corpus), corpus.problems) == ("manifest", EXPECTED, [])
    assert corpus.splits == {"train": 1, "dev": 1, "test": 1}
    assert [u.seconds for u in corpus.utterances] == [0.3] * 3


def test_columns_in_any_order_with_other_names_and_extra_ones(tmp_path):
    rows = [("Duration", "pinyin", "TEXT", "split", "path"), ("2.5", "ni3 hao3", 'say "yes', "train", "a.wav"),
            ("", "x", "y", "dev", "b.wav")]
    corpus = read_corpus(manifest(tmp_path, "\n".join("\t".join(row) for row in rows), name="any name.tsv"))
    assert told(corpus) == [("a.wav", 'say "yes', "", "train"), ("b.wav", "y", "", "dev")]
    assert [u.seconds for u in corpus.utterances] == [2.5, pytest.approx(0.1)]  # the second is asked of the file


def test_csv_manifest_with_quotes(tmp_path):
    text = 'path,"transcript",split\na.wav,"hello, ""dear"" world",train\nb.wav,yes,dev\n'
    corpus = read_corpus(manifest(tmp_path, text, name="manifest.csv").parent)
    assert told(corpus) == [("a.wav", 'hello, "dear" world', "", "train"), ("b.wav", "yes", "", "dev")]


def test_jsonl_manifest(tmp_path):
    rows = [{"path": "a.wav", "text": "one", "speaker": 7, "duration": 0.25, "split": "val", "more": [1]},
            {"path": "b.wav", "transcript": "two", "speaker": None, "split": "train"}]
    corpus = read_corpus(manifest(tmp_path, "\n".join(map(json.dumps, rows)), name="manifest.jsonl").parent)
    assert told(corpus) == [("a.wav", "one", "7", "dev"), ("b.wav", "two", "", "train")]
    assert [u.seconds for u in corpus.utterances] == [0.25, pytest.approx(0.1)]


def test_given_seconds_are_trusted_and_the_audio_is_not_opened(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no audio at all")
    corpus = read_corpus(manifest(tmp_path, "path\ttranscript\tseconds\na.wav\tx\t3.5\n", audio=""))
    assert [u.seconds for u in corpus.utterances] == [3.5] and not corpus.problems


def librispeech(root: Path) -> Path:
    speakers = {"train-clean-100": "19", "train-other-500": "20", "dev-clean": "84", "test-other": "61"}
    for folder, speaker in speakers.items():
        chapter = root / folder / speaker / "7"
        lines = []
        for n in range(2):
            write_audio(chapter / f"{speaker}-7-000{n}.flac")
            lines.append(f"{speaker}-7-000{n} NUMBER {n}\n")
        (chapter / f"{speaker}-7.trans.txt").write_text("".join(lines))
    return root


def test_librispeech(tmp_path):
    corpus = read_corpus(librispeech(tmp_path / "LibriSpeech"))
    assert corpus.kind == "LibriSpeech" and not corpus.problems
    assert corpus.splits == {"train": 4, "dev": 2, "test": 2}
    assert told(corpus)[0] == ("dev-clean/84/7/84-7-0000.flac", "NUMBER 0", "84", "dev")
    assert read_corpus(tmp_path).splits == corpus.splits


def test_a_part_of_librispeech_keeps_its_split(tmp_path, monkeypatch):
    librispeech(tmp_path)
    assert read_corpus(tmp_path / "dev-clean").splits == {"dev": 2}
    monkeypatch.chdir(tmp_path / "test-other")
    assert read_corpus(".").splits == {"test": 2}


@pytest.mark.parametrize("path", ["fsdd", "fsdd/recordings"])
def test_free_spoken_digits(tmp_path, path):
    for take in (0, 4, 5, 9, 10, 49):
        write_audio(tmp_path / f"fsdd/recordings/7_jackson_{take}.wav")
    write_audio(tmp_path / "fsdd/recordings/noise.wav")
    corpus = read_corpus(tmp_path / path)
    splits = {int(u.path.stem.split("_")[2]): u.split for u in corpus.utterances}
    assert splits == {0: "test", 4: "test", 5: "dev", 9: "dev", 10: "train", 49: "train"}
    assert {(u.transcript, u.speaker) for u in corpus.utterances} == {("seven", "jackson")}
    assert [str(p) for p in corpus.problems] == [
        f"{tmp_path}/fsdd/recordings/noise.wav: the name is not {{digit}}_{{speaker}}_{{take}}.wav"]


def sphinx(root: Path, splits: dict[str, tuple[str, str]]) -> Path:
    (root / "etc").mkdir()
    for split, (file_ids, transcription) in splits.items():
        (root / f"etc/words_{split}.fileids").write_text(file_ids)
        (root / f"etc/words_{split}.transcription").write_text(transcription)
    return root


def test_sphinx(tmp_path):
    for name in ("ann/01.wav", "ann/02.flac", "bob/01.wav", "test.wav"):
        write_audio(tmp_path / "wav" / name)
    transcription = "<s> HELLO world </s> (01)\nyes (ann/02)\n<s> no </s> (01)\n"
    sphinx(tmp_path, {"train": ("ann/01\nann/02\nbob/01\n", transcription),
                      "test": ("test\n", "<s> THE (end) </s> (test)\n")})
    (tmp_path / "etc/words_all.transcription").write_text("not read (beside those of the splits)\n")
    corpus = read_corpus(tmp_path)
    assert (corpus.kind, corpus.problems) == ("CMU Sphinx", [])
    assert told(corpus) == [
        ("wav/test.wav", "THE (end)", "", "test"), ("wav/ann/01.wav", "HELLO world", "ann", "train"),
        ("wav/bob/01.wav", "no", "bob", "train"), ("wav/ann/02.flac", "yes", "ann", "train")]


def test_sphinx_lines_that_do_not_match(tmp_path):
    for name in ("a", "b", "e"):
        write_audio(tmp_path / f"wav/{name}.wav")
    (tmp_path / "wav/d.sph").write_bytes(b"NIST_1A")
    transcription = "alpha (a)\n\nbeta (b)\nno id\nextra (x)\ndelta (d)\necho (e)\necho (e)\n"
    sphinx(tmp_path, {"train": ("b\na\nc\nd\ne\n", transcription)})
    corpus, etc = read_corpus(tmp_path), f"{tmp_path}/etc/words_train"
    assert {(u.path.stem, u.transcript) for u in corpus.utterances} == {("a", "alpha"), ("b", "beta")}
    assert sorted(map(str, corpus.problems)) == sorted([
        f"{etc}.transcription:4: no (utterance_id) at the end of the line",
        f"{etc}.transcription:5: x is not in words_train.fileids",
        f"{etc}.transcription:6: {tmp_path}/wav/d.sph is a SPHERE file: convert it to WAV or FLAC",
        f"{etc}.fileids:3: c is 0 times in the transcription, 1 times in the list",
        f"{etc}.fileids:5: e is 2 times in the transcription, 1 times in the list"])


def test_sphinx_list_without_transcription(tmp_path):
    sphinx(tmp_path, {"train": ("a\n", "alpha (a)\n")})
    (tmp_path / "etc/words_test.fileids").write_text("b\n")
    with pytest.raises(CorpusError, match=r"words_test\.fileids has no words_test\.transcription beside it"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(("name", "folder"), [("my.transcription", ""), ("my.txt", ""), ("my.transcription", "wav/")])
def test_a_lone_transcription(tmp_path, name, folder):
    write_audio(tmp_path / f"{folder}one.wav")
    write_audio(tmp_path / f"{folder}ann/two.flac")
    (tmp_path / name).write_text("<s> uno </s> (one)\ndos (ann/two)\n")
    paths = [tmp_path / name] + [tmp_path] * (name == "my.transcription")
    for path in paths:
        corpus = read_corpus(path)
        assert not corpus.problems
        assert told(corpus) == [
            (f"{folder}one.wav", "uno", "", "train"), (f"{folder}ann/two.flac", "dos", "ann", "train")]


def test_what_is_not_there_or_not_known(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; give the folder"):
        read_corpus(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"The folder has nothing\."):
        read_corpus(tmp_path)
    for n in range(9):
        write_audio(tmp_path / f"{n}.wav")
    with pytest.raises(ValueError, match=r"looked for manifest\.tsv.*The folder has 0\.wav, 1\.wav.*7\.wav, \.\.\.\.$"):
        read_corpus(tmp_path)
    (tmp_path / "notes.txt").write_text("just text\n")
    with pytest.raises(CorpusError, match=r"notes\.txt is no corpus of a known layout.*jackson_32\.wav\.$"):
        read_corpus(tmp_path / "notes.txt")


def test_two_manifests(tmp_path):
    manifest(tmp_path, "path\ttext\na.wav\tx\n")
    manifest(tmp_path, "path,text\na.wav,x\n", name="manifest.csv")
    with pytest.raises(CorpusError, match=r"has manifest\.tsv and manifest\.csv; give the path of the one you mean"):
        read_corpus(tmp_path)
    assert len(read_corpus(tmp_path / "manifest.csv").utterances) == 1


# ---------------------------------------------------------------------------------------------
# Bad lines
# ---------------------------------------------------------------------------------------------

HEADER = b"path\ttranscript\tseconds\tsplit\n"
GOOD = b"a.wav\tx\t0.1\ttrain\n"
BAD_LINES = [
    (b"b.wav\t \t0.1\ttrain", "the transcript is empty"),
    (b"\tx\t0.1\ttrain", "no path"),
    (b"gone.wav\tx\t0.1\ttrain", "audio file {folder}/gone.wav not found"),
    (b"b.wav\tx\t0.1", "3 columns, but the header has 4"),
    (b"b.wav\tx\ty\t0.1\ttrain", "5 columns, but the header has 4"),
    (b"b.wav\tx\tlong\ttrain", "seconds must be a number and not negative, but is 'long'"),
    (b"b.wav\tx\tnan\ttrain", "seconds must be a number and not negative, but is 'nan'"),
    (b"b.wav\tx\t-1\ttrain", "seconds must be a number and not negative, but is '-1'"),
    (b"b.wav\tx\t0\ttrain", "zero-length audio"),
    (b"b.wav\tcaf\xe9\t0.1\ttrain", "not valid UTF-8"),
    (b"a.wav\tx\t0.1\ttrain", "{folder}/a.wav was listed with the same transcript at {folder}/manifest.tsv:2"),
    (b"sub/../a.wav\ty\t0.1\ttrain",
     "{folder}/sub/../a.wav was listed with a different transcript at {folder}/manifest.tsv:2"),
    (b"b.wav\tx\t0.1\t", "no split is given, but other lines have one"),
    (b"empty.wav\tx\t\ttrain", "{folder}/empty.wav: zero-length audio"),
    (b"text.wav\tx\t\ttrain", "{folder}/text.wav: cannot be read as audio (Format not recognised.)"),
    (b"text.raw\tx\t\ttrain", "{folder}/text.raw: cannot be read as audio (samplerate must be specified)"),
    (b"half.wav\tx\t\ttrain", "{folder}/half.wav: truncated: 800 of 1600 bytes of audio are there"),
    (b"b.wav\x00\tx\t0.1\ttrain", "audio file {folder}/b.wav\0 not found"),
]


@pytest.mark.parametrize(("line", "what"), BAD_LINES)
def test_a_bad_line_is_named_and_left_out(tmp_path, line, what):
    file = manifest(tmp_path, HEADER + GOOD + b"\n" + line + b"\n" + b"c.wav\tz\t0.1\ttrain\n")
    (tmp_path / "sub").mkdir()
    write_audio(tmp_path / "empty.wav", seconds=0)
    for name in ("text.wav", "text.raw"):
        (tmp_path / name).write_text("this is no audio")
    (tmp_path / "half.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:44 + 800])
    corpus = read_corpus(file)
    assert [str(p) for p in corpus.problems] == [f"{file}:4: {what.format(folder=tmp_path)}"]
    assert [u.path.name for u in corpus.utterances] == ["a.wav", "c.wav"]


@pytest.mark.parametrize(("line", "what"), [
    ('b.wav,"open', "not a CSV line (unexpected end of data)"),
    ('b.wav,"x"y', "not a CSV line (',' expected after '\"')"),
    ("b.wav,hello, you", "3 columns, but the header has 2")])
def test_a_bad_csv_line(tmp_path, line, what):
    file = manifest(tmp_path, f"path,text\na.wav,x\n{line}\nc.wav,z\n", name="manifest.csv")
    corpus = read_corpus(file)
    assert [str(p) for p in corpus.problems] == [f"{file}:3: {what}"]
    assert len(corpus.utterances) == 2


@pytest.mark.parametrize(("line", "what"), [
    ('{"path": "b.wav", ', "not JSON (Expecting property name"), ('["b.wav", "x"]', "not a JSON object"),
    ('{"text": "x"}', "no path"), ('{"path": "b.wav"}', "the transcript is empty"),
    ('{"path": "b.wav", "text": 5}', "path and transcript must be strings"),
    ('{"path": "b.wav", "text": "\\ud800"}', "not valid Unicode"), ("[" * 100_000, "not JSON (")])
def test_a_bad_json_line(tmp_path, line, what):
    file = manifest(tmp_path, '{"path": "a.wav", "text": "x"}\n' + line + "\n", name="manifest.jsonl")
    corpus = read_corpus(file)
    assert len(corpus.problems) == len(corpus.utterances) == 1
    assert str(corpus.problems[0]).startswith(f"{file}:2: {what}")


@pytest.mark.parametrize(("name", "text", "what"), [
    ("m.tsv", b"a.wav\thello\n", ":1: the first line must be a header that names the columns 'path' and 'transcript'"),
    ("m.csv", b"path\ttext\na.wav\thello\n", ":1: the first line must be a header"),
    ("m.csv", b"path,speaker\n", ":1: the first line must be a header"),
    ("m.tsv", b"", ":1: the first line must be a header"),
    ("m.tsv", "path\ttext\n".encode("utf-16"), ":1: not valid UTF-8, and so not a header")])
def test_a_table_without_header(tmp_path, name, text, what):
    file = manifest(tmp_path, text, name=name)
    with pytest.raises(CorpusError) as error:
        read_corpus(file)
    assert str(error.value).startswith(f"{file}{what}")


@given(lines=st.lists(st.one_of(st.binary(), st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))),
                      max_size=8), name=st.sampled_from(["m.tsv", "m.csv", "m.jsonl"]))
@settings(max_examples=60, deadline=None)
def test_whatever_a_manifest_holds_becomes_problems(lines, name):
    with tempfile.TemporaryDirectory() as folder:
        header = {"m.tsv": b"path\ttext\n", "m.csv": b"path,text\n", "m.jsonl": b""}[name]
        body = b"\n".join(line.replace(b"\n", b" ") for line in lines)
        corpus = read_corpus(manifest(Path(folder), header + body, name=name, audio=""))
    blank = sum(not line.replace(b"\n", b" ").decode("utf-8", "replace").strip() for line in lines)
    assert not corpus.utterances and len(corpus.problems) == len(lines) - blank


def test_librispeech_lines_without_text_or_audio(tmp_path):
    librispeech(tmp_path)
    file = tmp_path / "dev-clean/84/7/84-7.trans.txt"
    file.write_text("84-7-0000\n84-7-0001 FINE\n84-7-0009 GONE\n")
    assert [str(p) for p in read_corpus(tmp_path).problems] == [
        f"{file}:1: the transcript is empty", f"{file}:3: audio file {file.parent}/84-7-0009.flac not found"]


def make_corpus(good: int, bad: int) -> Corpus:
    utterances = [Utterance(Path(f"{n}.wav"), "x", "", "train", 1.0) for n in range(good)]
    return Corpus("manifest", Path("root"), utterances, [Problem(f"m.tsv:{n + 2}", "bad") for n in range(bad)])


def test_check_problems():
    check_problems(make_corpus(99, 1))
    check_problems(make_corpus(1, 1), limit=0.5)
    with pytest.raises(CorpusError) as error:
        check_problems(make_corpus(93, 7))
    assert str(error.value) == (
        "root: 7 of 100 lines are bad (7.0%, accepted are 1.0%).\n  m.tsv:2: bad\n  m.tsv:3: bad\n  m.tsv:4: bad\n"
        "  m.tsv:5: bad\n  m.tsv:6: bad")
    with pytest.raises(CorpusError, match="no utterance is usable"):
        check_problems(make_corpus(0, 0), limit=1.0)


def test_summary():
    summary = make_corpus(90, 7).summary()
    assert "90 utterances, splits as the corpus gives them" in summary
    assert "  train: 90 utterances, 1.5 minutes, speakers: unknown\n" in summary
    assert "problems: 7\n  m.tsv:2: bad\n" in summary and summary.endswith("  m.tsv:6: bad\n  ... and 2 more")


def test_command_line(tmp_path, monkeypatch, capsys):
    def run(path: Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["corpora.py", str(path)])
        return corpora.main(), capsys.readouterr().out

    code, out = run(manifest(tmp_path, "path\ttext\na.wav\tx\n" + "gone.wav\ty\n" * 7))
    assert code == 1 and out.count("gone.wav not found") == 7
    code, out = run(tmp_path / "nowhere")
    assert code == 1 and "nowhere does not exist" in out
    code, out = run(manifest(tmp_path, "path\ttext\na.wav\tx\n"))
    assert code == 0 and "problems: 0" in out
    monkeypatch.setattr(sys, "argv", ["corpora.py", str(manifest(tmp_path, "path\ttext\n你.wav\tx\n"))])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert corpora.main() == 1  # a terminal that cannot show the name


# ---------------------------------------------------------------------------------------------
# Carved splits
# ---------------------------------------------------------------------------------------------


def unsplit(folder: Path, speakers: int, each: int, split: str = "", unnamed: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    names = [""] * unnamed + [f"s{s}" for s in range(unnamed, speakers)]
    rows = [f"{s}-{n}.wav\tx\t{names[s]}\t{split}\t1.0" for s in range(speakers) for n in range(each)]
    for row in rows:
        (folder / row.split("\t")[0]).touch()
    return manifest(folder, "\n".join(["path\ttext\tspeaker\tsplit\tseconds", *rows]), audio="")


def test_no_voice_is_in_two_carved_splits(tmp_path):
    corpus = read_corpus(unsplit(tmp_path, speakers=20, each=3))
    voices = {name: {u.speaker for u in corpus.split(name)} for name in corpus.splits}
    assert {name: len(v) for name, v in voices.items()} == {"train": 16, "dev": 2, "test": 2}
    assert len(set.union(*voices.values())) == 20
    assert "with dev and test carved by speaker" in corpus.summary()


@pytest.mark.parametrize(("speakers", "each", "unnamed"), [(9, 5, 0), (12, 4, 12), (12, 4, 1)])
def test_few_or_unnamed_voices_are_carved_by_utterance(tmp_path, speakers, each, unnamed):
    corpus = read_corpus(unsplit(tmp_path, speakers, each, unnamed=unnamed))
    tenth = round(speakers * each / 10)
    assert corpus.splits == {"train": speakers * each - 2 * tenth, "dev": tenth, "test": tenth}
    assert "with dev and test carved by utterance" in corpus.summary()


def test_carving_is_the_same_everywhere(tmp_path):
    for speakers in (2, 12):
        first, second = (read_corpus(unsplit(tmp_path / name, speakers, 12)) for name in ("here", "there"))
        assert told(first) == told(second)
    assert {u.speaker for u in first.split("dev")} == {"s7"} and {u.speaker for u in first.split("test")} == {"s8"}


@pytest.mark.parametrize(("count", "expected"), [
    (9, {"train": 9}), (10, {"train": 8, "dev": 1, "test": 1}), (14, {"train": 12, "dev": 1, "test": 1})])
def test_small_corpora(tmp_path, count, expected):
    corpus = read_corpus(unsplit(tmp_path, 1, count))
    assert corpus.splits == expected
    assert (count < 10) == ("not carved: fewer than 10 utterances" in corpus.summary())


@pytest.mark.parametrize(("speakers", "rule"), [(20, "speaker"), (2, "utterance")])
def test_dev_comes_from_train_and_never_from_test(tmp_path, speakers, rule):
    file = unsplit(tmp_path, speakers, 10, split="train")
    for n in range(30):
        (tmp_path / f"t{n}.wav").touch()
    file.write_text(file.read_text() + "".join(f"\nt{n}.wav\tx\ts{n}\ttest\t1.0" for n in range(30)))
    corpus = read_corpus(file)
    assert corpus.splits == {"train": 9 * speakers, "dev": speakers, "test": 30}
    assert {u.path.name for u in corpus.split("test")} == {f"t{n}.wav" for n in range(30)}
    assert f"with dev carved by {rule}" in corpus.summary()
    if rule == "speaker":
        assert not {u.speaker for u in corpus.split("dev")} & {u.speaker for u in corpus.split("train")}


def test_a_lone_test_split_stays_alone(tmp_path):
    assert read_corpus(unsplit(tmp_path, 2, 10, split="test")).splits == {"test": 20}


# ---------------------------------------------------------------------------------------------
# Audio files
# ---------------------------------------------------------------------------------------------


def test_audio_is_read_unchanged_at_its_own_rate(tmp_path):
    path = write_noise(tmp_path / "a.wav")
    stored, _ = soundfile.read(path, dtype="int16")
    audio = read_audio(path, RATE)
    assert audio.dtype == torch.float32 and audio.shape == (RATE,)
    assert torch.equal(audio, torch.from_numpy(stored.astype(np.float32) / 2**15))


def test_channels_are_averaged(tmp_path):
    left, right = np.full(100, 0.5), np.full(100, -0.25)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    assert torch.equal(read_audio(tmp_path / "a.wav", RATE), torch.full((100,), 0.125))


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (44100, 16000), (48000, 8000)])
def test_resampling_keeps_duration_frequency_and_loudness(tmp_path, rate, wanted):
    audio = read_audio(write_audio(tmp_path / "a.wav", seconds=1.0, rate=rate, hertz=1000.0), wanted)
    assert len(audio) == wanted
    spectrum = torch.fft.rfft(audio * torch.hann_window(wanted)).abs()  # 1 s, so bin number = frequency in Hz
    assert spectrum.argmax() == 1000
    assert audio[wanted // 4: -wanted // 4].abs().max() == pytest.approx(0.5, abs=0.005)


def test_what_the_new_rate_cannot_hold_is_filtered_out(tmp_path):
    audio = read_audio(write_audio(tmp_path / "a.wav", seconds=1.0, rate=16000, hertz=6000.0), 8000)
    assert audio[1000:-1000].abs().max() < 1e-3


def assert_bad(path: Path, reason: str, sample_rate: int = RATE) -> None:
    with pytest.raises(BadAudio) as error:
        read_audio(path, sample_rate)
    assert error.value.path == path
    assert str(error.value).startswith(f"{path}: {reason}")


@pytest.mark.parametrize("share", [0.0, 0.002, 0.3, 0.999])
def test_truncated_flac(tmp_path, share):
    whole = write_noise(tmp_path / "a.flac", rate=16000).read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[:int(share * len(whole))])
    assert_bad(tmp_path / "cut.flac", "cannot be read as audio (")


def test_fewer_frames_than_the_header_says(tmp_path):
    whole = bytearray(write_noise(tmp_path / "a.ogg", seconds=4.0).read_bytes())
    whole[len(whole) // 2:len(whole) // 2 + 3000] = bytes(3000)
    (tmp_path / "holes.ogg").write_bytes(whole)
    assert_bad(tmp_path / "holes.ogg", "truncated: ")


def test_flac_damaged_in_the_middle(tmp_path):
    whole = bytearray(write_noise(tmp_path / "a.flac", seconds=4.0).read_bytes())
    whole[len(whole) // 2:len(whole) // 2 + 2000] = bytes(2000)
    (tmp_path / "damaged.flac").write_bytes(whole)
    assert_bad(tmp_path / "damaged.flac", "cannot be read as audio (")


@pytest.mark.parametrize("kind", ["wav", "aiff"])
def test_truncated_wav_and_aiff(tmp_path, kind):
    whole = write_noise(tmp_path / f"a.{kind}").read_bytes()
    (tmp_path / f"cut.{kind}").write_bytes(whole[:-2])
    assert_bad(tmp_path / f"cut.{kind}", "truncated: 1")


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_FFFF])
def test_wav_from_a_pipe_whose_header_gives_no_length_is_read(tmp_path, length):
    whole = bytearray(write_noise(tmp_path / "a.wav").read_bytes())
    start = whole.find(b"data") + 4
    whole[start:start + 4] = length.to_bytes(4, "little")
    (tmp_path / "pipe.wav").write_bytes(whole)
    assert len(read_audio(tmp_path / "pipe.wav", RATE)) == RATE


def test_flac_without_length(tmp_path):
    whole = bytearray(write_noise(tmp_path / "a.flac").read_bytes())
    whole[21] &= 0xF0  # STREAMINFO: 36 bits of total samples
    whole[22:26] = bytes(4)
    (tmp_path / "pipe.flac").write_bytes(whole)
    assert_bad(tmp_path / "pipe.flac", "its header gives no length")


def test_other_bad_audio(tmp_path):
    assert_bad(tmp_path / "gone.wav", "file not found")
    assert_bad(tmp_path, "a folder, not an audio file")
    assert_bad(write_audio(tmp_path / "empty.wav", seconds=0), "zero-length audio")
    one_sample = write_audio(tmp_path / "short.wav", seconds=1 / 48000, rate=48000)
    assert_bad(one_sample, "too short to be resampled to 8000 Hz")
    for value in (np.nan, np.inf):
        soundfile.write(tmp_path / "a.wav", np.array([0.0, value]), RATE, subtype="FLOAT")
        assert_bad(tmp_path / "a.wav", "holds samples that are not finite")
    soundfile.write(tmp_path / "a.wav", np.array([0.0, 1e29], dtype=np.float32), RATE, subtype="FLOAT")
    assert_bad(tmp_path / "a.wav", "holds samples as large as 1e+29, which are no sound")


def test_bad_audio_comes_back_from_a_worker(tmp_path):
    error = pickle.loads(pickle.dumps(BadAudio("reason", tmp_path)))
    assert (error.reason, error.path) == ("reason", tmp_path)
    dataset = SpeechDataset([Utterance(tmp_path / "gone.wav", "x", seconds=1.0)])
    with pytest.raises(BadAudio, match=r"gone\.wav: file not found"):
        next(iter(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1)))


def test_corpus_sample_rate(tmp_path):
    utterances = [Utterance(tmp_path / "gone.wav", "x")]
    with pytest.raises(CorpusError, match="none of the first 1 audio files can be read"):
        corpus_sample_rate(utterances)
    for n, rate in enumerate([8000, 22050, 22050, 8000, 8000]):
        utterances.append(Utterance(write_audio(tmp_path / f"{n}.wav", rate=rate), "x"))
    assert corpus_sample_rate(utterances) == 8000
    assert corpus_sample_rate(utterances[:4]) == 16000
    assert corpus_sample_rate(utterances[:4], limit=48000) == 22050
    slow, fast = utterances[1:2], utterances[2:3]
    assert corpus_sample_rate(fast * 9 + slow * 11 + fast * 10) == 8000


# ---------------------------------------------------------------------------------------------
# Datasets
# ---------------------------------------------------------------------------------------------

SPEAKERS = ["ann", "ann", "ann", "bob", "bob", "", "", "eve"]


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> list[Utterance]:
    """Eight utterances of 0.2, 0.21, ... seconds, each a tone of its own; their transcripts are letters."""
    folder, utterances = tmp_path_factory.mktemp("speech"), []
    for n, speaker in enumerate(SPEAKERS):
        path = write_audio(folder / f"{n}.wav", seconds=0.2 + 0.01 * n, hertz=500.0 + 100 * n)
        utterances.append(Utterance(path, "abcdefgh"[n], speaker, "train", 0.2 + 0.01 * n))
    return utterances


def test_speech_dataset(speech):
    dataset = SpeechDataset(speech, sample_rate=16000)
    assert len(dataset) == 8 and dataset.speakers == SPEAKERS and dataset.transcripts == list("abcdefgh")
    for index, sample in enumerate(dataset[i] for i in range(8)):
        assert (sample.sample_rate, sample.transcript) == (16000, "abcdefgh"[index])
        assert torch.equal(sample.audio, read_audio(speech[index].path, 16000))
        assert len(sample.audio) / 16000 == pytest.approx(dataset.seconds[index])
    assert SpeechDataset([Utterance(speech[0].path, "a")]).seconds == [pytest.approx(0.2)]


@pytest.mark.parametrize(("cache_mb", "expected"), [(4, "01234567"), (3, "000111222333444555666777")])
def test_audio_is_cached_if_all_of_it_fits(speech, monkeypatch, cache_mb, expected):
    dataset, reads = SpeechDataset(speech, sample_rate=500_000, cache_mb=cache_mb), []  # 8 of about 0.4 MB
    fresh = [read_audio(u.path, 500_000) for u in speech]
    monkeypatch.setattr(corpora, "read_audio", lambda path, rate: reads.append(path.stem) or read_audio(path, rate))
    for index, audio in enumerate(fresh):
        for _ in range(3):
            again = dataset[index].audio
            assert torch.equal(again, audio)
            again.zero_()
    assert "".join(reads) == expected


def test_gaps_of_joined_utterances_are_known_in_seconds(speech):
    joined = JoinedDataset(SpeechDataset(speech, RATE), max_join=3, gap_seconds=(0.1, 0.2))
    assert {len(joined.gap_times(index)) for index in range(8)} > {1}
    for index in range(8):
        audio, ends = joined[index].audio, [0.0]
        for start, end in joined.gap_times(index):
            assert 0.1 <= end - start <= 0.2
            quiet = audio[round(start * RATE) + 1 : round(end * RATE) - 1]
            before = audio[round(ends[-1] * RATE) : round(start * RATE)]
            assert quiet.abs().max() < 0.02 * before.abs().max()
            ends.append(end)


def parts_of(transcript: str) -> list[int]:
    return ["abcdefgh".index(word) for word in transcript.split(" ")]


def test_joined_utterances_are_of_one_speaker_and_begin_with_their_own(speech):
    joined, counts = JoinedDataset(SpeechDataset(speech, RATE), max_join=3), defaultdict(set)
    for epoch in range(20):
        joined.set_epoch(epoch)
        for index, transcript in enumerate(joined.transcripts):
            parts = parts_of(transcript)
            assert parts[0] == index and len(set(parts)) == len(parts) <= 3
            assert {SPEAKERS[p] for p in parts} == {SPEAKERS[index]}
            counts[index] |= {len(parts)}
    assert counts[0] == {1, 2, 3} and counts[3] == {1, 2} and counts[7] == {1}
    assert joined.speakers == SPEAKERS and len(joined) == 8


def test_number_of_parts_is_uniform_and_every_utterance_is_drawn():
    utterances = [Utterance(Path("-"), chr(0x4E00 + n), "ann", seconds=1.0) for n in range(600)]
    lengths = np.array([t.count(" ") + 1 for t in JoinedDataset(SpeechDataset(utterances), max_join=4).transcripts])
    for count in (1, 2, 3, 4):
        assert 100 < (lengths == count).sum() < 200
    joined = JoinedDataset(SpeechDataset(utterances[:4]), max_join=2)
    pairs = set()
    for epoch in range(60):
        joined.set_epoch(epoch)
        pairs |= {t for t in joined.transcripts if " " in t}
    assert len(pairs) == 12


def test_joined_seconds_and_audio_agree(speech):
    joined = JoinedDataset(SpeechDataset(speech, RATE), max_join=3, gap_seconds=(0.05, 0.1))
    for index, sample in enumerate(joined[i] for i in range(8)):
        assert len(sample.audio) / RATE == pytest.approx(joined.seconds[index], abs=1 / RATE)
        assert sample.transcript == joined.transcripts[index] and sample.sample_rate == RATE


def test_joined_audio_is_the_parts_with_quiet_gaps_between(speech):
    base = SpeechDataset(speech, RATE)
    joined = JoinedDataset(base, max_join=2, gap_seconds=(0.05, 0.05), seed=3)
    index = next(i for i in range(8) if " " in joined.transcripts[i])
    first, second = (base[p].audio for p in parts_of(joined.transcripts[index]))
    audio = joined[index].audio
    gap = audio[len(first):-len(second)]
    assert torch.equal(audio[:len(first)], first) and torch.equal(audio[-len(second):], second)
    assert len(gap) == 0.05 * RATE
    level = 20 * torch.log10(gap.square().mean().sqrt() / first.square().mean().sqrt())
    assert level == pytest.approx(-60, abs=1)


def test_joining_is_a_function_of_seed_epoch_and_index(speech):
    def everything(seed: int, epoch: int) -> tuple[list[str], list[float], list[float]]:
        joined = JoinedDataset(SpeechDataset(speech, RATE), max_join=3, seed=seed)
        joined.set_epoch(epoch)
        return joined.transcripts, joined.seconds, torch.cat([joined[i].audio for i in (7, 2, 0)]).tolist()

    assert everything(0, 5) == everything(0, 5)
    assert everything(0, 5)[0] != everything(0, 6)[0] and everything(0, 5)[1] != everything(1, 5)[1]
    joined = JoinedDataset(SpeechDataset(speech, RATE), max_join=3)
    at_first, first = joined.transcripts, joined[0].audio
    joined.set_epoch(9)
    joined.set_epoch(0)
    assert joined.transcripts == at_first and torch.equal(joined[0].audio, first)


def test_joining_one_is_no_joining(speech):
    base = SpeechDataset(speech, RATE)
    joined = JoinedDataset(base, max_join=1)
    assert (joined.transcripts, joined.seconds) == (base.transcripts, base.seconds)
    assert torch.equal(joined[4].audio, base[4].audio)


@pytest.mark.parametrize(("max_join", "gaps"), [(0, (0, 1)), (2, (0.2, 0.1)), (2, (-0.1, 0.1))])
def test_joining_refuses_nonsense(speech, max_join, gaps):
    with pytest.raises(ValueError, match=f"cannot join {max_join} utterances with gaps of "):
        JoinedDataset(SpeechDataset(speech), max_join, gap_seconds=gaps)


# ---------------------------------------------------------------------------------------------
# Real speech
# ---------------------------------------------------------------------------------------------

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="the real speech is not beside the repository, in ../shared/data")
@pytest.mark.parametrize(("name", "rate", "splits"), [
    ("fsdd", 8000, {"train": 1600, "dev": 200, "test": 200, "test_unseen": 500}),
    ("barista_en", 16000, {"train": 462, "dev": 47, "test": 53}),
    ("kathleen_arctic", 16000, {"train": 430, "dev": 40, "test": 60}),
    ("dsp20_zh", 16000, {"train": 828, "dev": 108, "test": 108}),
    ("cmn_words", 16000, {"train": 793, "dev": 60, "test": 99})])
def test_real_speech(name, rate, splits):
    corpus = read_corpus(DATA / name)
    assert (corpus.problems, corpus.splits) == ([], splits)
    assert corpus_sample_rate(corpus.utterances) == rate
    dataset = SpeechDataset(corpus.split("test")[:3], rate)
    for index, seconds in enumerate(dataset.seconds):
        assert len(dataset[index].audio) / rate == pytest.approx(seconds, abs=0.002)
