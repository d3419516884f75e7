"""Tunes the beam search's language-model weights on dev, then decodes the test sets with them.

    python language_model.py train PATH -o lm.arpa
    python tune_decoder.py runs/001/checkpoint.pt --data PATH --lm lm.arpa

Prints greedy decoding, beam search without and with the language model, side by side; saves the grid of dev error rates as a
picture, and alpha and beta in decoder.json beside the checkpoint, where transcribe.py finds them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from corpora import CorpusError, JoinedDataset, SpeechDataset, read_corpus
from figures import tuning_surface
from implementation import (
    PAPER_PRUNING,
    BeamScorer,
    CharEncoder,
    DeepSpeech2,
    ErrorCounts,
    count_word_errors,
    evaluation_batches,
    prefix_beam_search,
)
from language_model import make_scorer
from training import Checkpoint, CheckpointError, choose_device, load_checkpoint, usable

ALPHAS = (0.0, 0.3, 0.6, 1.0, 1.5, 2.0)
BETAS = (0.0, 1.0, 2.0, 3.0, 4.0)


@dataclass
class Output:
    """What the network said of one utterance: ``log_probs`` (T', V), and the reference text."""

    log_probs: np.ndarray
    reference: str


def network_outputs(model: DeepSpeech2, dataset: Sequence, encoder: CharEncoder) -> list[Output]:
    """The model's output for each utterance, in the dataset's order, computed once for all searches."""
    outputs: list[Output | None] = [None] * len(dataset)
    for indices, batch, log_probs, lengths in evaluation_batches(model, dataset, encoder):
        frames = log_probs.cpu().double().transpose(0, 1).numpy()  # (B, T', V)
        for i, text, rows, length in zip(indices, batch.texts, frames, lengths.tolist(), strict=True):
            outputs[i] = Output(rows[:length], encoder.decode(encoder.encode(text)))
    return outputs


@dataclass
class Tuning:
    """Word errors on dev for each pair of weights: ``errors`` (alphas, betas), of ``words`` reference words."""

    alphas: Sequence[float]
    betas: Sequence[float]
    errors: np.ndarray
    words: int

    @property
    def best(self) -> tuple[float, float]:
        """alpha and beta with the fewest errors; of several the middle one, which lies farthest from the others' edges."""
        pairs = np.argwhere(self.errors == self.errors.min())
        middle = pairs[np.abs(pairs - pairs.mean(0)).sum(1).argmin()]
        return float(self.alphas[middle[0]]), float(self.betas[middle[1]])


def count_search_errors(
    outputs: Sequence[Output], encoder: CharEncoder, beam_width: int, scorer: BeamScorer | None = None,
    alpha: float = 0.0, beta: float = 0.0,
) -> ErrorCounts:  # fmt: skip
    """Word errors of the beam search, pruned as in Section 7.3."""
    texts = []
    for output in outputs:
        found = prefix_beam_search(output.log_probs, beam_width, scorer, alpha, beta, **PAPER_PRUNING)
        texts.append(encoder.decode(found[0].labels) if found else "")
    return count_word_errors([output.reference for output in outputs], texts)


def tune(
    dev: Sequence[Output], encoder: CharEncoder, scorer: BeamScorer, beam_width: int,
    alphas: Sequence[float] = ALPHAS, betas: Sequence[float] = BETAS, on_pair: Callable[[], object] = lambda: None,
) -> Tuning:  # fmt: skip
    """Word errors on dev over the grid of alpha and beta (Section 3.8: tuned on a held-out development set)."""
    errors = np.zeros((len(alphas), len(betas)), dtype=int)
    for i, alpha in enumerate(alphas):
        for j, beta in enumerate(betas):
            counts = count_search_errors(dev, encoder, beam_width, scorer, alpha, beta)
            errors[i, j] = counts.errors
            on_pair()
    return Tuning(alphas, betas, errors, counts.reference_length)


def compare(name: str, outputs: Sequence[Output], encoder: CharEncoder, beam: int, scorer: BeamScorer, weights: tuple) -> dict:
    """Prints and returns the error rates of one set: greedy, beam, beam with the language model."""
    references = [output.reference for output in outputs]
    greedy = [encoder.ctc_decode(output.log_probs.argmax(1)) for output in outputs]
    rates = {
        "greedy": count_word_errors(references, greedy),
        f"beam {beam}": count_search_errors(outputs, encoder, beam),
        f"beam {beam} + language model": count_search_errors(outputs, encoder, beam, scorer, *weights),
    }
    for kind, counts in rates.items():
        print(f"{name:<12} {kind:<28} WER {counts}")
    return {kind: {"wer": c.rate, "word_errors": c.errors, "words": c.reference_length} for kind, c in rates.items()}


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
    add("--lm", required=True, metavar="FILE", help="language model, ARPA, from language_model.py or KenLM")
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
