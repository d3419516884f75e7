"""A run in its folder."""

from __future__ import annotations

from pathlib import Path

from training.run import choose_folder, open_folder
from training.settings import OutputSettings


def test_a_number_that_another_run_takes_meanwhile_is_left_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = OutputSettings()
    folders = [choose_folder(output) for _ in range(2)]  # both before either is made
    assert folders == [Path("runs/001")] * 2
    assert [open_folder(folder, output, []) for folder in folders] == [Path("runs/001"), Path("runs/002")]
