"""Check of exercise 1: framing and the log spectrogram."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import torch

from ladder import Ladder
from sizes import for_sizes

READY = "write out the frames and the sum yourself; torch.fft.rfft is allowed"
ROUNDING = (1e-2, 1e-2)  # of float32: angles that are not reduced modulo 2 pi cost 2e-3; float64 is held to 1e-7
ladder = Ladder(
    "exercise_01_spectrogram",
    names=("compute_spectrogram",),
    forbidden=dict.fromkeys(("stft", "spectrogram", "Spectrogram", "torchaudio"), READY),
    operations=("stft",),
)


def reference(audio: np.ndarray, rate: int, window_ms: float, stride_ms: float, n_fft: int) -> torch.Tensor:
    """The five steps in NumPy: numpy.fft where the frame fits, the sum written out where it does not."""
    window, hop = round(rate * window_ms / 1000), round(rate * stride_ms / 1000)
    a = np.asarray(audio, dtype=np.float64)
    a = a - a.mean()
    a = a / max(np.sqrt((a**2).mean()), 1e-10)
    a = np.concatenate((a, np.zeros(max(0, window - len(a)))))
    columns = []
    for start in range(0, len(a) - window + 1, hop):
        frame = a[start : start + window] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window))
        if n_fft >= window:
            spectrum = np.fft.rfft(frame, n_fft)
        else:
            exponents = np.outer(np.arange(n_fft // 2 + 1), np.arange(window))
            spectrum = (frame * np.exp(-2j * np.pi * exponents / n_fft)).sum(1)
        columns.append(np.log(np.abs(spectrum) ** 2 + 1e-3))
    x = np.stack(columns, axis=1)
    return torch.from_numpy((x - x.mean()) / max(x.std(), 1e-5))


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    """Coloured noise that swells, float64."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(samples, generator=generator, dtype=torch.float64).cumsum(0) * 0.1 * torch.linspace(0.2, 2, samples).double()
    )


def agree(
    check, answer, audio: torch.Tensor, *settings, what: str = "features against numpy.fft", wanted: torch.Tensor | None = None
) -> None:
    wanted = reference(audio.numpy(), *settings) if wanted is None else wanted
    got = check.call(answer.compute_spectrogram, audio, *settings)
    check.close(what, got, wanted, (1e-7, 1e-7))


@ladder.step("shape and dtype")
def shapes(answer, check):
    got = check.call(answer.compute_spectrogram, noise(16000).float())
    check.close("features of one second, all default settings", got * 0, torch.zeros(257, 99))
    got = check.call(answer.compute_spectrogram, noise(4000), 8000, 25.0, 10.0, 256)
    check.close("features of half a second of float64", got * 0, torch.zeros(129, 48, dtype=torch.float64))


@ladder.step("the worked example")
def worked_example(answer, check):
    clip = torch.tensor([0.0, 2.0, 0.0, -2.0, 0.0, 2.0, 0.0, -2.0], dtype=torch.float64)
    got = check.call(answer.compute_spectrogram, clip, 1000, 4, 2, 4)
    column = torch.tensor([-(0.5**0.5), 2**0.5, -(0.5**0.5)], dtype=torch.float64)
    check.close("features of the example", got, column[:, None].expand(3, 3), (1e-4, 1e-4))
    got = check.call(answer.compute_spectrogram, clip * 3 + 5, sample_rate=1000, window_ms=4, stride_ms=2, n_fft=4)
    check.close(
        "features of the example, three times as loud with an offset of 5", got, column[:, None].expand(3, 3), (1e-4, 1e-4)
    )


@ladder.step("numpy.fft on random clips")
def oracle(answer, check):
    for seed, (samples, *settings) in enumerate(
        [(2000, 16000, 20.0, 10.0, 512), (1777, 8000, 25.0, 10.0, 256), (1000, 16000, 20.0, 5.0, 320), (900, 8000, 7.2, 3.3, 64)]
    ):
        agree(check, answer, noise(samples, seed), *settings)
    for n_fft in (256, 128, 34, 2):
        agree(
            check,
            answer,
            noise(1500, 9),
            16000,
            20.0,
            10.0,
            n_fft,
            what=f"features with n_fft = {n_fft} below the window of 320 samples",
        )


@ladder.step("a property: loudness and offset do not matter")
def invariance(answer, check):
    audio = noise(3000, 4) + 0.01
    wanted = reference(audio.numpy(), 16000, 20.0, 10.0, 512)
    for factor, offset in ((100.0, 0.0), (1e-4, 0.0), (-1.0, 0.0), (1.0, 3.0), (1e-3, -0.5)):
        got = check.call(answer.compute_spectrogram, audio * factor + offset)
        check.close(f"features of the clip times {factor:g} plus {offset:g}", got, wanted, (1e-4, 1e-4))
    quiet = torch.cat((torch.zeros(1000, dtype=torch.float64), noise(2000, 5), torch.zeros(1500, dtype=torch.float64)))
    agree(check, answer, quiet - quiet.mean(), 16000, 20.0, 10.0, 512, what="features of a clip with pauses of digital silence")


@ladder.step("traps: short, constant, whole numbers, float32")
def traps(answer, check):
    for samples in (1, 7, 319, 320, 321, 479, 480, 481):
        agree(
            check,
            answer,
            noise(samples, samples) + 0.3,
            16000,
            20.0,
            10.0,
            512,
            what=f"features of a clip of {samples} samples (window 320, hop 160)",
        )
    got = check.call(answer.compute_spectrogram, torch.full((1000,), 0.25, dtype=torch.float64))
    check.close("features of a constant clip", got, torch.zeros(257, 5, dtype=torch.float64), (0.0, 1e-6))
    got = check.call(answer.compute_spectrogram, torch.zeros(100))
    check.close("features of silence (except for rounding)", got, torch.zeros(257, 1), (0.0, 0.5))
    whole = (noise(2000, 3) * 1000).to(torch.int16)
    wanted = reference(whole.numpy(), 16000, 20.0, 10.0, 512)
    got = check.call(answer.compute_spectrogram, whole)
    check.close("features of 16-bit samples", got, wanted.float(), ROUNDING)
    agree(check, answer, whole.double(), 16000, 20.0, 10.0, 512, what="features of the same samples in float64")
    single = noise(4000, 6).float()
    got = check.call(answer.compute_spectrogram, single, n_fft=256)
    check.close("features in float32", got, reference(single.numpy(), 16000, 20.0, 10.0, 256).float(), ROUNDING)
    agree(check, answer, single.double(), 16000, 20.0, 10.0, 256, what="features of the same clip in float64")


@ladder.step("traps: odd settings, quiet clips, broken ones")
def more_traps(answer, check):
    agree(
        check,
        answer,
        noise(6000, 2)[::3],
        16000,
        20.0,
        10.0,
        512,
        what="features of every third sample of a clip (not contiguous)",
    )
    agree(
        check,
        answer,
        noise(900, 1),
        11000,
        10.05,
        4.05,
        128,
        what="features with a window of 110.55 samples, that is 111, and a hop of 44.55, that is 45",
    )
    loud = noise(2000, 8)
    loud = (loud - loud.mean()) / (loud - loud.mean()).square().mean().sqrt()
    for scale in (1e-6, 1e-8, 1.5e-10, 3e-11, 1e-12, 3e-15, 1e-16):
        agree(check, answer, loud * scale, 16000, 20.0, 10.0, 512, what=f"features of a clip whose root mean square is {scale:g}")
    agree(check, answer, noise(2000, 11), 16000, 10.0, 20.0, 512, what="features with a hop twice as long as the window")
    agree(check, answer, noise(2000, 12), 16000, 5.0, 17.0, 128, what="features with a hop longer than the window")
    bad = {"an empty clip": noise(0), "two channels": noise(800).view(2, 400), "nan in it": torch.tensor([0.0, torch.nan] * 300),
           "inf in it": torch.tensor([0.0, torch.inf] * 300)}  # fmt: skip
    for name, clip in bad.items():
        check.raises(f"a clip with {name}" if "in it" in name else name, ValueError, answer.compute_spectrogram, clip)
    for n_fft in (0, 255, -2):
        check.raises("an odd n_fft, or one below 2", ValueError, answer.compute_spectrogram, noise(800), n_fft=n_fft)


@ladder.step("traps: far from zero, small and large settings, the same again")
def settings(answer, check):
    audio, loudest = noise(2000, 13), noise(2000, 15)
    far = (audio + 1e8) - 1e8  # what is left of it there
    got = check.call(answer.compute_spectrogram, far + 1e8)
    why = "E[x^2] - E[x]^2 loses digits here: subtract the mean first, then square"
    check.close(
        "features of a clip with an offset of 1e8", got, reference(far.numpy(), 16000, 20.0, 10.0, 512), (1e-5, 1e-5), why
    )
    for what, settings in (
        ("a transform of 2048 points, longer than the window", (16000, 20.0, 10.0, 2048)),
        ("a window of 3 samples, a hop of 1", (1000, 3.0, 1.0, 4)),
        ("windows that do not overlap", (8000, 10.0, 10.0, 80)),
        ("n_fft equal to the window", (16000, 20.0, 10.0, 320)),
    ):
        agree(check, answer, audio, *settings, what=f"features with {what}")
    whole = (loudest * 32767 / loudest.abs().max()).to(torch.int16)
    got = check.call(answer.compute_spectrogram, whole)
    check.close(
        "features of 16-bit samples at full scale", got, reference(whole.numpy(), 16000, 20.0, 10.0, 512).float(), ROUNDING
    )
    for dtype in (torch.int32, torch.int64, torch.uint8):
        whole = (audio * 20 + 100).to(dtype)
        got = check.call(answer.compute_spectrogram, whole)
        check.close(f"features of {dtype} samples", got, reference(whole.numpy(), 16000, 20.0, 10.0, 512).float(), ROUNDING)
    agree(check, answer, noise(1700, 14), 16000, 20.0, 10.0, 512, what="features of another clip after that")
    agree(check, answer, audio, 16000, 20.0, 10.0, 512, what="features of the first clip again")
    state = torch.get_rng_state()
    check.call(answer.compute_spectrogram, audio)
    check.that("torch's random state", bool((torch.get_rng_state() == state).all()), "changed", "as it was")


@ladder.also
def ranges(answer, check):
    """Many frames, loud and quiet clips, rates that are no multiples of 1000."""
    audio = noise(36_000, 16)
    agree(check, answer, audio, 1000, 20.0, 12.0, 16, what="features of 36 seconds, 2999 frames")
    what = "features with a window of 2000 samples, a hop of 1000, n_fft 2048"
    agree(check, answer, noise(7000, 20), 16000, 125.0, 62.5, 2048, what=what)
    click = torch.zeros(6000, dtype=torch.float64)
    click[2500] = 1.0
    agree(check, answer, click, 1000, 20.0, 12.0, 32, what="features of a single click in silence, far above the mean")
    for rate, window_ms, stride_ms in ((11025, 25.0, 10.0), (22050, 20.0, 7.0), (44100, 20.0, 12.5), (500, 12.0, 6.0)):
        what = f"features at {rate} samples a second, windows of {window_ms:g} ms, hops of {stride_ms:g} ms"
        agree(check, answer, noise(3000, 17), rate, window_ms, stride_ms, 64, what=what)
    swelling = noise(2000, 18) * torch.logspace(-4, 0, 2000, dtype=torch.float64)
    wanted = reference(swelling.numpy(), 16000, 20.0, 10.0, 512)
    for scale in (1.0, 1e-5, 1e25, 1e100):
        got = check.call(answer.compute_spectrogram, swelling * scale)
        why = "if anything on the way is float32, a float64 clip loses its digits"
        check.close(f"features of a swelling clip times {scale:g}, to nine digits", got, wanted, (1e-9, 1e-9), why)
    single = noise(2000, 19).float()
    wanted = reference(single.numpy(), 16000, 20.0, 10.0, 512).float()
    for scale in (1e15, 1e-7):
        got = check.call(answer.compute_spectrogram, single * scale)
        check.close(f"features of a float32 clip times {scale:g}", got, wanted, ROUNDING)


@ladder.also
def any_size(answer, check):
    @for_sizes(samples=st.integers(1, 300), window=st.integers(2, 50), hop=st.integers(1, 60), half=st.integers(1, 40))
    def features(samples: int, window: int, hop: int, half: int) -> None:
        what = f"features of {samples} samples, window {window}, hop {hop}, n_fft {2 * half}"
        agree(check, answer, noise(samples, samples) + 0.1, 1000, float(window), float(hop), 2 * half, what=what)


def test_exercise(climb):
    climb(ladder)
