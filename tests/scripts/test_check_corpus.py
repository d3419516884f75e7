"""check_corpus.py: what it prints, and what it returns."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import check_corpus
from helpers import manifest


def test_problems_are_listed_and_told_by_the_exit_status(tmp_path, monkeypatch, capsys):
    def run(path: Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["check_corpus.py", str(path)])
        return check_corpus.main(), capsys.readouterr().out

    code, out = run(manifest(tmp_path, "path\ttext\na.wav\tx\n" + "gone.wav\ty\n" * 7))
    assert code == 1 and out.count("gone.wav not found") == 7
    code, out = run(tmp_path / "nowhere")
    assert code == 1 and "nowhere does not exist" in out
    code, out = run(manifest(tmp_path, "path\ttext\na.wav\tx\n"))
    assert code == 0 and "problems: 0" in out
    code, out = run(manifest(tmp_path, "path\ttext\n"))
    assert code == 1 and "0 utterances" in out
    monkeypatch.setattr(sys, "argv", ["check_corpus.py", str(manifest(tmp_path, "path\ttext\n你.wav\tx\n"))])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert check_corpus.main() == 1  # a terminal that cannot show the name


def test_the_splits_are_shown_with_what_they_are_for(tmp_path, capsys):
    rows = "".join(f"{name}.wav\tx\t{split}\n" for name, split in zip("abc", ("train-x", "dev-x", "dev-y"), strict=True))
    path = str(manifest(tmp_path, "path\ttext\tsplit\n" + rows))
    advice = "several sets to choose the best weights on: dev-x, dev-y; name one with --dev NAME"
    assert check_corpus.main([path]) == 0 and advice in capsys.readouterr().out
    assert check_corpus.main([path, "--dev", "dev-y", "--test", "dev-x", "--train", "train-x"]) == 0
    out = capsys.readouterr().out
    assert "train-x (train): 1 utterance" in out and "dev-x (test): 1" in out and "dev-y (dev): 1" in out
    assert check_corpus.main([path, "--dev", "dev-y", "--train", "train-x, train-z"]) == 1
    assert "no utterance is in the split 'train-z'; there are dev-x, dev-y, train-x" in capsys.readouterr().out
