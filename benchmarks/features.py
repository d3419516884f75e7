"""Compares this library's features with the same ones from scipy.signal.stft and, if installed, librosa.stft.

    python benchmarks/features.py [--rate 8000 --n-fft 512 128 --utterances 100 --threads 1]

All use the same window, hop, bins, logarithm and normalisation, and must agree in float64 before anything is timed. If n_fft is
smaller than the window, the others use the next multiple of n_fft and keep every k-th bin, which has the same value.
Utterances have random lengths and come one at a time; the methods take turns in one process; medians are printed. All use
float32, and scipy also float64, its default. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.signal
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine

from implementation import compute_spectrogram

HAS_LIBROSA = importlib.util.find_spec("librosa") is not None
if HAS_LIBROSA:
    import librosa

Features = Callable[[torch.Tensor, int, int], np.ndarray]  # audio, sample rate, n_fft -> (F, T)


def with_this_library(audio: torch.Tensor, rate: int, n_fft: int) -> np.ndarray:
    return compute_spectrogram(audio, rate, n_fft=n_fft).numpy()


def with_scipy(audio: torch.Tensor, rate: int, n_fft: int) -> np.ndarray:
    window, hop, step = rate // 50, rate // 100, -(-rate // 50 // n_fft)
    _, _, stft = scipy.signal.stft(
        unit_power(audio), rate, "hann", window, window - hop, step * n_fft, boundary=None, padded=False
    )
    return normalised(stft[::step] * (window // 2))  # scipy divides by the sum of the window


def with_scipy_float64(audio: torch.Tensor, rate: int, n_fft: int) -> np.ndarray:
    return with_scipy(audio.double(), rate, n_fft)


def with_librosa(audio: torch.Tensor, rate: int, n_fft: int) -> np.ndarray:
    window, hop, step = rate // 50, rate // 100, -(-rate // 50 // n_fft)
    margin = step * n_fft - window  # librosa puts the window in the middle of the transformed frame
    padded = np.pad(unit_power(audio), (margin // 2, margin - margin // 2))
    stft = librosa.stft(padded, n_fft=step * n_fft, hop_length=hop, win_length=window, center=False)
    return normalised(stft[::step])


def unit_power(audio: torch.Tensor) -> np.ndarray:
    samples = audio.numpy()
    samples = samples - samples.mean()
    return samples / np.sqrt(np.mean(samples**2))


def normalised(stft: np.ndarray) -> np.ndarray:
    log_power = np.log(stft.real**2 + stft.imag**2 + 1e-3)
    return (log_power - log_power.mean()) / log_power.std()


def largest_difference(methods: dict[str, Features], audio: list[torch.Tensor], rate: int, n_fft: int) -> float:
    """The largest difference from this library in float64, over all utterances and methods.

    Raises:
        SystemExit: if the difference is larger than rounding.
    """
    largest = 0.0
    for clip in audio:
        expected = with_this_library(clip.double(), rate, n_fft)
        for name, features in methods.items():
            found = features(clip.double(), rate, n_fft)
            if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=1e-8):
                sys.exit(f"{name} gives other features at {rate} Hz, n_fft {n_fft}: nothing is timed")
            largest = max(largest, float(np.abs(found - expected).max()))
    return largest


def measure(
    methods: dict[str, Features], audio: list[torch.Tensor], rate: int, n_fft: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds for all utterances, one value per round; the first round is not counted."""
    seconds = {name: [] for name in methods}
    for round_number in range(rounds + 1):
        for name, features in methods.items():
            start = time.perf_counter()
            for clip in audio:
                features(clip, rate, n_fft)
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rate", type=int, default=16000, help="sample rate in Hz")
    parser.add_argument("--n-fft", type=int, nargs="+", default=[512, 128], help="Fourier points; 128 folds the window")
    parser.add_argument("--utterances", type=int, default=100, help="number of utterances of 1 to 6 seconds")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; scipy and librosa use one")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    lengths = (args.rate * (1 + 5 * torch.rand(args.utterances))).long().tolist()
    audio = [torch.randn(n) * torch.linspace(0.1, 2, n) for n in lengths]
    methods = {"scipy.signal.stft": with_scipy, "scipy, float64": with_scipy_float64, "this library": with_this_library}
    if HAS_LIBROSA:
        methods["librosa.stft"] = with_librosa
    print(machine("torch", "numpy", "scipy", *["librosa"] * HAS_LIBROSA, threads=torch.get_num_threads()))
    print(f"{args.utterances} utterances, {sum(lengths) / args.rate:.0f} s of audio at {args.rate} Hz, {args.rounds} rounds")
    for n_fft in args.n_fft:
        difference = largest_difference(methods, audio, args.rate, n_fft)
        seconds = measure(methods, audio, args.rate, n_fft, args.rounds)
        print(f"\nn_fft {n_fft}, {n_fft // 2 + 1} bins, window {args.rate // 50}; largest difference in float64 {difference:.0e}")
        for name, values in seconds.items():
            ratios = [a / b for a, b in zip(values, seconds["this library"], strict=True)]
            low, middle, high = (1000 * f(values) for f in (min, statistics.median, max))
            print(f"{name:<18} {middle:7.1f} ms ({low:.1f} to {high:.1f}), {statistics.median(ratios):.2f} times this library's")
    if not HAS_LIBROSA:
        print("\nlibrosa is not installed: not compared")


if __name__ == "__main__":
    main()
