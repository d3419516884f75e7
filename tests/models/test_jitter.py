"""Jitter at test time: the mean of three hearings, each of which is checked by hand."""

from __future__ import annotations

import pytest
import soundfile
import torch

from implementation import CharEncoder, Features, evaluate, generate_synthetic_dataset
from models.checkpoints import Checkpoint
from models.jitter import Jittered, JitteredFeatures, jittered, moved
from models.transcription import transcribe
from trainers import SMALL


def test_moved_audio_is_as_long_as_before_with_silence_at_one_end():
    audio = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert moved(audio, 1).tolist() == [0, 1, 2, 3] and moved(audio, -3).tolist() == [4, 0, 0, 0]
    assert moved(audio, 0).tolist() == audio.tolist()
    assert moved(audio, 9).tolist() == moved(audio, -9).tolist() == [0] * 4


@pytest.mark.parametrize(("rate", "stride_ms", "samples"), [(16000, 10.0, 80), (8000, 10.0, 40), (8000, 20.0, 80)])
def test_features_are_those_of_the_audio_and_of_half_a_hop_earlier_and_later(rate, stride_ms, samples):
    features = Features(sample_rate=rate, n_fft=64, stride_ms=stride_ms)
    audio = torch.randn(rate // 2)
    silence = torch.zeros(samples)
    three = [audio, torch.cat((audio[samples:], silence)), torch.cat((silence, audio[:-samples]))]
    assert torch.equal(JitteredFeatures(**vars(features))(audio), torch.cat([features(one) for one in three]))


def test_probabilities_are_the_mean_of_three_hearings():
    model = SMALL.build(CharEncoder()).double().eval()
    speech = generate_synthetic_dataset(2, 16000, max_words=1)
    averaging = Jittered(model)
    heard = [averaging.features(sample.audio).double() for sample in speech]
    lengths = torch.tensor([features.shape[1] for features in heard])
    batch = torch.zeros(2, 1, 99, int(lengths.max()), dtype=torch.float64)
    for row, features in zip(batch, heard, strict=True):
        row[0, :, : features.shape[1]] = features
    log_probs, output_lengths = averaging(batch, lengths)
    for i, sample in enumerate(speech):
        alone = [model(model.features(moved(sample.audio, n)).double()[None, None], lengths[i : i + 1])[0] for n in (-80, 0, 80)]
        mean = sum(rows.exp() for rows in alone) / 3
        assert int(output_lengths[i]) == len(mean)
        torch.testing.assert_close(log_probs[: len(mean), i].exp(), mean[:, 0], atol=1e-10, rtol=0)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)


def test_evaluation_leaves_the_model_in_its_mode_and_is_not_that_of_one_hearing():
    model, encoder, speech = SMALL.build(CharEncoder()), CharEncoder(), generate_synthetic_dataset(2, 16000, max_words=1)
    for training in (True, False):
        model.train(training)
        found = evaluate(Jittered(model), speech, encoder)
        assert model.training is training and found["n_samples"] == 2
    assert found["loss"] != evaluate(model, speech, encoder)["loss"]


def test_a_file_is_transcribed_by_the_mean(tmp_path):
    trained = Checkpoint(SMALL.build(CharEncoder()).eval(), SMALL, CharEncoder())
    sample = generate_synthetic_dataset(1, 16000, max_words=1)[0]
    soundfile.write(tmp_path / "a.wav", sample.audio.numpy(), 16000)
    once, thrice = (transcribe(one, tmp_path / "a.wav") for one in (trained, jittered(trained)))
    assert once["seconds"] == thrice["seconds"] and once["confidence"] != thrice["confidence"]
    assert type(trained.model) is not Jittered
