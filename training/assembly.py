"""Puts a run together from its settings: speech, model and trainer."""

from __future__ import annotations

import dataclasses
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from decoding.scorers import make_scorer
from implementation import (
    SYNTHETIC_WORDS,
    VALIDATION_SPEAKERS,
    CharEncoder,
    DeepSpeech2,
    generate_synthetic_dataset,
    is_spaced,
)
from models.checkpoints import CheckpointError, ModelConfig, load_checkpoint
from speech.alphabets import BigramEncoder, choose_encoder, encoder_of
from speech.augmentation import RECORDINGS_AUGMENTATION, SYNTHETIC_AUGMENTATION
from speech.corpora import Corpus, CorpusError, Problem, Utterance, corpus_sample_rate, read_corpus
from speech.datasets import JoinedDataset, SpeechDataset
from speech.preflight import check_problems, drawn, encodable, feasible, readable, stop_if_many
from speech.transcripts import changed_letters, mixed_scripts, named, spelt, unknown_characters
from speech.utterances import counted
from training.data import TrainingSet, corpus_features
from training.folder import OpenFolder, choose_folder
from training.loop import Trainer
from training.machine import choose_device, choose_precision
from training.parallel import after_restart, from_first, is_first, own_device
from training.report import EVALUATION_CACHE_MB, describe, report_left_out
from training.run import Parts, Run
from training.settings import OutputSettings, SpeechSettings, TrainingSettings, default_lr

OF_THE_CHECKPOINT = "checkpoint"  # the alphabet comes from a checkpoint, and no flag chooses it
MOST_OF_DEV = 500  # utterances, unless the user gives another number
TRAINING_CACHE_MB = 1000  # of audio, in each process that reads: 4.3 hours at 16 kHz


def start_run(
    speech: SpeechSettings, model: ModelConfig, training: TrainingSettings, output: OutputSettings, command: str
) -> Run:
    """Makes a run, new or resumed, ready for ``Run.train``; this is all of train_minimal.py except its last lines.

        run = start_run(SpeechSettings(), ModelConfig(time_strides=[2, 2]), TrainingSettings(), OutputSettings(), "my run")
        run.train()
        finish(run)

    Args:
        command: the command that started the run, shown in its pictures.

    Raises:
        ValueError, OSError: if settings or speech can't be used; the message says what to do, and nothing is written.
    """
    output = from_first(after_restart(output))
    opened = OpenFolder(choose_folder(output), output) if is_first() else None  # first, so that no other run takes it meanwhile
    try:
        folder = from_first(opened and opened.path)
        parts = assemble(speech, model, training)
        lm = output.language_model
        if lm and lm.file != "train":
            make_scorer(lm.file, parts.encoder, lm.unit, lm.lexicon, lm.unknown_penalty)  # fails now, not after the training
        describe(parts)
        run = Run(parts, opened or folder, command, output.save_minutes)
        if output.resume:
            run.resume()
        else:
            parts.trainer.try_longest_batch()
        if opened:
            opened.clear(parts.left_out)  # last, so that a refused run leaves no trace
    except BaseException:
        if opened:
            opened.give_up()
        raise
    return run


def assemble(speech: SpeechSettings, model: ModelConfig, training: TrainingSettings) -> Parts:
    """Makes speech, model and trainer from the settings; prints which utterances are left out."""
    device = _prepared_machine(training)
    corpus = _checked_corpus(speech) if speech.data else None
    if speech.bigrams and training.checkpoint:
        raise CheckpointError(f"{training.checkpoint} brings its own outputs: leave out bigrams (--bigrams)")
    start = load_checkpoint(training.checkpoint, device) if training.checkpoint else None
    if start:
        _refuse_another_model(start.config, model, speech.sample_rate, training.checkpoint)
    config = start.config if start else _with_sample_rate(model, speech, corpus)
    if training.lr is None:
        training = dataclasses.replace(training, lr=default_lr(config.model, bool(corpus)))
    encoder = encoder_of(start.encoder.alphabet, speech.unknown) if start else _new_encoder(speech, corpus)
    if corpus:
        speech = dataclasses.replace(speech, alphabet=OF_THE_CHECKPOINT) if start else speech
        train, evaluation, problems = recorded_speech(speech, corpus, config.sample_rate, encoder, training.seed)
    if speech.bigrams:
        texts = [utterance.transcript for utterance in train] if corpus else SYNTHETIC_WORDS
        encoder = BigramEncoder.learn(texts, encoder.alphabet, unknown=speech.unknown)
    network = start.model if start else config.build(encoder).to(device)
    if not corpus:
        (train, evaluation), problems = synthetic_speech(speech, config.sample_rate), []
    if config.features.normalisation == "corpus" and not start:
        config = _with_statistics(config, train, training.seed)
        network.features = config.features
    train, too_short = feasible(train, encoder, network)
    report_left_out(problems, too_short)
    if not train:
        raise CorpusError("no utterance is left to train on")
    texts = [item.transcript for item in train]
    data = training_set(speech, train, encoder, network, training.seed)
    kept = _kept_by_a_resumed_run(speech, training, texts)
    return Parts(Trainer(network, data, training), config, encoder, evaluation, texts, problems + too_short, kept)


def _prepared_machine(training: TrainingSettings) -> torch.device:
    """Sets threads and seeds and returns the device; a precision that it lacks is refused before the corpus is read."""
    if training.threads:
        torch.set_num_threads(training.threads)
    np.random.seed(training.seed)
    torch.manual_seed(training.seed)
    device = own_device(choose_device(training.device))
    choose_precision(training.precision, device)
    return device


def _checked_corpus(speech: SpeechSettings) -> Corpus:
    """Reads the corpus and prints a summary with the role of each split; refuses it if more than 1 % of the lines are bad."""
    corpus, roles = read_corpus(speech.data, speech.transcript_column), None
    try:
        roles = corpus.roles(speech.train, speech.dev, speech.test)
    finally:
        print(corpus.summary(roles=roles))  # even if a split is missing: its lines may be among the problems
    check_problems(corpus)
    return corpus.in_roles(speech.train, speech.dev, speech.test)


def _new_encoder(speech: SpeechSettings, corpus: Corpus | None) -> CharEncoder:
    """The encoder of a new model; prints its alphabet unless it is English."""
    texts = [utterance.transcript for utterance in corpus.split("train")] if corpus else []
    encoder = choose_encoder(speech.alphabet, texts, speech.unknown)
    if speech.alphabet != "english":
        shown = "".join(encoder.alphabet[:60]) + ("..." if len(encoder.alphabet) > 60 else "")
        without = "" if is_spaced(encoder) else "; no spaces between words, so errors are counted in characters, without spaces"
        print(f"alphabet {speech.alphabet}: {len(encoder.alphabet)} characters {shown!r}{without}")
    if speech.alphabet == "corpus" and (words := mixed_scripts(texts)):
        print(f"note: some words mix look-alike letters of several scripts: {named(words, 5)}; write each word in one script")
    return encoder


def _with_sample_rate(model: ModelConfig, speech: SpeechSettings, corpus: Corpus | None) -> ModelConfig:
    """A new model's settings with the sample rate of the speech."""
    fine = model.features.kind == "logmel" or model.n_fft >= 256
    limit = 16000 if fine else 8000  # low enough for bins 62.5 Hz apart [ours]
    rate = speech.sample_rate or (corpus_sample_rate(corpus.utterances, limit) if corpus else 16000)
    return dataclasses.replace(model, features=dataclasses.replace(model.features, sample_rate=rate))


def _with_statistics(model: ModelConfig, train: Sequence, seed: int) -> ModelConfig:
    """A new model's settings, with the statistics of the training speech."""
    recorded = train and isinstance(train[0], Utterance)
    samples = SpeechDataset(train, model.sample_rate, cache_mb=EVALUATION_CACHE_MB) if recorded else train
    return dataclasses.replace(model, features=corpus_features(model.features, samples, seed))


def _refuse_another_model(start: ModelConfig, model: ModelConfig, rate: int | None, path: str | Path) -> None:
    """Raises ``CheckpointError`` if the user chose settings that differ from those of the checkpoint to start from."""
    there, defaults = start.flat(), ModelConfig().flat()
    asked = {name: value for name, value in model.flat().items() if value != defaults[name] and name != "sample_rate"}
    other = [name for name, value in asked.items() if value != there[name]]
    if other:
        others = {"convolutions": "--conv", "bidirectional": "--forward-only"}
        others |= {"normalisation": "--normalize", "kind": "--features"}
        flags = {name: others.get(name, f"--{name.replace('_', '-')}") for name in other}
        named = ", ".join(f"{flag} (it has {there[name]})" for name, flag in flags.items())
        raise CheckpointError(f"--checkpoint {path} brings its own model: leave out {named}")
    if rate not in (None, start.sample_rate):
        raise CheckpointError(f"{path} was trained at {start.sample_rate} Hz: add --sample-rate {start.sample_rate}")


def synthetic_speech(speech: SpeechSettings, rate: int) -> tuple[list, dict[str, list]]:
    """Makes synthetic utterances to train on, and others by other voices to validate on."""
    n_train, n_val = speech.n_train or 400, speech.n_val or 100
    train = generate_synthetic_dataset(n_train, rate)
    dev = generate_synthetic_dataset(n_val, rate, speakers=VALIDATION_SPEAKERS)
    print(f"synthetic speech: {n_train} utterances to train on, {n_val} by other voices to validate on")
    return train, {"dev": dev}


def recorded_speech(
    speech: SpeechSettings, corpus: Corpus, rate: int, encoder: CharEncoder, seed: int = 0
) -> tuple[list[Utterance], dict[str, SpeechDataset], list[Problem]]:
    """Returns the utterances to train on, evaluation sets by name ('dev' first), and what was left out.

    The seed decides which part of train is used, but not which part of dev, so that runs with different seeds can be compared.
    """
    by_split, problems = _usable_splits(speech, corpus, encoder)
    for name in by_split:
        if name not in ("train", "dev") and not name.startswith("test"):
            what = f"split {name.removeprefix('unused ')!r}: {counted(len(by_split[name]), 'utterance')}"
            print(f"{what}, used for neither training nor testing; --train, --dev and --test choose splits by name")
    tests = sorted(name for name, found in by_split.items() if name.startswith("test") and found)
    names = ("dev", *tests)  # so far only the headers of the test files have been read
    evaluation = {name: SpeechDataset(by_split[name], rate, cache_mb=EVALUATION_CACHE_MB) for name in names}
    train = by_split["train"]
    if speech.max_seconds:
        train = [utterance for utterance in train if utterance.seconds <= speech.max_seconds]
        left = len(by_split["train"]) - len(train)
        print(f"left out because they are longer than {speech.max_seconds:g} s: {left} recordings of train")
    return drawn(train, speech.n_train, "train", seed), evaluation, problems


def _usable_splits(
    speech: SpeechSettings, corpus: Corpus, encoder: CharEncoder
) -> tuple[dict[str, list[Utterance]], list[Problem]]:
    """The utterances of each split that can be spelt (and, in dev, read), and the problems; stops if there are many."""
    utterances, problems = encodable(corpus.utterances, encoder)
    suspects = corpus.utterances if problems or speech.unknown == "drop" else ()
    advice, counts = "", unknown_characters((u.transcript for u in suspects), encoder)
    if len(problems) > 0.01 * len(corpus.utterances):
        _refuse_another_alphabet(speech, problems, len(corpus.utterances), counts)
    if changed := changed_letters((u.transcript for u in corpus.utterances), encoder):
        keeps = "" if speech.alphabet == OF_THE_CHECKPOINT else "; --alphabet corpus keeps them"
        print(f"note: letters that the alphabet lacks are replaced: {named(changed)}{keeps}")
    if speech.unknown == "error":
        advice = f"; not in the alphabet: {named(counts)}; --unknown drop leaves such characters out of the transcripts"
    elif counts:
        print(f"left out of the transcripts, since the alphabet lacks them: {named(counts)}")
    stop_if_many(problems, len(corpus.utterances), advice)
    if speech.unknown == "error" and counts:
        print(f"not in the alphabet: {named(counts)}; utterances with these characters are left out")
    by_split = {name: [u for u in utterances if u.split == name] for name in corpus.splits}
    if speech.unknown == "drop" and "train" in by_split:  # targets lose the dropped characters, but references keep them
        by_split["train"] = [dataclasses.replace(u, transcript=spelt(u.transcript, encoder)) for u in by_split["train"]]
    for name in ("train", "dev"):
        if not by_split.get(name):
            raise CorpusError(
                f"{speech.data}: the split {name!r} has no usable utterance; splits: {corpus.splits}. {corpus.split_advice}"
            )
    dev, bad = readable(drawn(by_split["dev"], speech.n_val or MOST_OF_DEV, "dev"))
    stop_if_many(bad, len(dev) + len(bad))
    problems = corpus.problems + problems + bad
    stop_if_many(problems, len(corpus.utterances) + len(corpus.problems))
    return by_split | {"dev": dev}, problems


def _refuse_another_alphabet(speech: SpeechSettings, problems: Sequence[Problem], total: int, counts: Counter[str]) -> None:
    """Raises ``CorpusError`` with advice if the alphabet can't write much of a corpus; does nothing if no advice would help."""
    kinds, ways = {unicodedata.category(char)[0] for char in counts}, []
    letters, own = bool(kinds & {"L", "M"}), speech.alphabet == OF_THE_CHECKPOINT
    if "N" in kinds and not letters:
        ways.append("write numbers in words")
    if kinds & {"L", "M", "N"} and speech.alphabet != "corpus":
        new = "train a new model, without --checkpoint, with --alphabet corpus, which"
        ways.append(f"{new if own else '--alphabet corpus'} takes the characters of the training transcripts")
    if not own and speech.alphabet != "mandarin" and not counts.keys().isdisjoint(CharEncoder("mandarin").alphabet):
        ways.append("--alphabet mandarin has 6,763 Chinese characters")
    if speech.unknown == "error" and counts and (2 * len(problems) < total or not (letters and ways)):
        ways.append("--unknown drop leaves them out of the training transcripts, and counts them as errors in dev and test")
    if ways:
        what = f"{len(problems)} of {total} utterances have {'letters' if letters else 'characters'} that the alphabet lacks"
        where = f"{named(counts)}, first in {problems[0].where}"
        raise CorpusError(f"{speech.data}: {what}, more than 1 %: {where}; {', or '.join(ways)}")


def training_set(speech: SpeechSettings, train: Sequence, encoder: CharEncoder, model: DeepSpeech2, seed: int) -> TrainingSet:
    """Makes the training set; recordings are read when needed, and joined and augmented if asked."""
    if speech.data:
        train = SpeechDataset(train, model.features.sample_rate, cache_mb=TRAINING_CACHE_MB)
        train = JoinedDataset(train, speech.join, seed=seed) if speech.join > 1 else train
    augmentation = RECORDINGS_AUGMENTATION[speech.masks] if speech.data else SYNTHETIC_AUGMENTATION
    return TrainingSet(train, encoder, model, augmentation if speech.augment else None, seed)


def _kept_by_a_resumed_run(speech: SpeechSettings, training: TrainingSettings, texts: Sequence[str]) -> dict:
    """The flags and transcripts that must stay the same when a run is resumed, besides the model and the trainer's numbers."""
    return {
        "join": speech.join, "no_augment": not speech.augment, "no_sortagrad": not training.sortagrad,
        "masks": speech.masks, "optimizer": training.optimizer, "unknown": speech.unknown,
        "transcripts": hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12],
    }  # fmt: skip
