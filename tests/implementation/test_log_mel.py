"""Log-mel features against the definition of each triangle, and librosa: its numbers, and itself where it is installed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from implementation import CorpusStatistics, Features, compute_log_mel, compute_spectrogram, mel_filters

SIZES = [(80, 512, 16000), (40, 256, 8000), (128, 1024, 22050), (23, 512, 11025)]


def hertz(mel: float, scale: str) -> float:
    """Of HTK's scale, or of that of Slaney's Auditory Toolbox: 66.7 Hz a mel up to 1000, then a factor of 6.4 in 27 steps."""
    if scale == "htk":
        return 700 * (math.exp(mel / 1127.0104818) - 1)
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def top_mel(rate: int, scale: str) -> float:
    low, high = 0.0, 10000.0
    for _ in range(200):  # by bisection: the scale is only known the other way round
        middle = (low + high) / 2
        low, high = (middle, high) if hertz(middle, scale) < rate / 2 else (low, middle)
    return low


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_each_filter_is_its_triangle(size, scale):
    n_mels, n_fft, rate = size
    top = top_mel(rate, scale)
    edges = [hertz(top * number / (n_mels + 1), scale) for number in range(n_mels + 2)]
    found = mel_filters(n_mels, n_fft, rate, scale).numpy()
    assert found.shape == (n_mels, n_fft // 2 + 1)
    for number in range(n_mels):
        low, centre, high = edges[number : number + 3]
        height = 2 / (high - low)  # of area 1
        bins = np.arange(n_fft // 2 + 1) * rate / n_fft
        np.testing.assert_allclose(found[number], np.interp(bins, [low, centre, high], [0, height, 0]), atol=1e-9)


@pytest.mark.parametrize(
    ("scale", "total", "peaks"),
    [
        ("slaney", 2.5582607778404807, {(0, 1): 0.022534560750290804, (10, 13): 0.024415131031038862,
                                        (40, 55): 0.014444176346352967, (79, 246): 0.0032521483035324464}),
        ("htk", 2.553413169769121, {(0, 1): 0.026698283735420252, (10, 9): 0.02785288910366807,
                                    (40, 58): 0.011847398101701581, (79, 247): 0.003593132484200458}),
    ],
)  # fmt: skip
def test_the_numbers_of_librosa(scale, total, peaks):
    """librosa.filters.mel(sr=16000, n_fft=512, n_mels=80, htk=...), version 0.11.0: the sum, and some peaks."""
    found = mel_filters(80, 512, 16000, scale)
    assert float(found.sum()) == pytest.approx(total, abs=1e-12)
    for place, value in peaks.items():
        assert float(found[place]) == pytest.approx(value, abs=1e-14)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_filters_and_features_are_those_of_librosa(size, scale):
    librosa = pytest.importorskip("librosa")
    n_mels, n_fft, rate = size
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, htk=scale == "htk", dtype=np.float64)
    np.testing.assert_allclose(mel_filters(n_mels, n_fft, rate, scale).numpy(), theirs, atol=1e-12)


def by_hand(audio: np.ndarray, rate: int, n_mels: int, scale: str) -> np.ndarray:
    """(F, T): scipy's window, numpy's transform, mean 0 and variance 1."""
    window, hop = round(0.025 * rate), round(0.01 * rate)
    audio = (audio - audio.mean()) / audio.std()
    frames = np.lib.stride_tricks.sliding_window_view(audio, window)[::hop] * scipy.signal.get_window("hann", window)
    n_fft = 2 ** math.ceil(math.log2(window))
    power = np.abs(np.fft.rfft(frames, n_fft)) ** 2
    features = np.log(power @ mel_filters(n_mels, n_fft, rate, scale).numpy().T * rate / n_fft + 0.001)
    return ((features - features.mean()) / features.std()).T


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("rate", [8000, 11025, 16000])
def test_features_are_the_sums_of_powers_under_the_filters(rate, scale):
    audio = np.random.default_rng(0).normal(size=rate) * np.linspace(0.1, 2, rate) + 0.3
    found = compute_log_mel(torch.from_numpy(audio), rate, 40, scale=scale)
    np.testing.assert_allclose(found.numpy(), by_hand(audio, rate, 40, scale), atol=1e-9)


def test_one_filter_a_bin_of_area_one_changes_nothing():
    audio = torch.randn(8000, dtype=torch.float64)
    plain = compute_spectrogram(audio, n_fft=128)
    torch.testing.assert_close(compute_spectrogram(audio, n_fft=128, filters=torch.eye(65, dtype=torch.float64)), plain)


def test_features_know_their_bins_frames_and_normalisation():
    corpus = CorpusStatistics(0.5, (1.0,) * 40, (2.0,) * 40)
    audio = torch.randn(9000)
    features = Features("logmel", 8000, window_ms=25, n_mels=40)
    assert features(audio).shape == (40, features.frames(9000 / 8000)) and features.bins == 40
    torch.testing.assert_close(features(audio), compute_log_mel(audio, 8000, 40))
    over = Features("logmel", 8000, window_ms=25, n_mels=40, normalisation="corpus", corpus=corpus)
    torch.testing.assert_close(over(audio), compute_log_mel(audio, 8000, 40, corpus=corpus))
    torch.testing.assert_close(over(audio)[:, :9], over(audio[: over.window + 8 * over.hop]))  # no frame sees the future


def test_other_scales_and_filters_without_a_bin_are_refused():
    with pytest.raises(ValueError, match="the mel scale is 'slaney' or 'htk', not 'bark'"):
        mel_filters(40, 512, 16000, "bark")
    with pytest.raises(ValueError, match=r"200 mel filters are too many for 257 bins at 16000 Hz: filter . gets none"):
        compute_log_mel(torch.randn(16000), n_mels=200)
    with pytest.raises(ValueError, match="n_mels must be at least 1, not 0"):
        Features("logmel", n_mels=0)
    with pytest.raises(ValueError, match="the features have 40"):
        Features("logmel", n_mels=40, normalisation="corpus", corpus=CorpusStatistics(1.0, (0.0,) * 33, (1.0,) * 33))
