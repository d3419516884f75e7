"""Compares forced alignment with the truth: the word boundaries in joined recordings, whose joins are known.

    python train_minimal.py --data fsdd --join 5 ...
    python benchmarks/alignment.py runs/001/checkpoint.pt --data fsdd [--split test --join 5]

Each item joins 1 to N takes of one speaker with gaps of noise between them. The measured boundary is halfway between the end of
one word and the beginning of the next (``word_times`` of the Viterbi path, arXiv Eq. 13); the true one is the middle of the gap.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from implementation import character_times, collate_batch, ctc_required_frames, word_times
from models.checkpoints import Checkpoint, load_checkpoint
from speech.corpora import read_corpus
from speech.datasets import JoinedDataset, SpeechDataset


@torch.no_grad()
def boundary_errors(checkpoint: Checkpoint, dataset: JoinedDataset) -> tuple[list[float], int]:
    """Measured minus true boundary between neighbouring words, in seconds, and how many items were too short to align."""
    model, encoder, errors, skipped = checkpoint.model, checkpoint.encoder, [], 0
    for index in range(len(dataset)):
        sample = dataset[index]
        batch = collate_batch([sample], encoder, checkpoint.config.n_fft)
        log_probs, lengths = model(batch.features, batch.feature_lengths)
        if int(lengths[0]) < ctc_required_frames(encoder.encode(sample.transcript)):
            skipped += 1
            continue
        words = word_times(character_times(log_probs[:, 0], sample.transcript, encoder, model.seconds_per_output))
        for one, other, gap in zip(words, words[1:], dataset.gap_times(index), strict=False):
            errors.append((one.end + other.start) / 2 - sum(gap) / 2)
    return errors, skipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="checkpoint.pt of a run with --join")
    parser.add_argument("--data", required=True, help="a corpus of single words")
    parser.add_argument("--split", default="test", help="split of the corpus (default: test)")
    parser.add_argument("--join", type=int, default=5, help="largest number of takes joined into one item (default: 5)")
    args = parser.parse_args()
    try:
        checkpoint = load_checkpoint(args.checkpoint)
        takes = SpeechDataset(read_corpus(args.data).split(args.split), checkpoint.config.sample_rate)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    errors, skipped = boundary_errors(checkpoint, JoinedDataset(takes, args.join))
    size = 1000 * np.abs(errors)
    print(f"{len(errors)} word boundaries of {args.split}, 1 to {args.join} takes joined; {skipped} items too short to align")
    shift, frame = 1000 * np.mean(errors), 1000 * checkpoint.model.seconds_per_output
    print(f"error: median {np.median(size):.0f} ms, 90 % below {np.quantile(size, 0.9):.0f} ms, mean shift {shift:+.0f} ms")
    print(f"an output frame is {frame:.0f} ms")


if __name__ == "__main__":
    main()
