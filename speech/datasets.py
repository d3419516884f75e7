"""Recordings as datasets: read when needed, and joined into longer utterances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from implementation import AudioSample
from speech.audio import BadAudio, audio_seconds, read_audio
from speech.corpora import Utterance, differs_grossly
from speech.transcripts import joined


def read_utterance(utterance: Utterance, sample_rate: int) -> Tensor:
    """The audio of an utterance: its file, or its piece and channel of the file.

    Args:
        utterance: as ``read_corpus`` gives it.
        sample_rate: wanted rate in Hz.

    Returns:
        (samples,) float32.

    Raises:
        BadAudio: as in ``read_audio``, and if the audio is much longer or shorter than the utterance states.
    """
    where: dict[str, float] = {"start": utterance.start} if utterance.start else {}
    if utterance.stop is not None:
        where["seconds"] = utterance.stop - utterance.start
    if utterance.channel is not None:
        where["channel"] = utterance.channel
    audio = read_audio(utterance.path, sample_rate, **where)
    seconds = len(audio) / sample_rate
    if utterance.seconds and differs_grossly(utterance.seconds, seconds):
        raise BadAudio(f"the corpus states {utterance.seconds:g} s for it, but it lasts {seconds:.2f} s", utterance.path)
    return audio


def _seconds_of(utterance: Utterance) -> float:
    stop = audio_seconds(utterance.path) if utterance.stop is None else utterance.stop
    return stop - utterance.start


class SpeechDataset(Dataset):
    """Utterances as ``AudioSample``, read from disk when needed.

    The lists ``seconds``, ``transcripts`` and ``speakers`` have one entry per utterance.

    Args:
        utterances: as ``Corpus.split`` returns them.
        sample_rate: rate of the audio in Hz; audio at other rates is resampled.
        cache_mb: each process that reads keeps the audio in memory if all of it fits into this many megabytes.

    Raises:
        BadAudio: from ``dataset[i]``, if the file cannot be read.
    """

    def __init__(self, utterances: Sequence[Utterance], sample_rate: int = 16000, cache_mb: int = 0) -> None:
        self.utterances, self.sample_rate = list(utterances), sample_rate
        self.seconds = [u.seconds or _seconds_of(u) for u in self.utterances]
        self.transcripts = [u.transcript for u in self.utterances]
        self.speakers = [u.speaker for u in self.utterances]
        self._cache: dict[int, Tensor] = {}
        self._keep = 4 * sample_rate * sum(self.seconds) <= cache_mb * 1_000_000  # float32; keeping only part would gain nothing

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> AudioSample:
        audio = self._cache.get(index)
        if audio is None:
            audio = read_utterance(self.utterances[index], self.sample_rate)
            if self._keep:
                self._cache[index] = audio
        return AudioSample(audio.clone(), self.sample_rate, self.transcripts[index])


class JoinedDataset(Dataset):
    """Longer utterances, made by joining several of one speaker, chosen anew every epoch.

    Item i begins with utterance i; 0 to ``max_join - 1`` others by its speaker follow (a uniform choice, each at most
    once). The gaps hold noise 60 dB below the speech before them. Everything depends only on ``(seed, epoch, i)``.
    ``seconds``, ``transcripts`` and ``speakers`` are those of the joined items of the epoch.

    Args:
        dataset: a ``SpeechDataset``; all utterances without a speaker count as one speaker's.
        max_join: largest number of utterances in one item.
        gap_seconds: shortest and longest gap, in seconds.
        seed: seed of the random choices, not negative.

    Raises:
        ValueError: if ``max_join`` is below 1 or ``gap_seconds`` is not an interval.
    """

    def __init__(
        self, dataset: SpeechDataset, max_join: int, gap_seconds: tuple[float, float] = (0.02, 0.25), seed: int = 0
    ) -> None:
        if max_join < 1 or not 0 <= gap_seconds[0] <= gap_seconds[1]:
            raise ValueError(f"cannot join {max_join} utterances with gaps of {gap_seconds} seconds")
        self.dataset, self.max_join, self.gap_seconds, self.seed = dataset, max_join, gap_seconds, seed
        self.speakers = dataset.speakers
        self._of_speaker = defaultdict(list)
        for index, speaker in enumerate(self.speakers):
            self._of_speaker[speaker].append(index)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the joins of an epoch; DataLoader workers that are already running do not see the change."""
        self.epoch = epoch
        self._joins = [self._join(index) for index in range(len(self.dataset))]
        seconds, words = self.dataset.seconds, self.dataset.transcripts
        self.seconds = [sum(seconds[p] for p in parts) + sum(gaps) / self.dataset.sample_rate for parts, gaps in self._joins]
        self.transcripts = [joined(words[p] for p in parts) for parts, _ in self._joins]

    def _join(self, index: int) -> tuple[list[int], list[int]]:
        """The utterances of an item, and the gaps between them in samples."""
        rng = np.random.default_rng([self.seed, self.epoch, index])
        voice = self._of_speaker[self.speakers[index]]  # ascending
        count = min(int(rng.integers(self.max_join)), len(voice) - 1)
        chosen = rng.choice(len(voice) - 1, size=count, replace=False) if count else []
        others = [voice[c] if voice[c] < index else voice[c + 1] for c in chosen]
        gaps = rng.uniform(*self.gap_seconds, size=count) * self.dataset.sample_rate
        return [index, *others], [round(gap) for gap in gaps]

    def __len__(self) -> int:
        return len(self.dataset)

    def parts(self, index: int) -> list[int]:
        """Numbers of the utterances in an item."""
        return self._joins[index][0]

    def gap_times(self, index: int) -> list[tuple[float, float]]:
        """Beginning and end of each gap in an item, in seconds."""
        parts, gaps = self._joins[index]
        times, end = [], 0.0
        for part, gap in zip(parts, gaps, strict=False):  # no gap follows the last part
            start = end + self.dataset.seconds[part]
            end = start + gap / self.dataset.sample_rate
            times.append((start, end))
        return times

    def __getitem__(self, index: int) -> AudioSample:
        parts, gaps = self._joins[index]
        rng = np.random.default_rng([self.seed, self.epoch, parts[0], 1])
        pieces = [self.dataset[parts[0]].audio]
        for part, gap in zip(parts[1:], gaps, strict=True):
            level = 1e-3 * pieces[-1].square().mean().sqrt()  # -60 dB
            pieces.append(level * torch.from_numpy(rng.standard_normal(gap, dtype=np.float32)))
            pieces.append(self.dataset[part].audio)
        return AudioSample(torch.cat(pieces), self.dataset.sample_rate, self.transcripts[index])
