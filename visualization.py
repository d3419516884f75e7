"""Draws all pictures of this library: python visualization.py [--checkpoint runs/001/checkpoint.pt].

It draws the features, the model, its filters, activations and output with the Viterbi path, the beam search as a tree, what a row
convolution waits for, SortaGrad, the curves of the run, and the paper's Tables 1 to 5, 7, 10, 11 and 13 to 15. Without
--checkpoint it draws the newest run under runs/; if there is none, train_minimal.py makes one first.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pictures.terminal import Parser, script  # first, since it names packages that are not installed

# isort: split
import numpy as np
import torch
from matplotlib.figure import Figure

from implementation import (
    VALIDATION_SPEAKERS,
    AudioSample,
    evaluate,
    generate_synthetic_dataset,
    leading_errors,
    measure_of,
    utterance_seconds,
)
from models.checkpoints import Checkpoint, load_checkpoint
from pictures import figures, lessons, paper_charts
from speech.corpora import CorpusError, read_corpus
from speech.datasets import SpeechDataset
from speech.preflight import drawn, feasible, usable
from training.folder import refuse_unwritable
from training.loop import read_metrics

N_SPEECH = 100  # how many utterances are examined


@dataclass
class Subject:
    """What is drawn: a checkpoint, speech it did not train on, seconds of the training utterances, lines of metrics.jsonl."""

    checkpoint: Checkpoint
    speech: list[AudioSample]
    training_seconds: list[float]
    history: list[dict]


def newest_checkpoint() -> Path:
    """The checkpoint of the latest run under runs/; if there is none, trains one now."""
    found = sorted(Path("runs").glob("*/checkpoint.pt"), key=lambda path: path.stat().st_mtime)
    if not found:
        print("no run under runs/ yet: training one first, as python train_minimal.py does (about 90 s)", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name("train_minimal.py"))], check=True)
        return newest_checkpoint()
    return found[-1]


def read_subject(path: Path, data: Path | None, transcript_column: str | None = None) -> Subject:
    """The checkpoint and speech for it: the dev split of ``data``, or synthetic speech by voices never trained on."""
    checkpoint = load_checkpoint(path)
    rate = checkpoint.model.features.sample_rate
    if data:
        corpus = read_corpus(data, transcript_column)
        corpus = corpus.in_roles(dev=next(iter(corpus.splits_for("dev")), None))
        utterances, problems = usable(drawn(corpus.split("dev"), N_SPEECH, "dev"), checkpoint.encoder)
        speech = list(SpeechDataset(utterances, rate))
        seconds = utterance_seconds(corpus.split("train"))
    else:
        np.random.seed(1)
        torch.manual_seed(1)
        speech, problems = generate_synthetic_dataset(N_SPEECH, rate, speakers=VALIDATION_SPEAKERS), []
        seconds = utterance_seconds(generate_synthetic_dataset(400, rate))
    speech, too_short = feasible(speech, checkpoint.encoder, checkpoint.model)
    for problem in problems + too_short:
        print(f"left out: {problem}")
    if not speech:
        raise CorpusError(f"{data}: no utterance of the split 'dev' can be used with this model")
    return Subject(checkpoint, speech, seconds, read_metrics(path.parent / "metrics.jsonl"))


def pictures(subject: Subject, command: str) -> Iterator[tuple[str, Figure]]:
    """Yields each name with its figure."""
    model, encoder, rate = subject.checkpoint.model, subject.checkpoint.encoder, subject.checkpoint.model.features.sample_rate
    caption, speech = f"measured here: {command}", subject.speech
    settings = f"drawn from the model's settings, not measured: {command}"
    result = evaluate(model, speech, encoder)
    errors, measure = leading_errors(result, encoder), measure_of(encoder)
    print(f"{len(speech)} utterances that the model did not train on: {measure} {errors}")
    if subject.history and errors.rate > 2 * subject.history[-1][f"dev_{measure.lower()}"] + 0.2:
        print("much worse than on its own dev set; if it was trained on recordings, add --data PATH", file=sys.stderr)
    right = [s for s, ref, hyp in zip(speech, result["references"], result["hypotheses"], strict=True) if ref == hyp] or speech
    typical = sorted(right, key=lambda sample: sample.seconds)[len(right) // 2]
    short = min(speech, key=lambda sample: (len(sample.transcript) < 5, sample.seconds))
    yield "pipeline", lessons.pipeline(model, typical, encoder, caption)
    yield "waveform_to_features", figures.waveform_to_features(typical, model.features, caption)
    yield "architecture", figures.architecture(model, rate, settings)
    yield "first_layer_filters", figures.first_layer_filters(model, rate, caption)
    yield "activations", figures.activations(model, speech, encoder, caption)
    yield "ctc_output", figures.ctc_output(model, typical, encoder, caption)
    yield "alignment", figures.alignment(model, typical, encoder, caption=caption)
    yield "beam_search_tree", figures.beam_tree(model, short, encoder, caption=caption)
    yield (
        "predictions",
        figures.predictions(model, speech, encoder, result, f"{caption}; the worst, a middle and the best utterance"),
    )
    yield "row_convolution", figures.row_convolution(model, settings)
    if subject.training_seconds:
        yield "sortagrad", figures.sortagrad(subject.training_seconds, caption=caption)
    if subject.history:
        yield "training_curves", figures.training_curves(subject.history, caption)
    for name in paper_charts.CHARTS:
        yield name, paper_charts.titled_chart(name)


@script
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="checkpoint.pt of a run; default: the newest under runs/")
    parser.add_argument("--data", type=Path, metavar="PATH", help="a corpus whose dev split is used; default: synthetic speech")
    parser.add_argument("--transcript-column", metavar="NAME", help="transcript column of --data, as in train_minimal.py")
    parser.add_argument("--output-dir", type=Path, default=Path("plots"), help="where the pictures go (default: plots)")
    args = parser.parse_args(argv)
    command = shlex.join(["python", "visualization.py", *(sys.argv[1:] if argv is None else argv)])
    try:
        args.output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"error: --output-dir {args.output_dir}: this folder can't be made ({error.strerror})", file=sys.stderr)
        return 2
    refuse_unwritable(args.output_dir, "choose another --output-dir")
    try:
        subject = read_subject(args.checkpoint or newest_checkpoint(), args.data, args.transcript_column)
    except (KeyboardInterrupt, subprocess.CalledProcessError):
        print("the pictures need a trained run, but the training stopped early: run python train_minimal.py", file=sys.stderr)
        return 130
    names = []
    for name, figure in pictures(subject, command):
        figure.savefig(args.output_dir / f"{name}.png")
        names.append(name)
    print(f"{len(names)} pictures in {args.output_dir}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
