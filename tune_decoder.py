"""Tunes the beam search's language-model weights on dev, then decodes the test sets with them.

    python train_language_model.py PATH -o lm.arpa
    python tune_decoder.py runs/001/checkpoint.pt --data PATH --lm lm.arpa

Prints greedy decoding, beam search without and with the language model, side by side; saves the grid of dev error rates as a
picture, and alpha and beta in decoder.json beside the checkpoint, where transcribe.py finds them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from decoding.scorers import make_scorer
from decoding.tuning import ALPHAS, BETAS, compare, network_outputs, tune
from models.checkpoints import Checkpoint, CheckpointError, load_checkpoint
from pictures.figures import tuning_surface
from speech.corpora import CorpusError, read_corpus
from speech.datasets import JoinedDataset, SpeechDataset
from speech.preflight import usable
from training.machine import choose_device


def tune_and_compare(
    checkpoint: Checkpoint, sets: dict[str, Sequence], lm: Path | str, folder: Path, caption: str, beam: int = 50,
    tune_beam: int = 16, unit: str | None = None, lexicon: bool = False,
) -> None:  # fmt: skip
    """Chooses alpha and beta on ``sets['dev']``, prints the error rates of all sets, leaves tuning.png and decoder.json."""
    encoder = checkpoint.encoder
    scorer = make_scorer(lm, encoder, unit, lexicon)
    outputs = {name: network_outputs(checkpoint.model, data, encoder) for name, data in sets.items()}
    with tqdm(total=len(ALPHAS) * len(BETAS), desc="tuning on dev", leave=False, disable=None) as bar:
        tuning = tune(outputs["dev"], encoder, scorer, tune_beam, on_pair=bar.update)
    alpha, beta = tuning.best
    print(f"tuned on dev, {len(ALPHAS)} x {len(BETAS)} pairs, beam {tune_beam}: alpha {alpha:g}, beta {beta:g}")
    results = {name: compare(name, rows, encoder, beam, scorer, (alpha, beta)) for name, rows in outputs.items()}
    tuning_surface(tuning, caption).savefig(folder / "tuning.png")
    settings = {"alpha": alpha, "beta": beta, "lm": str(lm), "unit": scorer.model.unit, "lexicon": lexicon, "results": results}
    (folder / "decoder.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    print(f"in {folder}: tuning.png, decoder.json")


def evaluation_sets(args: argparse.Namespace, checkpoint: Checkpoint) -> dict[str, Sequence]:
    """dev and the test sets of the corpus, joined if asked; what can't be used is named."""
    corpus = read_corpus(args.data)
    sets = {}
    for name in ("dev", *sorted(split for split in corpus.splits if split.startswith("test"))):
        good, problems = usable(corpus.split(name), checkpoint.encoder)
        for problem in problems:
            print(f"left out: {problem}")
        if good:
            data = SpeechDataset(good, checkpoint.config.sample_rate, cache_mb=300)
            sets[name] = JoinedDataset(data, args.join) if args.join > 1 else data
    if "dev" not in sets:
        raise CorpusError(f"{args.data}: no utterance is in the split 'dev'; there are {corpus.splits}")
    return sets


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("checkpoint", help="checkpoint.pt of a training run")
    add("--data", required=True, metavar="PATH", help="the corpus; alpha and beta are chosen on its dev split alone")
    add("--lm", required=True, metavar="FILE", help="language model, ARPA, from train_language_model.py or KenLM")
    add("--unit", choices=("word", "character"), help="of the language model; default: as the file tells")
    add("--lexicon", action="store_true", help="only words of the language model")
    add("--join", type=int, default=1, metavar="N", help="each item joins 1..N utterances of one speaker")
    add("--beam", type=int, default=50, help="width of the search [paper, Section 6: 500]")
    add("--tune-beam", type=int, default=16, help="width while tuning")
    add("--device", default="cpu", help="cpu, cuda or mps")
    add("--overwrite", action="store_true", help="replace the decoder.json and tuning.png that stand beside the checkpoint")
    args = parser.parse_args(argv)
    folder = Path(args.checkpoint).parent
    if (folder / "decoder.json").exists() and not args.overwrite:
        parser.error(f"{folder / 'decoder.json'} is there from an earlier tuning; --overwrite replaces it")
    if min(args.beam, args.tune_beam, args.join) < 1:
        parser.error("--beam, --tune-beam and --join must be at least 1")
    try:
        checkpoint = load_checkpoint(args.checkpoint, choose_device(args.device))
        sets = evaluation_sets(args, checkpoint)
        caption = "measured here: " + shlex.join(["python", "tune_decoder.py", *(sys.argv[1:] if argv is None else argv)])
        tune_and_compare(checkpoint, sets, args.lm, folder, caption, args.beam, args.tune_beam, args.unit, args.lexicon)
    except (CheckpointError, CorpusError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
