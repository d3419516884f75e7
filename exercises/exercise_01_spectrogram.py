"""Exercise 1: framing and the log spectrogram.

Why it matters. The network never hears the waveform. It sees only this picture of the waveform. No later layer can repair a
mistake made here, such as a window that is cut short, a missing logarithm, or features that depend on how loudly a person
speaks. Nothing crashes; the error rate just stays high.

Paper. Power-normalised spectrogram: arXiv Section 3.1. Logarithm and 20 ms windows: the paper's ICML 2016 version. The
10 ms hop comes from Deep Speech 1. This library adds three steps: it removes the offset, adds a floor to the power, and
normalises the result.
Effort. 30 minutes, difficulty 2 of 3.
You may use. torch, with torch.fft and Tensor.unfold. Do not use torch.stft or another ready-made
spectrogram. The code that checks the arguments is given.
Check it. python exercises/exercise_01_spectrogram.py

What if. Replace the Hann window with ones. Look at the spectrum of a pure tone of 1010 Hz before the last normalisation. How
far from the tone do you still see power, with the window and without it?
"""

from __future__ import annotations

import torch
from torch import Tensor


def compute_spectrogram(
    audio: Tensor, sample_rate: int = 16000, window_ms: float = 20.0, stride_ms: float = 10.0, n_fft: int = 512
) -> Tensor:
    """Log power spectrogram of a power-normalised clip, normalised over the utterance. The steps, in this order:

    1. subtract the clip's mean, then divide by its root mean square, or by 1e-10 if that is larger; call the result ``a``;
    2. if the clip is shorter than one window, add zeros at its end. Cut it into frames of ``window`` samples, one frame every
       ``hop`` samples. Keep only whole frames (``window`` and ``hop`` are ``window_ms`` and ``stride_ms`` in samples, rounded
       to the nearest integer);
    3. ``power[p, t] = |sum_n w[n] a[t * hop + n] exp(-2 pi i p n / n_fft)|^2`` for p = 0 .. n_fft / 2, with the periodic Hann
       window ``w[n] = 0.5 - 0.5 cos(2 pi n / window)``. Sum over the whole window, even if n_fft is smaller;
    4. ``log(power + 1e-3)``;
    5. subtract the mean of all values. Divide by their standard deviation (with N, not N - 1), or by 1e-5 if that is larger.

    Example, to do by hand first: 1000 samples a second, window 4, hop 2, n_fft 4. The clip 0 2 0 -2 0 2 0 -2 has mean 0 and root
    mean square sqrt(2), so a = 0 1.414 0 -1.414 and so on. w = 0 0.5 1 0.5, so the first frame times w is 0 0.707 0 -0.707.
    For p = 0, 1, 2 its sums are 0, -1.414 i and 0, so the powers are 0, 2, 0. The other two frames give the same powers. The
    logarithms are -6.91, 0.69, -6.91, with mean -4.37 and standard deviation 3.58:

    >>> clip = torch.tensor([0.0, 2.0, 0.0, -2.0, 0.0, 2.0, 0.0, -2.0])
    >>> compute_spectrogram(clip, sample_rate=1000, window_ms=4, stride_ms=2, n_fft=4).round(decimals=2)
    tensor([[-0.7100, -0.7100, -0.7100],
            [ 1.4100,  1.4100,  1.4100],
            [-0.7100, -0.7100, -0.7100]])

    Args:
        audio: (samples,) waveform. It may be quiet or loud. Its dtype can hold the squares of its samples.
        sample_rate, window_ms, stride_ms: samples per second; length of the window, and hop to the next frame, in ms.
        n_fft: number of points of the Fourier transform, even.

    Returns:
        (n_fft // 2 + 1, T) features: frequency first, then time. Their dtype is that of ``audio`` (float32 for integers).
    """
    audio = torch.as_tensor(audio)
    audio = audio if audio.is_floating_point() else audio.float()
    if audio.dim() != 1 or audio.numel() == 0 or not torch.isfinite(audio).all():
        raise ValueError(f"audio must be a finite waveform of shape (samples,), not {tuple(audio.shape)}")
    if n_fft < 2 or n_fft % 2:
        raise ValueError(f"n_fft must be even and at least 2, not {n_fft}")
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
