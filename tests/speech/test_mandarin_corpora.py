"""AISHELL-1 and THCHS-30 as their archives unpack, and manifests with several transcripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import told, write_audio
from speech.corpora import CorpusError, read_corpus

LINES = {
    "BAC009S0002W0122": ("train", "S0002", "而 对 楼市 成交"),
    "BAC009S0724W0121": ("dev", "S0724", "广州 市 房地产"),
    "BAC009S0764W0121": ("test", "S0764", "甚至 出现 iphone 交易"),
}


def aishell(folder: Path) -> Path:
    """data_aishell with one utterance a split, its list, and the lexicon that is published beside it."""
    for name, (split, speaker, _) in LINES.items():
        write_audio(folder / "data_aishell" / "wav" / split / speaker / f"{name}.wav")
    texts = folder / "data_aishell" / "transcript"
    texts.mkdir()
    text = "".join(f"{name} {words}\n" for name, (_, _, words) in LINES.items())
    (texts / "aishell_transcript_v0.8.txt").write_text(text, encoding="utf-8")
    (folder / "resource_aishell").mkdir()
    (folder / "resource_aishell" / "lexicon.txt").write_text("楼市 l ou2 sh ix4\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("inside", ["", "data_aishell"])
def test_aishell_has_its_splits_speakers_and_no_spaces_between_words(tmp_path, inside):
    root = aishell(tmp_path) / inside
    corpus = read_corpus(root)
    assert (corpus.kind, corpus.problems) == ("AISHELL-1", [])
    folder = "" if inside else "data_aishell/"
    assert told(corpus) == [
        (f"{folder}wav/train/S0002/BAC009S0002W0122.wav", "而对楼市成交", "S0002", "train"),
        (f"{folder}wav/dev/S0724/BAC009S0724W0121.wav", "广州市房地产", "S0724", "dev"),
        (f"{folder}wav/test/S0764/BAC009S0764W0121.wav", "甚至出现iphone交易", "S0764", "test"),
    ]


def test_of_aishell_what_has_no_text_is_a_note_and_what_has_no_sound_a_problem(tmp_path):
    root = aishell(tmp_path)
    write_audio(root / "data_aishell" / "wav" / "train" / "S0002" / "BAC009S0002W0999.wav")
    with open(root / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt", "a", encoding="utf-8") as file:
        file.write("BAC009S0002W0123 没 有\n")
    corpus = read_corpus(root)
    assert len(corpus.utterances) == 3
    assert [note for note in corpus.notes if "1 recordings have no transcript" in note and "W0999.wav" in note]
    assert [str(p).partition(": ")[2] for p in corpus.problems] == [f"there is no recording BAC009S0002W0123.wav under {root}"]


def test_of_aishell_speakers_that_are_still_packed_are_named_once(tmp_path):
    root = aishell(tmp_path)
    for speaker in ("S0003", "S0004"):
        (root / "data_aishell" / "wav" / f"{speaker}.tar.gz").touch()
    with open(root / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt", "a", encoding="utf-8") as file:
        file.write("BAC009S0003W0123 没 有\nBAC009S0004W0123 没 有\n")
    problems = read_corpus(root).problems
    assert [problem.what for problem in problems] == ["is not unpacked: tar xf S0003.tar.gz, and 1 more like it"]


TEXTS = {
    "A11_0": "绿 是 阳春\nlv4 shi4 yang2 chun1\nl v4 sh ix4",
    "B2_5": "他 OK 了\nta1 o k le5\nt a1",
    "D4_7": "好\nhao3\nh ao3",
}
SPLITS = {"A11_0": "train", "B2_5": "dev", "D4_7": "test"}


def thchs30(root: Path, links: bool = True, pointers: bool = True) -> Path:
    """data_thchs30: all in data; in the folders of the splits links to the sound, and texts that hold a path."""
    for name, text in TEXTS.items():
        write_audio(root / "data" / f"{name}.wav")
        (root / "data" / f"{name}.wav.trn").write_text(text + "\n", encoding="utf-8")
        if pointers:
            folder = root / SPLITS[name]
            folder.mkdir()
            (folder / f"{name}.wav.trn").write_text(f"../data/{name}.wav.trn\n")
            if links:
                (folder / f"{name}.wav").symlink_to(f"../data/{name}.wav")
    return root


@pytest.mark.parametrize("links", [True, False])
def test_thchs30_has_its_splits_and_each_utterance_once(tmp_path, links):
    corpus = read_corpus(thchs30(tmp_path, links))
    assert (corpus.kind, corpus.problems) == ("THCHS-30", [])
    place = SPLITS if links else dict.fromkeys(SPLITS, "data")
    said = {"A11_0": "绿是阳春", "B2_5": "他OK了", "D4_7": "好"}
    expected = [(f"{place[n]}/{n}.wav", said[n], n.partition("_")[0], SPLITS[n]) for n in ("B2_5", "D4_7", "A11_0")]
    assert told(corpus) == expected


def test_thchs30_in_pinyin_and_with_data_alone(tmp_path):
    root = thchs30(tmp_path, pointers=False)
    assert [u.transcript for u in read_corpus(root, "pinyin").utterances] == ["lv4 shi4 yang2 chun1", "ta1 o k le5", "hao3"]
    assert {u.split for u in read_corpus(root).utterances} == {"train"}  # too few to carve any
    with pytest.raises(CorpusError, match="THCHS-30 has the transcripts hanzi, pinyin, phones, but no 'tones'"):
        read_corpus(root, "tones")


def test_of_thchs30_a_text_that_points_nowhere_is_named(tmp_path):
    root = thchs30(tmp_path)
    (root / "data" / "A11_0.wav.trn").unlink()
    (root / "data" / "B2_5.wav.trn").write_text("")
    problems = {problem.where.rpartition("/")[2]: problem.what for problem in read_corpus(root).problems}
    assert "points to ../data/A11_0.wav.trn, which does not exist" in problems["A11_0.wav.trn"]
    assert problems["B2_5.wav.trn"] == "it has 0 lines, but its hanzi should be line 1"


def test_a_column_of_a_manifest_may_be_named(tmp_path):
    for name in "ab":
        write_audio(tmp_path / f"{name}.wav")
    rows = "path\ttranscript\tPinyin\na.wav\t数字\tshu4 zi4\nb.wav\t语音\tyu3 yin1\n"
    (tmp_path / "manifest.tsv").write_text(rows, encoding="utf-8")
    assert [u.transcript for u in read_corpus(tmp_path).utterances] == ["数字", "语音"]
    assert [u.transcript for u in read_corpus(tmp_path, "pinyin").utterances] == ["shu4 zi4", "yu3 yin1"]
    with pytest.raises(CorpusError, match="no column 'tones'; there are path, transcript, Pinyin"):
        read_corpus(tmp_path, "tones")
    (tmp_path / "manifest.tsv").write_text(rows.replace("transcript", "hanzi"), encoding="utf-8")
    assert [u.transcript for u in read_corpus(tmp_path, "hanzi").utterances] == ["数字", "语音"]


def test_in_lines_of_json_too(tmp_path):
    write_audio(tmp_path / "a.wav")
    (tmp_path / "manifest.jsonl").write_text('{"path": "a.wav", "text": "数字", "pinyin": "shu4 zi4"}\n', encoding="utf-8")
    assert [u.transcript for u in read_corpus(tmp_path, "pinyin").utterances] == ["shu4 zi4"]


def test_other_layouts_have_no_columns(tmp_path):
    write_audio(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(CorpusError, match="is not a manifest, so it has no column 'pinyin': leave out --transcript-column"):
        read_corpus(tmp_path, "pinyin")
