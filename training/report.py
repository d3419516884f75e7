"""What a run prints: its parts, what is left out, and its error rates with and without a language model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm import tqdm

from decoding.ngrams import NGramModel
from decoding.scorers import make_scorer
from decoding.tuning import ALPHAS, BETAS, compare, network_outputs, tune
from implementation import CharEncoder, evaluate, is_spaced, leading_errors, measure_of, utterance_seconds
from models.checkpoints import Checkpoint, ModelConfig, load_checkpoint, save_checkpoint
from models.confidence import calibrate_on
from models.jitter import jittered
from models.writing import whole_file, write_whole
from pictures.figures import predictions, training_curves, tuning_surface
from speech.corpora import CorpusError, Problem
from speech.datasets import SpeechDataset
from speech.preflight import readable, stop_if_many
from speech.utterances import counted, listed, spoken
from training.loop import error_rates
from training.parallel import count
from training.run import Parts, Run
from training.settings import LanguageModelSettings

LM_ORDER = 4
BEAM_OF_WORDS, BEAM_OF_CHARACTERS = 50, 200  # [ours], [paper, Section 6: Mandarin]
EVALUATION_CACHE_MB = 200  # of audio, for each set
BINS = {"spectrogram": "bins", "logmel": "log-mel bins"}
BATCH_NORMS = {  # where it is applied, by DeepSpeech2's names for the places
    "output": "batch norm on the layers' output",
    "input": "batch norm on W h (the paper's Eq. 8)",
    "step": "batch norm on each step alone (the paper's Eq. 7)",
    "none": "no batch norm",
}


def report_left_out(problems: Sequence[Problem], too_short: Sequence[Problem] = ()) -> None:
    """Names about ten utterances that will not be used, some for each reason; all of them go to left_out.txt."""
    for what, found in (("bad", problems), ("too short for their text", too_short)):
        if found:
            print(f"left out, {what}: {len(found)}" + (", all in left_out.txt" if len(found) > 10 else ""))
            print("\n".join(listed(found, 10)))


def describe(parts: Parts) -> None:
    """Prints what the run consists of: model, machine and data."""
    trainer, config = parts.trainer, parts.config
    model, data = trainer.model, trainer.data
    weights = sum(p.numel() for p in model.parameters())
    print(
        f"model: {_layers(config, len(model.specification))}, {weights / 1e6:.2f} M weights;\n"
        f"       {model.features.bins} {BINS[model.features.kind]} at {model.features.sample_rate} Hz, normalised over the "
        f"{model.features.normalisation}, an output every {1000 * model.seconds_per_output:g} ms"
    )
    products = "bf16" if trainer.precision == torch.bfloat16 else "fp32"
    together = f"{count()} processes, each with " if count() > 1 else ""
    threads = counted(torch.get_num_threads(), "thread")
    print(f"machine: {together}{trainer.device.type}, {threads}, matrix products in {products}")
    seconds, budget = utterance_seconds(data.samples), trainer.settings.batch_seconds
    steps = f"{'about ' if budget else ''}{counted(len(trainer.sampler), 'step')} per epoch"
    speech = f"{counted(len(data), 'utterance')}, {spoken(sum(seconds))}"
    print(f"training: {speech}, {steps}, {counted(trainer.epochs, 'epoch')}")
    if longer := sum(length > budget for length in seconds) if budget else 0:
        print(f"{longer} utterances of up to {max(seconds):.1f} s exceed --batch-seconds {budget:g}: each is a step of its own")


def _layers(config: ModelConfig, convolutions: int) -> str:
    """The layers in two lines."""
    directions = "bidirectional" if config.bidirectional else "forward-only"
    if config.model == "ds1":
        spliced = f"Deep Speech 1, {config.context} frames spliced on either side, every second frame kept"
        return f"{spliced},\n       five layers of {config.rnn_hidden} units, the fourth a {directions} simple recurrence"
    ahead = f", a row convolution that looks {config.row_conv} frames ahead" if config.row_conv else ""
    connected = f", a fully connected layer of {config.fc_hidden} units" if config.fc_hidden else ""
    recurrent = f"{counted(config.n_rnn, f'{directions} {config.rnn_type} layer')} of {config.rnn_hidden} units{ahead}{connected}"
    return f"{counted(convolutions, 'convolution')}, {recurrent},\n       {BATCH_NORMS[config.batch_norm]}"


def show_result(name: str, result: dict, encoder: CharEncoder) -> None:
    """Error rates with counts, and the aligned transcripts of the worst, the middle and the best utterance."""
    errors = leading_errors(result, encoder)
    words = f"WER {result['words']}, " if is_spaced(encoder) else ""
    print(f"\n{name}: {result['n_samples']} utterances, {words}CER {result['characters']}")
    if result["n_infeasible"]:
        print(f"  {result['n_infeasible']} utterances have too few frames for their text, so their loss is infinite")
    ranked = errors.from_worst_to_best()
    for utterance in dict.fromkeys((ranked[0], ranked[len(ranked) // 2], ranked[-1])):
        print(errors.aligned_lines(utterance))


def finish(run: Run, language_model: LanguageModelSettings | None = None, jitter: bool = False) -> None:
    """Evaluates the best weights, draws the pictures and writes results.json; decodes with a language model if one is given.

    With ``jitter`` all error rates are those of ``models.jitter``; the saved model is unchanged.

    Raises:
        CorpusError: if more than 1 % of a test set can't be read; the other sets are still evaluated.
    """
    with run:
        best = load_checkpoint(run.folder / "checkpoint.pt", run.trainer.device)
        best = replace(best, encoder=run.parts.encoder)  # knows whether to drop unknown characters
        sets, too_bad = readable_sets(run.parts.evaluation)
        heard = jittered(best) if jitter else best
        results = {name: evaluate(heard.model, dataset, best.encoder) for name, dataset in sets.items()}
        for name, result in results.items():
            show_result(name, result, best.encoder)
        keep_calibration(run, best, sets["dev"])
        with whole_file(run.folder / "training_curves.png") as picture:
            training_curves(run.history, run.caption).savefig(picture)
        drawn = predictions(best.model, sets["dev"], best.encoder, results["dev"], run.caption)
        with whole_file(run.folder / "predictions.png") as picture:
            drawn.savefig(picture)
        summary = {name: error_rates(result, best.encoder) for name, result in results.items()}
        write_whole(run.folder / "results.json", json.dumps(summary, indent=2) + "\n")
        print(f"\nin {run.folder}: checkpoint.pt, last.pt, metrics.jsonl, results.json, training_curves.png, predictions.png")
        print(f"transcribe your own: python transcribe.py {run.folder / 'checkpoint.pt'} your.wav")
        if language_model:
            decode_with_language_model(run, heard, sets, language_model)
        if too_bad:
            raise CorpusError("not evaluated: " + "; ".join(too_bad))


def keep_calibration(run: Run, best: Checkpoint, dev: Sequence) -> None:
    """Calibrates the model's confidence on the words of dev, and saves the calibration in checkpoint.pt."""
    heard = ((torch.from_numpy(output.log_probs), output.reference) for output in network_outputs(best.model, dev, best.encoder))
    best.training["calibration"] = asdict(calibrate_on(heard, best.encoder))
    save_checkpoint(run.folder / "checkpoint.pt", best.model, best.config, best.encoder, best.training)


def readable_sets(evaluation: dict[str, Sequence]) -> tuple[dict[str, Sequence], list[str]]:
    """The sets without their unreadable test utterances, which it prints, and a sentence for each set with too many of these."""
    sets, too_bad = {"dev": evaluation["dev"]}, []  # dev was read before the training
    for name, dataset in evaluation.items():
        if name != "dev":
            good, bad = readable(dataset.utterances)
            report_left_out(bad)
            try:
                stop_if_many(bad, len(dataset))
            except CorpusError as error:  # reported at the end, so that the other results are not lost
                too_bad.append(f"{name}: {error}")
                continue
            sets[name] = SpeechDataset(good, dataset.sample_rate, cache_mb=EVALUATION_CACHE_MB) if bad else dataset
    return sets, too_bad


def decode_with_language_model(run: Run, best: Checkpoint, sets: dict[str, Sequence], lm: LanguageModelSettings) -> None:
    """Decodes the sets again by beam search; 'train' first makes a language model from the training transcripts."""
    if lm.file == "train":
        lm = replace(lm, file=run.folder / "lm.arpa")
        texts = [best.encoder.decode(best.encoder.encode(text)) for text in run.parts.texts]
        unit = "word" if is_spaced(best.encoder) else "character"
        with whole_file(lm.file) as arpa:
            NGramModel.train(texts, LM_ORDER, unit).write_arpa(arpa)
        of_what = "" if unit == "word" else f" of {unit}s"
        print(f"\nlanguage model of the training transcripts, order {LM_ORDER}{of_what}: {lm.file}")
    tune_and_compare(best, sets, lm, run.folder, run.caption)


def tune_and_compare(
    checkpoint: Checkpoint, sets: dict[str, Sequence], lm: LanguageModelSettings, folder: Path, caption: str
) -> None:
    """Chooses alpha and beta on ``sets['dev']``, prints the error rates of all sets, and writes tuning.png and decoder.json."""
    encoder = checkpoint.encoder
    scorer = make_scorer(lm.file, encoder, lm.unit, lm.lexicon, lm.unknown_penalty)
    outputs = {name: network_outputs(checkpoint.model, data, encoder) for name, data in sets.items()}
    outputs["dev"] = list(outputs["dev"])  # searched many times; outputs of the other sets are freed once searched
    with tqdm(total=len(ALPHAS) * len(BETAS), desc="tuning on dev", leave=False, disable=None) as bar:
        tuning = tune(outputs["dev"], encoder, scorer, lm.tune_beam, on_pair=bar.update)
    alpha, beta = tuning.best
    print(f"tuned on dev, {len(ALPHAS)} x {len(BETAS)} pairs of weights, beam {lm.tune_beam}: alpha {alpha:g}, beta {beta:g}")
    beam = lm.beam or (BEAM_OF_WORDS if is_spaced(encoder) else BEAM_OF_CHARACTERS)
    results = {name: compare(name, rows, encoder, beam, scorer, (alpha, beta)) for name, rows in outputs.items()}
    with whole_file(folder / "tuning.png") as picture:
        tuning_surface(tuning, caption, measure_of(encoder)).savefig(picture)
    tuned = {"alpha": alpha, "beta": beta, "lm": str(lm.file), "unit": scorer.model.unit, "lexicon": lm.lexicon}
    tuned["unknown_penalty"] = scorer.unknown_penalty
    write_whole(folder / "decoder.json", json.dumps(tuned | {"results": results}, indent=2) + "\n")
    print(f"in {folder}: tuning.png, decoder.json")
