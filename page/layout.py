"""The page itself, built from Gradio's components; their contents come from ``page.desk``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.components import Component

from models.transcription import UNTUNED, read_tuned
from page import views
from page.desk import WRONG, Desk, Desks
from page.hearing import QUIETEST_NOISE, Change
from page.material import NO_MODEL, Material, language_models

HERE = Path(__file__).parent
TITLE = "What the network hears"
RECORDER = """<div class="recorder"><button type="button" class="record">Record</button>
<p class="note" role="alert"></p><p class="text" aria-live="polite" aria-label="Text so far"><span class="settled"></span><span
class="partial"></span></p><div class="live"></div></div>"""
QUIETLY = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
LARGEST_FILE = 2**30  # bytes; more than a minute is refused anyway, with a message


@dataclass(frozen=True)
class _Parts:
    """The page's controls and outputs."""

    checkpoint: gr.Dropdown
    about: gr.HTML
    recorder: gr.HTML
    file: gr.File
    recorded: gr.Dropdown
    result: gr.HTML
    search: list[Component]
    nbest: gr.HTML
    changes: list[Component]
    audio: gr.Audio
    changed: gr.HTML


def make_page(desks: Desks, material: Material, checkpoints: Sequence[Path], lm: Path | None) -> gr.Blocks:
    """Makes all panels, one below the other, and connects them with what they do."""
    first, names = str(checkpoints[0]), [recorded.name for recorded in material.utterances]
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(f"# {TITLE}\nSpeak, drop a file, or choose a recorded utterance. All of it stays on this computer.")
        checkpoint = gr.Dropdown(list(map(str, checkpoints)), value=first, label="Model", filterable=False)
        about = gr.HTML(elem_id="about")
        with gr.Tab("Speak"):
            recorder = gr.HTML(html_template=RECORDER, js_on_load=(HERE / "microphone.js").read_text(encoding="utf-8"))
        with gr.Tab("File"):
            file = gr.File(label="An audio file: WAV, FLAC, OGG or MP3, up to a minute", height=140)
        with gr.Tab("Recorded"):
            recorded = gr.Dropdown(names, value=names[0], label="Utterance", filterable=False)
        result = gr.HTML(elem_id="result", elem_classes="heard")
        with gr.Accordion("Search: the network and a language model agree on a text (Eq. 12)"):
            search = _search_parts(language_models(checkpoints[0], lm))
            nbest = gr.HTML(elem_id="nbest")
        with gr.Accordion("Change what the network hears, and listen to it"):
            changes = _change_parts()
            audio = gr.Audio(label="The changed utterance", interactive=False, buttons=[])
            changed = gr.HTML(elem_id="changed", elem_classes="heard")
        parts = _Parts(checkpoint, about, recorder, file, recorded, result, search, nbest, changes, audio, changed)
        _connect(parts, desks, page, lm)
    return page


def _connect(parts: _Parts, desks: Desks, page: gr.Blocks, lm: Path | None) -> None:
    """Connects controls to actions. The recorder's value, the desk's token, says which page an event comes from."""

    def choose(token: str, path: str) -> tuple:
        names, settings, tuned = language_models(Path(path), lm), UNTUNED | {"lexicon": False}, Path(path).parent / "decoder.json"
        try:
            desk = desks.of(token)
            about = desk.choose(Path(path))
            if desk.checkpoint.words:  # as in ``decoder_of``: only these words, all equally likely
                settings = {"alpha": 0.0, "beta": 0.0, "lexicon": True}
            settings |= read_tuned(tuned) if tuned.is_file() else {}
        except WRONG as error:
            about = views.failure(error)
        values = (settings[name] for name in ("alpha", "beta", "lexicon"))
        return about, gr.Dropdown(names, value=names[0]), *_weights(names[0], *values)

    def when(event: Callable, action: Callable[..., None], *inputs: Component) -> None:
        """On the event: runs the action, then shows the utterance anew."""
        done = event(_shown(desks, action), [parts.recorder, *inputs], [parts.result, parts.nbest], **QUIETLY)
        done.then(*change, **QUIETLY)

    change = _changed(desks), [parts.recorder, *parts.changes], [parts.audio, parts.changed]
    choice = choose, [parts.recorder, parts.checkpoint], [parts.about, *parts.search[1:]]
    opened = page.load(desks.open, None, parts.recorder, **QUIETLY).then(*choice, **QUIETLY)
    when(opened.then, _first, parts.recorded, *parts.search)
    when(parts.checkpoint.input(*choice, **QUIETLY).then, Desk.search, *parts.search)
    when(parts.recorder.submit, lambda _desk: None)
    parts.search[1].input(_weights, parts.search[1], parts.search[2:], **QUIETLY)
    when(parts.file.upload, Desk.take_file, parts.file)
    when(parts.recorded.select, Desk.take_recorded, parts.recorded)
    for part in parts.search:
        when(part.input, Desk.search, *parts.search)
    for part in parts.changes:
        part.input(*change, **QUIETLY)


def _search_parts(names: list[str]) -> list[Component]:
    """The arguments of ``Desk.search``, in order."""
    with gr.Row():
        beam = gr.Slider(2, 200, 20, step=1, label="Beam: texts kept after each frame")
        model = gr.Dropdown(names, value=names[0], label="Language model", filterable=False)
    with gr.Row():
        alpha = gr.Slider(0, 4, UNTUNED["alpha"], step=0.05, label="Alpha: weight of the language model")
        beta = gr.Slider(-4, 8, UNTUNED["beta"], step=0.1, label="Beta: weight of the number of words")
    lexicon = gr.Checkbox(False, label="Only words that the language model knows")
    return [beam, model, alpha, beta, lexicon]


def _weights(model: str, *values: float) -> list[Component]:
    """Alpha, beta and lexicon, with new values where they are given; without a language model they can't be moved."""
    moved = {"interactive": model != NO_MODEL}
    given = [{"value": value} for value in values] or [{}] * 3
    return [kind(**moved, **value) for kind, value in zip((gr.Slider, gr.Slider, gr.Checkbox), given, strict=True)]


def _change_parts() -> list[Component]:
    """The arguments of ``Change``, in order; frequencies in kHz."""
    with gr.Row():
        noise = gr.Slider(
            -5, QUIETEST_NOISE, QUIETEST_NOISE, step=1, label=f"Speech over noise, dB ({QUIETEST_NOISE:g}: no noise)"
        )  # fmt: skip
        speed = gr.Slider(0.5, 2, 1, step=0.05, label="Speed and pitch, factor")
    with gr.Row():
        low = gr.Slider(0, 8, 0, step=0.1, label="Cut frequencies from, kHz")
        high = gr.Slider(0, 8, 0, step=0.1, label="Cut frequencies up to, kHz")
    return [noise, speed, low, high]


def _first(desk: Desk, recorded: str, *search: object) -> None:
    desk.search(*search)
    desk.take_recorded(recorded)


def _shown(desks: Desks, action: Callable[..., None]) -> Callable[..., tuple[str, str]]:
    """A function that runs an action at a page's desk and returns result and n-best list, or a sentence if it went wrong."""

    def act(token: str, *inputs: object) -> tuple[str, str]:
        try:
            desk = desks.of(token)
            action(desk, *inputs)
            return desk.show()
        except WRONG as error:
            return views.failure(error), ""

    return act


def _changed(desks: Desks) -> Callable[..., tuple]:
    """A function that returns the network's result for the changed utterance, from ``Desk.change``."""

    def act(token: str, noise: float, speed: float, low: float, high: float) -> tuple:
        try:
            return desks.of(token).change(Change(noise, speed, 1000 * low, 1000 * high))
        except WRONG as error:
            return None, views.failure(error)

    return act
