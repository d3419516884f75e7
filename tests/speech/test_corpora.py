"""Corpora of every layout, every kind of bad line, pieces, durations, names, carved splits. Audio is made by the tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import DATA, RATE, make_corpus, manifest, told, write_audio
from speech import corpora
from speech.audio import BadAudio, read_audio
from speech.corpora import Corpus, CorpusError, Utterance, corpus_sample_rate, read_corpus
from speech.datasets import SpeechDataset
from speech.utterances import Problem, listed

# ---------------------------------------------------------------------------------------------
# Layouts
# ---------------------------------------------------------------------------------------------

ROWS = [
    ("a.wav", "hello  world ", "ann", "train", "0.11"),
    ("b.wav", "It's 5, OK", "bob", "valid", "0.11"),
    ("c.wav", "你好", "bob", "Test", "0.11"),
]
EXPECTED = [("a.wav", "hello world", "ann", "train"), ("b.wav", "It's 5, OK", "bob", "dev"), ("c.wav", "你好", "bob", "test")]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_tsv_manifest(tmp_path, bom, newline):
    rows = [("path", "transcript", "speaker", "split", "seconds"), *ROWS]
    text = "".join("\t".join(row) + newline for row in rows)
    corpus = read_corpus(manifest(tmp_path, bom + text.encode()).parent)
    assert (corpus.kind, told(corpus), corpus.problems) == ("manifest", EXPECTED, [])
    assert corpus.splits == {"train": 1, "dev": 1, "test": 1}
    assert [u.seconds for u in corpus.utterances] == [0.11] * 3  # as given, since it is right


def test_columns_in_any_order_with_other_names_and_extra_ones(tmp_path):
    rows = [
        ("Duration", "pinyin", "TEXT", "split", "path"),
        ("0.12", "ni3 hao3", 'say "yes', "train", "a.wav"),
        ("", "x", "y", "dev", "b.wav"),
    ]
    corpus = read_corpus(manifest(tmp_path, "\n".join("\t".join(row) for row in rows), name="any name.tsv"))
    assert told(corpus) == [("a.wav", 'say "yes', "", "train"), ("b.wav", "y", "", "dev")]
    assert [u.seconds for u in corpus.utterances] == [0.12, pytest.approx(0.1)]  # the second is asked of the file


def test_csv_manifest_with_quotes(tmp_path):
    text = 'path,"transcript",split\na.wav,"hello, ""dear"" world",train\nb.wav,yes,dev\n'
    corpus = read_corpus(manifest(tmp_path, text, name="manifest.csv").parent)
    assert told(corpus) == [("a.wav", 'hello, "dear" world', "", "train"), ("b.wav", "yes", "", "dev")]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("path;text\na.wav;hello, there\n", "m.csv"),
        ('path;text\na.wav;"hello, there"\n', "m.csv"),
        ("path\ttext\na.wav\thello, there\n", "m.csv"),
        ('path,text\na.wav,"hello, there"\n', "m.tsv"),
        ("path|text\na.wav|hello, there\n", "m.csv"),
        ('path\ttext\n"a.wav"\t"hello, there"\n', "m.tsv"),
        ('path,text\ra.wav,"hello, there"\r', "m.csv"),
        (',path,text\n0,a.wav,"hello, there"\n', "m.csv"),  # with the row numbers of pandas
    ],
)
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_tables_as_other_programs_write_them(tmp_path, text, name, code):
    corpus = read_corpus(manifest(tmp_path, text.encode(code), name=name))
    assert told(corpus) == [("a.wav", "hello, there", "", "train")] and pieces(corpus) == [("a", 0.0, None, 0.1, None)]


def test_jsonl_manifest(tmp_path):
    rows = [
        {"path": "a.wav", "text": "one", "speaker": 7, "duration": 0.12, "split": "val", "more": [1]},
        {"path": "b.wav", "transcript": "two", "speaker": None, "split": "train"},
    ]
    corpus = read_corpus(manifest(tmp_path, "\n".join(map(json.dumps, rows)), name="manifest.jsonl").parent)
    assert told(corpus) == [("a.wav", "one", "7", "dev"), ("b.wav", "two", "", "train")]
    assert [u.seconds for u in corpus.utterances] == [0.12, pytest.approx(0.1)]


@pytest.mark.parametrize("name", ["manifest.json", "manifest.jsonl", "Manifest.JSON"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_list_and_times_within_an_object(tmp_path, name, indent):
    rows = [{"audio": {"path": "a.wav"}, "text": "one", "segment": {"start": 0.5, "end": 0.75}}, {"wav": "b.wav", "txt": "two"}]
    file = manifest(tmp_path, json.dumps(rows, indent=indent), name=name, audio="b")
    write_audio(tmp_path / "a.wav", seconds=2.0)
    corpus = read_corpus(tmp_path)
    assert told(corpus) == [("a.wav", "one", "", "train"), ("b.wav", "two", "", "train")]
    assert pieces(corpus)[0] == ("a", 0.5, 0.75, 0.25, None)
    assert told(read_corpus(file)) == told(corpus)
    (tmp_path / "dev.csv").write_text("path,text\na.wav,x\n")  # then the JSON is something else
    assert read_corpus(tmp_path).splits == ({"train": 2} if name.endswith("l") else {"dev": 1})


def test_given_seconds_are_kept_where_the_audio_cannot_be_read(tmp_path):  # that is told when it is read
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
    assert corpus.splits == {"train-clean-100": 2, "train-other-500": 2, "dev-clean": 2, "test-other": 2}
    assert corpus.in_roles().splits == {"train": 4, "dev": 2, "test-other": 2}
    assert told(corpus)[0] == ("dev-clean/84/7/84-7-0000.flac", "NUMBER 0", "84", "dev-clean")
    assert read_corpus(tmp_path).splits == corpus.splits


def test_a_part_of_librispeech_keeps_its_split(tmp_path, monkeypatch):
    librispeech(tmp_path)
    assert read_corpus(tmp_path / "dev-clean").splits == {"dev-clean": 2}
    monkeypatch.chdir(tmp_path / "test-other")
    assert read_corpus(".").splits == {"test-other": 2}


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
        f"{tmp_path}/fsdd/recordings/noise.wav: the name is not {{digit}}_{{speaker}}_{{take}}.wav"
    ]


def sphinx(root: Path, splits: dict[str, tuple[str, str]]) -> Path:
    (root / "etc").mkdir(parents=True)
    for split, (file_ids, transcription) in splits.items():
        (root / f"etc/words_{split}.fileids").write_text(file_ids)
        (root / f"etc/words_{split}.transcription").write_text(transcription)
    return root


def test_sphinx(tmp_path):
    for name in ("ann/01.wav", "ann/02.flac", "bob/01.wav", "test.wav"):
        write_audio(tmp_path / "wav" / name)
    transcription = "<s> HELLO world </s> (01)\nyes (ann/02)\n<s> no </s> (01)\n"
    sphinx(tmp_path, {"train": ("ann/01\nann/02\nbob/01\n", transcription), "test": ("test\n", "<s> THE (end) </s> (test)\n")})
    (tmp_path / "etc/words_all.transcription").write_text("not read (beside those of the splits)\n")
    corpus = read_corpus(tmp_path)
    assert (corpus.kind, corpus.problems) == ("CMU Sphinx", [])
    assert told(corpus) == [
        ("wav/test.wav", "THE (end)", "", "test"),
        ("wav/ann/01.wav", "HELLO world", "ann", "train"),
        ("wav/bob/01.wav", "no", "bob", "train"),
        ("wav/ann/02.flac", "yes", "ann", "train"),
    ]


def test_sphinx_lines_that_do_not_match(tmp_path):
    for name in ("a", "b", "e"):
        write_audio(tmp_path / f"wav/{name}.wav")
    (tmp_path / "wav/d.sph").write_bytes(b"NIST_1A")
    transcription = "alpha (a)\n\nbeta (b)\nno id\nextra (x)\ndelta (d)\necho (e)\necho (e)\n"
    sphinx(tmp_path, {"train": ("b\na\nc\nd\ne\n", transcription)})
    corpus, etc = read_corpus(tmp_path), f"{tmp_path}/etc/words_train"
    assert {(u.path.stem, u.transcript) for u in corpus.utterances} == {("a", "alpha"), ("b", "beta")}
    assert sorted(map(str, corpus.problems)) == sorted(
        [
            f"{etc}.transcription:4: no (utterance_id) at the end of the line",
            f"{etc}.transcription:5: x is not in words_train.fileids",
            f"{etc}.transcription:6: {tmp_path}/wav/d.sph: a SPHERE file whose compression is not read here; "
            f"convert it: sph2pipe -f wav {tmp_path}/wav/d.sph {tmp_path}/wav/d.wav",
            f"{etc}.fileids:3: c occurs 0 times in the transcription, but 1 times in the list",
            f"{etc}.fileids:5: e occurs 2 times in the transcription, but 1 times in the list",
        ]
    )


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
        assert told(corpus) == [(f"{folder}one.wav", "uno", "", "train"), (f"{folder}ann/two.flac", "dos", "ann", "train")]


def test_what_is_not_there_or_not_known(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; give the folder"):
        read_corpus(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"The folder holds nothing\."):
        read_corpus(tmp_path)
    for n in range(9):
        write_audio(tmp_path / f"{n}.wav")
    with pytest.raises(ValueError, match=r"looked for manifest\.tsv.*The folder holds 0\.wav, 1\.wav.*7\.wav, \.\.\.\.$"):
        read_corpus(tmp_path)
    (tmp_path / "notes.txt").write_text("just text\n")
    with pytest.raises(CorpusError, match=r"notes\.txt has no known layout of a corpus.*jackson_32\.wav\.$"):
        read_corpus(tmp_path / "notes.txt")


def test_two_manifests(tmp_path):
    manifest(tmp_path, "path\ttext\na.wav\tx\n")
    manifest(tmp_path, "path,text\na.wav,x\n", name="manifest.csv")
    with pytest.raises(CorpusError, match=r"has manifest\.csv and manifest\.tsv; give the path of the one you mean"):
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
    (b"b.wav\tx\tlong\ttrain", "seconds must be a number of at least 0, not 'long'"),
    (b"b.wav\tx\tnan\ttrain", "seconds must be a number of at least 0, not 'nan'"),
    (b"b.wav\tx\t-1\ttrain", "seconds must be a number of at least 0, not '-1'"),
    (b"b.wav\tx\t0\ttrain", "zero-length audio"),
    (b"b.wav\tcaf\xe9\t0.1\ttrain", "not valid UTF-8"),
    (b"a.wav\tx\t0.1\ttrain", "{folder}/a.wav was already listed with the same transcript at {folder}/manifest.tsv:2"),
    (
        b"sub/../a.wav\ty\t0.1\ttrain",
        "{folder}/sub/../a.wav was already listed with a different transcript at {folder}/manifest.tsv:2",
    ),
    (b"b.wav\tx\t0.1\t", "no split is given, but other lines have one"),
    (b"empty.wav\tx\t\ttrain", "{folder}/empty.wav: zero-length audio"),
    (b"text.wav\tx\t\ttrain", "{folder}/text.wav: cannot be read as audio ({bare}"),
    (b"text.raw\tx\t\ttrain", "{folder}/text.raw: cannot be read as audio ({bare}"),
    (b"half.wav\tx\t\ttrain", "{folder}/half.wav: truncated: 800 of 1600 bytes of audio are there"),
    (b"b.wav\x00\tx\t0.1\ttrain", "audio file {folder}/b.wav\0 not found"),
]


BARE = "it begins like no known audio format; raw samples need a header: ffmpeg -f s16le -ar 16000 -ac 1 -i FILE FILE.wav)"


@pytest.mark.parametrize(("line", "what"), BAD_LINES)
def test_a_bad_line_is_named_and_left_out(tmp_path, line, what):
    file = manifest(tmp_path, HEADER + GOOD + b"\n" + line + b"\n" + b"c.wav\tz\t0.1\ttrain\n")
    (tmp_path / "sub").mkdir()
    write_audio(tmp_path / "empty.wav", seconds=0)
    for name in ("text.wav", "text.raw"):
        (tmp_path / name).write_text("this is no audio")
    (tmp_path / "half.wav").write_bytes((tmp_path / "a.wav").read_bytes()[: 44 + 800])
    corpus = read_corpus(file)
    assert [str(p) for p in corpus.problems] == [f"{file}:4: {what.format(folder=tmp_path, bare=BARE)}"]
    assert [u.path.name for u in corpus.utterances] == ["a.wav", "c.wav"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('b.wav,"open', "not a CSV line (unexpected end of data)"),
        ('b.wav,"x"y', "not a CSV line (',' expected after '\"')"),
        ("b.wav,hello, you", "3 columns, but the header has 2"),
    ],
)
def test_a_bad_csv_line(tmp_path, line, what):
    file = manifest(tmp_path, f"path,text\na.wav,x\n{line}\nc.wav,z\n", name="manifest.csv")
    corpus = read_corpus(file)
    assert [str(p) for p in corpus.problems] == [f"{file}:3: {what}"]
    assert len(corpus.utterances) == 2


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"path": "b.wav", ', "not JSON (Expecting property name"),
        ('["b.wav", "x"]', "not a JSON object"),
        ('{"text": "x"}', "no path"),
        ('{"path": "b.wav"}', "no transcript: no column name is understood; call it 'text' (there are 'path')"),
        ('{"target": "b"}', "no path: no column name is understood; call it 'path' (there are 'target')"),
        ('{"path": "b.wav", "text": 5}', "path and transcript must be strings"),
        ('{"path": "b.wav", "text": "\\ud800"}', "not valid Unicode"),
        ("[" * 100_000, "not JSON ("),
    ],
)
def test_a_bad_json_line(tmp_path, line, what):
    file = manifest(tmp_path, '{"path": "a.wav", "text": "x"}\n' + line + "\n", name="manifest.jsonl")
    corpus = read_corpus(file)
    assert len(corpus.problems) == len(corpus.utterances) == 1
    assert str(corpus.problems[0]).startswith(f"{file}:2: {what}")


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("m.tsv", b"a.wav\thello\n", ":1: the first line must be a header that names the columns 'path' and 'transcript'"),
        ("m.csv", b"path.text\na.wav.hello\n", ":1: the first line must be a header"),
        ("m.csv", b"path,text,Text,text\na.wav,hello,x,y\n", ":1: 2 columns are called 'text'; give them different names"),
        ("m.csv", b"path,speaker\n", ":1: the first line must be a header"),
        ("m.tsv", b"", ":1: the first line must be a header"),
        ("m.tsv", "path\tt\xe9xt\n".encode("latin-1"), ":1: not valid UTF-8, so it is not a header"),
    ],
)
def test_a_table_without_header(tmp_path, name, text, what):
    file = manifest(tmp_path, text, name=name)
    with pytest.raises(CorpusError) as error:
        read_corpus(file)
    assert str(error.value).startswith(f"{file}{what}")


@given(
    lines=st.lists(st.one_of(st.binary(), st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))), max_size=8),
    name=st.sampled_from(["m.tsv", "m.csv", "m.jsonl"]),
)
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
        f"{file}:1: the transcript is empty",
        f"{file}:3: audio file {file.parent}/84-7-0009.flac not found",
    ]


def test_summary():
    summary = make_corpus(90, 7).summary()
    assert "90 utterances, splits as the corpus gives them" in summary
    assert "  train: 90 utterances, 1.5 minutes, speakers: unknown, longest 1.0 s\n" in summary
    assert "problems: 7\n  m.tsv:2: bad\n" in summary and summary.endswith("  m.tsv:6: bad\n  ... and 2 more")


def test_a_summary_names_the_splits_to_train_on_first(tmp_path):
    lines = [f"{stem}.wav hi {name}" for stem, name in zip("abcd", ("test", "other", "dev", "train"), strict=True)]
    corpus = read_corpus(table(tmp_path, "path text split", *lines, audio="a b c d"))
    assert re.findall(r"^  (\w+)", corpus.summary(), re.MULTILINE) == ["train", "dev", "test", "other"]
    roles = corpus.roles(train=["other"], test=["train"])  # how a split is used counts for more than its name
    assert re.findall(r"^  (\w+)", corpus.summary(roles=roles), re.MULTILINE) == ["other", "dev", "train", "test"]


def test_a_summary_tells_what_each_split_is_for_with_hours_speakers_and_the_longest():
    lengths = {"train-clean-100": [1800, 1801], "train-clean-360": [2400], "dev-clean": [90, 30], "test-other": [3], "mine": [6]}
    utterances = [
        Utterance(Path(f"{split}{n}.flac"), "x", f"{split[:5]}{n}", split, seconds)
        for split, all_seconds in lengths.items() for n, seconds in enumerate(all_seconds)
    ]  # fmt: skip
    corpus = Corpus("LibriSpeech", Path("root"), utterances, [])
    said = corpus.summary(roles=corpus.roles(["train-clean-100", "train-clean-360"], "dev-clean")).splitlines()
    assert said[1:-1] == [
        "  train-clean-100 (train): 2 utterances, 1.0 hours, speakers: 2, longest 1801.0 s",
        "  train-clean-360 (train): 1 utterance, 40.0 minutes, speakers: 1, longest 2400.0 s",
        "  dev-clean (dev): 2 utterances, 2.0 minutes, speakers: 2, longest 90.0 s",
        "  test-other: 1 utterance, 0.1 minutes, speakers: 1, longest 3.0 s",
        "  mine (not used): 1 utterance, 0.1 minutes, speakers: 1, longest 6.0 s",
        "  train in all: 3 utterances, 1.7 hours, speakers: 2, longest 2400.0 s",
    ]
    said = corpus.summary(roles=corpus.roles(["mine"], "dev-clean", ["train-clean-100"]))
    assert "mine (train): " in said and "train-clean-100 (test): " in said and "train-clean-360 (not used): " in said
    assert "test-other (not used): " in said and "in all" not in said and "(" not in corpus.summary()


def test_of_many_problems_each_kind_is_named_and_counted():
    problems = [Problem(f"/a b/{n}.flac", "no line for it") for n in range(100)]
    problems += [Problem(f"m:{n}", f"audio file /a b/{n % 7}.flac not found") for n in range(3)]
    problems += [Problem("m:9", "'x y' is empty"), Problem("m:8", "'z' is empty")]
    assert listed(problems, 6) == [
        "  /a b/0.flac: no line for it", "  /a b/1.flac: no line for it", "  ... and 98 more of this kind",
        "  m:0: audio file /a b/0.flac not found", "  m:1: audio file /a b/1.flac not found", "  ... and 1 more of this kind",
        "  m:9: 'x y' is empty", "  m:8: 'z' is empty",
    ]  # fmt: skip
    assert listed(problems[:6], 6) == [f"  {problem}" for problem in problems[:6]] and not listed([])
    many = listed([Problem("m", f"{letter * 3} is wrong") for letter in "abcdefghijklmnop"])
    assert len(many) == 11 and many[-1] == "  ... and 6 more of other kinds"


# ---------------------------------------------------------------------------------------------
# Columns as others name them, and columns that change what a line means
# ---------------------------------------------------------------------------------------------


def table(folder: Path, header: str, *lines: str, audio: str = "a b c", seconds: float = 2.0) -> Path:
    """A manifest whose cells are written with spaces; _ stands for a space, . for an empty cell."""
    for stem in audio.split():
        write_audio(folder / f"{stem}.wav", seconds=seconds, channels=2)
    rows = [["" if cell == "." else cell.replace("_", " ") for cell in line.split()] for line in lines]
    text = "\n".join("\t".join(cells) for cells in [header.split(), *rows])
    return manifest(folder, text, audio="")


def pieces(corpus: Corpus) -> list[tuple]:
    return [(u.path.stem, u.start, u.stop, round(u.seconds, 6), u.channel) for u in corpus.utterances]


@pytest.mark.parametrize(
    ("header", "line", "piece"),
    [
        ("path text offset duration", "a.wav x 0.5 0.4", (0.5, 0.9, 0.4)),
        ("audio_filepath text Offset Duration", "a.wav x 0 0.4", (0.0, 0.4, 0.4)),
        ("file_name transcription start end", "a.wav x 0.5 0.75", (0.5, 0.75, 0.25)),
        ("path sentence startTime endTime", "a.wav x 00:00:00.5 00:01.5", (0.5, 1.5, 1.0)),
        ("wav_filename transcript start_ms end_ms", "a.wav x 500 750", (0.5, 0.75, 0.25)),
        ("path text offset_ms duration_ms", "a.wav x 500 250", (0.5, 0.75, 0.25)),
        ("path text segment_start segment_end duration", "a.wav x 0.5 0.75 2.0", (0.5, 0.75, 0.25)),
        ("path text begin stop", "a.wav x 0.5 -1", (0.5, None, 1.5)),
        ("path text begin_time", "a.wav x 0.5", (0.5, None, 1.5)),
        ("path text end", "a.wav x 0.5", (0.0, 0.5, 0.5)),
        ("path text onset offset", "a.wav x 0.5 0.75", (0.5, 0.75, 0.25)),
        ("path text start_sample end_sample", "a.wav x 4000 6000", (0.5, 0.75, 0.25)),
        ("path text start length", "a.wav x 0.5 0.25", (0.5, 0.75, 0.25)),
        ("path text start duration", "a.wav x . .", (0.0, None, 2.0)),
        ("path text length", "a.wav x 27", (0.0, None, 2.0)),  # letters, perhaps
        ("path text start_sample num_samples", "a.wav x 4000 2000", (0.5, 0.75, 0.25)),
        ("path text num_samples", "a.wav x 27", (0.0, None, 2.0)),
        ("path text beg end", "a.wav x 0.5 0.75", (0.5, 0.75, 0.25)),
        ("path text t0 t1", "a.wav x 0.5 0.75", (0.5, 0.75, 0.25)),
        ("path text xmin xmax", "a.wav x 0.5 0.75", (0.5, 0.75, 0.25)),
        ("path text start end", "a.wav x 0,5 00:00:00,75", (0.5, 0.75, 0.25)),
    ],
)
def test_a_line_is_the_piece_that_its_columns_say(tmp_path, header, line, piece):
    corpus = read_corpus(table(tmp_path, header, line))
    assert corpus.problems == [] and pieces(corpus) == [("a", *piece, None)]


def test_pieces_of_one_file_are_one_corpus_and_are_read_as_such(tmp_path):
    lines = [f"a.wav x 0.{n} 0.1 train" for n in range(1, 10)] + ["a.wav y 0.1 0.1 train", "b.wav y 0.1 0.1 dev"]
    corpus = read_corpus(table(tmp_path, "path text offset duration split", *lines))
    assert corpus.splits == {"train": 9, "dev": 1}
    (problem,) = corpus.problems
    assert str(problem) == (f"{tmp_path}/manifest.tsv:11: {tmp_path}/a.wav from 0.1 s to 0.2 s was already listed with a "
                            f"different transcript at {tmp_path}/manifest.tsv:2")  # fmt: skip
    dataset = SpeechDataset(corpus.utterances, RATE)
    whole = read_audio(tmp_path / "a.wav", RATE)
    assert torch.equal(dataset[3].audio, whole[round(0.4 * RATE) : round(0.5 * RATE)]) and dataset.seconds[3] == pytest.approx(
        0.1
    )


def test_a_recording_of_many_pieces_is_carved_by_piece_and_many_recordings_by_recording(tmp_path):
    one = [f"a.wav x {n / 10} 0.1" for n in range(20)]
    assert read_corpus(table(tmp_path, "path text offset duration", *one)).splits == {"train": 16, "dev": 2, "test": 2}
    many = [f"{name}.wav x {n / 10} 0.1" for name in "abcdefghijkl" for n in range(5)]
    corpus = read_corpus(table(tmp_path, "path text offset duration", *many, audio="a b c d e f g h i j k l"))
    files = {name: {u.path for u in corpus.split(name)} for name in corpus.splits}
    assert {name: len(found) for name, found in files.items()} == {"train": 10, "dev": 1, "test": 1}


@pytest.mark.parametrize(
    ("cells", "channels"),
    [
        ("A B", [0, 1]),
        ("left right", [0, 1]),
        ("0 1", [0, 1]),
        ("1 2", [0, 1]),
        (". 2", [None, 1]),
        ("average B", [None, 1]),
        ("A R", [0, 1]),
    ],
)
@pytest.mark.parametrize("column", ["channel", "ch", "channel_index", "side"])
def test_a_channel_is_obeyed(tmp_path, cells, channels, column):
    corpus = read_corpus(
        table(tmp_path, f"path text {column}", *(f"{a}.wav x {c}" for a, c in zip("ab", cells.split(), strict=True)))
    )
    assert [u.channel for u in corpus.utterances] == channels and not corpus.problems


def test_both_channels_of_a_file_are_two_utterances_and_sound_different(tmp_path):
    corpus = read_corpus(table(tmp_path, "path text channel", "d.wav x A", "d.wav y B", audio="a"))
    assert len(corpus.problems) == 2
    left, right = np.full(800, 0.5), np.full(800, -0.25)
    soundfile.write(tmp_path / "d.wav", np.stack([left, right], 1), RATE)
    dataset = SpeechDataset(read_corpus(tmp_path).utterances, RATE)
    assert [dataset[n].audio[0].item() for n in (0, 1)] == [0.5, -0.25]


def test_channel_1_of_all_lines_is_refused_where_it_may_be_the_first_or_the_second(tmp_path):
    file = table(tmp_path, "path text channel", "a.wav x 1", "b.wav x 1")
    with pytest.raises(CorpusError, match="every line says channel 1, but the audio has several: write A"):
        read_corpus(file)
    for stem in "ab":
        write_audio(tmp_path / f"{stem}.wav")  # mono
    assert [u.channel for u in read_corpus(file).utterances] == [0, 0]
    file = table(tmp_path, "path text channel_selector", "a.wav x 1")  # NeMo counts from 0
    assert [u.channel for u in read_corpus(file).utterances] == [1]


@pytest.mark.parametrize(
    ("header", "line", "column"),
    [
        ("path text start_frame", "a.wav x 100", "start_frame"),
        ("path text frame_offset num_frames", "a.wav x 100 50", "frame_offset"),
        ("path text speech_interval", "a.wav x [0.1,0.5]", "speech_interval"),
        ("path text start other_start", "a.wav x 0.5 0.6", "other_start"),
        ("path text trim", "a.wav x 0.5-1.0", "trim"),
        ("path text from to", "a.wav x 0.5 1.0", "to"),
        ("path text start num_frames", "a.wav x 0.5 50", "num_frames"),
        ("path text segment", "a.wav x 0.5-1.0", "segment"),
        ("path text timestamps", "a.wav x [0.5,1.0]", "timestamps"),
        ("path text skip", "a.wav x 0.5", "skip"),
        ("path text start finish", "a.wav x 0.5 0.9", "finish"),
        ("path text start num_seconds", "a.wav x 0.5 1", "num_seconds"),
        ("path text in_point out_point", "a.wav x 0.5 0.9", "out_point"),
        ("path text stime etime", "a.wav x 0.5 0.9", "etime"),
        ("path text channel_name", "a.wav x B", "channel_name"),
    ],
)
def test_a_column_that_looks_like_a_time_but_is_not_understood_is_refused(tmp_path, header, line, column):
    with pytest.raises(CorpusError) as error:
        read_corpus(table(tmp_path, header, line))
    assert str(error.value).startswith(f"{tmp_path}/manifest.tsv:2: the column {column!r} (")
    assert "may say which part of the audio is meant" in str(error.value)
    assert len(read_corpus(table(tmp_path, header, "a.wav x" + " ." * (len(header.split()) - 2))).utterances) == 1


def test_columns_that_are_no_times_are_no_matter(tmp_path):
    names = "num_channels end_reason weekend restart segment up_votes num_frames timestamp from"
    names += " ready_to_use channel_count cut_id channel_name"
    file = table(tmp_path, f"path text {names}", "a.wav x 2 eos 3 4 7 5 200 2021-05-01 en 1 2 3 news")
    assert pieces(read_corpus(file)) == [("a", 0.0, None, 2.0, None)]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("b.wav x 0.5 0.5", "its end, 0.5 s, is not after its start, 0.5 s"),
        ("b.wav x 0.5 0.2", "its end, 0.2 s, is not after its start, 0.5 s"),
        ("b.wav x -0.5 1", "start must be a number of at least 0, not '-0.5'"),
        ("b.wav x nan 1", "start must be a number of at least 0, not 'nan'"),
        ("b.wav x 1 inf", "end must be a number of at least 0, not 'inf'"),
        ("b.wav x 3 .", "it begins at 3 s, but its audio lasts 2 s"),
        ("b.wav x 1.5 2.5", "it says 1.5 s to 2.5 s, but its audio lasts 2.00 s"),
    ],
)
def test_a_bad_piece_is_named(tmp_path, line, what):
    file = table(tmp_path, "path text start end", "a.wav x 0 1", "a.wav x 1 2", line, "a.wav z 0.5 1")
    corpus = read_corpus(file)
    assert [str(p) for p in corpus.problems] == [f"{file}:4: {what}"] and len(corpus.utterances) == 3


def test_pieces_in_milliseconds_are_refused_with_the_columns_name(tmp_path):
    file = table(tmp_path, "path text start end", "a.wav x 0 900", "a.wav x 900 1900")
    with pytest.raises(CorpusError, match=r"tsv:2: it says 0 s to 900 s, but its audio lasts 2\.00 s; 2 of 2 pieces .*start_ms"):
        read_corpus(file)


@pytest.mark.skipif(not (DATA.parent / "faults").is_dir(), reason="no collection of broken files beside the repository")
def test_a_manifest_of_a_bug_report():
    corpus = read_corpus(DATA.parent / "faults/offset")
    assert pieces(corpus) == [(f"u00{n}", 0.95, pytest.approx(1.35), 0.4, None) for n in range(3)]
    assert len(SpeechDataset(corpus.utterances)[0].audio) == 6400


# ---------------------------------------------------------------------------------------------
# Durations are compared with the audio
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("says", "number"), [("2000", 2000), ("0.2", 0.2), ("20", 20), ("1.7", 1.7)])
def test_durations_in_another_unit_are_taken_from_the_audio_and_it_is_told(tmp_path, says, number):
    file = table(tmp_path, "path text duration", *(f"{name}.wav x {says}" for name in "abc"))
    corpus = read_corpus(file)
    assert [u.seconds for u in corpus.utterances] == [2.0] * 3 and not corpus.problems
    assert corpus.notes == [f"3 of 3 lines state a wrong duration, so it is taken from the audio; the first is {file}:2: "
                            f"it says {number:g} s, but its audio lasts 2.00 s"]  # fmt: skip
    assert f"note: {corpus.notes[0]}" in corpus.summary()


def test_one_line_of_another_length_is_a_problem_with_both_numbers(tmp_path):
    lines = [f"{name}.wav x {says}" for name, says in zip("abcde", ("2.0", "1.95", "9.5", "2.3", "2.1"), strict=True)]
    corpus = read_corpus(table(tmp_path, "path text seconds", *lines, audio="a b c d e"))
    assert [str(p) for p in corpus.problems] == [f"{tmp_path}/manifest.tsv:4: it says 9.5 s, but its audio lasts 2.00 s"]
    assert [u.seconds for u in corpus.utterances] == [2.0, 1.95, 2.0, 2.1] and "tsv:4" not in corpus.notes[0].split("first")[0]


def test_the_lines_compared_are_of_the_whole_manifest(tmp_path):
    lines = [f"a{n}.wav x {0.1 if n < 25 else 9}" for n in range(39)]
    file = table(tmp_path, "path text duration", *lines, audio=" ".join(f"a{n}" for n in range(39)))
    for n in range(39):
        write_audio(tmp_path / f"a{n}.wav")
    assert len(read_corpus(file).problems) == 14


def test_of_many_lines_some_are_compared(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(corpora, "audio_seconds", lambda path: opened.append(path) or 2.0)
    audio = " ".join(f"u{n}" for n in range(200))
    table(tmp_path, "path text seconds", *(f"{name}.wav x 2.0" for name in audio.split()), audio=audio, seconds=0.01)
    assert len(read_corpus(tmp_path).utterances) == 200 and len(opened) == 20
    assert {int(path.stem[1:]) // 50 for path in opened} == {0, 1, 2, 3}  # spread over the corpus


def test_every_duration_is_compared_when_the_audio_is_read(tmp_path):
    path = write_audio(tmp_path / "a.wav", seconds=1.0)
    dataset = SpeechDataset([Utterance(path, "x", seconds=seconds) for seconds in (1.0, 1.3, 0.8, 1000.0, 0.1)], RATE)
    assert [len(dataset[n].audio) for n in range(3)] == [RATE] * 3
    for n, number in ((3, "1000"), (4, "0.1")):
        with pytest.raises(BadAudio, match=rf"a\.wav: the corpus states {number} s for it, but it lasts 1\.00 s"):
            dataset[n]


# ---------------------------------------------------------------------------------------------
# Names
# ---------------------------------------------------------------------------------------------


def test_suffixes_in_capitals_are_found_in_every_layout(tmp_path):
    write_audio(tmp_path / "m/a.WAV")
    assert told(read_corpus(manifest(tmp_path / "m", "path\ttext\na.wav\tx\n", audio=""))) == [("a.WAV", "x", "", "train")]
    for take in (4, 5):
        write_audio(tmp_path / f"d/recordings/7_ann_{take}.WAV")
    assert read_corpus(tmp_path / "d").splits == {"test": 1, "dev": 1}
    write_audio(tmp_path / "s/wav/one.WAV")
    sphinx(tmp_path / "s", {"train": ("one\n", "uno (one)\n")})
    assert told(read_corpus(tmp_path / "s")) == [("wav/one.WAV", "uno", "", "train")]
    librispeech(tmp_path / "l")
    (tmp_path / "l/dev-clean/84/7/84-7-0001.flac").rename(tmp_path / "l/dev-clean/84/7/84-7-0001.FLAC")
    assert not read_corpus(tmp_path / "l").problems
    write_audio(tmp_path / "p/a.WAV")
    (tmp_path / "p/a.TXT").write_text("hello")
    assert told(read_corpus(tmp_path / "p")) == [("a.WAV", "hello", "", "train")]


@pytest.mark.parametrize("there", ["NFC", "NFD"])
def test_names_in_either_normal_form_are_found(tmp_path, there):
    name = "müsli/größe_é.wav"
    path = tmp_path / unicodedata.normalize(there, name)
    write_audio(path)
    for form in ("NFC", "NFD"):
        file = manifest(tmp_path, f"path\ttext\n{unicodedata.normalize(form, name)}\tx\n", audio="")
        assert [u.path for u in read_corpus(file).utterances] == [path]
    file.write_text("path\ttext\nmüsli/grosse.wav\tx\n")
    assert "not found" in str(read_corpus(file).problems[0])


def test_what_a_mac_leaves_is_counted_and_passed_over(tmp_path):
    librispeech(tmp_path / "l")
    (tmp_path / "l/dev-clean/84/7/._84-7.trans.txt").write_bytes(b"\0\5\x16\7")
    (tmp_path / "l/dev-clean/84/7/._84-7-0000.flac").write_bytes(b"\0\5\x16\7")
    for take in (4, 5):
        write_audio(tmp_path / f"d/recordings/7_ann_{take}.wav")
        (tmp_path / f"d/recordings/._7_ann_{take}.wav").write_bytes(b"\0\5\x16\7")
    manifest(tmp_path / "m", "path\ttext\n._a.wav\tx\n._b.wav\ty\nc.wav\tz\n", audio="._a ._b c")
    for name in "ldm":
        corpus = read_corpus(tmp_path / name)
        assert not corpus.problems
        assert corpus.notes == ["skipped 2 files named ._*, left by a Mac; they hold no audio"]


def test_tilde_and_paths_as_windows_writes_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for path in ("home/h.wav", "set/sub/b.wav", "set/clips/c.wav", "set/f f.wav", "set/g g.wav"):
        write_audio(tmp_path / path)
    lines = [
        "~/h.wav",
        "sub\\b.wav",
        "c.wav",
        f"file://{tmp_path}/set/f f.wav",
        f"FILE://localhost{tmp_path}/set/g%20g.wav",
        "C:\\data\\a.wav",
        "\\\\host\\a.wav",
        "https://host/a.wav",
    ]
    file = manifest(tmp_path / "set", "path\ttext\n" + "".join(f"{line}\tx\n" for line in lines), audio="")
    corpus = read_corpus(file)
    assert [u.path.name for u in corpus.utterances] == ["h.wav", "b.wav", "c.wav", "f f.wav", "g g.wav"]
    windows = "is a path of a Windows machine: write it relative to the manifest's folder, with /"
    assert [str(p) for p in corpus.problems] == [
        f"{file}:7: C:\\data\\a.wav {windows}", f"{file}:8: \\\\host\\a.wav {windows}",
        f"{file}:9: https://host/a.wav is an address, not a file: download it, and write its path"]  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_in_a_manifest(tmp_path):
    os.mkfifo(tmp_path / "p.wav")
    (problem,) = read_corpus(manifest(tmp_path, "path\ttext\np.wav\tx\n", audio="")).problems
    assert "p.wav is a pipe, which can be read only once: write it into a file" in str(problem)
    os.mkfifo(tmp_path / "m.csv")
    for path in (tmp_path / "m.csv", os.devnull):
        with pytest.raises(CorpusError, match=f"{path} is a pipe or a device, not a manifest"):
            read_corpus(path)


# ---------------------------------------------------------------------------------------------
# More of LibriSpeech, and more layouts
# ---------------------------------------------------------------------------------------------


def test_librispeech_behind_links(tmp_path):
    librispeech(tmp_path / "store")
    (tmp_path / "l").mkdir()
    for part in ("train-clean-100", "dev-clean", "test-other"):
        (tmp_path / "l" / part).symlink_to(tmp_path / "store" / part)
    (tmp_path / "store/dev-clean/84/again").symlink_to(tmp_path / "store/dev-clean")  # a circle
    (tmp_path / "l/gone-1").symlink_to(tmp_path / "nowhere")
    corpus = read_corpus(tmp_path / "l")
    assert corpus.splits == {"train-clean-100": 2, "dev-clean": 2, "test-other": 2}
    assert [str(p) for p in corpus.problems] == [f"{tmp_path}/l/gone-1: a link to {tmp_path}/nowhere, which does not exist"]
    (tmp_path / "dev-clean").symlink_to(tmp_path / "store/train-clean-100")
    assert read_corpus(tmp_path / "dev-clean").splits == {"dev-clean": 2}  # the name that is given counts


def test_librispeech_with_other_names_links_suffixes_and_tabs(tmp_path):
    store = librispeech(tmp_path / "store")
    (tmp_path / "l/devs").mkdir(parents=True)
    for name, part in (("a", "train-clean-100"), ("devs/b", "dev-clean/84"), ("devs/c", "test-other/61/7")):
        (tmp_path / "l" / name).symlink_to(store / part)
    corpus = read_corpus(tmp_path / "l")  # the real folders tell which part it is
    assert corpus.splits == {"train-clean-100": 2, "dev-clean": 2, "test-other": 2} and not corpus.problems
    (store / "train-other-500").rename(store / "TRAIN_OTHER_500")
    (store / "dev-clean").rename(store / "dev_clean")
    for file in store.glob("test-other/*/*/*.flac"):
        write_audio(file.with_suffix(".wav"))
        file.unlink()
    transcripts = store / "dev_clean/84/7/84-7.trans.txt"
    transcripts.write_text(transcripts.read_text().replace(" ", "\t", 1))
    transcripts.rename(transcripts.with_name("84-7.TRANS.TXT"))
    corpus = read_corpus(store)
    assert corpus.splits == {"train-clean-100": 2, "train-other-500": 2, "dev-clean": 2, "test-other": 2} and not corpus.problems


def test_parts_of_dev_and_of_test_stay_apart(tmp_path):
    librispeech(tmp_path)
    for old, new in (("dev-clean", "dev-other"), ("test-other", "test-clean")):
        shutil.copytree(tmp_path / old, tmp_path / new)
    corpus = read_corpus(tmp_path)
    assert corpus.in_roles(dev="dev-other").splits["train"] == 4
    assert set(corpus.splits) == {"train-clean-100", "train-other-500", "dev-clean", "dev-other", "test-clean", "test-other"}
    assert corpus.splits_for("dev") == ["dev-clean", "dev-other"] and corpus.splits_for("test") == ["test-clean", "test-other"]
    assert corpus.dev_split("dev-other") == "dev-other"
    with pytest.raises(CorpusError, match="several sets to choose the best weights on: dev-clean, dev-other; name one with"):
        corpus.dev_split()
    with pytest.raises(CorpusError, match="no utterance is in the split 'dev-x'; there are dev-clean, dev-other, test-clean"):
        corpus.dev_split("dev-x")
    shutil.rmtree(tmp_path / "dev-other")
    assert read_corpus(tmp_path).dev_split() == read_corpus(tmp_path).dev_split("dev-clean") == "dev-clean"


def test_parts_of_librispeech_with_nothing_in_them_and_flacs_without_a_line_are_named(tmp_path):
    librispeech(tmp_path)
    (tmp_path / "test-clean/61").mkdir(parents=True)
    (tmp_path / "dev-other.tar.gz").touch()
    (tmp_path / "train-clean-360.zip").touch()
    chapter = tmp_path / "dev-clean/84/7"
    write_audio(chapter / "84-7-0002.flac")
    write_audio(tmp_path / "dev-clean/84/8/84-8-0000.flac")
    assert [str(p) for p in read_corpus(tmp_path).problems] == [
        f"{chapter}/84-7-0002.flac: no *.trans.txt beside it has a line for it",
        f"{tmp_path}/dev-clean/84/8/84-8-0000.flac: no *.trans.txt beside it has a line for it",
        f"{tmp_path}/dev-other.tar.gz: is not unpacked: tar xf dev-other.tar.gz",
        f"{tmp_path}/test-clean: holds no *.trans.txt and no FLAC: is it unpacked, and do you have permission?",
        f"{tmp_path}/train-clean-360.zip: is not unpacked: unzip train-clean-360.zip"]  # fmt: skip


def test_librispeech_as_it_is_unpacked_with_its_tables_and_blank_lines(tmp_path):
    root = librispeech(tmp_path / "LibriSpeech")
    for name in ("SPEAKERS.TXT", "CHAPTERS.TXT", "BOOKS.TXT", "README.TXT", "LICENSE.TXT"):
        (root / name).write_text("; ID | SEX\n84 | F | dev-clean\n")
    lines = root / "dev-clean/84/7/84-7.trans.txt"
    lines.write_text("\n84-7-0000 NUMBER NOUGHT\n   \n84-7-0001 NUMBER ONE\n\n")
    for path, splits in ((tmp_path, 4), (root, 4), (root / "dev-clean", 1), (root / "dev-clean/84", 1), (lines.parent, 1)):
        corpus = read_corpus(path)
        assert len(corpus.splits) == splits and not corpus.problems and not corpus.notes
        assert {u.transcript for u in corpus.split("dev-clean")} == {"NUMBER NOUGHT", "NUMBER ONE"}


def test_utterances_of_librispeech_that_are_there_twice_are_named(tmp_path):
    root = librispeech(tmp_path / "l")
    (root / "dev-clean/84/linked").symlink_to(root / "dev-clean/84/7")
    corpus = read_corpus(root)
    first, again = (root / "dev-clean/84" / name / "84-7.trans.txt" for name in ("7", "linked"))
    assert corpus.splits["dev-clean"] == 2 and [str(problem) for problem in corpus.problems] == [
        f"{again}:1: 84-7-0000 is in this part twice, first at {first}:1",
        f"{again}:2: 84-7-0001 is in this part twice, first at {first}:2",
    ]
    (root / "dev-clean/84/linked").unlink()
    first.write_text("84-7-0000 A\n84-7-0001 B\n84-7-0000 A\n")
    assert "84-7-0000.flac was already listed with the same transcript at" in str(read_corpus(root).problems[0])
    first.write_text("84-7-0000 A\n84-7-0001 B\n")
    shutil.copytree(root / "dev-clean/84", root / "train-clean-100/84")
    corpus = read_corpus(root)  # noisy copies have the names of what they are copied from, so both stay
    assert corpus.splits["train-clean-100"] == 4 and not corpus.problems
    assert corpus.notes == ["2 utterances of train-clean-100 have the same names as some of dev-clean: are they the same speech?"]


def test_a_line_of_librispeech_finds_its_flac_in_either_normal_form(tmp_path):
    chapter = tmp_path / "dev-clean/1/2"
    write_audio(chapter / unicodedata.normalize("NFD", "1-2-é.flac"))
    (chapter / "1-2.trans.txt").write_text(unicodedata.normalize("NFC", "1-2-é YES\n"), encoding="utf-8")
    corpus = read_corpus(tmp_path)
    assert len(corpus.utterances) == 1 and not corpus.problems


def test_converted_audio_without_a_line_is_named_but_not_what_lies_beside_the_parts(tmp_path):
    root = librispeech(tmp_path)
    write_audio(root / "dev-clean/84/7/84-7-0002.wav")
    write_audio(root / "dev-clean/84/7/84-7-0001.wav")  # beside the FLAC of this name, which is taken
    write_audio(root / "mp3/84/7/84-7.wav")
    corpus = read_corpus(root)
    assert {u.path.suffix for u in corpus.utterances} == {".flac"}
    assert [str(problem) for problem in corpus.problems] == [
        f"{root}/dev-clean/84/7/84-7-0002.wav: no *.trans.txt beside it has a line for it"
    ]


def test_pairs_of_audio_and_text(tmp_path):
    for name in ("train/a.wav", "train/b/c.flac", "valid/d.wav", "test/e.wav", "wav/f.wav", "test/lone.wav"):
        write_audio(tmp_path / name)
    texts = {
        "train/a.txt": "hello\n world\n",
        "train/b/c.lab": "yes",
        "valid/d.txt": "no",
        "test/e.TXT": "\ufeffup",
        "txt/f.txt": "far",
    }
    for name, text in texts.items() | {("README.txt", "about"), ("train/other.txt", "x"), ("test/bad.txt", "y")}:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    corpus = read_corpus(tmp_path)
    assert corpus.kind == "pairs of audio and text"
    assert told(corpus) == [("test/e.wav", "up", "", "test"), ("train/a.wav", "hello world", "", "train"),
                            ("train/b/c.flac", "yes", "", "train"), ("valid/d.wav", "no", "", "dev")]  # fmt: skip
    assert sorted(str(p) for p in corpus.problems) == [
        f"{tmp_path}/test/lone.wav: no transcript beside it: lone.txt (or .lab)",
        f"{tmp_path}/txt/f.txt: no split is given, but other lines have one"]  # fmt: skip
    assert corpus.notes == [f"2 texts have no audio file of the same name; the first is {tmp_path}/test/bad.txt"]


def test_pairs_whose_names_differ_in_form_or_have_both_suffixes(tmp_path):
    names = {"A.WAV": "a.txt", "b.wav": "b.wav.txt", "e\u0301.wav": "\u00e9.txt", "x.y.wav": "x.y.lab"}
    for audio, text in names.items():
        write_audio(tmp_path / audio)
        (tmp_path / text).write_text(text)
    for hidden in (".ipynb_checkpoints/b-checkpoint.wav", ".b.wav"):
        write_audio(tmp_path / hidden)
    corpus = read_corpus(tmp_path)
    assert {u.path.name: u.transcript for u in corpus.utterances} == names and not corpus.problems and not corpus.notes


def test_pairs_without_splits_are_carved(tmp_path):
    for n in range(20):
        write_audio(tmp_path / f"{n}.wav")
        (tmp_path / f"{n}.txt").write_text("hello")
    (tmp_path / "3.txt").write_bytes(b"caf\xe9")
    corpus = read_corpus(tmp_path)
    assert corpus.splits == {"train": 15, "dev": 2, "test": 2}
    assert [str(p) for p in corpus.problems] == [
        f"{tmp_path}/3.txt:1: not valid UTF-8",
        f"{tmp_path}/3.txt: the transcript is empty",
    ]


def kaldi(folder: Path, **lists: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in lists.items():
        (folder / (name if name != "wav" else "wav.scp")).write_text(text)
    return folder


def test_kaldi(tmp_path):
    for name in ("r1", "r2"):
        write_audio(tmp_path / f"audio/{name}.wav", seconds=2.0)
    segments = "u1 r1 0.5 0.75\nu2 r1 1 -1\nu3 r9 0 1\nu4 r1 1 0.5\nu5 r2 0 1\n"
    kaldi(tmp_path / "data/train", wav=f"r1 audio/r1.wav\nr2 sph2pipe {tmp_path} |\n", segments=segments,
          text="u1 HELLO world\nu2 yes\nu3 no\nu4 no\nu5 no\nu6 no\n", utt2spk="u1 ann\nu2 bob\n")  # fmt: skip
    kaldi(tmp_path / "data/dev", wav=f"u9 {tmp_path}/audio/r2.wav\n", text="u9 nine\n")
    corpus = read_corpus(tmp_path / "data")
    assert corpus.kind == "Kaldi"
    assert pieces(corpus) == [("r2", 0.0, None, 2.0, None), ("r1", 0.5, 0.75, 0.25, None), ("r1", 1.0, None, 1.0, None)]
    assert [(u.transcript, u.speaker, u.split) for u in corpus.utterances] == [
        ("nine", "", "dev"), ("HELLO world", "ann", "train"), ("yes", "bob", "train")]  # fmt: skip
    text = tmp_path / "data/train/text"
    assert [str(p) for p in corpus.problems] == [
        f"{text}:3: u3 has no recording in segments", f"{text}:4: its end, 0.5 s, is not after its start, 1 s",
        f"{text}:5: r2 is a command in wav.scp, but only files are read: write its output into a file",
        f"{text}:6: u6 has no recording in segments"]  # fmt: skip


def test_kaldi_with_tabs_and_channels(tmp_path):
    for name in ("r1", "r2"):
        write_audio(tmp_path / f"{name}.wav", seconds=2.0, channels=2 if name == "r1" else 1)
    segments = "u1\tr1\t0.5\t0.75\nu2\tr1\t1\t1.5\t0\nu3\tr2\t1\t1.5\t1\nu4 r1 1 1.2 X\n"
    kaldi(tmp_path, wav="r1\tr1.wav\nr2\tr2.wav\n", text="u1\tA\nu2\tB  C\nu3\tD\nu4\tE\n", segments=segments)
    (tmp_path / "reco2file_and_channel").write_text("r1 r1 B\nr2 r2 B\n")
    corpus = read_corpus(tmp_path)
    assert [u.transcript for u in corpus.utterances] == ["A", "B C", "D"]
    assert [u.channel for u in corpus.utterances] == [1, 0, None]
    (problem,) = corpus.problems
    assert problem.what == "channel 'X' is not understood; write a number from 0, or A and B"


def test_manifests_named_for_their_splits(tmp_path):
    for name, stem in (("train.tsv", "a"), ("dev.tsv", "b"), ("test.tsv", "c"), ("validated.tsv", "a")):
        write_audio(tmp_path / f"clips/{stem}.mp3")
        manifest(tmp_path, f"client_id\tpath\tsentence\tsegment\ns{stem}\t{stem}.mp3\thi {stem}\t\n", name=name, audio="")
    corpus = read_corpus(tmp_path)
    assert told(corpus) == [
        ("clips/b.mp3", "hi b", "sb", "dev"),
        ("clips/c.mp3", "hi c", "sc", "test"),
        ("clips/a.mp3", "hi a", "sa", "train"),
    ]
    assert read_corpus(tmp_path / "dev.tsv").splits == {"dev": 1}
    (tmp_path / "train.csv").write_text("path,text\n")
    with pytest.raises(CorpusError, match=r"has train\.csv and train\.tsv; give the path of the one you mean"):
        read_corpus(tmp_path)


def test_hugging_face_names(tmp_path):
    write_audio(tmp_path / "a.wav")
    manifest(tmp_path, "file_name,transcription\na.wav,one\n", name="metadata.csv", audio="")
    assert told(read_corpus(tmp_path)) == [("a.wav", "one", "", "train")]
    row = {"audio": {"path": "a.wav"}, "sentence": "two", "split": "training"}
    file = manifest(tmp_path, json.dumps(row), name="m.jsonl", audio="")
    assert told(read_corpus(file)) == [("a.wav", "two", "", "train")]


def test_what_to_add_where_there_is_no_dev(tmp_path):
    corpus = read_corpus(unsplit(tmp_path, 1, 5))
    with pytest.raises(CorpusError, match=r"in the split 'dev'\. There are 5 in 'train'\. Add a column 'split'"):
        corpus.dev_split()
    assert "Training also needs a 'dev': add a column 'split', or more lines" in corpus.summary()


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


@pytest.mark.parametrize(
    ("count", "expected"), [(9, {"train": 9}), (10, {"train": 8, "dev": 1, "test": 1}), (14, {"train": 12, "dev": 1, "test": 1})]
)
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
# Real speech
# ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason="the real speech is not beside the repository, in ../shared/data")
@pytest.mark.parametrize(
    ("name", "rate", "splits"),
    [
        ("fsdd", 8000, {"train": 1600, "dev": 200, "test": 200, "test_unseen": 500}),
        ("barista_en", 16000, {"train": 462, "dev": 47, "test": 53}),
        ("kathleen_arctic", 16000, {"train": 430, "dev": 40, "test": 60}),
        ("dsp20_zh", 16000, {"train": 828, "dev": 108, "test": 108}),
        ("cmn_words", 16000, {"train": 793, "dev": 60, "test": 99}),
    ],
)
def test_real_speech(name, rate, splits):
    corpus = read_corpus(DATA / name)
    assert (corpus.problems, corpus.splits) == ([], splits)
    assert corpus_sample_rate(corpus.utterances) == rate
    dataset = SpeechDataset(corpus.split("test")[:3], rate)
    for index, seconds in enumerate(dataset.seconds):
        assert len(dataset[index].audio) / rate == pytest.approx(seconds, abs=0.002)


def of_splits(*names: str) -> Corpus:
    return Corpus("manifest", Path("root"), [Utterance(Path(f"{n}.wav"), "x", split=n, seconds=1) for n in names], [])


def test_splits_get_the_roles_that_their_names_or_the_user_give_them():
    corpus = of_splits(
        "train-clean-100", "train-other-500", "dev-clean", "dev-other", "test-clean", "test-other", "extra", "trainee"
    )
    assert corpus.in_roles(dev="dev-other").splits == {
        "train": 2, "unused dev-clean": 1, "dev": 1, "test-clean": 1, "test-other": 1, "extra": 1, "unused trainee": 1
    }  # fmt: skip
    chosen = corpus.in_roles(["train-clean-100", "extra"], "dev-clean", ["test-other", "dev-other"])
    assert [u.split for u in chosen.utterances] == [
        "train", "unused train-other-500", "dev", "test dev-other", "unused test-clean", "test-other", "train", "unused trainee"
    ]  # fmt: skip
    weights_on_test = corpus.in_roles(dev="test-clean").splits
    assert weights_on_test["dev"] == 1 and "test-clean" not in weights_on_test and "unused dev-clean" in weights_on_test
    for train, test, message in (
        (["dev-clean"], [], "the split 'dev-clean' can't be used for both 'train' and 'dev'"),
        (["train-clean-360"], [], "no utterance is in the split 'train-clean-360'; there are dev-clean, dev-other"),
        (["train-clean-100"], ["train-clean-100"], "can't be used for both 'train' and 'test train-clean-100'"),
    ):
        with pytest.raises(CorpusError, match=message):
            corpus.in_roles(train, "dev-clean", test)


def test_the_dev_part_that_is_named_becomes_dev():
    corpus = of_splits("train", "dev-clean", "dev-other", "test")
    assert corpus.in_roles(dev="dev-other").splits == {"train": 1, "unused dev-clean": 1, "dev": 1, "test": 1}
    with pytest.raises(
        CorpusError, match=r"several sets to choose the best weights on: dev-clean, dev-other; name one with --dev NAME"
    ):
        corpus.in_roles()
    assert of_splits("train", "dev-clean").in_roles().splits == {"train": 1, "dev": 1}
    assert of_splits("train").in_roles().splits == {"train": 1}


@pytest.mark.parametrize(
    ("name", "kind"), [("checkpoint.pt", "a checkpoint"), ("lm.arpa", "a language model"), ("A.WAV", "one recording")]
)
def test_a_file_of_another_kind_in_place_of_a_corpus_is_named(name, kind, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CorpusError, match=f"{name} is {kind}, not a corpus; give the folder of a corpus or its manifest"):
        read_corpus(tmp_path / name)
