"""Wrong answers of exercise 1. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

ORDER = "docstring, steps 1 to 5"

MUTANTS = [
    Mutant(
        "the window is cut to the size of the transform",
        "If n_fft is smaller than the window, rfft(frames, n_fft) silently drops the rest of each frame. But the sum runs over the whole "
        "window. Fold the frame: add up its pieces of n_fft samples. No value changes, since exp(-2 pi i p n / n_fft) has period n_fft in n.",
        "docstring, step 3",
        (
            ("frames = audio.unfold(0, window, hop)  # (T, window), whole frames only", "frames = audio.unfold(0, window, hop)"),
            ("    turns = ", "    frames = frames * (torch.arange(window) < n_fft)\n    turns = "),
        ),
    ),
    Mutant(
        "no logarithm",
        "We hear loudness in ratios, and powers span many orders of magnitude. Without the logarithm the network sees only a few loud frames.",
        "ICML version (log-spectrogram)",
        (("torch.log(power + 1e-3)", "power"),),
    ),
    Mutant(
        "the amplitude instead of the power",
        "The features are the power of each bin: the square of the absolute value. log(amplitude) is half of log(power), and step 5 removes "
        "the factor of 2. But then the floor of 1e-3 is added to the wrong number.",
        "arXiv Section 3.1",
        (
            (
                "power = (frames @ angle.cos()).square() + (frames @ angle.sin()).square()",
                "power = ((frames @ angle.cos()).square() + (frames @ angle.sin()).square()).sqrt()",
            ),
        ),
    ),
    Mutant(
        "the symmetric Hann window",
        "w[n] = 0.5 - 0.5 cos(2 pi n / window) is the periodic window. Dividing by window - 1 gives the symmetric one, which is made for filters.",
        "docstring, step 3",
        (("math.pi * n / window)", "math.pi * n / (window - 1))"),),
    ),
    Mutant(
        "the window is made in float32",
        "torch.hann_window(window) and torch.arange(window) / window are float32 by default. Then a float64 clip keeps only 7 digits. "
        "Give them dtype=audio.dtype.",
        "docstring, Returns (dtype of audio)",
        (("n = torch.arange(window, dtype=audio.dtype)", "n = torch.arange(window, dtype=torch.float32)"),),
    ),
    Mutant(
        "no window at all",
        "A frame with sharp edges leaks the power of each tone into all bins. The Hann window fades the frame in and out.",
        "docstring, step 3",
        (("    frames = frames * (0.5 - 0.5 * torch.cos(2 * math.pi * n / window))\n", ""),),
    ),
    Mutant(
        "each bin is normalised by itself",
        "There is one mean and one standard deviation for the whole utterance, over frequency and time.",
        "docstring, step 5",
        (
            ("log_power - log_power.mean()", "log_power - log_power.mean(1, keepdim=True)"),
            ("log_power.std(correction=0)", "log_power.std(1, correction=0, keepdim=True)"),
        ),
    ),
    Mutant(
        "the standard deviation with N - 1",
        "torch's std() divides by N - 1. The docstring asks for division by N: correction=0.",
        "docstring, step 5",
        (("std(correction=0)", "std()"),),
    ),
    Mutant(
        "the power of the clip is not normalised",
        "The same sentence spoken twice as loud must give the same features. And the floor of 1e-3 is meant for clips of power 1.",
        "arXiv Section 3.1 (power-normalised clips)",
        (("    audio = audio / audio.square().mean().sqrt().clamp_min(1e-10)\n", ""),),
    ),
    Mutant(
        "the offset is left in",
        "A sound card may add a constant to all samples. It is not speech, but it fills the lowest bins and adds to the power.",
        "docstring, step 1",
        (("    audio = audio - audio.mean()\n", ""),),
    ),
    Mutant(
        "time and frequency are swapped",
        "The result is (F, T), frequency first. unfold gives one frame per row, (T, F).",
        "docstring, Returns",
        (("torch.log(power + 1e-3).t()", "torch.log(power + 1e-3)"),),
    ),
    Mutant(
        "the clip is padded at both ends",
        "torch.stft does so by default (center=True). Here frame t begins at sample t * hop, and only whole frames count.",
        "docstring, step 2",
        (("pad(audio, (0, max(0, window - len(audio))))", "pad(audio, (window // 2, window // 2))"),),
    ),
    Mutant(
        "window and hop are truncated, not rounded",
        "57.6 samples become 58, not 57: use round(), not int().",
        "docstring, step 2",
        (
            (
                "window, hop = round(sample_rate * window_ms / 1000), round(sample_rate * stride_ms / 1000)",
                "window, hop = int(sample_rate * window_ms / 1000), int(sample_rate * stride_ms / 1000)",
            ),
        ),
    ),
    Mutant(
        "a short clip is padded before it is normalised",
        "The zeros are not part of the clip. Compute mean and power first, and add the padding afterwards.",
        ORDER,
        (
            (
                "    audio = audio - audio.mean()\n",
                "    audio = pad(audio, (0, max(0, window - len(audio))))\n    audio = audio - audio.mean()\n",
            ),
        ),
    ),
    Mutant(
        "the power of the clip is computed in float32",
        "Then a float64 clip keeps only 7 digits of its root mean square, and squares above 3e38 overflow. Keep the dtype of the clip.",
        "docstring, Returns (dtype of audio)",
        (
            (
                "    audio = audio / audio.square().mean().sqrt().clamp_min(1e-10)\n",
                "    audio = audio / audio.float().square().mean().sqrt().clamp_min(1e-10).to(audio.dtype)\n",
            ),
        ),
    ),
]
