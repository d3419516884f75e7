"""Makes a small checkpoint of a run on single words, such as models/commands_en.pt, and counts its errors.

    python recipes/pretrained.py runs/commands/checkpoint.pt --data commands -o models/commands_en.pt

The weights are written in half precision, half the bytes, and what only a resumed run needs is left out. The words that were
trained on are written beside them: transcribe.py then finds these words alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from decoding.tuning import Output, count_search_errors, network_outputs
from implementation import ErrorCounts, count_errors
from models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from models.transcription import decoder_of
from pictures.terminal import Parser, script
from speech.corpora import Utterance, read_corpus
from speech.datasets import SpeechDataset

COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
KEPT = ("epoch", "epochs", "best_wer", "best_cer", "calibration")  # of what training leaves


def save_small(checkpoint: Checkpoint, words: Sequence[str], path: Path) -> None:
    """Writes the checkpoint with its weights in half precision (float16) and its list of words."""
    state = {name: checkpoint.training[name] for name in KEPT if name in checkpoint.training} | {"words": sorted(set(words))}
    save_checkpoint(path, checkpoint.model.half(), checkpoint.config, checkpoint.encoder, state)


def outputs_of(checkpoint: Checkpoint, utterances: Sequence[Utterance]) -> list[Output]:
    """What the network says of each utterance."""
    dataset = SpeechDataset(utterances, checkpoint.config.sample_rate)
    return network_outputs(checkpoint.model, dataset, checkpoint.encoder)


def errors_of(checkpoint: Checkpoint, outputs: Sequence[Output]) -> dict[str, ErrorCounts]:
    """Word errors: greedily, and as the likeliest text of the checkpoint's words."""
    encoder, decoder = checkpoint.encoder, decoder_of(checkpoint)
    greedy = [encoder.ctc_decode(output.log_probs.argmax(1)) for output in outputs]
    return {
        "greedy": count_errors([output.reference for output in outputs], greedy, encoder),
        "its words": count_search_errors(outputs, encoder, decoder.beam, decoder.scorer),
    }


@script
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of a run")
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="the corpus it was trained on")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="checkpoint to write")
    args = parser.parse_args(argv)
    corpus = read_corpus(args.data)
    save_small(load_checkpoint(args.checkpoint), [w for u in corpus.split("train") for w in u.transcript.split()], args.output)
    small = load_checkpoint(args.output)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB, {len(small.words)} words: {' '.join(small.words)}")
    for name in ("dev", *corpus.splits_for("test")):
        outputs = outputs_of(small, corpus.split(name))
        commands = [output for output in outputs if output.reference in COMMANDS]
        for what, part in ((name, outputs), (f"{name}, ten commands", commands)):
            for how, counts in errors_of(small, part).items() if part else ():
                print(f"{what:<20} {how:<10} {counts}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
