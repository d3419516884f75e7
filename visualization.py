"""Draws a training run again from its folder: python visualization.py [--checkpoint runs/001/checkpoint.pt]."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from figures import save_predictions, save_training_curves
from implementation import VALIDATION_SPEAKERS, evaluate, generate_synthetic_dataset
from training import CheckpointError, load_checkpoint


def newest_checkpoint() -> Path:
    """The checkpoint of the latest run under runs/."""
    found = sorted(Path("runs").glob("*/checkpoint.pt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise CheckpointError("no checkpoint under runs/; run python train_minimal.py first, or name one with --checkpoint")
    return found[-1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--checkpoint", type=Path, help="checkpoint.pt of a run; default: the newest under runs/")
    parser.add_argument("--output-dir", type=Path, default=Path("plots"), help="where the pictures go (default: plots)")
    args = parser.parse_args(argv)
    try:
        path = args.checkpoint or newest_checkpoint()
        checkpoint = load_checkpoint(path)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    args.output_dir.mkdir(parents=True, exist_ok=True)
    np.random.seed(1)
    torch.manual_seed(1)
    speech = generate_synthetic_dataset(30, checkpoint.config.sample_rate, speakers=VALIDATION_SPEAKERS)
    result = evaluate(checkpoint.model, speech, checkpoint.encoder)
    pictures = [args.output_dir / "predictions.png"]
    save_predictions(checkpoint.model, speech, checkpoint.encoder, result, pictures[0])
    metrics = path.parent / "metrics.jsonl"
    if metrics.is_file():
        history = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
        pictures.append(args.output_dir / "training_curves.png")
        save_training_curves(history, pictures[-1])
    print(f"synthetic speech of unheard voices, {len(speech)} utterances: WER {result['words']}")
    print("\n".join(str(picture) for picture in pictures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
