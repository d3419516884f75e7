"""Transcribes audio files with a trained checkpoint: python transcribe.py checkpoint.pt a.wav b.flac ..."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from pictures.terminal import Parser, print_json, script  # first, since it says what is not installed

# isort: split
from decoding.scorers import make_scorer
from models.checkpoints import Checkpoint, load_checkpoint
from models.transcription import UNTUNED, Decoder, doubt, read_tuned, transcribe, warning
from speech.audio import BadAudio
from training.machine import choose_device

AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aiff", ".aif", ".sph")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Flags of the command line, checked."""
    parser = Parser(description=__doc__.split(":")[0])
    add = parser.add_argument
    add("checkpoint", type=Path, help="checkpoint.pt of a training run")
    add("audio", nargs="+", type=Path, help="audio files: WAV, FLAC, OGG, MP3; any rate, any channels")
    add("--beam", type=int, metavar="N", help="width of the beam search; default 1, which decodes greedily, with --lm 100")
    add("--lm", metavar="FILE", help="language model, ARPA, from train_language_model.py or KenLM")
    weight = f"its weight; default: of decoder.json beside the checkpoint (tune_decoder.py), else {UNTUNED['alpha']:g}"
    add("--alpha", type=float, help=weight)
    add("--beta", type=float, help=f"weight of the number of words; default: of decoder.json, else {UNTUNED['beta']:g}")
    add("--unit", choices=("word", "character"), help="of the language model; default: of decoder.json, else as the file tells")
    add("--lexicon", action="store_true", help="only words of the language model")
    penalty = "nats by letter of a word that it does not know; default: of decoder.json, else log(letters): 3.3 in English"
    add("--unknown-penalty", type=float, metavar="X", help=penalty)
    add("--nbest", type=int, default=1, metavar="N", help="show the N best texts with the parts of their scores (default: 1)")
    add("--times", action="store_true", help="show when each word is said, by forced alignment (arXiv Eq. 13)")
    add("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    add("--json", action="store_true", help="one JSON object a line: file, text, seconds, ...; or file, error")
    args = parser.parse_args(argv)
    args.beam = args.beam if args.beam is not None else 100 if args.lm else 1
    for name in ("beam", "nbest"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(args, name)}")
    if args.nbest > args.beam:
        parser.error(f"--nbest {args.nbest} needs a beam search at least as wide: add --beam {max(args.nbest, 10)}")
    for name in ("alpha", "beta", "unit", "lexicon", "unknown_penalty"):
        if getattr(args, name) is not None and getattr(args, name) is not False and not args.lm:
            parser.error(f"--{name.replace('_', '-')} is of a language model: add --lm FILE")
    for name in ("alpha", "unknown_penalty"):
        if getattr(args, name) is not None and not 0 <= getattr(args, name) < math.inf:
            parser.error(f"--{name.replace('_', '-')} must be at least 0, not {getattr(args, name)}")
    if args.beta is not None and not math.isfinite(args.beta):
        parser.error(f"--beta must be a finite number, not {args.beta}")
    return args


def make_decoder(args: argparse.Namespace, checkpoint: Checkpoint) -> Decoder:
    """The decoder that the flags ask for, its weights from decoder.json where no flag says them."""
    if not args.lm:
        return Decoder(args.beam)
    tuned_file = args.checkpoint.parent / "decoder.json"
    tuned = read_tuned(tuned_file)
    alpha, beta = (tuned[name] if getattr(args, name) is None else getattr(args, name) for name in ("alpha", "beta"))
    penalty = tuned.get("unknown_penalty") if args.unknown_penalty is None else args.unknown_penalty
    same_file = Path(tuned.get("lm", args.lm)).name == Path(args.lm).name
    unit = args.unit or (tuned.get("unit") if same_file else None)
    scorer = make_scorer(args.lm, checkpoint.encoder, unit, args.lexicon, penalty)
    other = "lm" in tuned and not (same_file and tuned.get("lexicon", False) == args.lexicon)
    if other and None in (args.alpha, args.beta):
        asked = f"--lm {tuned['lm']}{' --lexicon' if tuned.get('lexicon') else ''}"
        print(f"warning: alpha and beta of {tuned_file} were tuned with {asked}, and may not suit this search", file=sys.stderr)
    return Decoder(args.beam, scorer, alpha, beta)


def show(path: Path, found: dict, nbest: int) -> None:
    """File and text; below them the other texts and the times where they were asked for."""
    print(f"{path}\t{found['text']}", flush=True)
    if nbest > 1:
        for hypothesis in found["nbest"]:
            parts = f"{hypothesis['score']:9.2f}"
            if hypothesis["words"] or hypothesis["log_lm"]:  # without --lm there is but one part
                parts += " = ctc {log_ctc:.2f}, lm {log_lm:.2f}, {words} words".format(**hypothesis)
            print(f"  {parts}\t{hypothesis['text']}")
    for word in found.get("words", ()):
        print(f"  {word['start']:7.2f} {word['end']:7.2f} s\t{word['text']}")


def unknown_words(found: dict, decoder: Decoder) -> str:
    """A sentence if the language model does not know some of the words (or characters); else empty."""
    words = found.get("unknown", [])
    named = ", ".join(words[:10]) + (", ..." if len(words) > 10 else "")
    return f"{len(words)} of its {decoder.scorer.model.unit}s not in the language model: {named}" if words else ""


def refuse_swapped(args: argparse.Namespace) -> None:
    """Raises ``ValueError`` where the audio stands in front of the checkpoint."""
    first, others = args.checkpoint, args.audio
    swapped = next((path for path in others if path.suffix == ".pt"), None)
    if first.suffix.lower() in AUDIO and (swapped or first.is_file()):
        right = f"python transcribe.py {swapped or 'checkpoint.pt'} {first}"
        raise ValueError(f"{first}: not a checkpoint of this library but audio; the checkpoint comes first: {right}")


@script
def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where a file can't be read, 2 where nothing can be done."""
    args = parse_args(argv)
    refuse_swapped(args)
    checkpoint = load_checkpoint(args.checkpoint, choose_device(args.device))
    decoder = make_decoder(args, checkpoint)
    if little := warning(checkpoint):
        print(little, file=sys.stderr)
    failed = 0
    for path in args.audio:
        try:
            found = transcribe(checkpoint, path, decoder, args.nbest, args.times)
        except BadAudio as error:
            failed += 1
            if args.json:
                print_json({"file": str(path), "error": str(error)})
            else:
                print(f"error: {error}", file=sys.stderr)
            continue
        if decoder.scorer:
            found["unknown"] = decoder.scorer.unknown_words(found["text"])  # of words, or of characters
        if args.json:
            print_json({"file": str(path)} | found | {"seconds": round(found["seconds"], 3)})
        else:
            show(path, found, args.nbest)
        for sentence in filter(None, (unknown_words(found, decoder), doubt(found))):
            print(f"{path}: {sentence}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
