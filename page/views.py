"""What the page shows about an utterance, as HTML that works on a phone, with a keyboard and with a screen reader."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape

import matplotlib.image
import numpy as np
from torch import Tensor

from implementation import CharEncoder, DeepSpeech2, count_errors
from models.checkpoints import Checkpoint
from models.transcription import Decoder, warning
from page.hearing import Recording, Utterance
from pictures.figures import visible

CELL = 10  # pixels per output frame, enough to read its letter
SHOWN = 6.0  # how many seconds of a recording are shown while it comes in
LOUD = (-2.0, 3.0)  # normalised log power of the darkest and the brightest colour, fixed so that nothing flickers


def picture(features: np.ndarray, alt: str) -> str:
    """An image of (F, T) features, with low frequencies at the bottom."""
    file = io.BytesIO()
    colours = {"cmap": "magma", "vmin": LOUD[0], "vmax": LOUD[1]}
    matplotlib.image.imsave(file, features, origin="lower", format="png", pil_kwargs={"compress_level": 1}, **colours)
    return f'<img alt="{escape(alt, quote=True)}" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def strip(rows: Tensor, encoder: CharEncoder) -> str:
    """The likeliest symbol of each of the (T', V) frames, each in its colour, paler if less likely; blanks are grey."""
    best, labels = rows.exp().max(1)
    cells = []
    for p, label in zip(best.tolist(), labels.tolist(), strict=True):
        if label == encoder.blank_idx:
            cells.append("<i>·</i>")
        else:
            colour = f"hsl({label * 137 % 360} 75% {95 - 30 * p:.0f}%)"  # 137: neighbours in the alphabet look different
            cells.append(f'<i style="background:{colour}">{escape(visible(encoder.decode([label])))}</i>')
    return f'<div class="strip" aria-hidden="true">{"".join(cells)}</div>'


def axis(seconds: float, pixels: float, start: float = 0.0) -> str:
    """Every half second its time; ``start``: the time at the left edge, in seconds."""
    halves = range(math.ceil(2 * start), math.floor(2 * (start + seconds)) + 1)
    ticks = (f'<u style="left:{pixels * (half / 2 - start):.0f}px">{half / 2:g} s</u>' for half in halves)
    return f'<div class="axis" aria-hidden="true">{"".join(ticks)}</div>'


def timeline(
    features: Tensor,
    rows: Tensor,
    checkpoint: Checkpoint,
    characters: Sequence[dict] = (),
    words: Sequence[dict] = (),
    start: float = 0.0,
) -> str:
    """Spectrogram (F, T), strip of (T', V) frames, time axis, and, if given, the times of characters and words (Eq. 13).

    Args:
        start: the time at the left edge, in seconds.
    """
    model = checkpoint.model
    pixels = CELL / model.seconds_per_output  # per second
    seconds, khz = features.shape[1] * model.features.seconds_per_frame, f"{model.features.sample_rate / 2000:g} kHz"
    alt = f"Spectrogram, 0 to {khz}; the bright places are loud"
    letters = "".join(
        f'<b style="left:{pixels * (unit["start"] + unit["end"]) / 2:.0f}px">{escape(unit["text"])}</b>'
        for unit in characters
        if not unit["text"].isspace()
    )
    spans = "".join(
        f'<span style="left:{pixels * word["start"]:.0f}px;width:{pixels * (word["end"] - word["start"]):.0f}px">'
        f"{escape(word['text'])}<small>{word['start']:.2f} s</small></span>"
        for word in words
    )
    below = f'<div class="words">{spans}</div>' if words else ""
    return (
        f'<div class="track" style="width:{max(1, seconds * pixels):.0f}px"><div class="spectrogram">'
        f"{picture(features.numpy(), alt)}<div aria-hidden=true><small>{khz}</small><small>0 kHz</small>{letters}</div></div>"
        f"{strip(rows, checkpoint.encoder)}{axis(seconds, pixels, start)}{below}</div>"
    )


def live(recording: Recording) -> str:
    """The last seconds of a recording; the strip ends where the network still waits for later audio."""
    model = recording.checkpoint.model
    if recording.seconds * model.features.sample_rate < model.features.window:
        return ""
    first = max(0, int((recording.seconds - SHOWN) / model.seconds_per_output))
    begin = round(first * model.seconds_per_output * model.features.sample_rate)
    start = begin / model.features.sample_rate
    return timeline(recording.features(begin), recording.rows[first:], recording.checkpoint, start=start)


def result(utterance: Utterance, found: dict) -> str:
    """The text, what was said (if known), and the alignment over the spectrogram."""
    text = escape(found["text"]) or "nothing"
    said = f'<p class="said">What was said: {escape(utterance.reference)}</p>' if utterance.reference else ""
    doubt = f'<p class="note">{escape(found["doubt"])}</p>' if found["doubt"] else ""
    sure = " ".join(
        f'<span title="{word["confidence"]:.0%} sure">{escape(word["text"])} <small>{word["confidence"]:.0%}</small></span>'
        for word in found["words"]
        if word["confidence"] is not None
    )
    sure = f'<p class="sure">How sure the model is of each word: {sure}</p>' if sure else ""
    drawn = timeline(utterance.features, utterance.rows, utterance.checkpoint, found["characters"], found["words"])
    return (
        f'<p class="from">{escape(utterance.name)}</p><p class="text" role="status">{text}</p>{said}{doubt}{sure}'
        f"{_scrolling('Spectrogram, symbols and alignment')}{drawn}</div>{LEGEND}"
    )


LEGEND = (
    '<p class="legend">Above: the features that the network hears, with each letter where forced alignment puts it (Eq. 13). '
    "The strip: the likeliest symbol of each output frame, paler if less likely; grey with a dot: blank, no new letter. "
    'Below it each word, up to the space after it. <span class="narrow">Scroll the picture sideways to see all of it.</span></p>'
)
TABLE_HEAD = (
    '<thead><tr><th scope="col">text</th><th scope="col">score</th><th scope="col">log p<sub>ctc</sub></th>'
    '<th scope="col">alpha log p<sub>lm</sub></th><th scope="col">beta words</th></tr></thead>'
)


def nbest_table(found: dict, decoder: Decoder) -> str:
    """The best texts, with the three parts of Eq. 12 that add up to each score."""
    rows = "".join(
        f"<tr><td>{escape(item['text']) or '(nothing)'}</td><td>{item['score']:.2f}</td><td>{item['log_ctc']:.2f}</td>"
        f"<td>{decoder.alpha:g} &times; {item['log_lm']:.2f} = {decoder.alpha * item['log_lm'] + 0.0:.2f}</td>"
        f"<td>{decoder.beta:g} &times; {item['words']} = {decoder.beta * item['words']:.2f}</td></tr>"
        for item in found["nbest"]
    )
    if not rows:
        return '<p class="note">No text of the language model\'s words fits these frames: allow other words.</p>'
    caption = "<p>Best texts by Eq. 12: score = log p<sub>ctc</sub> + alpha log p<sub>lm</sub> + beta words</p>"
    return f"{caption}{_scrolling('n-best list')}<table>{TABLE_HEAD}<tbody>{rows}</tbody></table></div>"


def _scrolling(label: str) -> str:
    """The beginning of a part that arrow keys scroll sideways if it is wider than the screen."""
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{label}; scrolls">'


def change_of_text(before: str, utterance: Utterance, found: dict) -> str:
    """The network's result for a changed utterance, compared with that of the unchanged one."""
    pairs = count_errors([before], [found["text"]], utterance.checkpoint.encoder).alignment[0]
    marked = " ".join(_marked(was, now) for was, now in pairs)
    verdict = "The text stays the same." if found["text"] == before else f"The text changes: {marked}"
    doubt = f'<p class="note">{escape(found["doubt"])}</p>' if found["doubt"] else ""
    drawn = timeline(utterance.features, utterance.rows, utterance.checkpoint)
    return (
        f'<p class="text" role="status">{escape(found["text"]) or "nothing"}</p><p>{verdict}</p>{doubt}'
        f"{_scrolling('Spectrogram and symbols of the changed utterance')}{drawn}</div>"
    )


def _marked(was: str | None, now: str | None) -> str:
    """A word that stays, or its old and new form."""
    if was == now:
        return escape(now or "")
    return " ".join(f"<{tag}>{escape(word)}</{tag}>" for tag, word in (("del", was), ("ins", now)) if word is not None)


def about(checkpoint: Checkpoint, why_not: str) -> str:
    """A description of a checkpoint in a few sentences; ``why_not``: why it can't transcribe a stream."""
    symbols = checkpoint.encoder.vocab_size
    if isinstance(checkpoint.model, DeepSpeech2):
        what = f"{sum(parameter.numel() for parameter in checkpoint.model.parameters()):,} weights, {symbols} symbols."
    else:
        what = f"An ONNX file with {symbols} symbols. It does not say how many weights it has or how well its training went."
    kind = f"It writes only after the end of a recording: {why_not}." if why_not else "It writes while you speak."
    knows = f" It knows {len(checkpoint.words)} words: {' '.join(checkpoint.words)}." if checkpoint.words else ""
    little = warning(checkpoint)
    return f"<p>{what} {escape(kind + knows)}</p>" + (f'<p class="note">{escape(little)}</p>' if little else "")


def failure(error: object) -> str:
    """A sentence that a screen reader reads at once."""
    return f'<p class="note" role="alert">{escape(str(error))}</p>'
