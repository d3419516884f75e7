"""Input that once ended in a traceback, or took all time or memory: each is told in a sentence. What fuzzing finds comes here."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fuzzing import within_limits

import check_corpus
import train_language_model
from decoding import arpa, kenlm_binary
from decoding.arpa import ArpaError, read_arpa_file
from decoding.kenlm_binary import KenlmError
from decoding.ngrams import NGramModel
from helpers import make_corpus, manifest
from implementation import CharEncoder
from models.transcription import read_tuned
from pictures.terminal import script
from speech import sentences
from speech.audio import BadAudio, audio_seconds, read_audio
from speech.containers import contents_of
from speech.corpora import CorpusError, Problem, read_corpus
from speech.sentences import read_sentences
from speech.transcripts import normalise
from training.flags import parse_args
from training.folder import OpenFolder
from training.loop import read_metrics
from training.settings import OutputSettings

# ---------------------------------------------------------------------------------------------
# Corpora
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cell", "what"),
    [
        ("start", "1:" * 200 + "1", "start must be a number of at least 0"),
        ("start", "1e308", "start must be a number of at least 0"),
        ("path", "~\0/a.wav", "audio file .* not found"),
        ("path", "x" * 300, "audio file .* not found"),
        ("path", "é/" * 1800, "audio file .* not found"),
        ("path", "e" + "\u0301\u0323" * 100_000, "audio file .* not found"),
    ],
)
def test_a_cell_that_no_audio_can_have_is_a_problem(tmp_path, column, cell, what):
    row = {"path": "a.wav", "text": "hello", "start": 0} | {column: cell}
    with within_limits():
        corpus = read_corpus(manifest(tmp_path, json.dumps(row), "m.jsonl"))
    assert not corpus.utterances and [problem.where for problem in corpus.problems] == [f"{tmp_path / 'm.jsonl'}:1"]
    assert re.search(what, corpus.problems[0].what, re.DOTALL)


def test_a_channel_of_hundreds_of_digits_is_not_understood(tmp_path):
    with pytest.raises(CorpusError, match=r"channel '9+' is not understood"):
        read_corpus(manifest(tmp_path, f"path\ttext\tchannel\na.wav\thello\t{'9' * 400}\n"))


def test_a_segment_without_a_recording_is_a_problem(tmp_path):
    for name, text in {"wav.scp": "r a.wav\n", "text": "u hello\n", "segments": "u\n"}.items():
        manifest(tmp_path, text, name)
    assert [problem.what for problem in read_corpus(tmp_path).problems] == ["u has no recording in segments"]


@pytest.mark.parametrize("name", ["m.jsonl", "m.json"])
def test_json_with_a_number_of_thousands_of_digits_is_told(tmp_path, name):
    corpus = read_corpus(manifest(tmp_path, f'[{{"path": "a.wav", "text": {"9" * 5000}}}]', name))
    assert [problem.what.startswith("not JSON (Exceeds the limit") for problem in corpus.problems] == [True]


def test_a_home_that_is_nobodys_is_told(capsys):
    assert check_corpus.main(["~no_such_user/corpus"]) == 1
    assert capsys.readouterr().out.startswith("~no_such_user/corpus does not exist")


def test_a_line_of_many_spaces_takes_no_time(tmp_path):
    manifest(tmp_path, f"<s> hello{' ' * 200_000}moon (a)\n", "m.transcription")
    with within_limits():
        assert [utterance.transcript for utterance in read_corpus(tmp_path).utterances] == ["hello moon"]


def test_a_letter_with_any_number_of_marks_takes_no_time():
    with within_limits():
        assert normalise("e\u0301 e" + "\u0301\u0323" * 100_000, CharEncoder()).startswith("e e")


def test_problems_with_names_that_are_not_utf_8_are_written_down(tmp_path):
    folder = OpenFolder(tmp_path / "run", OutputSettings(tmp_path / "run"))
    folder.clear([*make_corpus(0, 1).problems, Problem("\udcff.wav", "not found")])
    folder.close()
    assert (tmp_path / "run" / "left_out.txt").read_text() == "m.tsv:2: bad\n\\udcff.wav: not found\n"


# ---------------------------------------------------------------------------------------------
# Audio
# ---------------------------------------------------------------------------------------------


def wave(**how) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).uniform(-0.3, 0.3, 4000), 16000, **({"format": "WAV"} | how))
    return file.getvalue()


def with_number(data: bytes, at: int, number: int) -> bytes:
    return data[:at] + struct.pack("<I", number) + data[at + 4 :]


SHORT_FRAME = b"\xff\xf3\x14\x00" + bytes(17) + b"Xing"  # of MPEG 2 at 24 kHz and 8 kbit/s it has 24 bytes


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("slow.wav", with_number(wave(), 24, 1), "its header says 1 Hz, which is not a sample rate for speech"),
        ("quick.wav", with_number(wave(), 24, 2_000_000_000), "its header says 2000000000 Hz, which is not a sample rate"),
        ("a.sph", b"NIST_1A\n   1x24\nsample_count -i 9\n".ljust(1024) + bytes(18), "SPHERE"),
        ("a.au", wave(format="AU")[:4] + b"\xff" * 4 + bytes(4) + wave(format="AU")[12:], "audio"),
        ("many.wav", 1000 * wave()[:300].replace(wave()[40:44], struct.pack("<I", 256)), "consists of too many joined files"),
    ],
)  # fmt: skip
def test_audio_whose_header_is_absurd_is_refused(tmp_path, name, data, what):
    (tmp_path / name).write_bytes(data)
    for read in (audio_seconds, lambda path: read_audio(path, 16000)):
        with within_limits(), pytest.raises(BadAudio, match=what):
            read(tmp_path / name)


def test_a_frame_that_is_too_short_for_the_tag_that_begins_in_it_is_walked_over():
    assert contents_of(SHORT_FRAME, is_mpeg=True).cut == ""


def test_more_audio_than_memory_holds_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("speech.audio._MOST_SAMPLES", 7999)
    (tmp_path / "a.wav").write_bytes(wave())
    soundfile.write(tmp_path / "long.wav", np.zeros((4000, 2)), 16000)
    assert len(read_audio(tmp_path / "a.wav", 16000)) == 4000
    with pytest.raises(BadAudio, match=r"0\.0 hours in 2 channels do not fit into memory: cut the file into pieces"):
        read_audio(tmp_path / "long.wav", 16000)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_audio_read_in_blocks_is_that_of_one_block(tmp_path, monkeypatch, container):
    (tmp_path / "a").write_bytes(wave(format=container))
    whole = read_audio(tmp_path / "a", 16000)
    for block in (1000, 3999, 4000, 4001, 1333):
        monkeypatch.setattr("speech.audio._BLOCK", block)
        assert read_audio(tmp_path / "a", 16000).equal(whole)


# ---------------------------------------------------------------------------------------------
# Language models and their texts
# ---------------------------------------------------------------------------------------------

HEAD = "\\data\\\nngram 1={count}\n\n\\1-grams:\n-1\t<s>\t{weight}\n{log_p}\t</s>\n\n\\end\\\n"


@pytest.mark.parametrize("changed", [{"count": "9" * 5000}, {"weight": "-1e300"}, {"log_p": "-1e300"}, {"weight": "nan"}])
def test_numbers_that_no_arpa_file_has_are_told_with_their_line(tmp_path, changed):
    text = HEAD.format(**({"count": 2, "weight": "-1e5", "log_p": -1} | changed))
    (tmp_path / "lm.arpa").write_text(text.replace("ngram 1=2", "ngram 1=2\nngram 2=0"))
    with pytest.raises(ArpaError, match=r"lm\.arpa:\d: "):
        read_arpa_file(tmp_path / "lm.arpa")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_what_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(arpa, "_NOT_MUCH", 2**20)
    monkeypatch.setattr(sentences, "_NOT_MUCH", 2**20)
    (tmp_path / "lm.arpa").write_bytes(pack(b"a" * 2**22))
    with pytest.raises(ArpaError, match=r"cannot be unpacked to its end \(it unpacks to more than 100 times its size"):
        read_arpa_file(tmp_path / "lm.arpa")
    if pack is gzip.compress:
        with pytest.raises(ValueError, match=r"cannot be unpacked to its end \(it unpacks to more than 100 times its size"):
            read_sentences(tmp_path / "lm.arpa")


def test_an_order_of_any_size_is_that_of_the_longest_sentence():
    with within_limits():
        assert NGramModel.train(["the cat sat"], order=10**12).order == 5


def test_words_of_a_binary_that_are_empty_are_refused(tmp_path):
    words = b"<unk>\0a\0\0b\0"
    (tmp_path / "lm.bin").write_bytes(kenlm_binary._HEADER.pack(1, True, 4) + words)
    with pytest.raises(KenlmError, match="the words at the end of the binary are not complete"):
        kenlm_binary._read_words(tmp_path / "lm.bin")


# ---------------------------------------------------------------------------------------------
# What a run left
# ---------------------------------------------------------------------------------------------

NO_JSON_OF_OURS = ["[1]", "5", "{}", "[" * 100_000, '{"epoch": "x"}', '{"alpha": 1' + 400 * "0" + ', "beta": 1' + 400 * "0" + "}"]


@pytest.mark.parametrize("text", NO_JSON_OF_OURS)
def test_json_beside_a_checkpoint_that_is_not_ours_is_told(tmp_path, text):
    (tmp_path / "a").write_text(text)
    with pytest.raises(ValueError, match=r"a has a line that does not describe an epoch: remove it"):
        read_metrics(tmp_path / "a")
    with pytest.raises(ValueError, match=r"a is broken: tune again with tune_decoder\.py"):
        read_tuned(tmp_path / "a")


# ---------------------------------------------------------------------------------------------
# Command lines
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--rnn-hidden", "9" * 20], "--rnn-hidden must be a number up to 1,000,000, not 9"),
        (["--lr", "inf"], "--lr must be a number up to 1,000,000,000, not inf"),
        (["--num-workers", "100000"], "--num-workers must be a number up to 1,000, not 100000"),
        (["--epochs", "1" + "0" * 30], "--epochs must be a number up to"),
        (["--time-strides", "1,99999999999999999999"], "--time-strides needs 2 strides of 1 to 1000"),
    ],
)
def test_numbers_that_no_machine_holds_are_refused(flags, what, capsys):
    with pytest.raises(SystemExit):
        parse_args(flags)
    assert what in capsys.readouterr().err


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")])
def test_too_little_memory_is_one_line(error, capsys):
    @script
    def main(_argv):
        raise error

    assert main([]) == 2
    assert capsys.readouterr().err.startswith("error: there is not enough memory for this; ask for less")


def test_an_output_that_can_not_be_written_is_told(tmp_path: Path, capsys):
    (tmp_path / "text.txt").write_text("a b\n")
    assert train_language_model.main([str(tmp_path / "text.txt"), "-o", str(tmp_path / ("x" * 300))]) == 2
    assert "File name too long" in capsys.readouterr().err


def test_a_kenlm_binary_that_counts_no_words_is_refused_at_once(tmp_path):
    """Found by fuzzing: the piece of the file that is read grew from 0 bytes to 0 bytes, for ever."""
    (tmp_path / "lm.bin").write_bytes(kenlm_binary._HEADER.pack(3, True, 0) + b"<unk>\0cat\0")
    with within_limits(), pytest.raises(kenlm_binary.KenlmError, match="the words at the end of the binary are not complete"):
        kenlm_binary._read_words(tmp_path / "lm.bin")
