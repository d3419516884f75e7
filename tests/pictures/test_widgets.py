"""widgets.py: what moves where someone watches stands still, or is silent, where nobody does."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pictures import widgets

ipywidgets = pytest.importorskip("ipywidgets")


class Shown:
    """Stands for the notebook's page: what was displayed, and what stood in its place later."""

    def __init__(self, monkeypatch) -> None:
        self.parts, self.updates = [], []
        monkeypatch.setattr(widgets, "display", self)

    def __call__(self, *parts, display_id=False):
        self.parts += parts
        return SimpleNamespace(update=self.updates.append)


@pytest.fixture
def page(monkeypatch):
    return Shown(monkeypatch)


def kernel(**content):
    """A shell whose cell was sent by a program that may answer questions, or not."""
    return SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: {"content": content}))


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        (None, False),
        (SimpleNamespace(), False),
        (kernel(), False),
        (kernel(allow_stdin=False), False),
        (kernel(allow_stdin=True), True),
    ],
)
def test_only_a_reader_who_could_answer_watches(monkeypatch, shell, expected):
    monkeypatch.setattr(widgets, "get_ipython", lambda: shell)
    assert widgets.watched() is expected


def test_where_nobody_watches_there_is_the_first_picture_and_no_recorder(page, capsys):
    widgets.sliders(lambda alpha, beta: (f"{alpha} {beta}", "sound"), alpha=([0, 1, 2], 1), beta=(range(9), 3))
    widgets.recorder(lambda _: 1 / 0, 16000)
    assert page.parts == ["1 3", "sound"] and capsys.readouterr().out == ""


def test_a_slider_that_is_moved_draws_anew(monkeypatch, page):
    monkeypatch.setattr(widgets, "watched", lambda: True)
    widgets.sliders(lambda alpha, beta: f"{alpha} {beta}", alpha=([0, 1, 2], 1), beta=(range(9), 3))
    box = page.parts[-1]
    assert [row.value for row in box.children] == [1, 3]
    box.children[1].value = 8
    assert page.updates == ["1 8"]


def test_without_ipywidgets_the_picture_stands_still_and_says_what_to_install(monkeypatch, page, capsys):
    monkeypatch.setattr(widgets, "watched", lambda: True)
    monkeypatch.setattr(widgets, "find_spec", lambda name: None)
    widgets.sliders(lambda frame: frame, frame=(range(3), 2))
    assert page.parts == [2] and "pip install ipywidgets" in capsys.readouterr().out


def test_what_the_browser_recorded_is_heard(monkeypatch, page):
    monkeypatch.setattr(widgets, "watched", lambda: True)
    monkeypatch.setattr(widgets, "find_spec", lambda name: None if name == "sounddevice" else True)
    heard = []
    widgets.recorder(heard.append, 16000)
    field, button, _ = page.parts
    assert 'data-rate="16000" data-seconds="2"' in button.data and "getUserMedia" in button.data
    samples = np.array([0, 16384, -32768], "<i2")
    field.value = base64.b64encode(samples.tobytes()).decode()
    assert [audio.tolist() for audio in heard] == [[0.0, 0.5, -1.0]]


def test_the_recorders_cell_may_run_twice_in_one_page(monkeypatch, page):
    monkeypatch.setattr(widgets, "watched", lambda: True)
    monkeypatch.setattr(widgets, "find_spec", lambda name: None if name == "sounddevice" else True)
    widgets.recorder(print, 16000)
    script = re.search(r"<script>(.*)</script>", page.parts[1].data, re.DOTALL)[1]
    code = re.sub(r"^//.*\n", "", script, flags=re.MULTILINE).strip()
    assert code.startswith("(() => {\n") and code.endswith("\n})();")
    assert all(line.startswith(("  ", "(", "}")) or not line for line in code.splitlines())  # nothing is declared outside
    if node := shutil.which("node"):
        stub = "globalThis.document = { getElementById: () => ({ dataset: {} }) };"
        run = f"{stub} for (const time of [1, 2]) require('vm').runInThisContext({json.dumps(script)});"
        subprocess.run([node, "-e", run], check=True, timeout=60)


def test_a_microphone_of_this_computer_is_used_where_there_is_one(monkeypatch, page):
    class Stream:
        def __init__(self, rate, _frames, callback, **_kwargs) -> None:
            self.rate, self.callback = rate, callback

        def __enter__(self):
            for _ in range(40):
                self.callback(np.full((self.rate // 10, 1), 8192, np.int16), self.rate // 10, None, None)

        def __exit__(self, *_error) -> None:
            pass

    device = SimpleNamespace(
        InputStream=Stream, PortAudioError=OSError, query_devices=lambda kind: {"default_samplerate": 32000.0}
    )
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    monkeypatch.setattr(widgets, "watched", lambda: True)
    monkeypatch.setattr(widgets, "find_spec", lambda name: True)
    heard = []
    widgets.recorder(heard.append, 16000, seconds=1.0)
    page.parts[0].click()
    assert len(heard) == 1 and heard[0].shape == (16000,)
    assert torch.allclose(heard[0][1000:-1000], torch.tensor(0.25), atol=0.01)
