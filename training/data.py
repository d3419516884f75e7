"""Features and transcripts for training, with new augmentation each epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from implementation import (
    AudioSample,
    CharEncoder,
    CorpusStatistics,
    DeepSpeech2,
    Features,
    SpectrogramBatch,
    collate_features,
    ctc_required_frames,
    output_lengths,
    utterance_seconds,
)
from speech.audio import BadAudio
from speech.augmentation import Augmentation
from speech.corpora import Problem
from speech.preflight import item_name

MOST_FOR_STATISTICS = 500  # utterances [ours]; enough to know the bins' means to a few thousandths


class TrainingSet(Dataset):
    """Features and transcripts for training, with new augmentation each epoch.

    Item i is ``(features (F, T), text)``, or a ``Problem`` if the audio can't be read or is too short for its
    text. It depends only on (seed, epoch, i), so workers and resumed runs see the same items.

    Args:
        samples: utterances; if the dataset knows their lengths, no audio is read to find them.
        encoder: spells the transcripts.
        model: its features and convolutions are used; the network itself is not kept, so no worker process gets it.
        augmentation: None leaves the clips as they are.
        seed: seed of the augmentation.
    """

    def __init__(
        self, samples: Sequence[AudioSample], encoder: CharEncoder, model: DeepSpeech2,
        augmentation: Augmentation | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.samples, self.encoder, self.augmentation, self.seed, self.epoch = samples, encoder, augmentation, seed, 0
        self.features, self.specification = model.features, model.specification
        self._seconds: list[float] | None = None  # of this epoch, once computed
        self._shared_epoch: Tensor | None = None  # the main process's epoch
        self.reading = torch.empty(0, dtype=torch.long)  # the item that each worker process is reading, in shared memory

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def seconds(self) -> list[float]:
        """Length of each utterance after this epoch's augmentation; known without reading audio."""
        if self._seconds is None:
            seconds = utterance_seconds(self.samples)
            if self.augmentation is not None:
                draw = self.augmentation.draw_timing
                seconds = [draw(length, self._rng(index)).seconds(length) for index, length in enumerate(seconds)]
            self._seconds = seconds
        return self._seconds

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.epoch, index))

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, from 0, whose augmentation (and joins) the items show; worker processes follow."""
        self._show(epoch)
        if self._shared_epoch is not None:
            self._shared_epoch.fill_(epoch)

    def _show(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch, self._seconds = epoch, None
        if getattr(self.samples, "epoch", epoch) != epoch:
            self.samples.set_epoch(epoch)

    def share_with(self, workers: int) -> None:
        """Makes shared memory for the epoch and for the item that each worker reads; call it before the workers start."""
        if self._shared_epoch is None:
            self._shared_epoch = torch.tensor(self.epoch).share_memory_()
        self.reading = torch.full((workers,), -1).share_memory_()

    def name(self, index: int) -> str:
        """The file of an item (or the files of a joined item) if it has one, else its number."""
        samples = getattr(self.samples, "dataset", self.samples)  # what was joined
        parts = self.samples.parts(index) if samples is not self.samples else [index]
        return " + ".join(item_name(samples.utterances[part] if hasattr(samples, "utterances") else None, part) for part in parts)

    def __getitem__(self, index: int) -> tuple[Tensor, str] | Problem:
        worker = get_worker_info()
        if worker is not None:
            self._follow(worker.id, index)
        with _one_thread():
            return self._item(index)

    def _follow(self, worker: int, index: int) -> None:
        """Called in a worker process, which lives through all epochs: notes the item that it reads, and adopts the epoch."""
        if self._shared_epoch is not None:
            self.reading[worker] = index
            self._show(int(self._shared_epoch))

    def _item(self, index: int) -> tuple[Tensor, str] | Problem:
        try:
            sample = self.samples[index]
        except BadAudio as error:
            return Problem(str(error.path or self.name(index)), error.reason)  # for a joined item, the bad file alone
        needed = ctc_required_frames(self.encoder.encode(sample.transcript))
        try:
            features = self._augmented(sample, self._rng(index)) if self.augmentation is not None else None
            if features is None or self._output_frames(features) < needed:  # too short for its text when augmented: unchanged
                features = self.features(sample.audio, sample.sample_rate)
        except ValueError as error:  # so loud that its level is infinite
            return Problem(self.name(index), str(error))
        frames = self._output_frames(features)
        if frames < needed:
            return Problem(self.name(index), f"{sample.transcript!r} needs {needed} output frames, but its audio gives {frames}")
        if not torch.isfinite(features).all():
            return Problem(self.name(index), "its features are not finite (nan or inf); the recording is broken")
        return features, sample.transcript

    def _augmented(self, sample: AudioSample, rng: np.random.Generator) -> Tensor:
        timing = self.augmentation.draw_timing(sample.seconds, rng)
        audio = self.augmentation.change_audio(sample.audio, sample.sample_rate, timing, rng)
        features = self.features(audio, sample.sample_rate)
        return self.augmentation.change_features(features, timing.tempo, rng)

    def _output_frames(self, features: Tensor) -> int:
        return int(output_lengths(torch.tensor([features.shape[1]]), self.specification))

    def collate(self, items: list) -> tuple[SpectrogramBatch | None, list[Problem]]:
        """Turns the items of a minibatch into the batch (None if nothing is left) and the problems."""
        problems = [item for item in items if isinstance(item, Problem)]
        good = [item for item in items if not isinstance(item, Problem)]
        batch = collate_features([f for f, _ in good], [text for _, text in good], self.encoder) if good else None
        return batch, problems


def corpus_features(features: Features, samples: Sequence[AudioSample], seed: int = 0) -> Features:
    """The same features, normalised by the samples' level and by the mean and deviation of each bin (Section 7).

    Args:
        samples: training speech, not augmented; if there are more than 500 utterances, ``seed`` draws 500 of them.

    Raises:
        ValueError: if no audio can be read, or all of it is silent.
    """
    chosen = np.random.default_rng(seed).permutation(len(samples))[:MOST_FOR_STATISTICS].tolist()
    power, count = 0.0, 0
    with _one_thread():
        for sample in _readable(samples, chosen):
            power, count = power + float(sample.audio.double().square().sum()), count + len(sample.audio)
        if not power:
            raise ValueError("the training speech is silent: there is nothing to normalise features by")
        as_they_are = CorpusStatistics((power / count) ** 0.5, (0.0,) * features.bins, (1.0,) * features.bins)
        features = replace(features, normalisation="corpus", corpus=as_they_are)
        total, squares, frames = np.zeros(features.bins), np.zeros(features.bins), 0
        for sample in _readable(samples, chosen):
            rows = features(sample.audio, sample.sample_rate).double().numpy()  # (F, T)
            total, squares, frames = total + rows.sum(1), squares + np.square(rows).sum(1), frames + rows.shape[1]
    mean = total / frames
    deviation = np.sqrt(np.maximum(squares / frames - mean**2, 1e-10))
    return replace(features, corpus=replace(as_they_are, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist())))


def _readable(samples: Sequence[AudioSample], chosen: Sequence[int]) -> Iterator[AudioSample]:
    for index in chosen:
        with contextlib.suppress(BadAudio):  # reported when training reads it
            yield samples[index]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Uses one thread, like the worker processes of a DataLoader: a sum over several threads is rounded differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
