"""The runs of the README, measured again. Slow: python -m pytest -m slow."""

import json
import subprocess
import sys

import pytest

from helpers import DATA, ROOT, needs_digits


def run(tmp_path, *flags):
    """Runs train_minimal.py with flags; the error counts by set."""
    command = [sys.executable, str(ROOT / "train_minimal.py"), "--output-dir", str(tmp_path / "run"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "run" / "results.json").read_text())


@pytest.mark.slow
def test_five_epochs_learn_the_synthetic_voice(tmp_path):
    result = run(tmp_path, "--epochs", "5")["dev"]
    assert result["words"] >= 250 and result["wer"] <= 0.06  # room for other machines; the README has one seed of one


@pytest.mark.slow
@needs_digits
def test_a_short_training_learns_two_spoken_digits(tmp_path):
    rows = (DATA / "fsdd" / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    kept = [rows[0], *(row for row in rows[1:] if row.endswith(("one", "six")))]
    text = "\n".join(kept).replace("wav/", f"{DATA / 'fsdd' / 'wav'}/")
    (tmp_path / "manifest.tsv").write_text(text + "\n", encoding="utf-8")
    results = run(tmp_path, "--data", str(tmp_path), "--epochs", "8", "--rnn-hidden", "64", "--n-rnn", "1")
    assert results["test"]["wer"] <= 0.15
