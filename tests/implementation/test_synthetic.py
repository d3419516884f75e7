"""The synthetic voice: reproducible, complete, and double letters can be heard."""

from __future__ import annotations

import ast
import inspect
import string
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

import implementation
from implementation import (
    SYNTHETIC_WORDS,
    TRAINING_SPEAKERS,
    VALIDATION_SPEAKERS,
    CharEncoder,
    generate_synthetic_audio,
    generate_synthetic_dataset,
)

CHARACTERS = string.ascii_lowercase + " '"
spoken = st.text(CHARACTERS, min_size=1, max_size=12).filter(str.strip)


def speak(text: str, numpy_seed: int = 0, torch_seed: int = 0, **arguments) -> torch.Tensor:
    np.random.seed(numpy_seed)
    torch.manual_seed(torch_seed)
    return generate_synthetic_audio(text, **arguments)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


def test_the_same_seeds_give_the_same_audio():
    assert same(speak("hello"), speak("hello"))


def test_both_seeds_matter():
    assert not same(speak("hello"), speak("hello", numpy_seed=1))
    assert not same(speak("hello"), speak("hello", torch_seed=1))


def test_the_same_seeds_give_the_same_dataset():
    def dataset():
        np.random.seed(3)
        torch.manual_seed(3)
        return generate_synthetic_dataset(3)

    for first, second in zip(dataset(), dataset(), strict=True):
        assert first.transcript == second.transcript
        assert same(first.audio, second.audio)


@settings(max_examples=15)
@given(spoken, st.sampled_from([8000, 11025, 16000, 44100]), st.integers(0, 599))
@example("'", 8000, 0)
@example(CHARACTERS.upper(), 16000, 0)
def test_audio_is_finite_and_peaks_at_one_half(text, sample_rate, speaker):
    audio = generate_synthetic_audio(text, sample_rate, speaker)
    assert audio.dim() == 1
    assert torch.isfinite(audio).all()
    assert float(audio.abs().max()) == pytest.approx(0.5)


def test_the_sample_rate_does_not_change_the_duration():
    seconds = [len(speak("yellow book", sample_rate=rate, speaker=1)) / rate for rate in (8000, 16000, 22050)]
    assert np.ptp(seconds) < 0.02


def test_speakers_differ_and_a_speaker_stays_the_same():
    assert same(speak("moon", speaker=4), speak("moon", speaker=4))
    assert not same(speak("moon", speaker=4), speak("moon", speaker=5))


def test_snr_sets_the_noise():
    """In the pause around a loud word there is nothing but noise: 30 dB more of it at 10 than at 40 dB."""
    levels = [20 * np.log10(float(speak("aaa", speaker=1, snr_db=snr)[:480].square().mean().sqrt())) for snr in (10, 40)]
    assert levels[0] - levels[1] == pytest.approx(30, abs=2)


def envelope_peaks(audio: torch.Tensor) -> int:
    """Separate sounds of a 16 kHz clip: peaks of the 20 ms envelope with dips of 10 dB between them."""
    power = uniform_filter1d(audio.double().square().numpy(), 320)
    decibels = 10 * np.log10(power / power.max() + 1e-6)
    return len(find_peaks(decibels, height=-12, prominence=10)[0])


@pytest.mark.parametrize("letter", "lepst")
def test_a_double_letter_is_heard_as_two(letter):
    for seed in range(5):
        assert envelope_peaks(speak(letter, seed, seed, speaker=seed, snr_db=60)) == 1
        assert envelope_peaks(speak(2 * letter, seed, seed, speaker=seed, snr_db=60)) == 2


@settings(max_examples=15)
@given(spoken, st.integers(0, 599))
@example("''''''''''''", 0)
@example("tttttttttttt", 0)
def test_ctc_can_spell_every_utterance_at_a_stride_of_two(text, speaker):
    frames = 1 + (len(generate_synthetic_audio(text, 8000, speaker)) - 160) // 80
    assert (frames + 1) // 2 >= len(text) + sum(a == b for a, b in pairwise(text))


def test_the_words_and_the_space_cover_the_alphabet():
    assert set("".join(SYNTHETIC_WORDS)) | {" "} == set(CHARACTERS)
    assert CharEncoder().vocab_size == len(CHARACTERS) + 1


def test_many_words_have_a_double_letter():
    double = [word for word in SYNTHETIC_WORDS if any(a == b for a, b in pairwise(word))]
    assert len(double) >= 20
    assert "hello" in double


def test_no_word_stands_twice():
    assert len(set(SYNTHETIC_WORDS)) == len(SYNTHETIC_WORDS)


def test_validation_voices_are_not_among_the_training_voices():
    assert not set(TRAINING_SPEAKERS) & set(VALIDATION_SPEAKERS)


@pytest.fixture
def voices(monkeypatch) -> list[int]:
    """The numbers of the voices that are used, in order."""
    used, voice = [], implementation._synthetic_speaker
    monkeypatch.setattr(implementation, "_synthetic_speaker", lambda speaker: used.append(speaker) or voice(speaker))
    return used


def test_the_dataset_uses_only_the_voices_it_was_given(voices):
    generate_synthetic_dataset(12, 8000, 1, 1, VALIDATION_SPEAKERS)
    assert set(voices) <= set(VALIDATION_SPEAKERS)
    assert len(set(voices)) > 6


def test_without_a_choice_training_voices_are_used(voices):
    generate_synthetic_dataset(6, 8000, 1, 1)
    for _ in range(6):
        generate_synthetic_audio("a", 8000)
    assert set(voices) <= set(TRAINING_SPEAKERS)
    assert len(set(voices)) > 6


def test_the_dataset_has_the_stated_words_and_sizes():
    dataset = generate_synthetic_dataset(20, 8000, 2, 4)
    words = [sample.transcript.split(" ") for sample in dataset]
    assert {len(utterance) for utterance in words} == {2, 3, 4}
    assert {word for utterance in words for word in utterance} <= set(SYNTHETIC_WORDS)
    assert {sample.sample_rate for sample in dataset} == {8000}
    assert dataset[0].seconds == len(dataset[0].audio) / 8000


@pytest.mark.parametrize("text", ["", "  ", "3 apples", "naïve"])
def test_a_text_without_sounds_is_refused(text):
    with pytest.raises(ValueError, match="the synthetic voice"):
        generate_synthetic_audio(text)


def test_characters_without_a_sound_are_named_and_a_text_without_them_offered():
    with pytest.raises(ValueError, match=r"no sound for ',' '!' in 'hello, world!', .* or leave them out: 'hello world'$"):
        generate_synthetic_audio("Hello, World!")
    with pytest.raises(ValueError, match=r"no sound for '7' in '7', .*: spell them out$"):
        generate_synthetic_audio("7")


def test_a_rate_too_low_for_the_voice_is_refused():
    with pytest.raises(ValueError, match="needs a sample rate of at least 8000 Hz, not 4000"):
        generate_synthetic_audio("hello", 4000)


@pytest.mark.parametrize(("least", "most"), [(0, 2), (3, 2)])
def test_impossible_numbers_of_words_are_refused(least, most):
    with pytest.raises(ValueError, match="min_words"):
        generate_synthetic_dataset(1, 8000, least, most)


def test_the_voice_takes_at_most_120_lines():
    body = ast.parse(inspect.getsource(implementation)).body
    [start] = [node.lineno for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_SOUNDS"]
    [end] = [node.end_lineno for node in body if getattr(node, "name", "") == "generate_synthetic_dataset"]
    assert 50 < end - start + 1 <= 120
