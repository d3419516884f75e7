"""Tunes the beam search's language-model weights on dev, then decodes the test sets with them.

    python train_language_model.py PATH -o lm.arpa
    python tune_decoder.py runs/001/checkpoint.pt --data PATH --lm lm.arpa

Prints the error rates of greedy decoding and of beam search without and with the language model, side by side. Saves the grid of
dev error rates as a picture, and alpha and beta in decoder.json beside the checkpoint, where transcribe.py finds them.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pictures.terminal import DefaultsHelp, Parser, script  # first, since it names packages that are not installed

# isort: split
from models.checkpoints import Checkpoint, load_checkpoint
from models.jitter import jittered
from speech.alphabets import encoder_of
from speech.corpora import CorpusError, read_corpus
from speech.datasets import JoinedDataset, SpeechDataset
from speech.preflight import drawn, usable
from speech.transcripts import named, unknown_characters
from speech.utterances import listed
from training.assembly import MOST_OF_DEV
from training.folder import refuse_unwritable
from training.machine import choose_device
from training.report import BEAM_OF_CHARACTERS, BEAM_OF_WORDS, tune_and_compare
from training.settings import LanguageModelSettings


def evaluation_sets(
    path: str, checkpoint: Checkpoint, join: int, dev: str | None = None, transcript_column: str | None = None
) -> dict[str, Sequence]:
    """dev and the test sets of the corpus, joined if asked; prints which utterances can't be used.

    Raises:
        CorpusError: if more than 1 % of a set can't be written in the model's alphabet, or nothing of dev can be used.
    """
    corpus = read_corpus(path, transcript_column).in_roles(dev=dev)
    sets = {}
    for name in ("dev", *sorted(split for split in corpus.splits if split.startswith("test"))):
        there = drawn(corpus.split(name), MOST_OF_DEV, name) if name == "dev" else corpus.split(name)
        good, problems = usable(there, checkpoint.encoder)
        lacking = unknown_characters((utterance.transcript for utterance in there), checkpoint.encoder)
        if checkpoint.encoder.unknown == "error" and lacking and len(problems) > 0.01 * len(there):
            what = f"{len(problems)} of {len(there)} utterances of {name} can't be written in the model's alphabet, which lacks"
            raise CorpusError(f"{path}: {what} {named(lacking)}; --unknown drop counts such characters as errors")
        if problems:
            print("\n".join([f"left out of {name}: {len(problems)}", *listed(problems, 10)]))
        if good:
            data = SpeechDataset(good, checkpoint.model.features.sample_rate, cache_mb=300)
            sets[name] = JoinedDataset(data, join) if join > 1 else data
    if "dev" not in sets:
        raise CorpusError(f"{path}: no utterance of the split 'dev' can be used; the splits are {corpus.splits}")
    return sets


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads and checks the flags of the command line."""
    parser = Parser(description=__doc__.split("\n\n")[0], formatter_class=DefaultsHelp)
    add, default = parser.add_argument, LanguageModelSettings
    add("checkpoint", help="checkpoint.pt of a training run")
    add(
        "--data",
        required=True,
        metavar="PATH",
        help=f"the corpus; alpha and beta are chosen on its dev split alone, on at most {MOST_OF_DEV} of its utterances",
    )
    add("--dev", metavar="NAME", help="name of the dev split, such as dev-clean; needed if there are several")
    add("--transcript-column", metavar="NAME", help="as in train_minimal.py")
    add("--unknown", choices=("error", "drop"), default="error", help="as in train_minimal.py")
    add("--lm", required=True, metavar="FILE", help="language model: an ARPA file, plain or compressed, or a KenLM binary")
    add("--unit", choices=("word", "character"), help="unit of the language model; default: what the file says")
    add("--lexicon", action="store_true", help="write only words that the language model knows")
    add("--unknown-penalty", type=float, metavar="X", help="penalty in nats for each letter of a word that the language "
        "model does not know; default: log(number of letters), 3.3 in English")  # fmt: skip
    add("--join", type=int, default=1, metavar="N", help="join 1 to N utterances of one speaker into one item")
    add("--beam", type=int, default=default.beam, help="width of the beam search [paper, Section 6: 500]; default: "
        f"{BEAM_OF_WORDS}; {BEAM_OF_CHARACTERS} in languages without spaces between words")  # fmt: skip
    add("--tune-beam", type=int, default=default.tune_beam, help="width of the beam search while tuning")
    add("--jitter", action="store_true", help="as in transcribe.py")
    add("--device", default="cpu", help="cpu, cuda or mps")
    add("--overwrite", action="store_true", help="replace decoder.json and tuning.png beside the checkpoint")
    args = parser.parse_args(argv)
    tuned = Path(args.checkpoint).parent / "decoder.json"
    if tuned.exists() and not args.overwrite:
        parser.error(f"{tuned} exists already, from an earlier tuning: add --overwrite to replace it")
    if min(args.beam or 1, args.tune_beam, args.join) < 1 or args.beam == 0:
        parser.error("--beam, --tune-beam and --join must be at least 1")
    if args.unknown_penalty is not None and not 0 <= args.unknown_penalty < math.inf:
        parser.error(f"--unknown-penalty must be 0 or more, not {args.unknown_penalty}")
    return args


@script
def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    checkpoint = load_checkpoint(args.checkpoint, choose_device(args.device))
    checkpoint = replace(checkpoint, encoder=encoder_of(checkpoint.encoder.alphabet, args.unknown))
    folder = Path(args.checkpoint).parent
    refuse_unwritable(folder, "the results are written beside the checkpoint: copy it to a folder that can be written to")
    sets = evaluation_sets(args.data, checkpoint, args.join, args.dev, args.transcript_column)
    caption = "measured here: " + shlex.join(["python", "tune_decoder.py", *(sys.argv[1:] if argv is None else argv)])
    lm = LanguageModelSettings(args.lm, args.unit, args.lexicon, args.beam, args.tune_beam, args.unknown_penalty)
    tune_and_compare(jittered(checkpoint) if args.jitter else checkpoint, sets, lm, folder, caption)
    return 0


if __name__ == "__main__":
    sys.exit(main())
