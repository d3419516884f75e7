"""Makes a small checkpoint, such as models/commands_en.pt, from a run on single words, and counts its errors.

    python recipes/pretrained.py runs/commands/checkpoint.pt --data commands -o models/commands_en.pt

It writes the weights in half precision (half the bytes), leaves out what only a resumed run needs, and adds the words of the
training set: transcribe.py then writes only these words.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from decoding.tuning import Output, count_search_errors, network_outputs
from implementation import CharEncoder, ErrorCounts, count_errors
from models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from models.confidence import calibrate
from models.transcription import decoder_of, transcribe
from pictures.terminal import Parser, script
from speech.corpora import Utterance, read_corpus
from speech.datasets import SpeechDataset

COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
KEPT = ("epoch", "epochs", "best_wer", "best_cer")  # kept from the training results


def small(checkpoint: Checkpoint, words: Iterable[str], dev: Sequence[Utterance]) -> Checkpoint:
    """The checkpoint with half-precision weights (float16), its list of words, and a confidence calibrated for them on dev."""
    kept = {name: checkpoint.training[name] for name in KEPT if name in checkpoint.training} | {"words": sorted(set(words))}
    rounded = replace(checkpoint, model=checkpoint.model.half().float(), training=kept)
    found = [(word, u) for u in dev for word in transcribe(rounded, u.path, decoder_of(rounded))["words"]]
    calibration = calibrate([word["confidence"] for word, _ in found], [word["text"] == u.transcript for word, u in found])
    return replace(rounded, training=kept | {"calibration": asdict(calibration)})


def outputs_of(checkpoint: Checkpoint, utterances: Sequence[Utterance]) -> list[Output]:
    """The network's output for each utterance."""
    dataset = SpeechDataset(utterances, checkpoint.config.sample_rate)
    return list(network_outputs(checkpoint.model, dataset, checkpoint.encoder))


def likeliest_word(output: Output, words: Sequence[str], encoder: CharEncoder) -> str:
    """The word with the highest CTC probability, for an utterance that is known to be one of the words."""
    targets = [torch.tensor(encoder.encode(word)) for word in words]
    rows = torch.from_numpy(output.log_probs)[:, None].expand(-1, len(words), -1)  # (T', words, V)
    lengths = torch.full((len(words),), len(rows)), torch.tensor([len(target) for target in targets])
    return words[int(F.ctc_loss(rows, pad_sequence(targets, batch_first=True), *lengths, reduction="none").argmin())]


def errors_of(checkpoint: Checkpoint, outputs: Sequence[Output]) -> dict[str, ErrorCounts]:
    """Word errors of greedy decoding, the likeliest text of the model's words (as in transcribe.py), and the likeliest word."""
    encoder, decoder = checkpoint.encoder, decoder_of(checkpoint)
    references = [output.reference for output in outputs]
    greedy = [encoder.ctc_decode(output.log_probs.argmax(1)) for output in outputs]
    one_word = [likeliest_word(output, checkpoint.words, encoder) for output in outputs]
    return {
        "greedy": count_errors(references, greedy, encoder),
        "its words": count_search_errors(outputs, encoder, decoder.beam, decoder.scorer),
        "one word": count_errors(references, one_word, encoder),
    }


@script
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of a run")
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="the corpus that the run was trained on")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="checkpoint to write")
    args = parser.parse_args(argv)
    corpus = read_corpus(args.data)
    words = [word for utterance in corpus.split("train") for word in utterance.transcript.split()]
    found = small(load_checkpoint(args.checkpoint), words, corpus.split("dev"))
    save_checkpoint(args.output, found.model.half(), found.config, found.encoder, found.training)
    found = load_checkpoint(args.output)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB, {len(found.words)} words: {' '.join(found.words)}")
    for name in ("dev", *corpus.splits_for("test")):
        outputs = outputs_of(found, corpus.split(name))
        commands = [output for output in outputs if output.reference in COMMANDS]
        for what, part in ((name, outputs), (f"{name}, ten commands", commands)):
            for how, counts in errors_of(found, part).items() if part else ():
                print(f"{what:<20} {how:<10} {counts}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
