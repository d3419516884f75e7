"""Audio files to text with a trained model: decoder, n-best texts, times."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from implementation import (
    PAPER_PRUNING,
    AudioSample,
    BeamScorer,
    Hypothesis,
    character_times,
    collate_batch,
    greedy_decode,
    prefix_beam_search,
    word_times,
)
from models.checkpoints import Checkpoint
from speech.audio import BadAudio, read_audio


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
        dict with 'text' and 'seconds'; with a beam search 'nbest', a list of up to ``nbest`` dicts of text and the three parts
        of its score; with ``times`` 'words' and 'characters', each a list of text, start and end in seconds.

    Raises:
        BadAudio: if the file can't be read.
    """
    decoder, model, encoder = decoder or Decoder(), checkpoint.model, checkpoint.encoder
    features = model.features
    sample = AudioSample(read_audio(path, features.sample_rate), features.sample_rate, "")
    if len(sample.audio) < features.window:
        lasts, window = 1000 * sample.seconds, 1000 * features.window / features.sample_rate
        raise BadAudio(f"lasts {lasts:.1f} ms, too short for speech: one window takes {window:g} ms", path)
    batch = collate_batch([sample], encoder, features=features).to(next(model.parameters()).device)
    log_probs, lengths = model(batch.features, batch.feature_lengths)
    rows = log_probs[: int(lengths[0]), 0].cpu().double()  # (T', V)
    if decoder.beam == 1 and decoder.scorer is None:
        labels = [label for label in torch.unique_consecutive(rows.argmax(1)).tolist() if label != encoder.blank_idx]
        found = {"text": greedy_decode(log_probs, encoder, lengths)[0], "seconds": sample.seconds}
    else:
        hypotheses = prefix_beam_search(rows.numpy(), decoder.beam, decoder.scorer, decoder.alpha, decoder.beta, **PAPER_PRUNING)
        labels = hypotheses[0].labels if hypotheses else ()
        nbest_list = [_described(hypothesis, encoder.decode(hypothesis.labels)) for hypothesis in hypotheses[:nbest]]
        found = {"text": encoder.decode(labels), "seconds": sample.seconds, "nbest": nbest_list}
    if times:
        characters = character_times(rows, labels, encoder, model.seconds_per_output)
        found["words"] = [dataclasses.asdict(word) for word in word_times(characters)]
        found["characters"] = [dataclasses.asdict(character) for character in characters]
    return found


def _described(hypothesis: Hypothesis, text: str) -> dict:
    parts = {name: getattr(hypothesis, name) for name in ("score", "log_ctc", "log_lm", "words")}
    return {"text": text} | parts


def read_tuned(path: Path) -> dict:
    """What tune_decoder.py left beside the checkpoint; alpha and beta 1 where it left nothing."""
    if not path.exists():
        return {"alpha": 1.0, "beta": 1.0}
    try:
        tuned = json.loads(path.read_text(encoding="utf-8"))
        fits = all(math.isfinite(tuned[name]) for name in ("alpha", "beta"))
    except (ValueError, KeyError, TypeError):
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
