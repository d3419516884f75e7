"""Sliders and a recorder for a notebook. Where they can't run, there is a still picture, or nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import soxr
import torch
from IPython import get_ipython
from IPython.display import HTML, display
from torch import Tensor

from speech.audio import BadAudio
from speech.streams import microphone

SCRIPT = Path(__file__).with_name("recorder.js")
BUTTON = """<button type="button" id="ds2-record" data-rate="{rate}" data-seconds="{seconds:g}">Record {seconds:g} s</button>
<span id="ds2-note"></span>
<script>{script}</script>"""


def watched() -> bool:
    """Whether someone runs the notebook in a browser or an editor. With nbconvert, nbclient or a test nobody is watching."""
    kernel = getattr(get_ipython(), "kernel", None)
    request = kernel.get_parent() if kernel else {}
    return bool((request or {}).get("content", {}).get("allow_stdin"))  # there is someone who could answer a question


def _may_move() -> bool:
    if watched() and find_spec("ipywidgets") is None:
        print("the sliders and the recorder need the package ipywidgets: pip install ipywidgets")
        return False
    return watched()


def sliders(draw: Callable[..., object], **choices: tuple[Sequence, object]) -> None:
    """Shows ``draw`` of the first values, and below it a slider for each value; moving one draws again.

    Args:
        draw: takes a value for each name; returns what to show: a figure, a sound, or several in a tuple.
        choices: for each name the values that its slider has, and the one that it begins with.
    """
    shown = [display(part, display_id=True) for part in _parts(draw(**{name: first for name, (_, first) in choices.items()}))]
    if not _may_move():
        return
    import ipywidgets  # only here, since the still picture does without

    look = {"continuous_update": False, "style": {"description_width": "12em"}, "layout": {"width": "36em"}}
    rows = {
        name: ipywidgets.SelectionSlider(options=list(values), value=first, description=name.replace("_", " "), **look)
        for name, (values, first) in choices.items()
    }

    def redraw(_change: object) -> None:
        parts = _parts(draw(**{name: row.value for name, row in rows.items()}))
        for place, part in zip(shown, parts, strict=True):
            place.update(part)

    for row in rows.values():
        row.observe(redraw, "value")
    display(ipywidgets.VBox(list(rows.values())))


def _parts(drawn: object) -> tuple:
    return drawn if isinstance(drawn, tuple) else (drawn,)


def recorder(hear: Callable[[Tensor], object], rate: int, seconds: float = 2.0) -> None:
    """A button that records; below it, what ``hear`` prints and shows. If nobody is watching, it shows nothing.

    It uses this computer's microphone if the package sounddevice finds one, else the browser's.

    Args:
        hear: takes the recording, (samples,) of full scale 1 at ``rate`` Hz.
        seconds: how long a recording lasts.
    """
    if not _may_move():
        return
    import ipywidgets

    below = ipywidgets.Output()

    def answer(audio: Tensor) -> None:
        with below:
            below.clear_output()
            hear(audio)

    if find_spec("sounddevice") and _recorded(0.1, rate) is not None:
        button = ipywidgets.Button(description=f"Record {seconds:g} s")
        button.on_click(lambda _: answer(_recorded(seconds, rate)))
        display(button, below)
        return
    field = ipywidgets.Textarea(layout={"display": "none"})  # through which the browser hands over what it recorded
    field.add_class("ds2-recording")
    field.observe(lambda change: change["new"] and answer(samples_of(change["new"])), "value")
    display(field, HTML(BUTTON.format(rate=rate, seconds=seconds, script=SCRIPT.read_text(encoding="utf-8"))), below)


def samples_of(text: str) -> Tensor:
    """What recorder.js writes, 16-bit samples in base64, as (samples,) of full scale 1."""
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<i2").astype(np.float32) / 2**15)


def _recorded(seconds: float, rate: int) -> Tensor | None:
    """This many seconds from this computer's microphone, (samples,) at ``rate`` Hz; None if it has none."""
    try:
        with microphone() as (own_rate, chunks):
            pieces, length = [], 0
            while length < seconds * own_rate:
                pieces += islice(chunks, 1)
                length += len(pieces[-1])
    except BadAudio:
        return None
    samples = np.concatenate(pieces).astype(np.float32) / 2**15
    return torch.from_numpy(soxr.resample(samples, own_rate, rate))
