"""The flags of train_minimal.py: read, checked, and turned into the settings of a run. Nothing below sees a flag."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from implementation import Features
from models.checkpoints import MODELS, OF_DS2, ModelConfig
from pictures.terminal import DefaultsHelp, Parser
from training.machine import QUICK
from training.presets import PRESETS, in_full
from training.settings import (
    DS1_DROPOUT,
    DS1_HIDDEN,
    DS1_LR,
    LOG_MEL_WINDOW_MS,
    RECORDING_EPOCHS,
    RECORDING_STRIDES,
    SYNTHETIC_STRIDES,
    LanguageModelSettings,
    OutputSettings,
    SpeechSettings,
    TrainingSettings,
    default_lr,
)

BATCH_NORM = {"output": "output", "paper": "input", "none": "none", "step": "step"}  # our flag -> the name in ModelConfig
MOST = dict.fromkeys(("n_fft", "n_mels", "rnn_hidden", "fc_hidden", "row_conv", "context", "sample_rate"), 10**6)
MOST |= {"num_workers": 1000, "threads": 1000, "seed": 2**32 - 1}  # the limit for all other numbers is a billion
ALPHABETS = ("english", "mandarin", "corpus")  # the named ones
AT_LEAST_ONE = ("epochs", "batch_size", "join", "n_train", "n_val", "n_rnn", "rnn_hidden", "n_mels", "threads", "warmup")


def parse_args(
    argv: Sequence[str] | None = None, description: str = "Trains Deep Speech 2."
) -> tuple[SpeechSettings, ModelConfig, TrainingSettings, OutputSettings]:
    """The settings of a run from the command line; wrong flags end the program with a one-line message."""
    parser = Parser(usage="%(prog)s [flags]", description=description, formatter_class=DefaultsHelp)
    for add_group in (_add_speech, _add_model, _add_features, _add_training, _add_language_model, _add_output):
        add_group(parser)
    args = parser.parse_args(argv)
    if args.batch_size is not None and args.batch_seconds is not None:  # both given; a preset's number may be replaced
        parser.error("--batch-size and --batch-seconds both say how much a step takes: choose one")
    if args.preset:
        parser.set_defaults(**PRESETS[args.preset])
        args = parser.parse_args(argv)
    _fill_in(args)
    _refuse_wrong_values(parser, args)
    _refuse_what_no_machine_holds(parser, args)
    _refuse_wrong_combinations(parser, args)
    args.time_strides = _time_strides(parser, args)
    if QUICK:
        args.epochs, args.n_train, args.n_val = 1, 16, 4
        args.rnn_hidden = args.rnn_hidden if args.checkpoint else 16
        units = "" if args.checkpoint else " with 16 hidden units"
        print(f"DS2_QUICK is set: one epoch of 16 utterances{units}, just to try the command", file=sys.stderr)
    if args.preset:
        print(in_full(args.preset, args))
    return _speech(args), _model(args), _training(args), _output(args)


def _fill_in(args: argparse.Namespace) -> None:
    """Fills in defaults that depend on other flags."""
    if args.resume is True:
        args.resume = args.output_dir or True
    new_ds1 = args.model == "ds1" and not args.checkpoint
    defaults = {
        "batch_size": TrainingSettings.batch_size,
        "epochs": RECORDING_EPOCHS if args.data else TrainingSettings.epochs,
        "lr": None if args.checkpoint else default_lr(args.model, bool(args.data)),
        "normalize": "corpus" if args.forward_only else "utterance",
        "rnn_hidden": DS1_HIDDEN if new_ds1 else ModelConfig.rnn_hidden,
        "dropout": DS1_DROPOUT if new_ds1 else ModelConfig.dropout,
    }
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def _add_speech(parser: argparse.ArgumentParser) -> None:
    add, default = parser.add_argument_group("speech").add_argument, SpeechSettings
    add("--data", metavar="PATH", help="real speech: a manifest, or a folder in a layout that docs/real_speech.md lists")
    several = "splits of --data to train on, such as train-clean-100,train-clean-360; default: all whose names begin with train"
    add("--train", metavar="NAMES", help=several)
    chosen = "split of --data to choose the best weights on, such as dev-clean; needed if there are several dev splits"
    add("--dev", metavar="NAME", help=chosen)
    add("--test", metavar="NAMES", help="splits of --data to test on; default: all whose names begin with test")
    add("--join", type=int, default=default.join, metavar="N", help="join 1 to N utterances of one speaker into an example")
    add("--n-train", type=int, help="number of training utterances; default: 400 synthetic ones, or all of --data")
    add("--n-val", type=int, help="number of validation utterances; default: 100 synthetic ones, or all of --data up to 500")
    add("--max-seconds", type=float, metavar="S", help="leave out training recordings longer than this; default: no limit")
    letters = "english, mandarin (adds 6,763 Chinese characters), corpus (the characters of its transcripts), or a text file"
    add("--alphabet", metavar="NAME|FILE", help=f"{letters} that lists the characters; default: english")
    column = "column of a manifest (or THCHS-30) that holds the transcripts, such as pinyin; needed if there are several"
    add("--transcript-column", metavar="NAME", help=column)
    outside = "characters outside the alphabet: report them or drop them"
    add("--unknown", choices=("error", "drop"), default=default.unknown, help=outside)
    masks = "parts of --data that augmentation hides: words: few; sentences: spans up to 0.2 s and wider bands; none: nothing"
    add("--masks", choices=("words", "sentences", "none"), default=default.masks, help=masks)
    add("--no-augment", action="store_true", help="train on the clips as they are (the paper adds noise, arXiv 5.2)")


def _add_model(parser: argparse.ArgumentParser) -> None:
    add, default = parser.add_argument_group("model").add_argument, ModelConfig
    which = "lesson: the defaults; paper: arXiv 6.1; deployed: arXiv 7.4; librispeech-lstm: a small recipe by others; "
    which += "commands: single words, written while you speak"
    add("--preset", choices=tuple(PRESETS), help=f"a named set of flags; flags that you also give replace its own. {which}")
    ds1 = "ds2: Deep Speech 2; ds1: Deep Speech 1, with five layers, one of them recurrent"
    add("--model", choices=MODELS, default=default.model, help=ds1)
    splices = "with --model ds1: frames of context on either side of each frame [Deep Speech 1: 5, 7 or 9]"
    add("--context", type=int, default=default.context, metavar="C", help=splices)
    add("--conv", choices=("2d", "1d"), default="2d", help="convolve over frequency and time, or over time alone (arXiv Table 4)")
    convolutions = "number of convolutions, with the kernels and strides of arXiv Table 4"
    add("--n-conv", type=int, default=default.n_conv, metavar="1-3", help=convolutions)
    add("--n-rnn", type=int, default=default.n_rnn, metavar="1-7", help="number of recurrent layers [paper: 1 to 7]")
    units = f"[paper: 768 to 2560]; default: {default.rnn_hidden}; with --model ds1: {DS1_HIDDEN}, in all five layers"
    add("--rnn-hidden", type=int, metavar="N", help=f"hidden units per direction {units}")
    kinds, norms = ("gru", "rnn", "lstm"), tuple(BATCH_NORM)
    add(
        "--forward-only",
        action="store_true",
        help="no backward direction, so the model can write while someone speaks (arXiv 3.7)",
    )
    add("--row-conv", type=int, default=default.row_conv, metavar="TAU", help="number of output frames that a row convolution "
        "above forward-only layers looks ahead [paper, arXiv 7.4: 19]; 0: none")  # fmt: skip
    add("--fc-hidden", type=int, default=default.fc_hidden, metavar="N", help="units of a fully connected layer before the "
        "output (arXiv Eq. 4) [paper, arXiv 7.4: 2560]; 0: none")  # fmt: skip
    add("--rnn-type", choices=kinds, default=default.rnn_type, help="kind of recurrence; rnn: the simple one of arXiv Eq. 3")
    what = "what is normalised; output: the layers' output; paper: only W h (arXiv Eq. 8); step: each step alone (Eq. 7, for rnn)"
    add("--batch-norm", choices=norms, default=default.batch_norm, help=what)
    strides = "strides of the convolutions in time [ours; Table 4: 2,1]; default: 2,2; with --data: 3,1"
    add("--time-strides", metavar="2,1", help=strides)
    dropped = f"before each recurrent layer [ours]; default: {default.dropout:g}; with --model ds1: "
    dropped += f"{DS1_DROPOUT:g}, after each layer that is not recurrent"
    add("--dropout", type=float, metavar="SHARE", help=f"share of features dropped {dropped}")
    add("--bigrams", action="store_true", help="also output pairs of letters (arXiv 3.6); allows larger strides such as 3,2")


def _add_features(parser: argparse.ArgumentParser) -> None:
    add, heard = parser.add_argument_group("features").add_argument, ModelConfig.features
    add("--features", choices=("spectrogram", "logmel"), default=heard.kind, help="logmel: the features of later recipes")
    add("--n-fft", type=int, default=heard.n_fft, help="Fourier points of a spectrogram, which has n_fft/2+1 bins [ours]")
    add("--n-mels", type=int, default=heard.n_mels, help="with --features logmel: number of mel filters")
    windows = "20 [ICML version]; with --features logmel: 25. The hop for both is"
    add("--window-ms", type=float, metavar="MS", help=f"length of a window; default: {windows} --stride-ms")
    add("--stride-ms", type=float, default=heard.stride_ms, metavar="MS", help="hop from one frame to the next [Deep Speech 1]")
    over = "scale features to mean 0 and deviation 1 over each utterance, or each bin over the training corpus (arXiv 7)"
    add("--normalize", choices=("utterance", "corpus"), help=f"{over}; default: utterance; with --forward-only: corpus")
    rates = "in Hz; default: 16000; with --data: that of the recordings, up to 8000 (up to 16000 with --n-fft 256 or more)"
    add("--sample-rate", type=int, help=rates)


def _add_training(parser: argparse.ArgumentParser) -> None:
    add, default = parser.add_argument_group("training").add_argument, TrainingSettings
    passes = f"passes over the speech [paper, Section 6: 20]; default: {default.epochs}; with --data: {RECORDING_EPOCHS}"
    add("--epochs", type=int, help=passes)
    utterances = f"utterances per step, over all processes together [paper, Section 6: 512] (default: {default.batch_size})"
    add("--batch-size", type=int, help=utterances)
    add("--batch-seconds", type=float, metavar="S", help="instead of --batch-size: as many utterances per step as fit into S "
        "seconds (such as 60), padding included; a longer utterance gets a step of its own")  # fmt: skip
    rates = f"default: {default_lr('ds2', False):g}; with --data: {default_lr('ds2', True):g}; with --model ds1: {DS1_LR:g}"
    add("--lr", type=float, help=f"highest learning rate [ours; paper with SGD: 1e-4 to 6e-4]; {rates}")
    optimizers, schedules = ("adamw", "adam", "sgd"), ("onecycle", "anneal", "noam", "constant")
    add("--optimizer", choices=optimizers, default=default.optimizer, help="sgd: the paper's, with Nesterov momentum 0.99")
    anneal = "how the learning rate changes; anneal: the paper's, divided by 1.2 after each epoch"
    add("--schedule", choices=schedules, default=default.schedule, help=anneal)
    warmup = "with --schedule noam: number of steps in which the rate rises, at most a third of all steps"
    add("--warmup", type=int, default=default.warmup, metavar="STEPS", help=warmup)
    add("--no-sortagrad", action="store_true", help="shuffle in the first epoch too (arXiv 3.3 sorts it by length)")
    products = "number format of matrix products; auto: bf16 if the hardware has it"
    add("--precision", choices=("auto", "fp32", "bf16"), default=default.precision, help=products)
    add("--device", default=default.device, help="cpu, cuda or mps")
    add("--num-workers", type=int, default=default.num_workers, help="processes that prepare features")
    add("--threads", type=int, help="CPU threads; default: torch's choice")
    add("--seed", type=int, default=default.seed, help="seed for weights, order, synthetic speech and augmentation")


def _add_language_model(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("language model").add_argument
    add("--lm", metavar="FILE", help="also decode with this language model, its weights tuned on dev: an ARPA file, a KenLM "
        "binary, or 'train' to train one on the training transcripts")  # fmt: skip
    add("--unit", choices=("word", "character"), help="unit of the language model in FILE; default: what the file says")
    add("--lexicon", action="store_true", help="write only words that the language model knows")
    penalty = "penalty in nats for each letter of a word that the language model does not know; default: log(number of letters), "
    penalty += "3.3 in English"
    add("--unknown-penalty", type=float, metavar="X", help=penalty)


def _add_output(parser: argparse.ArgumentParser) -> None:
    add, default = parser.add_argument_group("output").add_argument, OutputSettings
    add("--output-dir", metavar="DIR", help="folder of the run; default: the next free runs/NNN")
    add("--overwrite", action="store_true", help="replace the run in --output-dir")
    newest = "give the same flags as before; without DIR: the newest unfinished run under runs/"
    add("--resume", nargs="?", const=True, metavar="DIR", help=f"continue an interrupted run; {newest}")
    within = "save last.pt, from which --resume continues, every M minutes within an epoch; 0: after each step"
    add("--save-minutes", type=float, default=default.save_minutes, metavar="M", help=within)
    averaged = (
        "in the final evaluation, average the outputs for the audio as it is and shifted by half a hop either way [Deep Speech 1]"
    )
    add("--jitter", action="store_true", help=averaged)
    add("--checkpoint", metavar="FILE", help="start from the weights of this checkpoint, and keep its model settings")


def _refuse_wrong_values(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for name in AT_LEAST_ONE:
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    if not 1 <= args.n_conv <= 3:
        parser.error(f"--n-conv must be 1, 2 or 3 (arXiv Table 4), not {args.n_conv}")
    for name in ("row_conv", "fc_hidden"):
        if getattr(args, name) < 0:
            parser.error(f"--{name.replace('_', '-')} must be at least 0, not {getattr(args, name)}")
    if args.n_rnn > 7:
        parser.error(f"--n-rnn must be 1 to 7 (arXiv 3), not {args.n_rnn}")
    if args.batch_seconds is not None and not 0 < args.batch_seconds < math.inf:
        parser.error(f"--batch-seconds must be a number of seconds above 0, not {args.batch_seconds}")
    if args.lr is not None and not args.lr > 0:
        parser.error(f"--lr must be above 0, not {args.lr}")
    if args.context < 0:
        parser.error(f"--context must be at least 0, not {args.context}")
    if not 0 <= args.dropout < 1:
        parser.error(f"--dropout must be at least 0 and below 1, not {args.dropout}")
    if args.unknown_penalty is not None and not 0 <= args.unknown_penalty < math.inf:
        parser.error(f"--unknown-penalty must be 0 or more, not {args.unknown_penalty}")
    for name in ("window_ms", "stride_ms"):
        if getattr(args, name) is not None and not 1 <= getattr(args, name) <= 1000:
            parser.error(f"--{name.replace('_', '-')} must lie between 1 and 1000 ms, not {getattr(args, name)}")
    if args.n_fft < 16 or args.n_fft % 2:
        parser.error(f"--n-fft must be even and at least 16, not {args.n_fft}")
    if args.sample_rate is not None and args.sample_rate < 8000:
        parser.error(f"--sample-rate must be at least 8000 Hz, not {args.sample_rate}")
    for name in ("data", "output_dir", "resume"):
        if getattr(args, name) == "":
            parser.error(f"--{name.replace('_', '-')} is empty: give a path, or leave it out")
    if args.num_workers < 0:
        parser.error(f"--num-workers must be at least 0, not {args.num_workers}")
    if not 0 <= args.save_minutes < math.inf:
        parser.error(f"--save-minutes must be 0 or more, not {args.save_minutes}")
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed must be 0 to 2^32 - 1, not {args.seed}")


def _refuse_what_no_machine_holds(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for name, value in vars(args).items():
        most = MOST.get(name, 10**9)
        if isinstance(value, int | float) and not abs(value) <= most:
            parser.error(f"--{name.replace('_', '-')} must be a number up to {most:,}, not {value}")


def _refuse_wrong_combinations(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for name in ("train", "dev", "test"):
        if getattr(args, name) is not None and not args.data:
            parser.error(f"--{name} names a split of --data: add --data PATH")
        if getattr(args, name) is not None and not all(map(str.strip, getattr(args, name).split(","))):
            parser.error(f"--{name} needs a name before and after each comma, such as a,b, not {getattr(args, name)!r}")
    if args.join > 1 and not args.data:
        parser.error("--join joins recordings of --data; synthetic utterances already hold several words")
    if args.masks != SpeechSettings.masks and (args.no_augment or not args.data):
        what_to_do = "leave out --no-augment" if args.data else "add --data PATH"
        parser.error(f"--masks {args.masks} changes how --data is augmented: {what_to_do}")
    if args.max_seconds is not None and not (args.data and args.max_seconds > 0):
        parser.error("--max-seconds leaves out long recordings of --data; it must be above 0")
    _refuse_flags_of_the_other_model(parser, args)
    if args.batch_norm == "step" and args.rnn_type != "rnn":
        parser.error("--batch-norm step works with the simple recurrence only (arXiv Eq. 7): add --rnn-type rnn")
    if args.row_conv and not (args.forward_only or args.checkpoint):
        parser.error(
            "--row-conv is for forward-only layers; bidirectional ones hear the whole utterance anyway: add --forward-only"
        )
    if args.features == "logmel" and args.n_fft != ModelConfig().n_fft:
        parser.error("--n-fft is for spectrograms; log-mel features use the smallest power of two that holds the window: "
                     "leave out --n-fft; see --n-mels")  # fmt: skip
    if args.unknown_penalty is not None and not args.lm:
        parser.error("--unknown-penalty needs a language model: add --lm train, or --lm FILE")
    if args.lexicon and not args.lm:
        parser.error("--lexicon needs a language model: add --lm train, or --lm FILE")
    if args.unit and args.lm in (None, "train"):
        parser.error("--unit says how to read the model of --lm FILE; --lm train itself chooses words or Chinese characters")
    if args.lm and args.lm != "train" and not Path(args.lm).exists():
        parser.error(f"--lm {args.lm}: no such file; give an ARPA file, a KenLM binary, or 'train'")
    if args.resume not in (None, True) and args.output_dir and Path(args.resume) != Path(args.output_dir):
        parser.error("--resume continues in its own folder: leave out --output-dir")
    if args.resume and args.overwrite:
        parser.error("--resume continues the run, --overwrite replaces it: choose one")
    if args.preset and args.checkpoint:
        parser.error("--checkpoint brings its own model: leave out --preset")
    if args.bigrams and args.checkpoint:
        parser.error("--checkpoint brings its own outputs: leave out --bigrams")
    _refuse_wrong_alphabets(parser, args)


def _refuse_wrong_alphabets(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for name in ("alphabet", "transcript_column"):
        if getattr(args, name) is not None and not args.data:
            parser.error(f"--{name.replace('_', '-')} is for the transcripts of --data; the synthetic voice speaks English")
    if args.alphabet is not None and args.checkpoint:
        parser.error("--checkpoint brings its own alphabet: leave out --alphabet")
    if args.alphabet is not None and args.alphabet not in ALPHABETS and not Path(args.alphabet).is_file():
        parser.error(f"--alphabet {args.alphabet}: no such file; give {', '.join(ALPHABETS)}, or a text file with the characters")


def _refuse_flags_of_the_other_model(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    of_ds2 = {"conv": "2d"} | {name: getattr(ModelConfig, name) for name in OF_DS2 if name != "convolutions"}
    given = [f"--{name.replace('_', '-')}" for name, default in of_ds2.items() if getattr(args, name) != default]
    if args.model == "ds1" and given:
        parser.error(f"--model ds1 has layers of its own (see --context and --rnn-hidden): leave out {', '.join(given)}")
    if args.model != "ds1" and args.context != ModelConfig.context:
        parser.error("--context is for Deep Speech 1: add --model ds1; Deep Speech 2 has convolutions instead")


def _time_strides(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[int] | None:
    """The convolutions' strides in time, from the flag or by default; None: those of the checkpoint to start from."""
    if args.model == "ds1":
        return None
    if not args.time_strides:
        defaults = RECORDING_STRIDES if args.data else SYNTHETIC_STRIDES
        return None if args.checkpoint else list(defaults[: args.n_conv])
    try:
        strides = [int(stride) for stride in args.time_strides.split(",")]
    except ValueError:
        parser.error(f"--time-strides needs whole numbers separated by commas, such as 2,1, not {args.time_strides!r}")
    if not 1 <= min(strides) <= max(strides) <= 1000 or (len(strides) != args.n_conv and not args.checkpoint):
        parser.error(f"--time-strides needs {args.n_conv} strides of 1 to 1000, one per convolution, not {strides}")
    return strides


def _speech(args: argparse.Namespace) -> SpeechSettings:
    splits = {name: tuple(map(str.strip, (getattr(args, name) or "").split(","))) for name in ("train", "test")}
    splits = {name: names if any(names) else () for name, names in splits.items()}
    same = ("data", "dev", "join", "n_train", "n_val", "max_seconds", "unknown", "bigrams", "sample_rate", "masks")
    given = {name: getattr(args, name) for name in (*same, "transcript_column")}
    return SpeechSettings(augment=not args.no_augment, alphabet=args.alphabet or SpeechSettings.alphabet, **splits, **given)


def _model(args: argparse.Namespace) -> ModelConfig:
    same = (
        "model", "context", "n_conv", "n_rnn", "rnn_hidden", "rnn_type", "row_conv", "fc_hidden", "time_strides", "dropout",
    )  # fmt: skip
    return ModelConfig(
        features=_features(args),
        convolutions=f"{args.n_conv}-layer 1D" if args.conv == "1d" else None, bidirectional=not args.forward_only,
        batch_norm=BATCH_NORM[args.batch_norm], **{name: getattr(args, name) for name in same},
    )  # fmt: skip


def _features(args: argparse.Namespace) -> Features:
    window = args.window_ms or (LOG_MEL_WINDOW_MS if args.features == "logmel" else Features.window_ms)
    heard = {"kind": args.features, "window_ms": window, "stride_ms": args.stride_ms, "n_fft": args.n_fft, "n_mels": args.n_mels}
    return Features(normalisation=args.normalize, **heard)


def _training(args: argparse.Namespace) -> TrainingSettings:
    same = (
        "epochs", "batch_size", "lr", "optimizer", "schedule", "warmup",
        "precision", "device", "num_workers", "threads", "seed", "checkpoint", "batch_seconds",
    )  # fmt: skip
    return TrainingSettings(sortagrad=not args.no_sortagrad, **{name: getattr(args, name) for name in same})


def _output(args: argparse.Namespace) -> OutputSettings:
    settings = {name: getattr(args, name) for name in ("unit", "lexicon", "unknown_penalty")}
    language_model = LanguageModelSettings(args.lm, **settings) if args.lm else None
    return OutputSettings(args.output_dir, args.overwrite, args.resume, language_model, args.jitter, args.save_minutes)
