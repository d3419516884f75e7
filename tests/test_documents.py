"""What the documents say is so: code runs, files and flags exist, numbers of defaults are those of the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import train_minimal
from training import ModelConfig

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "CHEATSHEET.md", "paper_notes.md")


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "CHEATSHEET.md"])
def test_the_python_blocks_run(name):
    blocks = re.findall(r"```python\n(.*?)```", text_of(name), re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", DOCUMENTS)
def test_linked_files_exist(name):
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(name)):
        assert "://" in target or (ROOT / target).exists(), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_flags_of_commands_exist(name):
    commands = re.findall(r"python train_minimal\.py([^`\n|]*)", text_of(name))
    for flags in commands:
        words = [word for word in flags.split() if word not in ("...", "#")]
        train_minimal.parse_args([] if "--help" in words else words[: words.index("#")] if "#" in words else words)


def test_defaults_in_the_cheat_sheet_are_the_codes():
    sheet, args, config = text_of("CHEATSHEET.md"), train_minimal.parse_args([]), ModelConfig()
    assert f"GRU, {config.n_rnn} layers of {config.rnn_hidden}" in sheet and args.rnn_hidden == config.rnn_hidden
    assert f"one cycle up to {args.lr:.0e}".replace("e-0", "e-") in sheet
    assert f"| batch | 512 utterances (6) | {args.batch_size} |" in sheet
    assert f"--n-fft {config.n_fft}" in sheet


def test_no_document_is_left_with_a_gap():
    for name in DOCUMENTS:
        assert not re.search(r"@[A-Z_]+@|TODO|TBD", text_of(name)), name
