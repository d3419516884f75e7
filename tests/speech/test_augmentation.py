"""Augmentation: each change does what it says, no more, and all off changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from implementation import compute_spectrogram
from speech.augmentation import SENTENCE_AUGMENTATION, Augmentation, Timing, _warped_bins, add_noise


def test_noise_has_the_ratio_asked_for():
    audio = torch.sin(torch.arange(16000) / 5)
    noise = add_noise(audio, 10.0, np.random.default_rng(0)) - audio
    assert 10 * torch.log10(audio.square().mean() / noise.square().mean()) == pytest.approx(10.0, abs=1e-3)


def test_all_off_changes_nothing():
    none = Augmentation(
        trim_ms=0, speed=0, tempo=0, tract=0, gain_db=0, noise_share=0, channel=0, time_masks=0, frequency_masks=0
    )
    audio, rng = torch.randn(4000), np.random.default_rng(0)
    assert none.draw_timing(0.5, rng) == Timing()
    assert torch.equal(none.change_audio(audio, 8000, Timing(), rng), audio)
    features = compute_spectrogram(audio, 8000, n_fft=128)
    torch.testing.assert_close(none.change_features(features, 1.0, rng), features, atol=1e-4, rtol=0)


def test_speed_moves_pitch_and_length_together():
    alone = Augmentation(gain_db=0, noise_share=0)
    audio = torch.sin(2 * np.pi * 500 * torch.arange(16000) / 16000)
    changed = alone.change_audio(audio, 16000, Timing(speed=1.25), np.random.default_rng(0))
    peak = torch.fft.rfft(changed).abs().argmax() * 16000 / len(changed)
    assert len(changed) == pytest.approx(16000 / 1.25, rel=0.001) and float(peak) == pytest.approx(625, rel=0.01)


def test_ends_are_cut_every_second_time_and_never_far():
    rng, audio = np.random.default_rng(0), torch.arange(8000.0)
    timings = [Augmentation().draw_timing(0.2, rng) for _ in range(400)] + [Augmentation().draw_timing(5.0, rng)] * 100
    assert 0.4 < np.mean([timing.start > 0 for timing in timings[:400]]) < 0.6
    assert all(0 <= cut <= 0.03 for timing in timings[:400] for cut in (timing.start, timing.end))
    assert max(timing.end for timing in timings[:400]) > 0.028 and timings[-1].start <= 0.06
    kept = Augmentation(gain_db=0, noise_share=0).change_audio(audio, 8000, Timing(start=0.1, end=0.25), rng)
    assert torch.equal(kept, audio[800:6000])
    assert Timing(0.1, 0.25, 1.25, 0.8).seconds(1.0) == pytest.approx(0.65)


def test_tract_moves_resonances_up_and_down_within_the_band():
    for stretch in (0.8, 0.9, 1.0, 1.1, 1.2):
        places = _warped_bins(65, stretch)
        assert places[0] == 0 and float(places[-1]) == pytest.approx(64, abs=1e-3)
        assert bool((places.diff() > 0).all())
        assert float(places[20]) == pytest.approx(20 * stretch, abs=1e-4)


def hidden(augmentation: Augmentation, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Masked shares of the frames and of the bins, (200,) each, of features that are 1 everywhere."""
    alone = replace(augmentation, tract=0, channel=0)
    made = [alone.change_features(torch.ones(80, frames), 1.0, np.random.default_rng(seed)) for seed in range(200)]
    return np.array([(f == 0).all(0).float().mean() for f in made]), np.array([(f == 0).all(1).float().mean() for f in made])


def test_masks_of_sentences_grow_with_the_utterance():
    in_frames, in_bins = hidden(SENTENCE_AUGMENTATION, 800)  # ten spans of 0 to 20 frames, 10 in the mean, 1/8 in all
    assert 0.10 < in_frames.mean() < 0.13 and in_frames.max() <= 10 * 20 / 800  # some overlap
    assert 0.14 < in_bins.mean() < 0.21 and in_bins.max() <= 2 * 16 / 80  # two bands of 0 to 16 bins
    longer, _ = hidden(SENTENCE_AUGMENTATION, 1600)
    assert abs(longer.mean() - in_frames.mean()) < 0.01
    short, _ = hidden(SENTENCE_AUGMENTATION, 30)  # one span, of at most a third
    assert short.mean() > 0 and short.max() <= 10 / 30


def test_masks_of_words_stay_few_however_long_the_utterance():
    in_frames, in_bins = hidden(Augmentation(), 800)
    assert 0 < in_frames.max() <= 3 / 800 and 0 < in_bins.max() <= 9 / 80
