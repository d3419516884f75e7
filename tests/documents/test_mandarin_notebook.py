"""notebooks/mandarin.ipynb: it was run as it stands, it shows what it says, and it runs without the recordings."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import implementation as ds2
from helpers import ROOT, Notebook

STORED = Notebook("notebooks/mandarin.ipynb")
CODE, source, printed = STORED.code, STORED.source, STORED.printed


@pytest.fixture(scope="module")
def lesson():
    """What the cells tagged as definitions define."""
    names = {"np": np, "torch": torch, "F": F, "ds2": ds2, "NamedTuple": NamedTuple, "RATE": 8000}
    for cell in CODE:
        if "definitions" in cell["metadata"].get("tags", []):
            exec(source(cell), names)
    return names


def rates(text, line):
    """Right, of how many, in each column of the line that begins so; each share is checked against its counts."""
    found = re.findall(r"([\d.]+) ?% \((\d+)/(\d+)", re.search(rf"^{re.escape(line)}.*", text, re.MULTILINE)[0])
    assert found and all(float(share) == pytest.approx(100 * int(n) / int(of), abs=0.51) for share, n, of in found)
    return [int(n) / int(of) for _, n, of in found]


# As it is stored


def test_its_pictures_show_hanzi_and_are_stored():
    pictures = [output for cell in CODE for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert len(pictures) == 5 and "drawn with " in printed(CODE)  # a font that has them


def test_each_part_has_a_cell_to_change():
    assert sum(source(cell).startswith("# Change ") for cell in CODE) == len(STORED.parts())


def test_the_stored_run_shows_what_it_says():
    text = printed(CODE)
    assert "the recordings of DSPSpeech-20 are there" in text
    low, high = (rates(text, f"voices {kind} Hz") for kind in ("below 140", "above 200"))
    assert low[1] < high[1] / 2 and low[2] > 2 * low[1]  # 20 ms show a low voice's pitch more rarely, and 40 ms show it
    assert rates(text, "loudness alone")[0] > 0.7 and rates(text, "length alone")[0] < 0.65
    mandarin, english = (float(re.search(rf"^{name}, sentences .* ([\d.]+) a second$", text, re.MULTILINE)[1])
                         for name in ("Mandarin", "English"))  # fmt: skip
    assert english > 4 * mandarin
    for right, other, rest in re.findall(r"18 takes?: (\d+) right, (\d+) heard as ..?, (\d+) as", text):
        assert int(right) + int(other) + int(rest) == 18 or int(right) + int(other) + int(rest) == 36
    for name in ("dev", "test"):
        greedy, with_model = (rates(text, line)[0] for line in (f"{name:<12} greedy", f"{name:<12} beam 200 + language"))
        assert with_model <= greedy <= 0.2


# What its cells measure


@pytest.mark.parametrize("hz", [95, 150, 240, 330])
def test_the_pitch_is_found_and_not_its_half_or_double(lesson, hz):
    seconds = torch.arange(4000) / 8000
    audio = sum(torch.sin(2 * torch.pi * k * hz * seconds + k) / k for k in range(1, 9))
    found = lesson["pitch_track"](audio)[:45]  # the last frames are padded
    assert torch.isfinite(found).all() and (found / hz - 1).abs().max() < 0.03


def test_noise_has_no_pitch(lesson):
    assert torch.isnan(lesson["pitch_track"](torch.randn(8000, generator=torch.Generator().manual_seed(0)))).float().mean() > 0.9


def test_the_synthetic_voice_says_the_tones(lesson):
    track = lesson["pitch_track"](lesson["say"]("bei3 jing1", 150.0, np.random.default_rng(0))).numpy()
    track = track[np.isfinite(track)]
    assert track[:10].mean() < 150 < track[-10:].mean()
    fall = lesson["pitch_track"](lesson["say"]("bei4", 150.0, np.random.default_rng(0))).numpy()
    fall = fall[np.isfinite(fall)]
    assert fall[0] > 1.2 * fall[-1]


def test_harmonics_stand_apart_where_the_window_holds_enough_periods(lesson):
    contrast = lesson["contrast"]
    assert contrast(100, 10) < 1 and contrast(100, 20) < 10 < contrast(100, 40)
    assert contrast(250, 20) > 20


# As it runs now


@pytest.mark.slow
def test_it_runs_without_the_recordings():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "notebooks" / "mandarin.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = re.sub(r"^EPOCHS = \d+", "EPOCHS = 1", cell.source.replace('place.name == "dsp20_zh"', "False"))
    folder = {"metadata": {"path": str(ROOT / "notebooks")}}  # as Jupyter starts it
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=folder).execute()
    text = printed(notebook.cells)
    assert "no dsp20_zh: a synthetic voice says the tone pairs instead" in text
    low, high = (rates(text, f"voices {kind} Hz") for kind in ("below 140", "above 200"))
    assert low[1] < high[1] and rates(text, "pitch alone")[0] > 0.9
