"""Transcribes audio files with a trained checkpoint: python transcribe.py checkpoint.pt a.wav b.flac ..."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from corpora import BadAudio, read_audio
from implementation import AudioSample, beam_search_decode, collate_batch, greedy_decode
from training import Checkpoint, CheckpointError, choose_device, load_checkpoint


@torch.no_grad()
def transcribe(checkpoint: Checkpoint, path: Path, beam: int = 1) -> tuple[str, float]:
    """Text of one audio file of any sample rate and number of channels, and its length in seconds.

    Raises:
        BadAudio: if the file can't be read.
    """
    config, model, encoder = checkpoint.config, checkpoint.model, checkpoint.encoder
    sample = AudioSample(read_audio(path, config.sample_rate), config.sample_rate, "")
    batch = collate_batch([sample], encoder, config.n_fft).to(next(model.parameters()).device)
    log_probs, lengths = model(batch.features, batch.feature_lengths)
    if beam > 1:
        return beam_search_decode(log_probs, encoder, beam, lengths)[0], sample.seconds
    return greedy_decode(log_probs, encoder, lengths)[0], sample.seconds


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("checkpoint", help="checkpoint.pt of a training run")
    parser.add_argument("audio", nargs="+", type=Path, help="audio files: WAV, FLAC, OGG, MP3; any rate, any channels")
    add = parser.add_argument
    add("--beam", type=int, default=1, metavar="N", help="width of the beam search; 1 decodes greedily (default: 1)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line: file, text, seconds; or file, error")
    args = parser.parse_args(argv)
    if args.beam < 1:
        parser.error(f"--beam must be at least 1, not {args.beam}")
    try:
        checkpoint = load_checkpoint(args.checkpoint, choose_device(args.device))
    except (CheckpointError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = 0
    for path in args.audio:
        try:
            text, seconds = transcribe(checkpoint, path, args.beam)
        except BadAudio as error:
            failed += 1
            if args.json:
                print(json.dumps({"file": str(path), "error": str(error)}, ensure_ascii=False), flush=True)
            else:
                print(f"error: {error}", file=sys.stderr)
            continue
        if args.json:
            line = {"file": str(path), "text": text, "seconds": round(seconds, 3)}
            print(json.dumps(line, ensure_ascii=False), flush=True)
        else:
            print(f"{path}\t{text}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
