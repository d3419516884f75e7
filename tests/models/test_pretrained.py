"""The checkpoint that the project brings, models/commands_en.pt: as a newcomer uses it, and with the counts that it claims."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile

import transcribe
from helpers import DATA, ROOT
from models.checkpoints import load_checkpoint
from models.transcription import doubt
from recipes.pretrained import COMMANDS, errors_of, outputs_of
from speech.corpora import read_corpus

MODEL, CLIP = ROOT / "models" / "commands_en.pt", ROOT / "models" / "yes.wav"
needs_commands = pytest.mark.skipif(not (DATA / "speech_commands").is_dir(), reason="no real speech at ../shared/data")


def test_it_is_small_and_knows_35_words_and_all_commands():
    words = load_checkpoint(MODEL).words
    assert MODEL.stat().st_size <= 2_000_000 and len(words) == 35 and set(COMMANDS) <= set(words)


def test_a_word_is_heard_whole_and_as_a_stream(tmp_path, capsys):
    assert transcribe.main([str(MODEL), str(CLIP)]) == 0
    assert capsys.readouterr() == (f"{CLIP}\tyes\n", "")
    audio, rate = soundfile.read(CLIP)
    soundfile.write(tmp_path / "twice.wav", np.concatenate([audio, audio, audio[-rate // 4 :]]), rate)  # ends with a pause
    assert transcribe.main([str(MODEL), "--stream", str(tmp_path / "twice.wav")]) == 0
    *partial, last = capsys.readouterr().out.splitlines()
    assert last == f"{tmp_path / 'twice.wav'}\tyes yes"
    first = next(float(line.split()[0]) for line in partial if "yes" in line)
    assert first < 1.3  # the clip lasts a second


def test_where_nobody_speaks_nothing_is_heard(tmp_path, capsys):
    noise = 0.003 * np.random.default_rng(0).standard_normal(32000)
    for name, audio in (("silence", np.zeros(32000)), ("noise", noise)):
        soundfile.write(tmp_path / f"{name}.wav", audio, 16000)
        assert transcribe.main([str(MODEL), str(tmp_path / f"{name}.wav")]) == 0
        out, err = capsys.readouterr()
        assert out == f"{tmp_path / name}.wav\t\n" and err.count("\n") == 1


def test_what_is_no_text_of_its_words_is_told_with_the_words():
    checkpoint = load_checkpoint(MODEL)
    for log_ctc, doubted in ((-3.0, False), (-20.0, True)):
        found = {"speech": True, "text": "six stop", "confidence": 0.9, "nbest": [{"log_ctc": log_ctc, "words": 2}]}
        assert ("; this model knows 35 words: backward bed bird" in doubt(found, checkpoint)) == doubted


@pytest.mark.skipif(not (DATA / "librispeech_sample").is_dir(), reason="no real speech at ../shared/data")
def test_asked_for_more_it_says_what_it_knows(capsys):
    sentence = next(iter(sorted((DATA / "librispeech_sample").rglob("*.flac"))))
    assert transcribe.main([str(MODEL), str(sentence)]) == 0
    assert "this model knows 35 words" in capsys.readouterr().err


def claimed() -> dict[tuple[str, str], tuple[int, int]]:
    """Errors and words by set and way of decoding, as models/commands_en.md states them."""
    text = (ROOT / "models" / "commands_en.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip(" *") for cell in line.split("|")[1:-1]] for line in text.splitlines() if re.match(r"\|.*\(\d+/\d+\)", line)
    ]
    counts = [[tuple(map(int, re.search(r"\((\d+)/(\d+)\)", cell).groups())) for cell in row[-3:]] for row in rows]
    return {
        (row[0], how): pair
        for row, pairs in zip(rows, counts, strict=True)
        for how, pair in zip(("greedy", "its words", "one word"), pairs, strict=True)
    }


@needs_commands
@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpus", "split", "name"), [("speech_commands", "test", "test"), ("fsdd", "test_unseen", "test_unseen_fsdd")]
)
def test_its_errors_are_those_that_are_claimed(corpus, split, name):
    """But for two, which another processor may round otherwise."""
    checkpoint, claims = load_checkpoint(MODEL), claimed()
    outputs = outputs_of(checkpoint, read_corpus(DATA / corpus).split(split))
    parts = {name: outputs, f"{name}, ten commands": [output for output in outputs if output.reference in COMMANDS]}
    for part, some in parts.items():
        for how, counts in errors_of(checkpoint, some).items() if some else ():
            errors, words = claims[part, how]
            assert counts.reference_length == words and abs(counts.errors - errors) <= 2, (part, how, str(counts))
