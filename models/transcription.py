"""Transcribes audio files with a trained model: decoder, n-best texts, times."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from decoding.ngrams import NGramModel
from decoding.scorers import WordScorer
from implementation import (
    PAPER_PRUNING,
    AudioSample,
    BeamScorer,
    CharEncoder,
    Features,
    Hypothesis,
    character_times,
    collate_batch,
    counted_units,
    is_spaced,
    joint_of_words,
    measure_of,
    prefix_beam_search,
    word_times,
)
from models.checkpoints import Checkpoint, refuse_nan
from models.confidence import best_path, letter_confidences, mean_confidence, word_letters
from models.pieces import likeliest_joined, moved_by, pieces_of, rows_of
from speech.audio import BadAudio, read_audio, tell

SILENCE_DB = -60.0  # relative to full scale [ours]
CLIPPED, CLIPPED_SHARE = 0.999, 0.01  # level that counts as clipped; share of such samples that gives a warning [ours]
BEAM_OF_WORDS = 20  # width of the search in a checkpoint's own list of words [ours]
# A text in a checkpoint's own words counts as doubtful if it is less likely than exp(-UNLIKE - number of words) [ours]. The
# model that comes with the project doubts fewer than one in fifty of dev's correctly heard words, but nine in ten other
# sentences.
UNLIKE = 5.0
UNTUNED = {"alpha": 0.3, "beta": 1.0}  # weights of a language model where none were tuned: low enough to do no harm [ours]


@dataclass
class Decoder:
    """How log-probabilities become text: greedily at beam 1 without a language model, else by beam search (Eq. 12)."""

    beam: int = 1
    scorer: BeamScorer | None = None
    alpha: float = 0.0
    beta: float = 0.0


def decoder_of(checkpoint: Checkpoint, beam: int | None = None) -> Decoder:
    """The decoder of a checkpoint: if it has a list of words, a search for the likeliest text in these words; else greedy.

    Args:
        checkpoint: its ``words`` are used; each may come at any place, and all count as equally likely.
        beam: width of the search; None: 20 with a list of words [ours], else 1; 1 is greedy decoding with any letters.
    """
    if not checkpoint.words or beam == 1:
        return Decoder(beam or 1)
    words = NGramModel.train(checkpoint.words, order=1)  # at alpha 0 only its words matter, not their probabilities
    return Decoder(beam or BEAM_OF_WORDS, WordScorer(words, checkpoint.encoder, lexicon=True))


@torch.no_grad()
def transcribe(checkpoint: Checkpoint, path: Path, decoder: Decoder | None = None, nbest: int = 1, times: bool = False) -> dict:
    """Transcribes one audio file of any sample rate, number of channels and length.

    A recording of more than a minute is transcribed in pieces (``models.pieces``), and a printed line says so; a language model
    starts afresh with each piece.

    Returns:
        dict with 'text', 'seconds', 'speech' (False: silence, see ``is_silent``), 'words' (a list of text and confidence; with
        ``times`` also start and end in seconds) and 'confidence' (the words' mean). With a beam search also 'nbest', up to
        ``nbest`` dicts of a text, its score and the three parts of that score; no two have the same text. With ``times`` also
        'characters', a list of text, start and end in seconds.

        Texts are written like references: one space between words, none at the ends. A confidence is the probability that a
        word is right, calibrated on dev at the end of training (``Checkpoint.calibration``); None if there are no letters. It
        holds for speech like that in dev, decoded greedily.

    Raises:
        BadAudio: if the file can't be read.
        CheckpointError: if the model gives nan.
    """
    sample = _read(path, checkpoint.model.features)
    heard, decoder = _heard(checkpoint, sample, path), decoder or Decoder()
    parts = [said(checkpoint, rows, decoder, nbest, times, start) for start, rows in heard]
    joint = joint_of_words(checkpoint.encoder)
    words = [word for part in parts for word in part["words"]]
    found = {
        "text": joint.join(part["text"] for part in parts if part["text"]), "seconds": sample.seconds,
        "speech": not is_silent(sample), "confidence": mean_confidence([word["confidence"] for word in words]), "words": words,
    }  # fmt: skip
    if "nbest" in parts[0]:
        found["nbest"] = likeliest_joined([part["nbest"] for part in parts], joint, nbest)
    if times:
        found["characters"] = [character for part in parts for character in part["characters"]]
    return found


def _heard(checkpoint: Checkpoint, sample: AudioSample, path: Path) -> Iterator[tuple[float, Tensor]]:
    """Each piece's start in seconds and its (T', V), without silent pieces; a recording of up to a minute is one piece."""
    rate, step = sample.sample_rate, round(checkpoint.model.seconds_per_output * sample.sample_rate)
    pieces = pieces_of(sample.audio, rate, step)
    if len(pieces) > 1:
        tell((path, "pieces"), f"{path}: lasts {sample.seconds / 60:.1f} minutes; cut into {len(pieces)} pieces at pauses")
    for piece in (piece for piece in pieces if not piece.quiet):
        rows = _log_probs(checkpoint, AudioSample(sample.audio[piece.begin : piece.stop], rate, ""), path)
        yield piece.start / rate, rows_of(piece, rows, step)


def said(checkpoint: Checkpoint, rows: Tensor, decoder: Decoder, nbest: int, times: bool, start: float = 0.0) -> dict:
    """Text, words and the like, as ``transcribe`` returns them, for a piece's (T', V) log-probabilities; ``start`` in seconds."""
    encoder, found, states = checkpoint.encoder, {}, None
    if decoder.beam == 1 and decoder.scorer is None:
        labels, states = best_path(rows, encoder.blank_idx)
    else:
        hypotheses = prefix_beam_search(rows.numpy(), decoder.beam, decoder.scorer, decoder.alpha, decoder.beta, **PAPER_PRUNING)
        hypotheses = distinct(hypotheses, encoder)
        labels = list(hypotheses[0].labels) if hypotheses else []
        found = {"nbest": [_described(hypothesis, encoder) for hypothesis in hypotheses[:nbest]]}
    letters = word_letters(letter_confidences(rows, labels, states), labels, encoder)
    confidences, text = list(map(checkpoint.calibration, letters)), normal_spaces(encoder.decode(labels))
    words = [{"text": word} for word in counted_units(text, encoder)]
    if times:
        characters = character_times(rows, labels, encoder, checkpoint.model.seconds_per_output)
        timed = word_times(characters) if is_spaced(encoder) else [unit for unit in characters if not unit.text.isspace()]
        words = moved_by(start, list(map(dataclasses.asdict, timed)))
        found["characters"] = moved_by(start, list(map(dataclasses.asdict, characters)))
    words = [word | {"confidence": confidence} for word, confidence in zip(words, confidences, strict=True)]
    return {"text": text, "words": words} | found


def _read(path: Path, features: Features) -> AudioSample:
    """The audio at the model's rate; raises ``BadAudio`` if it is shorter than a window."""
    sample = AudioSample(read_audio(path, features.sample_rate), features.sample_rate, "")
    refuse_short(sample.seconds, features, path)
    return sample


def refuse_short(seconds: float, features: Features, path: Path) -> None:
    """Raises ``BadAudio`` for audio shorter than a window."""
    window = features.window / features.sample_rate
    if seconds < window:
        raise BadAudio(f"lasts {1000 * seconds:.1f} ms, too short for speech: one window takes {1000 * window:g} ms", path)


def _log_probs(checkpoint: Checkpoint, sample: AudioSample, path: Path) -> Tensor:
    """(T', V) of one utterance, on the CPU."""
    model = checkpoint.model
    batch = collate_batch([sample], checkpoint.encoder, features=model.features).to(next(model.parameters()).device)
    log_probs, lengths = model(batch.features, batch.feature_lengths)
    rows = log_probs[: int(lengths[0]), 0].cpu().double()
    refuse_nan(rows, path)
    return rows


def is_silent(sample: AudioSample) -> bool:
    """Whether even the loudest 20 ms have less power than ``SILENCE_DB`` relative to full scale, so that nobody spoke."""
    window = min(max(1, sample.sample_rate // 50), len(sample.audio))
    windows = sample.audio[: len(sample.audio) // window * window].reshape(-1, window)
    return float(torch.linalg.vector_norm(windows, dim=1).max()) ** 2 / window < 10 ** (SILENCE_DB / 10)


class Loudness:
    """How long and how loud a stream is.

    Attributes:
        seconds: length so far.
        silent: whether all of it is silent (see ``is_silent``).
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate, self.samples, self.clipped, self.silent = sample_rate, 0, 0, True

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate

    def add(self, samples: np.ndarray) -> None:
        """(N,) more samples: floats of full scale 1, or int16."""
        if samples.size:
            audio = torch.from_numpy(samples.astype(np.float32) / (32768 if samples.dtype == np.int16 else 1))
            self.samples += len(audio)
            self.clipped += int((audio.abs() >= CLIPPED).sum())
            self.silent = self.silent and is_silent(AudioSample(audio, self.sample_rate, ""))

    def clipping(self) -> str:
        """A sentence if the stream is too loud to be understood well; else empty."""
        share = self.clipped / max(1, self.samples)
        return f"{share:.0%} of its samples are at full scale: turn the recording level down" if share >= CLIPPED_SHARE else ""


def doubt(found: dict, checkpoint: Checkpoint) -> str:
    """A sentence if a result of ``transcribe`` is probably wrong; it names the words that the model knows, if it has a list."""
    calibration, knows = checkpoint.calibration, ""
    if checkpoint.words:
        knows = f"; this model knows {len(checkpoint.words)} words: {' '.join(checkpoint.words)}"
    if not found["speech"]:
        return f"no speech found: it is silent (below {SILENCE_DB:g} dB of full scale)"
    if not found["text"]:
        return f"no text found, though it is not silent: it holds no speech, or speech unlike the training speech{knows}"
    best = found.get("nbest") if checkpoint.words else None
    if best and best[0]["log_ctc"] < -UNLIKE - best[0]["words"]:
        return f"the text is doubtful: this hardly sounds like the model's words{knows}"
    if found["confidence"] is not None and found["confidence"] < calibration.unusual:
        return (
            f"the model is unsure: it expects {found['confidence']:.0%} of this text to be right; the utterance is unlike "
            f"those it was trained on{knows}"
        )
    return ""


def normal_spaces(text: str) -> str:
    """One space between words and none around, as references have them."""
    return " ".join(text.split())


def distinct(hypotheses: Sequence[Hypothesis], encoder: CharEncoder) -> list[Hypothesis]:
    """One hypothesis per text, best first: the best of those that differ only in spaces, with their summed CTC probability."""
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
    """The contents of the decoder.json that tune_decoder.py wrote, ``UNTUNED`` without one; ValueError if it is broken."""
    if not path.exists():
        return dict(UNTUNED)
    try:
        tuned = json.loads(path.read_text(encoding="utf-8"))
        fits = math.isfinite(tuned["beta"]) and min(tuned["alpha"], tuned.get("unknown_penalty") or 0) >= 0
        fits = fits and max(tuned["alpha"], tuned.get("unknown_penalty") or 0) < math.inf
        fits = fits and isinstance(tuned.get("lm", ""), str) and tuned.get("unit") in (None, "word", "character")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        fits = False
    if not fits:
        raise ValueError(f"{path} is broken: tune again with tune_decoder.py --overwrite, or delete the file")
    return tuned


def warning(checkpoint: Checkpoint) -> str:
    """A sentence if the checkpoint can't be good, because its training was stopped early or went badly; else empty."""
    epoch, epochs = (checkpoint.training.get(name) for name in ("epoch", "epochs"))
    measure = measure_of(checkpoint.encoder)
    best, units = checkpoint.training.get(f"best_{measure.lower()}"), {"WER": "words", "CER": "characters"}[measure]
    if best is None or best < 0.5:
        return ""
    rate = f"got {100 * best:.0f} % of the {units} in its dev set wrong" if math.isfinite(best) else "was not tried on a dev set"
    return f"warning: this checkpoint {rate} after {epoch} of {epochs} epochs of training; do not expect much of its text"
