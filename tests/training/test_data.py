"""What is trained on: fixed by seed, epoch and index; lengths known beforehand; threads change nothing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import soundfile
import torch

from implementation import AudioSample, CharEncoder, Features, generate_synthetic_dataset
from models.checkpoints import ModelConfig
from speech.augmentation import Augmentation
from speech.corpora import Problem, Utterance, read_corpus
from speech.datasets import JoinedDataset, SpeechDataset
from trainers import SMALL, make_trainer
from training.data import TrainingSet, corpus_features


def test_threads_do_not_change_the_features():
    sample = AudioSample(torch.randn(160000), 16000, "a")  # long enough for its sums to be divided among threads
    data = TrainingSet([sample], CharEncoder(), ModelConfig().build(CharEncoder()), Augmentation())
    threads, items = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            items.append(data[0][0])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(items[0], items[1]) and torch.equal(items[0], items[2])


def test_is_fixed_by_seed_epoch_and_index():
    data = make_trainer().data
    first = data[2][0]
    data.set_epoch(1)
    other = data[2][0]
    data.set_epoch(0)
    assert torch.equal(first, data[2][0]) and first.shape != other.shape


def test_lengths_are_known_beforehand():
    data = make_trainer().data
    data.set_epoch(2)
    assert data.seconds != [sample.seconds for sample in data.samples]
    for index, seconds in enumerate(data.seconds):
        assert data[index][0].shape[1] == pytest.approx(seconds * 100, abs=3)


def test_an_utterance_made_too_short_is_taken_unchanged():
    encoder = CharEncoder()
    model = SMALL.build(encoder)
    audio = torch.randn(16000 * 8 // 100)  # just enough for "all"
    data = TrainingSet([AudioSample(audio, 16000, "all")], encoder, model, Augmentation(speed=0.5, tempo=0.5))
    for epoch in range(20):
        data.set_epoch(epoch)
        features, _ = data[0]
        assert int(model.output_lengths(torch.tensor([features.shape[1]]))) >= 4


def test_over_the_training_corpus_every_bin_has_mean_0_and_deviation_1():
    samples = generate_synthetic_dataset(12)
    for sample, gain in zip(samples, np.linspace(0.1, 2, 12), strict=True):
        sample.audio *= float(gain)
    features = corpus_features(Features(n_fft=64), samples)
    rows = torch.cat([features(sample.audio) for sample in samples], 1)  # (F, T of all)
    torch.testing.assert_close(rows.mean(1), torch.zeros(33), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows.std(1, unbiased=False), torch.ones(33), atol=1e-4, rtol=0)
    level = torch.cat([sample.audio for sample in samples]).square().mean().sqrt()
    assert features.normalisation == "corpus" and features.corpus.level == pytest.approx(float(level), rel=1e-5)


def test_silent_speech_gives_no_statistics():
    with pytest.raises(ValueError, match="the training speech is silent"):
        corpus_features(Features(n_fft=64), [AudioSample(torch.zeros(800), 16000, "a")])


def test_a_joined_item_is_named_by_all_its_files(tmp_path):
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(8000), 8000)
    (tmp_path / "manifest.tsv").write_text(
        "path\tspeaker\tsplit\ttranscript\n" + "".join(f"{n}.wav\ts\ttrain\tword {'abcd'[n]}\n" for n in range(4))
    )
    encoder, corpus = CharEncoder(), read_corpus(tmp_path)
    joined = JoinedDataset(SpeechDataset(corpus.utterances, 8000), 3)
    data = TrainingSet(joined, encoder, SMALL.build(encoder))
    for index in range(4):
        files = [name.rsplit("/", 1)[-1] for name in data.name(index).split(" + ")]
        assert [f"word {'abcd'[int(name[0])]}" for name in files] == joined[index].transcript.replace(" word", "|word").split("|")


def test_its_pickle_holds_no_network():
    encoder = CharEncoder()
    model = ModelConfig().build(encoder)
    data = TrainingSet([AudioSample(torch.randn(1600), 16000, "a")], encoder, model, Augmentation())
    stored = pickle.dumps(data)
    assert len(stored) < 50_000 < 1_000_000 < 4 * sum(p.numel() for p in model.parameters())
    assert torch.equal(pickle.loads(stored)[0][0], data[0][0])


def test_features_and_lengths_are_those_of_the_model():
    encoder, features = CharEncoder(), Features(sample_rate=11025, window_ms=30.0, stride_ms=15.0, n_fft=64)
    model = ModelConfig(features, n_conv=1, n_rnn=1, rnn_hidden=8, time_strides=[3]).build(encoder)
    sample = AudioSample(torch.randn(11025), 11025, "hello")
    found, _ = TrainingSet([sample], encoder, model)[0]
    torch.testing.assert_close(found, features(sample.audio), atol=1e-4, rtol=1e-4)
    assert found.shape == (33, 1 + (11025 - 331) // 165)
    outputs = -(-found.shape[1] // 3)
    for letters in (outputs, outputs + 1):
        item = TrainingSet([AudioSample(sample.audio, 11025, ("ab" * 60)[:letters])], encoder, model)[0]
        assert isinstance(item, Problem) == (letters > outputs)


def test_the_joins_are_those_of_the_epoch(tmp_path):
    for number in range(5):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(8000), 8000)
    speech = SpeechDataset([Utterance(tmp_path / f"{n}.wav", "abcde"[n], "s", "train", 1.0) for n in range(5)], 8000)
    data, joined, seen = (
        TrainingSet(JoinedDataset(speech, 4), CharEncoder(), SMALL.build(CharEncoder())),
        JoinedDataset(speech, 4),
        [],
    )
    for epoch in (0, 1, 2, 0):
        data.set_epoch(epoch)
        joined.set_epoch(epoch)
        seen.append([data[index][1] for index in range(5)])
        assert seen[-1] == joined.transcripts and data.seconds == joined.seconds
    assert seen[0] == seen[3] and len({tuple(texts) for texts in seen}) == 3
