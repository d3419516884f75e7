"""The features against a sum written out and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from implementation import CorpusStatistics, Features, compute_spectrogram


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    """Noise that grows louder, so that frames differ."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=samples) * np.linspace(0.1, 2, samples))


def power_normalised(audio: torch.Tensor) -> np.ndarray:
    return (audio.numpy() - audio.numpy().mean()) / audio.numpy().std()


def unit_power(audio: torch.Tensor) -> np.ndarray:
    """Without its constant offset, and with mean power 1."""
    return (audio.numpy() - audio.numpy().mean()) / audio.numpy().std()


def normalised(power: np.ndarray) -> np.ndarray:
    features = np.log(power + 1e-3)
    return (features - features.mean()) / features.std()


def direct(audio: torch.Tensor, sample_rate: int, n_fft: int, window: int | None = None) -> np.ndarray:
    """The sum of the docstring term by term: frames of 20 ms every 10 ms, periodic Hann window, every sample of it."""
    a = power_normalised(audio)
    window, hop = window or sample_rate // 50, sample_rate // 100
    n, p = np.arange(window), np.arange(n_fft // 2 + 1)
    hann = np.sin(np.pi * n / window) ** 2
    frames = np.stack([hann * a[start : start + window] for start in range(0, len(a) - window + 1, hop)])
    return normalised(np.abs(frames @ np.exp(-2j * np.pi * np.outer(n, p) / n_fft)).T ** 2)


@pytest.mark.parametrize(
    ("sample_rate", "n_fft"), [(16000, 512), (16000, 320), (16000, 256), (8000, 128), (8000, 64), (44100, 512)]
)
def test_equals_the_sum_written_out(sample_rate, n_fft):
    audio = noise(sample_rate // 10 + 37)
    np.testing.assert_allclose(compute_spectrogram(audio, sample_rate, n_fft=n_fft), direct(audio, sample_rate, n_fft), atol=1e-9)


@pytest.mark.parametrize(("sample_rate", "n_fft"), [(16000, 512), (8000, 256)])
def test_equals_scipy(sample_rate, n_fft):
    audio = noise(sample_rate // 5 + 11)
    window = scipy.signal.get_window("hann", sample_rate // 50)
    _, _, stft = scipy.signal.stft(
        power_normalised(audio), sample_rate, window, len(window), len(window) // 2, n_fft,
        boundary=None, padded=False,
    )  # fmt: skip
    expected = normalised(np.abs(stft * window.sum()) ** 2)
    np.testing.assert_allclose(compute_spectrogram(audio, sample_rate, n_fft=n_fft), expected, atol=1e-9)


def test_129_bins_still_see_the_whole_window_of_320_samples():
    audio = noise(1600)
    features = compute_spectrogram(audio, 16000, n_fft=256)
    assert features.shape == (129, 9)
    np.testing.assert_allclose(features, direct(audio, 16000, 256), atol=1e-9)
    cut = direct(audio, 16000, 256, window=256)[:, :9]
    assert np.abs(features.numpy() - cut).max() > 0.5


def test_every_second_bin_of_512_points_is_a_bin_of_256():
    """Only the mean and the deviation of the utterance differ, so the correlation is perfect."""
    few, many = (compute_spectrogram(noise(1600), 16000, n_fft=n_fft).flatten() for n_fft in (256, 512))
    many = many.view(257, -1)[::2].flatten()
    assert np.corrcoef(few, many)[0, 1] == pytest.approx(1, abs=1e-12)


@given(st.integers(1, 2000), st.sampled_from([8000, 16000]), st.sampled_from([64, 128, 512]))
def test_there_is_a_frame_every_10_ms_and_at_least_one(samples, sample_rate, n_fft):
    frames = 1 + max(0, samples - sample_rate // 50) // (sample_rate // 100)
    assert compute_spectrogram(noise(samples), sample_rate, n_fft=n_fft).shape == (n_fft // 2 + 1, frames)


@given(st.integers(100, 3000), st.integers(0, 9))
def test_features_have_mean_0_and_deviation_1(samples, seed):
    features = compute_spectrogram(noise(samples, seed), 16000, n_fft=128)
    assert float(features.mean()) == pytest.approx(0, abs=1e-9)
    assert float(features.std(correction=0)) == pytest.approx(1, abs=1e-9)


@settings(max_examples=10)
@given(st.floats(-6, 6))
def test_loudness_does_not_matter(exponent):
    features = [compute_spectrogram(noise(1000) * scale) for scale in (1, 10**exponent)]
    torch.testing.assert_close(*features, atol=1e-7, rtol=0)


def test_a_constant_offset_does_not_matter():
    torch.testing.assert_close(compute_spectrogram(noise(1000) + 5), compute_spectrogram(noise(1000)), atol=1e-9, rtol=0)


def test_a_tone_stands_in_its_bin():
    tone = torch.sin(2 * np.pi * 1000 * torch.arange(8000) / 8000)
    assert compute_spectrogram(tone, 8000, n_fft=256).argmax(0).unique().tolist() == [1000 * 256 // 8000]


def test_window_and_stride_may_be_chosen():
    assert compute_spectrogram(noise(1600), 16000, window_ms=25, stride_ms=5, n_fft=512).shape == (257, 1 + (1600 - 400) // 80)


def test_a_clip_shorter_than_a_window_gets_zeros_to_one():
    audio = noise(100)
    power = np.abs(np.fft.rfft(np.r_[power_normalised(audio), np.zeros(220)] * np.hanning(321)[:320], 512)) ** 2
    np.testing.assert_allclose(compute_spectrogram(audio, 16000)[:, 0], normalised(power), atol=1e-9)


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_silence_is_finite(level):
    assert torch.isfinite(compute_spectrogram(torch.full((1000,), level))).all()


def test_the_dtype_stays_and_integers_are_taken():
    audio = (noise(1000) * 1000).round()
    assert compute_spectrogram(audio).dtype == torch.float64
    features = compute_spectrogram(audio.to(torch.int16))
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.double(), compute_spectrogram(audio), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("audio", "n_fft", "message"),
    [
        (torch.zeros(0), 512, "at least one sample"),
        (torch.zeros(2, 400), 512, r"one channel.*\(2, 400\)"),
        (torch.tensor([0.0, float("nan")]), 512, "not finite"),
        (torch.tensor([0.0, float("inf")]), 512, "not finite"),
        (torch.ones(400), 255, "even.*255"),
        (torch.ones(400), 0, "even.*0"),
    ],
)
def test_what_has_no_spectrogram_is_refused(audio, n_fft, message):
    with pytest.raises(ValueError, match=message):
        compute_spectrogram(audio, n_fft=n_fft)


def test_a_constant_offset_of_the_sound_card_changes_nothing():
    audio = torch.randn(4000, dtype=torch.float64)
    torch.testing.assert_close(compute_spectrogram(audio + 3.0), compute_spectrogram(audio), atol=1e-6, rtol=0)


@given(st.sampled_from([8000, 11025, 16000, 22050]), st.floats(0.001, 3), st.sampled_from([64, 128, 512]))
def test_features_know_their_bins_frames_and_seconds(rate, seconds, n_fft):
    features = Features(sample_rate=rate, n_fft=n_fft)
    audio = torch.randn(max(1, round(seconds * rate)))
    computed = features(audio)
    torch.testing.assert_close(computed, compute_spectrogram(audio, rate, n_fft=n_fft))
    assert computed.shape == (features.bins, features.frames(len(audio) / rate))
    assert features.seconds_per_frame == features.hop / rate == round(rate / 100) / rate


def test_over_a_corpus_each_bin_is_normalised_by_the_statistics_given():
    audio, rng = torch.randn(4000, dtype=torch.float64), np.random.default_rng(0)
    mean, deviation = rng.normal(size=33), rng.uniform(0.5, 2, 33)
    corpus = CorpusStatistics(0.25, tuple(mean), tuple(deviation))
    found = Features(n_fft=64, normalisation="corpus", corpus=corpus)(audio)
    frames = np.lib.stride_tricks.sliding_window_view(audio.numpy() / 0.25, 320)[::160] * scipy.signal.get_window("hann", 320)
    power = np.abs(frames @ np.exp(-2j * np.pi * np.outer(np.arange(320), np.arange(33)) / 64)) ** 2  # (T, F)
    expected = (np.log(power + 0.001) - mean) / deviation
    np.testing.assert_allclose(found.t().numpy(), expected, atol=1e-9)


def test_over_a_corpus_a_frame_does_not_depend_on_those_behind_it():
    features = Features(n_fft=64, normalisation="corpus", corpus=CorpusStatistics(0.25, (0.0,) * 33, (1.0,) * 33))
    audio = torch.randn(4000)
    torch.testing.assert_close(features(audio)[:, :5], features(audio[: 320 + 4 * 160]))


def test_statistics_that_are_missing_or_of_other_bins_are_refused():
    with pytest.raises(ValueError, match="need its statistics"):
        Features(normalisation="corpus")(torch.randn(400))
    with pytest.raises(ValueError, match="statistics have 33 bins, but the features have 65"):
        Features(n_fft=128, normalisation="corpus", corpus=CorpusStatistics(1.0, (0.0,) * 33, (1.0,) * 33))


def test_features_of_another_kind_or_without_samples_are_refused():
    with pytest.raises(ValueError, match="not 'mfcc'"):
        Features(kind="mfcc")
    with pytest.raises(ValueError, match=r"a window of 20\.0 ms or a hop of 0\.01 ms holds no sample"):
        Features(stride_ms=0.01)
