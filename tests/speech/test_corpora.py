"""Corpora of every layout, every kind of bad line, carved splits. Audio is made by the tests."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import DATA, make_corpus, manifest, told, write_audio
from speech.corpora import CorpusError, Utterance, corpus_sample_rate, read_corpus
from speech.datasets import SpeechDataset

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


def test_summary():
    summary = make_corpus(90, 7).summary()
    assert "90 utterances, splits as the corpus gives them" in summary
    assert "  train: 90 utterances, 1.5 minutes, speakers: unknown\n" in summary
    assert "problems: 7\n  m.tsv:2: bad\n" in summary and summary.endswith("  m.tsv:6: bad\n  ... and 2 more")


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
