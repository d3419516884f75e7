"""Audio files to text with a trained model: decoder, n-best texts, times."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from implementation import (
    PAPER_PRUNING,
    AudioSample,
    BeamScorer,
    CharEncoder,
    Features,
    Hypothesis,
    character_times,
    collate_batch,
    forced_alignment,
    prefix_beam_search,
    word_times,
)
from models.checkpoints import Checkpoint, CheckpointError
from speech.audio import BadAudio, read_audio

SILENCE_DB = -60.0  # of full scale [ours]
# Confidence of a text below which it is warned of [ours]. With the embedded voice's model (six epochs, dev WER 2 %) 1 of 60 of
# its own utterances lies below it, and of people's sentences, which it can't understand, 53 of 54.
UNLIKE_TRAINING = 0.8
UNTUNED = {"alpha": 0.3, "beta": 1.0}  # weights of a language model where none were tuned: low enough to do no harm [ours]
LARGEST_ALIGNMENT = 2 * 10**8  # frames times states, a byte each


@dataclass
class Decoder:
    """How log-probabilities become text: greedily at beam 1 without a language model, else by beam search (Eq. 12)."""

    beam: int = 1
    scorer: BeamScorer | None = None
    alpha: float = 0.0
    beta: float = 0.0


@torch.no_grad()
def transcribe(checkpoint: Checkpoint, path: Path, decoder: Decoder | None = None, nbest: int = 1, times: bool = False) -> dict:
    """What is said in one audio file of any sample rate and number of channels.

    Returns:
        dict with 'text', 'seconds', 'speech' (False: silence, see ``is_silent``) and 'confidence'; with a beam search 'nbest',
        a list of up to ``nbest`` dicts of text and the three parts of its score, no two with the same text; with ``times``
        'words' and 'characters', each a list of text, start and end in seconds, and of words their confidence.

        Texts are written as references are: one space between words, none around. A confidence is the mean of
        ``letter_confidences`` in the text or word, None without letters. It is not calibrated: 0.9 does not say that nine of
        ten such words are right.

    Raises:
        BadAudio: if the file can't be read.
        CheckpointError: if the model gives nan.
    """
    decoder, model, encoder = decoder or Decoder(), checkpoint.model, checkpoint.encoder
    sample = _read(path, model.features)
    rows = _log_probs(checkpoint, sample, path)  # (T', V)
    found, states = {}, None
    if decoder.beam == 1 and decoder.scorer is None:
        labels, states = _best_path(rows, encoder.blank_idx)
    else:
        hypotheses = prefix_beam_search(rows.numpy(), decoder.beam, decoder.scorer, decoder.alpha, decoder.beta, **PAPER_PRUNING)
        hypotheses = _distinct(hypotheses, encoder)
        labels = list(hypotheses[0].labels) if hypotheses else []
        found = {"nbest": [_described(hypothesis, encoder) for hypothesis in hypotheses[:nbest]]}
    text, letters = normal_spaces(encoder.decode(labels)), letter_confidences(rows, labels, states)
    of_words = word_confidences(letters, labels, encoder)
    found = {
        "text": text, "seconds": sample.seconds, "speech": not is_silent(sample),
        "confidence": _mean([c for word in of_words for c in word]),
    } | found  # fmt: skip
    if times:
        characters = character_times(rows, labels, encoder, model.seconds_per_output)
        words = zip(word_times(characters), map(_mean, of_words), strict=True)
        found["words"] = [dataclasses.asdict(word) | {"confidence": confidence} for word, confidence in words]
        found["characters"] = [dataclasses.asdict(character) for character in characters]
    return found


def _read(path: Path, features: Features) -> AudioSample:
    """The audio at the model's rate; ``BadAudio`` where it is shorter than a window."""
    sample = AudioSample(read_audio(path, features.sample_rate), features.sample_rate, "")
    if len(sample.audio) < features.window:
        lasts, window = 1000 * sample.seconds, 1000 * features.window / features.sample_rate
        raise BadAudio(f"lasts {lasts:.1f} ms, too short for speech: one window takes {window:g} ms", path)
    return sample


def _log_probs(checkpoint: Checkpoint, sample: AudioSample, path: Path) -> Tensor:
    """(T', V) of one utterance, on the CPU."""
    model = checkpoint.model
    batch = collate_batch([sample], checkpoint.encoder, features=model.features).to(next(model.parameters()).device)
    log_probs, lengths = model(batch.features, batch.feature_lengths)
    rows = log_probs[: int(lengths[0]), 0].cpu().double()
    if rows.isnan().any():
        raise CheckpointError(f"{path}: the model gives nan in place of probabilities, its weights are broken or too large: "
                              "use an earlier checkpoint")  # fmt: skip
    return rows


def _best_path(rows: Tensor, blank: int) -> tuple[list[int], list[int]]:
    """Greedy decoding: the labels, and for each frame its state as ``forced_alignment`` counts them: 2 i + 1 is label i."""
    labels, states, last = [], [], blank
    for label in rows.argmax(1).tolist():
        if label not in (blank, last):
            labels.append(label)
        states.append(2 * len(labels) - (label != blank))
        last = label
    return labels, states


def letter_confidences(rows: Tensor, labels: Sequence[int], states: Sequence[int] | None = None) -> list[float | None]:
    """For each label the largest posterior that it has in the frames aligned to it: how clearly it was heard once.

    Args:
        rows: (T', V) log-probabilities of one utterance.
        labels: what was decoded.
        states: of the frames, as ``forced_alignment`` counts them; None: it is asked.

    Returns:
        numbers from 0 to 1; None for all of a text so long that its alignment would take hundreds of megabytes.
    """
    if states is None and labels:
        if len(rows) * (2 * len(labels) + 1) > LARGEST_ALIGNMENT:
            return [None] * len(labels)
        try:
            states = forced_alignment(rows, labels)
        except ValueError:  # its only paths are too unlikely for the arithmetic
            return [0.0] * len(labels)
    best = [0.0] * len(labels)
    for frame, state in enumerate(states or ()):
        if state % 2:
            label = state // 2
            best[label] = max(best[label], math.exp(rows[frame, labels[label]]))
    return best


def word_confidences(letters: Sequence[float | None], labels: Sequence[int], encoder: CharEncoder) -> list[list[float | None]]:
    """Those of the letters, word by word."""
    words: list[list] = [[]]
    for confidence, label in zip(letters, labels, strict=True):
        if encoder.decode([label]).isspace():
            words.append([])
        else:
            words[-1].append(confidence)
    return [word for word in words if word]


def _mean(confidences: Sequence[float | None]) -> float | None:
    known = [confidence for confidence in confidences if confidence is not None]
    return round(sum(known) / len(known), 3) if known else None


def is_silent(sample: AudioSample) -> bool:
    """Whether the loudest 20 ms have less power than ``SILENCE_DB`` below that of full scale: nobody spoke."""
    window = max(1, sample.sample_rate // 50)
    power = torch.nn.functional.avg_pool1d(sample.audio.double().square()[None, None], min(window, len(sample.audio)), window)
    return float(power.max()) < 10 ** (SILENCE_DB / 10)


def doubt(found: dict) -> str:
    """A sentence if what ``transcribe`` found can hardly be right; else empty."""
    if not found["speech"]:
        return f"no speech found: it is silent (below {SILENCE_DB:g} dB of full scale)"
    if not found["text"]:
        return "no text found, though it is not silent: no speech, or speech unlike that of the training"
    if found["confidence"] is not None and found["confidence"] < UNLIKE_TRAINING:
        return (
            f"the model is unsure (confidence {found['confidence']:.2f}): the utterance is unlike those it was trained on; "
            "expect little of its text"
        )
    return ""


def normal_spaces(text: str) -> str:
    """One space between words and none around, as references have them."""
    return " ".join(text.split())


def _distinct(hypotheses: Sequence[Hypothesis], encoder: CharEncoder) -> list[Hypothesis]:
    """One hypothesis a text, best first: of those that differ in spaces alone the best, with the CTC probability of all."""
    found: dict[str, Hypothesis] = {}
    for hypothesis in hypotheses:  # best first
        text = normal_spaces(encoder.decode(hypothesis.labels))
        best = found.setdefault(text, hypothesis)
        if best is not hypothesis:
            added = float(np.logaddexp(best.log_ctc, hypothesis.log_ctc))
            found[text] = dataclasses.replace(best, log_ctc=added, score=best.score - best.log_ctc + added)
    return sorted(found.values(), key=lambda hypothesis: -hypothesis.score)


def _described(hypothesis: Hypothesis, encoder: CharEncoder) -> dict:
    parts = {name: getattr(hypothesis, name) for name in ("score", "log_ctc", "log_lm", "words")}
    return {"text": normal_spaces(encoder.decode(hypothesis.labels))} | parts


def read_tuned(path: Path) -> dict:
    """What tune_decoder.py left beside the checkpoint; ``UNTUNED`` where it left nothing; ValueError where it is broken."""
    if not path.exists():
        return dict(UNTUNED)
    try:
        tuned = json.loads(path.read_text(encoding="utf-8"))
        fits = math.isfinite(tuned["beta"]) and min(tuned["alpha"], tuned.get("unknown_penalty") or 0) >= 0
        fits = fits and max(tuned["alpha"], tuned.get("unknown_penalty") or 0) < math.inf
        fits = fits and isinstance(tuned.get("lm", ""), str) and tuned.get("unit") in (None, "word", "character")
    except (ValueError, KeyError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise ValueError(f"{path} is broken: tune again with tune_decoder.py --overwrite, or take it away")
    return tuned


def warning(checkpoint: Checkpoint) -> str:
    """A sentence if little can be expected of the checkpoint, since its training was stopped early or went badly; else empty."""
    wer, epoch, epochs = (checkpoint.training.get(name) for name in ("best_wer", "epoch", "epochs"))
    if wer is None or wer < 0.5:
        return ""
    rate = f"{100 * wer:.0f} % of the words of its dev set wrong" if math.isfinite(wer) else "no try on its dev set yet"
    return f"warning: this checkpoint had {rate} after {epoch} of {epochs} epochs of training; expect little of its text"
