"""Transcribes audio files, or live speech, with a trained checkpoint: python transcribe.py checkpoint.pt a.wav ..."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pictures.terminal import Parser, print_json, script  # first, since it names packages that are not installed

# isort: split
import numpy as np

from decoding.scorers import make_scorer
from models.checkpoints import Checkpoint, load_checkpoint
from models.confidence import mean_confidence
from models.jitter import jittered
from models.streaming import Heard, StreamingRecognizer, refuse_what_needs_the_end
from models.transcription import (
    UNTUNED,
    Decoder,
    Loudness,
    decoder_of,
    doubt,
    read_tuned,
    refuse_short,
    transcribe,
    warning,
)
from speech.audio import RATES, BadAudio
from speech.streams import microphone, played, raw_samples, until_interrupted
from training.machine import choose_device

TAIL = 50  # characters of the text that are shown while it comes in
AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aiff", ".aif", ".sph")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads and checks the flags of the command line."""
    parser = Parser(description=__doc__.rsplit(":", 1)[0])
    add = parser.add_argument
    add("checkpoint", type=Path, help="checkpoint.pt of a training run")
    add(
        "audio",
        nargs="*",
        type=Path,
        help="audio files: WAV, FLAC, OGG, MP3; any rate, any number of channels; -: standard input",
    )
    add("--beam", type=int, metavar="N", help="width of the beam search; default: 1 (greedy decoding); with --lm: 100; for a "
        "checkpoint with a list of words: 20, and only these words are written unless you give --beam 1")  # fmt: skip
    add("--lm", metavar="FILE", help="language model: an ARPA file, plain or compressed, or a KenLM binary")
    weight = f"weight of the language model; default: that of decoder.json (tune_decoder.py), else {UNTUNED['alpha']:g}"
    add("--alpha", type=float, help=weight)
    add("--beta", type=float, help=f"weight of the number of words; default: that of decoder.json, else {UNTUNED['beta']:g}")
    unit = "unit of the language model; default: that of decoder.json, else what the file says"
    add("--unit", choices=("word", "character"), help=unit)
    add("--lexicon", action="store_true", help="write only words that the language model knows")
    penalty = "penalty in nats for each letter of a word that the language model does not know; default: that of decoder.json, "
    penalty += "else log(number of letters), 3.3 in English"
    add("--unknown-penalty", type=float, metavar="X", help=penalty)
    add("--nbest", type=int, default=1, metavar="N", help="show the N best texts with the parts of their scores (default: 1)")
    passes = "average three passes: the audio as it is, half a hop earlier and half a hop later [Deep Speech 1]"
    add("--jitter", action="store_true", help=passes)
    add("--times", action="store_true", help="show when each word is said, by forced alignment (arXiv Eq. 13)")
    add("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    add("--json", action="store_true", help="print one JSON object per line: file, text, seconds, ... or file, error; "
        "for a stream, lines with file, seconds, new, partial come first")  # fmt: skip
    _add_stream(parser)
    args = parser.parse_intermixed_args(argv)  # files may come before or after flags
    args.beam = 100 if args.beam is None and args.lm else args.beam
    args.stream = args.stream or args.microphone
    _refuse_decoders(parser, args)
    _refuse_streams(parser, args)
    return args


def _refuse_decoders(parser: Parser, args: argparse.Namespace) -> None:
    """Ends the program if the flags of the search make no sense, alone or together."""
    for name in ("beam", "nbest"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(args, name)}")
    if args.nbest > (args.beam or 1):
        parser.error(f"--nbest {args.nbest} needs a beam search at least as wide: add --beam {max(args.nbest, 10)}")
    for name in ("alpha", "beta", "unit", "lexicon", "unknown_penalty"):
        if getattr(args, name) is not None and getattr(args, name) is not False and not args.lm:
            parser.error(f"--{name.replace('_', '-')} needs a language model: add --lm FILE")
    for name in ("alpha", "unknown_penalty"):
        if getattr(args, name) is not None and not 0 <= getattr(args, name) < math.inf:
            parser.error(f"--{name.replace('_', '-')} must be at least 0, not {getattr(args, name)}")
    if args.beta is not None and not math.isfinite(args.beta):
        parser.error(f"--beta must be a finite number, not {args.beta}")


def _add_stream(parser: Parser) -> None:
    add = parser.add_argument_group("live speech, with a model trained with --forward-only").add_argument
    add("--stream", action="store_true", help="show the text while the audio arrives; "
        "- then means raw audio: 16 bits, little-endian, one channel")  # fmt: skip
    add("--rate", type=int, metavar="HZ", help="sample rate of the raw audio (default: the model's)")
    settling = "for a stream with --beam: fix what the best text has kept unchanged for S seconds; default: fix what all texts "
    settling += "in the beam share, so that the final text is that of the whole file"
    add("--settle-after", type=float, metavar="S", help=settling)
    add("--microphone", action="store_true", help="stream from the microphone until Ctrl-C")


def _refuse_streams(parser: Parser, args: argparse.Namespace) -> None:
    """Ends the program if the flags of a stream don't fit together."""
    pipes = args.audio.count(Path("-"))
    if not args.audio and not args.microphone:
        parser.error("no audio given: name files, - for standard input, or --microphone")
    if args.audio and args.microphone:
        parser.error("--microphone takes no files: leave out one of the two")
    if pipes > 1:
        parser.error("- is named twice, but standard input can be read only once")
    if args.rate is not None and not (args.stream and pipes):
        parser.error("--rate is for raw audio from standard input: give it with --stream -; files state their own rate")
    if args.rate is not None and args.rate not in RATES:
        parser.error(f"--rate must lie between {RATES.start} and {RATES.stop - 1} Hz, not {args.rate}")
    if args.settle_after is not None and not (args.stream and (args.beam or 1) > 1):
        parser.error("--settle-after needs a stream with a beam search: add --stream and --beam 20")
    if args.settle_after is not None and not 0 <= args.settle_after < math.inf:
        parser.error(f"--settle-after must be a number of seconds, at least 0, not {args.settle_after}")
    if args.stream and args.jitter:
        parser.error("--jitter needs whole files: leave out --jitter or --stream")
    if args.stream and args.nbest > 1:
        parser.error("--nbest needs whole files, since a stream has one text: leave out --nbest or --stream")


def make_decoder(args: argparse.Namespace, checkpoint: Checkpoint) -> Decoder:
    """The decoder that the flags ask for; weights that no flag gives come from decoder.json."""
    if not args.lm:
        return decoder_of(checkpoint, args.beam)
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
        print(f"warning: alpha and beta in {tuned_file} were tuned with {asked} and may not suit this search", file=sys.stderr)
    return Decoder(args.beam, scorer, alpha, beta)


def show(path: Path, found: dict, nbest: int, times: bool) -> None:
    """Prints file and text; below them the other texts and the times, if asked for."""
    print(f"{path}\t{found['text']}", flush=True)
    if nbest > 1:
        for hypothesis in found["nbest"]:
            parts = f"{hypothesis['score']:9.2f}"
            if hypothesis["words"] or hypothesis["log_lm"]:  # without --lm there is only one part
                parts += " = ctc {log_ctc:.2f}, lm {log_lm:.2f}, {words} words".format(**hypothesis)
            print(f"  {parts}\t{hypothesis['text']}")
    for word in found["words"] if times else ():
        print(f"  {word['start']:7.2f} {word['end']:7.2f} s\t{word['text']}")


def _tail(text: str) -> str:
    """The end of a long text, from the start of a word if there is one."""
    end = text[-TAIL:]
    return text if len(text) <= TAIL else "... " + (end.partition(" ")[2] or end)


def _rounded(found: dict) -> dict:
    """Rounds seconds to the millisecond."""
    times = {name: round(value, 3) for name, value in found.items() if name in ("seconds", "start", "end")}
    parts = {name: list(map(_rounded, found[name])) for name in ("words", "characters") if name in found}
    return found | times | parts


def unknown_words(found: dict, decoder: Decoder) -> str:
    """A sentence that names the words (or characters) that the language model does not know; empty if it knows all."""
    words = found.get("unknown", [])
    named = ", ".join(words[:10]) + (", ..." if len(words) > 10 else "")
    return f"{len(words)} of its {decoder.scorer.model.unit}s are not in the language model: {named}" if words else ""


@contextmanager
def sound(path: Path, model_rate: int, args: argparse.Namespace) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """The rate in Hz and the chunks of a stream: from the microphone, from raw samples, or from a file."""
    if args.microphone:
        with microphone() as (rate, chunks):
            print(f"listening at {rate} Hz; press Ctrl-C to stop", file=sys.stderr)
            yield rate, until_interrupted(chunks)
    elif path == Path("-"):
        if sys.stdin is None or sys.stdin.isatty():
            what = "closed" if sys.stdin is None else "the keyboard"
            raise BadAudio(f"standard input is {what}: send raw audio with | or <", path)
        rate = args.rate or model_rate
        yield rate, until_interrupted(raw_samples(sys.stdin.buffer, rate))
    else:
        yield model_rate, played(path, model_rate)


def stream(checkpoint: Checkpoint, path: Path, decoder: Decoder, args: argparse.Namespace) -> dict:
    """Shows the text as it comes in; returns what ``transcribe`` returns, as far as it is known for a stream."""
    with sound(path, checkpoint.model.features.sample_rate, args) as (rate, chunks):
        recognizer = StreamingRecognizer(checkpoint, rate, decoder, args.settle_after)
        loudness, before = Loudness(rate), Heard()
        for chunk in chunks:
            loudness.add(chunk)
            heard = recognizer.accept(chunk)
            if heard.new or heard.partial != before.partial:
                show_partial(path, loudness.seconds, heard, args.json)
            before = heard
    if not loudness.samples:
        raise BadAudio("no audio arrived", path)
    refuse_short(loudness.seconds, checkpoint.model.features, path)
    heard = recognizer.finish()
    if heard.partial:
        print(f"{path}: left out the last letters {heard.partial.strip()!r}, which spell no word of the lexicon", file=sys.stderr)
    if clipped := loudness.clipping():
        print(f"{path}: {clipped}", file=sys.stderr)
    words = [dataclasses.asdict(word) for word in heard.words]
    sure = mean_confidence([word["confidence"] for word in words])
    return {"text": heard.text, "seconds": loudness.seconds, "speech": not loudness.silent, "confidence": sure, "words": words}


def show_partial(path: Path, seconds: float, heard: Heard, as_json: bool) -> None:
    """Prints the end of the text so far, with what may still change in brackets."""
    if as_json:
        print_json({"file": str(path), "seconds": round(seconds, 3), "new": heard.new, "partial": heard.partial})
        return
    settled, partial = _tail(heard.text), _tail(heard.partial.strip())
    print(f"{seconds:8.1f} s  {settled}{' ' * bool(settled and partial)}{f'[{partial}]' if partial else ''}", flush=True)


def refuse_swapped(args: argparse.Namespace) -> None:
    """Raises ``ValueError`` if the audio is named before the checkpoint."""
    first, others = args.checkpoint, args.audio
    swapped = next((path for path in others if path.suffix == ".pt"), None)
    if first.suffix.lower() in AUDIO and (swapped or first.is_file()):
        right = f"python transcribe.py {swapped or 'checkpoint.pt'} {first}"
        raise ValueError(f"{first}: this is audio, not a checkpoint; the checkpoint comes first: {right}")


@script
def main(argv: Sequence[str] | None = None) -> int:
    """Returns exit code 1 if a file can't be read, and 2 if nothing can be done."""
    args = parse_args(argv)
    refuse_swapped(args)
    checkpoint = load_checkpoint(args.checkpoint, choose_device(args.device))
    if args.stream:
        refuse_what_needs_the_end(checkpoint.model)
    checkpoint = jittered(checkpoint) if args.jitter else checkpoint
    decoder = make_decoder(args, checkpoint)
    if little := warning(checkpoint):
        print(little, file=sys.stderr)
    failed = 0
    for path in args.audio or [Path("microphone")]:
        try:
            if args.stream:
                found = stream(checkpoint, path, decoder, args)
            else:
                found = transcribe(checkpoint, path, decoder, args.nbest, args.times)
        except BadAudio as error:
            failed += 1
            if args.json:
                print_json({"file": str(path), "error": str(error)})
            else:
                print(f"error: {error}", file=sys.stderr)
            continue
        if args.lm:
            found["unknown"] = decoder.scorer.unknown_words(found["text"])  # of words, or of characters
        if args.json:
            print_json({"file": str(path)} | _rounded(found))
        else:
            show(path, found, args.nbest, args.times)
        for sentence in filter(None, (unknown_words(found, decoder), doubt(found, checkpoint))):
            print(f"{path}: {sentence}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
