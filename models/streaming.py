"""Transcribes speech as it comes in: each layer carries the past that it needs from chunk to chunk."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor

from implementation import (
    PAPER_PRUNING,
    AlignedText,
    BeamSearch,
    CharEncoder,
    ConvBlock,
    DeepSpeech2,
    Features,
    RowConvolution,
    State,
    forced_alignment,
    joint_of_words,
    word_times,
)
from models.checkpoints import Checkpoint, CheckpointError, load_checkpoint, refuse_nan
from models.confidence import Calibration, letter_confidences, word_letters
from models.deep_speech_1 import DeepSpeech1
from models.transcription import Decoder, distinct
from speech.audio import RATES

LOUDEST = 100.0  # larger floats surely do not have a full scale of 1


@dataclass(frozen=True)
class HeardWord(AlignedText):
    """A word, its start and end in seconds, and the probability that it is right, as in ``transcribe``."""

    confidence: float | None = None


@dataclass(frozen=True)
class Heard:
    """What has been said so far: ``text``, to which this call added ``new``, and ``words`` with their times in seconds.

    What ``text`` holds never changes, except that in greedy decoding the last word may grow and end later. A beam search adds
    whole words once they are settled; ``partial`` is the rest of the best hypothesis, with the space before it, and may change.
    When the stream is finished, ``partial`` holds any last letters that spell no word of the lexicon; otherwise it is empty.
    """

    text: str = ""
    new: str = ""
    words: list[HeardWord] = field(default_factory=list)
    partial: str = ""


class StreamingRecognizer:
    """Transcribes an utterance, or an hour of speech, chunk by chunk; in the end the text is the same as from ``transcribe``.

    The words' times may differ a little, because a stream aligns a word before the audio that follows it is known.

        recognizer = StreamingRecognizer("runs/001/checkpoint.pt", sample_rate=44100)
        for chunk in chunks:
            print(recognizer.accept(chunk).new, end="")
        print(recognizer.finish().new)

    Args:
        checkpoint: a file or a loaded checkpoint, of a forward-only model with features normalised over the corpus.
        sample_rate: of the samples, in Hz; None: the model's.
        decoder: greedy unless given. If a lexicon leaves a beam search with no text at the end, ``transcribe`` searches again
            with a wider beam; a stream can't, so its text stops after the last complete word.
        settle_after: the beam search fixes whatever its best hypothesis has kept unchanged for this many seconds. None: a word
            is settled once all hypotheses in the beam have it, so the text is the same as for the whole file; with a wide
            beam that may take until the end of the utterance.

    Raises:
        CheckpointError: if the model needs the whole utterance; the message says why, and how to train another.
        ValueError: for a rate below 1000 or above 768000 Hz.
    """

    def __init__(
        self, checkpoint: Checkpoint | str | Path, sample_rate: int | None = None, decoder: Decoder | None = None,
        settle_after: float | None = None,
    ) -> None:  # fmt: skip
        checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
        model = checkpoint.model.eval()
        refuse_what_needs_the_end(model)
        rate = model.features.sample_rate if sample_rate is None else sample_rate
        self._frames, self._network = _Frames(model.features, rate), _Network(model)
        self._begin(checkpoint, decoder, settle_after)

    def _begin(self, checkpoint: Checkpoint, decoder: Decoder | None, settle_after: float | None) -> None:
        """Starts with an empty text."""
        if settle_after is not None and not 0 <= settle_after < math.inf:
            raise ValueError(f"settle_after must be a number of seconds, at least 0, not {settle_after}")
        searches = decoder is not None and (decoder.beam > 1 or decoder.scorer is not None)
        words = _Words(checkpoint.encoder, checkpoint.model.seconds_per_output, checkpoint.calibration)
        self._decoder = _Beam(words, decoder, settle_after) if searches else _Greedy(words)
        self._heard, self._finished = Heard(), False

    def accept(self, samples: np.ndarray | Tensor | Sequence[float]) -> Heard:
        """Takes (N,) more samples, floats of full scale 1 or int16; returns what has been said so far.

        Raises:
            ValueError: if the shape or type is wrong, a value is not finite or far beyond full scale, or after ``finish``.
        """
        return self.hear(self.log_probs(self._checked(samples)))

    def finish(self) -> Heard:
        """Ends the stream and returns all that was said (an empty text if there were no samples); ValueError if called again."""
        if self._finished:
            raise ValueError("the stream is already finished")
        self._finished = True
        return self.hear(self.log_probs(np.empty(0, np.float32), last=True), last=True)

    @torch.no_grad()
    def log_probs(self, samples: np.ndarray, last: bool = False) -> Tensor:
        """(N,) float32 samples -> (T', V), the output frames that are ready now; ``hear`` turns them into text."""
        return self._network.push(self._frames.push(samples, last)[None], last)[:, 0]

    def _checked(self, samples: np.ndarray | Tensor | Sequence[float]) -> np.ndarray:
        if self._finished:
            raise ValueError("the stream is finished: make a new StreamingRecognizer for the next one")
        return _one_channel(samples)

    def hear(self, rows: Tensor, last: bool = False) -> Heard:
        """Takes (T', V) more rows of ``log_probs``; returns what has been said so far."""
        refuse_nan(rows, "the stream")
        text, words, partial = self._decoder.push(rows, last)
        words = [word for word in words if not word.text.isspace()]  # if each character counts as a word, a space does not
        self._heard = Heard(text, text[len(self._heard.text) :], words, partial)
        return self._heard


@torch.no_grad()
def accept_together(
    recognizers: Sequence[StreamingRecognizer], chunks: Sequence[np.ndarray | Tensor | Sequence[float]]
) -> list[Heard]:  # fmt: skip
    """Like ``accept``, for one chunk from each of several streams of a checkpoint, in fewer and larger matrix products.

    Streams of one loaded ``Checkpoint`` go through the network in one batch if their layers wait for equally many frames, as in
    Batch Dispatch (Section 7.1). With chunks of 100 ms all of them do, unless the frames are not a multiple of the strides.

    Raises:
        ValueError: as in ``accept``, before any stream has changed; or if a stream is given twice.
    """
    if not len(set(map(id, recognizers))) == len(recognizers) == len(chunks):
        given = f"{len(chunks)} chunks for {len(recognizers)} streams"
        raise ValueError(f"give one chunk for each stream, and no stream twice; there are {given}")
    checked = [recognizer._checked(chunk) for recognizer, chunk in zip(recognizers, chunks, strict=True)]
    alike: dict[tuple, list[tuple[int, Tensor]]] = {}
    for number, (recognizer, samples) in enumerate(zip(recognizers, checked, strict=True)):
        frames = recognizer._frames.push(samples, last=False)
        alike.setdefault((frames.shape[1], *recognizer._network.standing()), []).append((number, frames))
    heard: list[Heard] = [Heard()] * len(recognizers)
    for group in alike.values():
        networks = [recognizers[number]._network for number, _ in group]
        whole = networks[0] if len(group) == 1 else _Network.gathered(networks)
        rows = whole.push(torch.stack([frames for _, frames in group]), last=False)  # (T', B, V)
        if len(group) > 1:
            whole.scatter(networks)
        for place, (number, _) in enumerate(group):
            heard[number] = recognizers[number].hear(rows[:, place])
    return heard


def refuse_what_needs_the_end(model: DeepSpeech2) -> None:
    """Raises ``CheckpointError`` if the model can't transcribe a stream."""
    flags = "--model ds1 --forward-only" if isinstance(model, DeepSpeech1) else "--forward-only --row-conv 19"
    again = f"train another with train_minimal.py {flags}"
    if model.recurrences[0].bidirectional:
        raise CheckpointError(f"its layers are bidirectional, so they need the end of the utterance first: {again}")
    if model.features.normalisation != "corpus":
        raise CheckpointError(f"its features are normalised over the utterance, which has not ended yet: {again}")


def _one_channel(samples: np.ndarray | Tensor | Sequence[float]) -> np.ndarray:
    """The samples as (N,) float32; raises ValueError if they can't be the samples of one channel."""
    if isinstance(samples, Tensor):
        samples = samples.detach().cpu().float() if samples.dtype == torch.bfloat16 else samples.detach().cpu()
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise ValueError(f"a stream needs one channel, samples of shape (N,), not {samples.shape}; mix the channels first")
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / 32768
    if samples.size and samples.dtype.kind != "f":
        raise ValueError(f"samples must be floats of full scale 1, or int16, not {samples.dtype}")
    if not np.isfinite(samples).all():
        raise ValueError("samples hold nan or infinity")
    if samples.size and (peak := np.abs(samples).max()) > LOUDEST:
        raise ValueError(f"a sample is {peak:g}, but full scale is 1: give int16, or divide by 32768")
    return samples.astype(np.float32)


class _Frames:
    """Turns samples at any rate into feature frames."""

    def __init__(self, features: Features, rate: int) -> None:
        if rate not in RATES:
            raise ValueError(f"sample_rate must lie between {RATES.start} and {RATES.stop - 1} Hz, not {rate}")
        self.features, self.samples, self.any = features, np.empty(0, np.float32), False
        same = rate == features.sample_rate
        self.resampler = None if same else soxr.ResampleStream(rate, features.sample_rate, 1, "float32", "HQ")

    def push(self, samples: np.ndarray, last: bool) -> Tensor:
        """(N,) -> (F, T): the frames that are now complete; by its end, a stream with any sample has given at least one."""
        if self.resampler is not None:
            samples = self.resampler.resample_chunk(samples, last=last)
        self.samples = np.concatenate((self.samples, samples))
        window, hop = self.features.window, self.features.hop
        frames = 1 + (len(self.samples) - window) // hop if len(self.samples) >= window else 0
        if last and not self.any and not frames and len(self.samples):
            return self.features(torch.from_numpy(self.samples))  # shorter than a window: padded with zeros
        if not frames:
            return torch.empty(self.features.bins, 0)
        self.any = True
        whole, self.samples = self.samples[: (frames - 1) * hop + window], self.samples[frames * hop :]
        return self.features(torch.from_numpy(whole))


class _Convolution:
    """A convolution that keeps the frames its next outputs need; there are zeros before the first frame and after the last."""

    def __init__(self, block: ConvBlock, bins: int) -> None:
        conv = block.conv
        self.block, self.bins = block, bins
        self.skip = 0  # frames still to come that no output needs, if the stride is larger than the kernel
        self.kept = conv.weight.new_zeros(1, conv.in_channels, bins, conv.padding[1])
        self.bins_out = 1 + (bins + 2 * conv.padding[0] - conv.kernel_size[0]) // conv.stride[0]

    def push(self, x: Tensor, last: bool) -> Tensor:
        """(B, C, F, T), or (B, C F, 1, T) for a 1D convolution -> (B, O, F', T')."""
        conv = self.block.conv
        kernel, stride = conv.kernel_size[1], conv.stride[1]
        x = torch.cat((self.kept, x, x.new_zeros(*x.shape[:3], conv.padding[1] if last else 0)), 3)
        ready = max(0, 1 + (x.shape[3] - self.skip - kernel) // stride)
        first, done = self.skip, self.skip + ready * stride
        self.kept, self.skip = x[..., done:], max(0, done - x.shape[3])
        if not ready:
            return x.new_empty(len(x), conv.out_channels, self.bins_out, 0)
        y = F.conv2d(x[..., first : done - stride + kernel], conv.weight, conv.bias, conv.stride, (conv.padding[0], 0))
        return self.block.activation(y if self.block.norm is None else self.block.norm(y))


class _Ahead:
    """A row convolution that waits for its lookahead; without one, every frame passes unchanged."""

    def __init__(self, row: RowConvolution | None) -> None:
        self.row, self.kept = row, None

    def push(self, x: Tensor, last: bool) -> Tensor:
        """(T, B, H) -> (T', B, H)."""
        if self.row is None:
            return x
        x = x if self.kept is None else torch.cat((self.kept, x))
        x = F.pad(x, (0, 0, 0, 0, 0, self.row.lookahead)) if last else x
        ready = max(0, len(x) - self.row.lookahead)
        self.kept = x[ready:]
        return self.row.over(x) if ready else x[:0]


class _Network:
    """A forward-only model whose layers carry the past that they need."""

    def __init__(self, model: DeepSpeech2) -> None:
        self.model, self.convolutions, bins = model, [], model.n_freq
        for block, layer in zip(model.convolutions, model.specification, strict=True):
            self.convolutions.append(_Convolution(block, 1 if layer.kernel[0] == 0 else bins))
            bins = self.convolutions[-1].bins_out
        self.states: list[State | None] = [None] * len(model.recurrences)
        self.ahead = _Ahead(model.row_convolution)

    def push(self, features: Tensor, last: bool) -> Tensor:
        """(B, F, T) -> (T', B, V)."""
        x = features.to(self.model.output.weight)[:, None]
        streams = len(x)
        if not features.shape[2] and not last:
            return x.new_empty(0, streams, self.model.vocab_size)
        for convolution in self.convolutions:
            conv = convolution.block.conv
            x = convolution.push(x.reshape(streams, conv.in_channels, convolution.bins, x.shape[3]), last)
        x = x.permute(3, 0, 1, 2).flatten(2)  # (T', B, C F')
        if len(x):
            for number, layer in enumerate(self.model.recurrences):
                x, self.states[number] = layer.run(x, x.new_full((streams,), len(x), dtype=torch.long), self.states[number])
        elif self.states[0] is None:  # nothing has come yet
            return x.new_empty(0, streams, self.model.vocab_size)
        else:
            x = x.new_empty(0, streams, self.model.recurrences[-1].output_size)
        return self.model.log_probs(self.ahead.push(x, last))

    def standing(self) -> tuple:
        """Streams can go through the layers in one batch if this is the same for all, and so is the number of frames."""
        of_layers = [(convolution.kept.shape[3], convolution.skip) for convolution in self.convolutions]
        return id(self.model), *of_layers, self.states[0] is None, -1 if self.ahead.kept is None else len(self.ahead.kept)

    @classmethod
    def gathered(cls, networks: Sequence[_Network]) -> _Network:
        """Joins several networks with equal ``standing`` into one network with a batch of streams."""
        whole, first = cls(networks[0].model), networks[0]
        for mine, *theirs in zip(whole.convolutions, *(network.convolutions for network in networks), strict=True):
            mine.kept, mine.skip = torch.cat([convolution.kept for convolution in theirs]), theirs[0].skip
        if first.states[0] is not None:
            by_layer = zip(*(network.states for network in networks), strict=True)
            whole.states = [tuple(torch.cat(parts, 1) for parts in zip(*states, strict=True)) for states in by_layer]
        if first.ahead.kept is not None:
            whole.ahead.kept = torch.cat([network.ahead.kept for network in networks], 1)
        return whole

    def scatter(self, networks: Sequence[_Network]) -> None:
        """Gives each network back its own state."""
        for place, network in enumerate(networks):
            for mine, theirs in zip(self.convolutions, network.convolutions, strict=True):
                theirs.kept, theirs.skip = mine.kept[place : place + 1], mine.skip
            network.states = [state and tuple(part[:, place : place + 1] for part in state) for state in self.states]
            network.ahead.kept = None if self.ahead.kept is None else self.ahead.kept[:, place : place + 1]


class _Greedy:
    """The best path (Graves et al. 2006, Eq. 4), collapsed as it comes; a word ends where a space follows."""

    def __init__(self, words: _Words) -> None:
        self.words, self.frame, self.last = words, 0, CharEncoder.blank_idx
        self.units: list[_Unit] = []  # since the last complete word

    def push(self, rows: Tensor, _last: bool) -> tuple[str, list[HeardWord], str]:
        """(T', V) -> text and words; all of it is settled."""
        best, labels = rows.max(1)
        for log_p, label in zip(best.tolist(), labels.tolist(), strict=True):
            if label == self.last != CharEncoder.blank_idx:
                _, first, _, sure = self.units[-1]
                self.units[-1] = (label, first, self.frame + 1, max(sure, math.exp(log_p)))
            elif label != CharEncoder.blank_idx:
                self.units.append((label, self.frame, self.frame + 1, math.exp(log_p)))
            self.last, self.frame = label, self.frame + 1
        done = self.words.boundary([label for label, *_ in self.units])
        self.units = self.words.take(self.units, done)
        words = self.words.over + self.words.of(self.units)
        return self.words.joint.join(word.text for word in words), words, ""


class _Beam:
    """A beam search that continues from chunk to chunk; the labels that all its prefixes begin with are settled."""

    def __init__(self, words: _Words, decoder: Decoder, settle_after: float | None = None) -> None:
        self.words, self.encoder, self.frame = words, words.encoder, 0
        self.search = BeamSearch(decoder.beam, decoder.scorer, decoder.alpha, decoder.beta, **PAPER_PRUNING)
        self.open: list[int] = []  # settled labels since the last complete word
        self.taken = 0  # number of labels before those
        self.rows, self.frames = [], []  # log-probabilities for aligning them, and the rows' frame numbers in the stream
        self.patience = None if settle_after is None else round(settle_after / words.seconds)  # output frames
        self.led: deque[tuple[int, int, list[int]]] = deque()  # frame, labels taken by then, later labels of the best hypothesis

    def push(self, rows: Tensor, last: bool) -> tuple[str, list[HeardWord], str]:
        """(T', V) -> settled text and words, and the rest of the best hypothesis."""
        rows = rows.cpu()
        self.search.push(rows.double().numpy())
        self._keep(rows)
        if self.patience is not None:
            self._keep_to_the_best()
        self.open += self.search.settle()
        found = last and self._settle_the_end()
        rest = [] if found else list(self.search.leading())
        done = len(self.open) if found else self.words.boundary(self.open)
        if done:
            units = self._aligned(self.open + rest)[: len(self.open)]
            kept = self.words.take(units, done)
            self.open, self.taken = self.open[len(units) - len(kept) :], self.taken + len(units) - len(kept)
            self._forget(kept[0][1] if kept else self.frame)
        text, behind = self.words.joint.join(word.text for word in self.words.over), self.encoder.decode(self.open + rest)
        space = " " * bool(text and behind[:1].isspace() and not behind.isspace())
        return text, list(self.words.over), space + " ".join(behind.split())

    def _keep_to_the_best(self) -> None:
        """Commits the search to the labels that its best hypothesis had some seconds ago and still has."""
        now = self.open + list(self.search.leading())
        self.led.append((self.frame, self.taken, now))
        then = None
        while self.led and self.led[0][0] <= self.frame - self.patience:
            then = self.led.popleft()
        if then is None:
            return
        before = then[2][self.taken - then[1] :]  # without the words completed since
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False)))
        if same > len(self.open):
            self.search.commit(now[len(self.open) : same])

    def _settle_the_end(self) -> bool:
        """Settles the best hypothesis; returns False if there is none, as the last letters spell no word of the lexicon."""
        before = self.open[-1:]  # texts that differ only in the spaces after it count as one
        whole = [dataclasses.replace(hypothesis, labels=(*before, *hypothesis.labels)) for hypothesis in self.search.hypotheses()]
        if whole:
            self.open += distinct(whole, self.encoder)[0].labels[len(before) :]
        return bool(whole)

    def _keep(self, rows: Tensor) -> None:
        """Keeps rows, but only the first of consecutive sure blanks; otherwise an hour of silence would be kept."""
        for row in rows:
            blank = float(row[0]) > SURE
            if not (blank and self.rows and float(self.rows[-1][0]) > SURE):
                self.rows.append(row)
                self.frames.append(self.frame)
            self.frame += 1

    def _forget(self, frame: int) -> None:
        """Drops the rows kept from before a frame of the stream."""
        first = bisect.bisect_left(self.frames, frame)
        del self.rows[:first], self.frames[:first]

    def _aligned(self, labels: list[int]) -> list[_Unit]:
        """The labels with the frames of each (Eq. 13)."""
        rows = torch.stack(self.rows)
        try:
            path = forced_alignment(rows, labels)
        except ValueError:  # the labels don't fit into the remaining frames: each gets all of them
            return [(label, self.frames[0], self.frame, 0.0) for label in labels]
        first, behind = {}, {}
        for frame, state in zip(self.frames, path, strict=True):
            first.setdefault(state, frame)
            behind[state] = frame + 1
        sure = letter_confidences(rows, labels, path)
        return [(label, first[2 * i + 1], behind[2 * i + 1], sure[i]) for i, label in enumerate(labels)]


_Unit = tuple[int, int, int, float]  # label, its first frame, the frame after its last, its largest posterior there
SURE = math.log(0.999)  # a blank whose log-probability is above this is sure


class _Words:
    """Collects complete words; in languages without spaces, or if the alphabet has no space, each character is a word."""

    def __init__(self, encoder: CharEncoder, seconds_per_frame: float, calibration: Calibration) -> None:
        self.encoder, self.seconds, self.calibration = encoder, seconds_per_frame, calibration
        self.over: list[HeardWord] = []
        self.joint = joint_of_words(encoder)

    def boundary(self, labels: list[int]) -> int:
        """How many labels belong to complete words: those up to the last space, which must not be the first label."""
        if not self.joint:
            return max(0, len(labels) - 1)
        spaces = [place for place, label in enumerate(labels) if place and self.encoder.decode([label]).isspace()]
        return spaces[-1] + 1 if spaces else 0

    def take(self, units: list[_Unit], done: int) -> list[_Unit]:
        """Adds the words in the first ``done`` units; returns the other units. The next word begins where the last space ends."""
        if not done:
            return units
        self.over += self.of(units[:done])
        return units[done - 1 :] if self.joint and self.encoder.decode([units[done - 1][0]]).isspace() else units[done:]

    def of(self, units: list[_Unit]) -> list[HeardWord]:
        """The words that the units spell."""
        texts = [AlignedText(self.encoder.decode([n]), a * self.seconds, b * self.seconds) for n, a, b, _ in units]
        times = word_times(texts) if self.joint else texts
        letters = [[sure] for *_, sure in units]
        if self.joint:
            letters = word_letters([sure for *_, sure in units], [label for label, *_ in units], self.encoder)
        pairs = zip(times, map(self.calibration, letters), strict=True)
        return [HeardWord(time.text, time.start, time.end, confidence) for time, confidence in pairs]
