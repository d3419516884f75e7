"""Trains Deep Speech 2: on embedded synthetic speech without any download, or on real recordings with --data.

    python train_minimal.py
    python train_minimal.py --data path/to/corpus

Everything of substance is in implementation.py (the model and its parts), training.py (the loop), training_run.py (a run and its
folder), corpora.py (real speech) and augmentation.py. This script reads flags, runs the loop and shows what came of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from decoding.ngrams import NGramModel
from decoding.scorers import make_scorer
from implementation import (
    SYNTHETIC_WORDS,
    VALIDATION_SPEAKERS,
    CharEncoder,
    DeepSpeech2,
    evaluate,
    generate_synthetic_dataset,
    utterance_seconds,
)
from models.checkpoints import Checkpoint, CheckpointError, ModelConfig, load_checkpoint
from pictures.figures import predictions, training_curves
from pictures.terminal import show_any_name
from speech.alphabets import BigramEncoder, encoder_of
from speech.augmentation import SYNTHETIC_AUGMENTATION, Augmentation
from speech.corpora import Corpus, CorpusError, Problem, Utterance, corpus_sample_rate, read_corpus
from speech.datasets import JoinedDataset, SpeechDataset
from speech.preflight import check_problems, encodable, feasible, readable, stop_if_many
from training.data import TrainingSet
from training.loop import Trainer
from training.machine import QUICK, choose_device, choose_precision
from training.run import Run
from tune_decoder import tune_and_compare


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of a flag where its text does not say it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        said = action.default is None or "default" in (action.help or "")
        return action.help if said else super()._get_help_string(action)


MODEL_FLAGS = ("n_conv", "n_rnn", "rnn_hidden", "rnn_type", "batch_norm", "time_strides", "dropout", "n_fft")
BATCH_NORM = {"output": "output", "paper": "input"}  # what ModelConfig calls the placements


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags of the command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=_Help)
    add = parser.add_argument_group("speech").add_argument
    add("--data", metavar="PATH", help="real speech: a manifest, or a folder in a layout of the README")
    add("--join", type=int, default=1, metavar="N", help="each training example joins 1..N utterances of one speaker")
    add("--n-train", type=int, help="training utterances; default 400 synthetic ones, or all of --data")
    add("--n-val", type=int, help="validation utterances; default 100 synthetic ones, or all of --data up to 500")
    add("--max-seconds", type=float, metavar="S", help="leave out training recordings that are longer; default: none")
    add("--unknown", choices=("error", "drop"), default="error", help="characters outside the alphabet: report them or drop them")
    add("--no-augment", action="store_true", help="train on the clips as they are (arXiv 5.2 adds noise)")

    add = parser.add_argument_group("model").add_argument
    add("--n-conv", type=int, default=2, metavar="1-3", help="convolutions, kernels and strides of arXiv Table 4")
    add("--n-rnn", type=int, default=3, metavar="1-7", help="recurrent layers [paper: 1 to 7]")
    add("--rnn-hidden", type=int, default=128, help="hidden units per direction [paper: 768 to 2560]")
    add("--rnn-type", choices=("gru", "rnn", "lstm"), default="gru", help="recurrence; rnn is the simple one of arXiv Eq. 3")
    add("--batch-norm", choices=("output", "paper"), default="output", help="on the output, or W h only, arXiv Eq. 8")
    add("--time-strides", metavar="2,1", help="of the convolutions [ours; Table 4: 2,1]; default 2,2, with --data 3,1")
    add("--dropout", type=float, default=0.0, help="share of features dropped before each recurrent layer [ours]")
    add("--bigrams", action="store_true", help="outputs are pairs of letters too (arXiv 3.6), for larger strides such as 3,2")
    add("--n-fft", type=int, default=128, help="Fourier points, n_fft/2+1 bins of the 20 ms window [ours]")
    add("--sample-rate", type=int, help="Hz; default 16000, with --data their own up to 8000 (up to 16000 from --n-fft 256)")

    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=int, help="passes over the speech [paper, Section 6: 20]; default 9, with --data 16")
    add("--batch-size", type=int, default=8, help="utterances a step [paper, Section 6: 512]")
    add("--lr", type=float, help="highest learning rate [ours; paper with SGD: 1e-4 to 6e-4]; default 3e-3, with --data 2e-3")
    add("--optimizer", choices=("adamw", "adam", "sgd"), default="adamw", help="sgd: the paper's, Nesterov momentum 0.99")
    add("--schedule", choices=("onecycle", "anneal", "constant"), default="onecycle", help="anneal: the paper's, /1.2 an epoch")
    add("--no-sortagrad", action="store_true", help="shuffle in the first epoch too (arXiv 3.3 orders it by length)")
    add("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of products; auto: bf16 where in hardware")
    add("--device", default="auto", help="cpu, cuda or mps")
    add("--num-workers", type=int, default=0, help="processes that prepare features")
    add("--threads", type=int, help="CPU threads; default torch's choice")
    add("--seed", type=int, default=0, help="of weights, order, synthetic speech and augmentation")

    add = parser.add_argument_group("language model").add_argument
    add("--lm", metavar="FILE", help="decode with this ARPA model too, tuned on dev; 'train': one of the training transcripts")
    add("--unit", choices=("word", "character"), help="of the language model in FILE; default: as the file tells")
    add("--lexicon", action="store_true", help="only words of the language model")

    add = parser.add_argument_group("output").add_argument
    add("--output-dir", metavar="DIR", help="default: the next free runs/NNN")
    add("--overwrite", action="store_true", help="replace the run that stands in --output-dir")
    add("--resume", metavar="DIR", help="take up an interrupted run in its folder, with the same other flags")
    add("--checkpoint", metavar="FILE", help="start from the weights of this checkpoint (its model flags are taken)")
    args = parser.parse_args(argv)
    args.epochs = args.epochs if args.epochs is not None else 16 if args.data else 9
    args.lr = args.lr if args.lr is not None else 2e-3 if args.data else 3e-3
    _refuse_wrong_values(parser, args)
    _refuse_wrong_combinations(parser, args)
    args.given = [name for name in MODEL_FLAGS if getattr(args, name) != parser.get_default(name)]
    if QUICK:
        args.epochs, args.n_train, args.n_val, args.rnn_hidden = 1, 16, 4, 16
        units = "" if args.checkpoint else " with 16 hidden units"
        print(f"DS2_QUICK is set: one epoch of 16 utterances{units}, only to try the command", file=sys.stderr)
    args.time_strides = _time_strides(parser, args)
    return args


def _refuse_wrong_values(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for name in ("epochs", "batch_size", "join", "n_train", "n_val", "n_rnn", "rnn_hidden", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    if not 1 <= args.n_conv <= 3:
        parser.error(f"--n-conv must be 1, 2 or 3 (arXiv Table 4), not {args.n_conv}")
    if args.n_rnn > 7:
        parser.error(f"--n-rnn must be 1 to 7 (arXiv 3), not {args.n_rnn}")
    if not args.lr > 0:
        parser.error(f"--lr must be above 0, not {args.lr}")
    if not 0 <= args.dropout < 1:
        parser.error(f"--dropout must be at least 0 and below 1, not {args.dropout}")
    if args.n_fft < 16 or args.n_fft % 2:
        parser.error(f"--n-fft must be even and at least 16, not {args.n_fft}")
    if args.sample_rate is not None and args.sample_rate < 8000:
        parser.error(f"--sample-rate must be at least 8000 Hz, not {args.sample_rate}")
    for name in ("data", "output_dir"):
        if getattr(args, name) == "":
            parser.error(f"--{name.replace('_', '-')} is empty: give a path, or leave it out")
    if args.num_workers < 0:
        parser.error(f"--num-workers must be at least 0, not {args.num_workers}")
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed must be 0 to 2^32 - 1, not {args.seed}")


def _refuse_wrong_combinations(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.join > 1 and not args.data:
        parser.error("--join joins recordings of --data; synthetic utterances already hold several words")
    if args.max_seconds is not None and not (args.data and args.max_seconds > 0):
        parser.error("--max-seconds leaves out long recordings of --data; it must be above 0")
    if args.lexicon and not args.lm:
        parser.error("--lexicon allows only words of a language model: add --lm train, or --lm FILE")
    if args.unit and args.lm in (None, "train"):
        parser.error("--unit says how the model of --lm FILE is to be read; 'train' makes one of words")
    if args.lm and args.lm != "train" and not Path(args.lm).is_file():
        parser.error(f"--lm {args.lm}: no such file; give an ARPA file, or 'train'")
    if args.resume and args.checkpoint:
        parser.error("--resume takes up a run with its own weights; --checkpoint starts a new one from given weights: choose one")
    if args.resume and args.output_dir and Path(args.resume) != Path(args.output_dir):
        parser.error("--resume goes on in its own folder; leave out --output-dir")
    if args.resume and args.overwrite:
        parser.error("--resume takes up the run, --overwrite replaces it: choose one")
    if args.bigrams and args.checkpoint:
        parser.error("--checkpoint brings its own outputs: leave out --bigrams")


def _time_strides(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[int]:
    """Strides in time of the convolutions, as the flag says or by default."""
    if not args.time_strides:
        return ([3, 1, 1] if args.data else [2, 2, 1])[: args.n_conv]
    try:
        strides = [int(stride) for stride in args.time_strides.split(",")]
    except ValueError:
        parser.error(f"--time-strides wants whole numbers with commas between, such as 2,1, not {args.time_strides!r}")
    if len(strides) != args.n_conv or min(strides) < 1:
        parser.error(f"--time-strides wants {args.n_conv} strides of at least 1, one a convolution, not {strides}")
    return strides


LM_ORDER = 4
RUN_FILES = ("checkpoint.pt", "last.pt", "metrics.jsonl", "results.json", "left_out.txt", "decoder.json", "lm.arpa")


def choose_folder(args: argparse.Namespace) -> Path:
    """Where the run goes; a run that stands there is refused unless --overwrite or --resume. Nothing is written yet."""
    if args.resume:
        if Path(args.resume).is_file():
            raise CheckpointError(f"--resume {args.resume} is a file: give the folder of the run, {Path(args.resume).parent}")
        if not (Path(args.resume) / "last.pt").is_file():
            raise CheckpointError(f"--resume {args.resume}: no last.pt there, so no run to take up")
        return Path(args.resume)
    if args.output_dir is None:
        number = 1
        while Path("runs", f"{number:03d}").exists():
            number += 1
        return Path("runs", f"{number:03d}")
    folder = Path(args.output_dir)
    if any((folder / name).exists() for name in RUN_FILES) and not args.overwrite:
        raise ValueError(f"{folder} holds a run already: choose another --output-dir, --resume {folder}, or --overwrite")
    if args.lm and Path(args.lm).resolve() in [(folder / name).resolve() for name in RUN_FILES]:
        raise ValueError(f"--overwrite would delete {args.lm}, which --lm wants to read: copy it to another folder first")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output-dir {folder} is a file: choose another folder")
    return folder


def settings_of(args: argparse.Namespace, trainer: Trainer) -> dict:
    """What, beside the model and the trainer's numbers, a resumed run must have as it was: flags, and the speech by its texts."""
    samples = trainer.data.samples
    samples = samples.dataset if args.join > 1 else samples  # before the joins
    texts = samples.transcripts if args.data else [sample.transcript for sample in samples]
    flags = {name: getattr(args, name) for name in ("join", "no_augment", "no_sortagrad", "optimizer", "unknown")}
    return flags | {"transcripts": hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]}


def open_folder(folder: Path, args: argparse.Namespace, left_out: list[Problem]) -> Path:
    """Makes the folder of a run that is ready to start, and clears it of the run that --overwrite replaces.

    Returns:
        the folder; the next free number where another run, begun meanwhile, has taken this one.
    """
    numbered = args.output_dir is None and not args.resume
    try:
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=not numbered)
                break
            except FileExistsError:
                if not numbered:
                    raise
                folder = folder.with_name(f"{int(folder.name) + 1:03d}")
    except OSError as error:
        raise ValueError(f"{folder}: this folder can't be made ({error.strerror}): choose another --output-dir") from None
    if not args.resume:
        for name in RUN_FILES:
            (folder / name).unlink(missing_ok=True)
    if left_out:
        (folder / "left_out.txt").write_text("".join(f"{problem}\n" for problem in left_out), encoding="utf-8")
    return folder


def build_model(
    args: argparse.Namespace, rate: int, device: torch.device, texts: Sequence[str], start: Checkpoint | None
) -> tuple[DeepSpeech2, ModelConfig, CharEncoder]:
    """A new model as the flags say, or that of ``start``, the --checkpoint; --bigrams are learnt from ``texts``."""
    if start:
        asked = vars(args) | {"batch_norm": BATCH_NORM[args.batch_norm]}
        other = [name for name in args.given if asked[name] != getattr(start.config, name)]
        if other:
            flags = ", ".join(f"--{name.replace('_', '-')} (there {getattr(start.config, name)})" for name in other)
            raise CheckpointError(f"--checkpoint {args.checkpoint} brings its own model: leave out {flags}")
        if start.config.sample_rate != rate:
            raise CheckpointError(
                f"{args.checkpoint} was trained at {start.config.sample_rate} Hz: add --sample-rate {start.config.sample_rate}"
            )
        return start.model, start.config, encoder_of(start.encoder.alphabet, args.unknown)
    config = ModelConfig(
        sample_rate=rate, n_fft=args.n_fft, n_conv=args.n_conv, n_rnn=args.n_rnn,
        rnn_hidden=args.rnn_hidden, rnn_type=args.rnn_type, dropout=args.dropout,
        time_strides=args.time_strides,
        batch_norm=BATCH_NORM[args.batch_norm],
    )  # fmt: skip
    encoder = CharEncoder(unknown=args.unknown)
    if args.bigrams:
        encoder = BigramEncoder.learn(texts, unknown=args.unknown)
    return config.build(encoder).to(device), config, encoder


def synthetic_speech(args: argparse.Namespace, rate: int) -> tuple[list, dict[str, list]]:
    """Embedded synthetic utterances: to train on, and of other voices to validate on."""
    n_train, n_val = args.n_train or 400, args.n_val or 100
    train = generate_synthetic_dataset(n_train, rate)
    dev = generate_synthetic_dataset(n_val, rate, speakers=VALIDATION_SPEAKERS)
    print(f"embedded synthetic speech: {n_train} utterances to train on, {n_val} of unheard voices to validate on")
    return train, {"dev": dev}


def recorded_speech(
    args: argparse.Namespace, corpus: Corpus, rate: int, encoder: CharEncoder
) -> tuple[list[Utterance], dict[str, SpeechDataset], list[Problem]]:
    """Utterances to train on, evaluation sets by name ('dev' first), and what was left out."""
    utterances, problems = encodable(corpus.utterances, encoder)
    stop_if_many(problems, len(corpus.utterances), "; --unknown drop leaves such characters out of the transcripts")
    by_split = {name: [u for u in utterances if u.split == name] for name in corpus.splits}
    for name in ("train", "dev"):
        if not by_split.get(name):
            raise CorpusError(f"{args.data}: no utterance is in the split {name!r}; there are {corpus.splits}")
    by_split["dev"] = by_split["dev"][: args.n_val or 500]
    by_split["dev"], bad = readable(by_split["dev"])
    stop_if_many(bad, len(by_split["dev"]) + len(bad))
    problems += bad
    stop_if_many(corpus.problems + problems, len(corpus.utterances) + len(corpus.problems))
    unused = [name for name in by_split if name not in ("train", "dev") and not name.startswith("test")]
    for name in unused:
        print(f"split {name!r}: {len(by_split[name])} utterances, neither trained nor tested on (known: train, dev, test...)")
    names = ("dev", *sorted(name for name in by_split if name.startswith("test")))  # of test the headers alone are read yet
    evaluation = {name: SpeechDataset(by_split[name], rate, cache_mb=200) for name in names}
    train = by_split["train"]
    if args.max_seconds:
        train = [utterance for utterance in train if utterance.seconds <= args.max_seconds]
        print(f"longer than {args.max_seconds:g} s, left out: {len(by_split['train']) - len(train)} recordings of train")
    return train[: args.n_train], evaluation, corpus.problems + problems


def default_sample_rate(args: argparse.Namespace, corpus: Corpus | None, start: Checkpoint | None) -> int:
    """In Hz: that of the model to start from; else the recordings' own, but so low that bins are 62.5 Hz apart [ours]."""
    if start:
        return start.config.sample_rate
    return corpus_sample_rate(corpus.utterances, limit=16000 if args.n_fft >= 256 else 8000) if corpus else 16000


def prepare(args: argparse.Namespace) -> tuple[Trainer, ModelConfig, CharEncoder, dict[str, Sequence], list[Problem]]:
    """Speech, model and trainer as the flags say, and the utterances that are left out."""
    device = choose_device(args.device)
    precision = choose_precision(args.precision, device)
    corpus = read_corpus(args.data) if args.data else None
    if corpus:
        print(corpus.summary())
        check_problems(corpus)
    start = load_checkpoint(args.checkpoint, device) if args.checkpoint else None
    rate = args.sample_rate or default_sample_rate(args, corpus, start)
    characters = encoder_of(start.encoder.alphabet, args.unknown) if start else CharEncoder(unknown=args.unknown)
    if corpus:
        train, evaluation, problems = recorded_speech(args, corpus, rate, characters)
    texts = [utterance.transcript for utterance in train] if corpus else SYNTHETIC_WORDS
    model, config, encoder = build_model(args, rate, device, texts, start)
    if args.lm not in (None, "train"):
        make_scorer(args.lm, encoder, args.unit, args.lexicon)  # refuses now, not after the training
    if not corpus:
        (train, evaluation), problems = synthetic_speech(args, rate), []
    train, too_short = feasible(train, encoder, model)
    report_left_out(problems, too_short)
    if not train:
        raise CorpusError("no utterance is left to train on")
    if corpus:
        train = SpeechDataset(train, rate, cache_mb=600)
        train = JoinedDataset(train, args.join, seed=args.seed) if args.join > 1 else train
    augmentation = Augmentation() if corpus else SYNTHETIC_AUGMENTATION
    data = TrainingSet(train, encoder, model, None if args.no_augment else augmentation, args.seed)
    trainer = Trainer(
        model, data, args.epochs, args.batch_size, args.lr, args.optimizer, args.schedule, not args.no_sortagrad,
        precision=precision, num_workers=args.num_workers,
    )  # fmt: skip
    describe(trainer, config)
    return trainer, config, encoder, evaluation, problems + too_short


def report_left_out(problems: list[Problem], too_short: list[Problem]) -> None:
    """Names the first ten utterances that will not be used; all of them go to left_out.txt."""
    for what, found in (("bad", problems), ("too short for their text", too_short)):
        if found:
            print(f"left out, {what}: {len(found)}" + (", all in left_out.txt" if len(found) > 10 else ""))
            print("\n".join(f"  {problem}" for problem in found[:10]))


def describe(trainer: Trainer, config: ModelConfig) -> None:
    """The run in three lines: model, machine, data."""
    model, data = trainer.model, trainer.data
    weights = sum(p.numel() for p in model.parameters())
    placement = "W h (the paper's Eq. 8)" if config.batch_norm == "input" else "the layers' output"
    print(
        f"model: {config.n_conv} convolutions, {config.n_rnn} bidirectional {config.rnn_type} layers of {config.rnn_hidden}, "
        f"batch norm on {placement}, {weights / 1e6:.2f} M weights;\n       {config.n_fft // 2 + 1} bins at "
        f"{config.sample_rate} Hz, an output every {10 * model.time_stride} ms"
    )
    products = "bf16" if trainer.precision == torch.bfloat16 else "fp32"
    print(f"machine: {trainer.device.type}, {torch.get_num_threads()} threads, {products} products")
    minutes, steps = sum(utterance_seconds(data.samples)) / 60, len(trainer.sampler)
    print(f"training: {len(data)} utterances, {minutes:.1f} minutes, {steps} steps an epoch, {trainer.epochs} epochs")


def show_result(name: str, result: dict) -> None:
    """Error rates with counts, and the aligned transcripts of the worst, the middle and the best utterance."""
    print(f"\n{name}: {result['n_samples']} utterances, WER {result['words']}, CER {result['characters']}")
    if result["n_infeasible"]:
        print(f"  {result['n_infeasible']} utterances have too few frames for their text; their loss is infinite")
    ranked = result["words"].from_worst_to_best()
    for utterance in dict.fromkeys((ranked[0], ranked[len(ranked) // 2], ranked[-1])):
        print(result["words"].aligned_lines(utterance))


def without_unreadable(dataset: SpeechDataset) -> SpeechDataset:
    """A test set without the utterances whose audio can't be read, which are named; stops if more than 1 % are."""
    good, bad = readable(dataset.utterances)
    report_left_out(bad, [])
    stop_if_many(bad, len(dataset))
    return SpeechDataset(good, dataset.sample_rate, cache_mb=200) if bad else dataset


def finish(run: Run, evaluation: dict[str, Sequence]) -> None:
    """Test sets with the best weights, pictures, where everything lies."""
    best = load_checkpoint(run.folder / "checkpoint.pt", run.trainer.device)
    too_bad = []
    for name in [name for name in evaluation if name != "dev"]:
        try:
            evaluation[name] = without_unreadable(evaluation[name])
        except CorpusError as error:  # said at the end: the other results are not lost for it
            del evaluation[name]
            too_bad.append(f"{name}: {error}")
    results = {name: evaluate(best.model, dataset, run.encoder) for name, dataset in evaluation.items()}
    for name, result in results.items():
        show_result(name, result)
    training_curves(run.history, run.caption).savefig(run.folder / "training_curves.png")
    drawn = predictions(best.model, evaluation["dev"], run.encoder, results["dev"], run.caption)
    drawn.savefig(run.folder / "predictions.png")
    summary = {
        name: {"wer": r["wer"], "cer": r["cer"], "word_errors": r["words"].errors, "words": r["words"].reference_length}
        for name, r in results.items()
    }
    (run.folder / "results.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(f"\nin {run.folder}: checkpoint.pt, last.pt, metrics.jsonl, results.json, training_curves.png, predictions.png")
    print(f"transcribe your own: python transcribe.py {run.folder / 'checkpoint.pt'} your.wav")
    if too_bad:
        raise CorpusError("not evaluated: " + "; ".join(too_bad))


def decode_with_language_model(run: Run, evaluation: dict[str, Sequence], args: argparse.Namespace) -> None:
    """Decodes dev and the test sets again by beam search with --lm; 'train' makes the model of the training transcripts."""
    lm = args.lm
    if lm == "train":
        samples = run.trainer.data.samples
        samples = samples.dataset if args.join > 1 else samples  # before the joins
        lm = run.folder / "lm.arpa"
        texts = samples.transcripts if args.data else [sample.transcript for sample in samples]
        NGramModel.train([run.encoder.decode(run.encoder.encode(text)) for text in texts], LM_ORDER).write_arpa(lm)
        print(f"\nlanguage model of the training transcripts, order {LM_ORDER}: {lm}")
    best = dataclasses.replace(load_checkpoint(run.folder / "checkpoint.pt"), encoder=run.encoder)  # as --unknown says
    tune_and_compare(best, evaluation, lm, run.folder, run.caption, unit=args.unit, lexicon=args.lexicon)


def main(argv: Sequence[str] | None = None) -> int:
    show_any_name()
    args = parse_args(argv)
    start = time.perf_counter()
    if args.threads:
        torch.set_num_threads(args.threads)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    try:
        folder = choose_folder(args)
        trainer, config, encoder, evaluation, left_out = prepare(args)
        folder = open_folder(folder, args, left_out)
        command = shlex.join(["python", "train_minimal.py", *(sys.argv[1:] if argv is None else argv)])
        run = Run(trainer, config, encoder, evaluation["dev"], folder, command, settings_of(args, trainer))
        if args.resume:
            run.resume()
        else:
            trainer.try_longest_batch()
        try:
            run.train()
        except KeyboardInterrupt:
            run.save("last.pt")
            if not (folder / "checkpoint.pt").exists():
                run.save("checkpoint.pt")
            print(f"\nstopped; the state is in {folder}. To go on: the same command with --resume {folder}")
            return 130
        finish(run, evaluation)
        if args.lm:
            decode_with_language_model(run, evaluation, args)
    except KeyboardInterrupt:
        print("\nstopped outside of training; what was saved stays", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{time.perf_counter() - start:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
