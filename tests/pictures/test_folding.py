"""Lines on a terminal: broken between fields and words only, REF and HYP together; whole in files and pipes."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import ROOT, on_terminal
from implementation import count_word_errors
from pictures.folding import columns, fold

needs_terminal = pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo terminal")
EPOCH = (
    "epoch  12/ 30  loss 123.45  dev: loss  12.34  WER  94.18 % (275/292)  CER  40.02 % (1275/2920)  "
    "blank 83 %  125 s audio/s  12 s"
)
KEPT = ["12/ 30", "loss 123.45", "WER  94.18 % (275/292)", "CER  40.02 % (1275/2920)", "blank 83 %", "125 s audio/s", "12 s"]


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_an_epoch_is_broken_between_its_fields(width):
    lines = fold(EPOCH, width).split("\n")
    assert len(lines) > 1 and max(map(len, lines)) <= width
    assert all(any(part in line for line in lines) for part in KEPT)


@pytest.mark.parametrize(
    ("line", "folded"),
    [
        ("test: 40 utterances, WER 94.18 % (275/292: 12 sub, 3 del, 4 ins), CER 9.18 % (5/292: 1 sub, 3 del, 4 ins)",
         "test: 40 utterances, WER 94.18 % (275/292: 12 sub, 3 del, 4 ins),\n  CER 9.18 % (5/292: 1 sub, 3 del, 4 ins)"),
        ("test         beam 500 + language model    WER 94.18 % (275/292: 12 sub, 3 del, 4 ins)",
         "test         beam 500 + language model\n             WER 94.18 % (275/292: 12 sub, 3 del, 4 ins)"),
        ("error: soxr: not installed in this Python; python3 -m venv .venv && pip install -r requirements.txt",
         "error: soxr: not installed in this Python;\n  python3 -m venv .venv && pip install -r requirements.txt"),
        (f"  left out: {'x' * 90}.wav: is not there", f"  left out:\n    {'x' * 90}.wav:\n    is not there"),
        ("你好" * 15 + " " + "世界" * 11, "你好" * 15 + "\n  " + "世界" * 11),
        ("a line\nof few words\n", "a line\nof few words\n"),
    ],
    ids=["result", "table", "command", "path", "Chinese", "short"],
)  # fmt: skip
def test_where_a_line_is_broken(line, folded):
    assert fold(line, 80) == folded


WORDS = "a be sea 12 94.18 % (3/4) WER python3 x.py ; x=1 你好 é, - (see the moon)".split()


@given(st.lists(st.sampled_from(WORDS), max_size=60), st.integers(20, 90))
def test_nothing_is_lost_by_folding(words, width):
    text = " ".join(words)
    assert fold(text, width).split() == text.split()


@given(st.lists(st.sampled_from(["the", "cat", "satellite", "a", "你好"]), min_size=1, max_size=60),
       st.lists(st.sampled_from(["the", "hat", "satellites", "你"]), max_size=60))  # fmt: skip
def test_reference_and_hypothesis_are_broken_together(reference, hypothesis):
    shown = count_word_errors(" ".join(reference), " ".join(hypothesis)).aligned_lines(0)
    lines = fold(f"test: x\n{shown}\nend\n", 40).split("\n")
    assert lines[0] == "test: x" and lines[-2:] == ["end", ""] and max(map(columns, lines)) <= 40
    refs, hyps = ([line[5:] for line in lines if line.startswith(name)] for name in ("REF: ", "HYP: "))
    assert len(refs) == len(hyps)
    for ref, hyp in zip(refs, hyps, strict=True):
        assert len(ref.split()) == len(hyp.split())  # a gap is ***
    assert [word for ref in refs for word in ref.split() if word.strip("*")] == reference
    assert [word for hyp in hyps for word in hyp.split() if word.strip("*")] == hypothesis


CODE = """
import sys
from tqdm import tqdm
from pictures.terminal import print_json, script
@script
def main(argv=None):
    for _ in tqdm(range(3), desc='a bar', leave=False): pass
    print('word ' * 30)
    print_json({'text': 'word ' * 30})
    raise ValueError('a sentence ' * 10)
sys.exit(main())
"""


@needs_terminal
def test_scripts_fold_on_terminals_alone():
    said = on_terminal([sys.executable, "-c", CODE]).split("\n")
    wide = [line for line in said if len(line) > 80]
    assert len(wide) == 1 and wide[0].startswith('{"text"')
    assert len([line for line in said if line.startswith("error: a sentence")]) == 1
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("word " * 30 + "\n") and f"error: {'a sentence ' * 10}\n" in done.stderr


@needs_terminal
def test_setup_folds():
    said = on_terminal([sys.executable, "setup.py", "install"])
    assert max(map(len, said.split("\n"))) <= 80 and re.search(r"^  pip install -r|pip install -r requirements.txt$", said, re.M)


def test_a_notebook_is_left_alone():
    from pictures.folding import folded

    stream = io.StringIO()
    assert folded(stream) is stream and folded(None) is None
