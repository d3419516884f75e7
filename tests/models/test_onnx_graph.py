"""The ONNX graph under onnxruntime against the torch model: all kinds of layers, random lengths, padded batches, streams."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="onnx is not installed: pip install -r requirements-export.txt")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -r requirements-export.txt")

import onnx

from implementation import CharEncoder, CorpusStatistics, Features
from models.checkpoints import Checkpoint, CheckpointError, ModelConfig
from models.onnx_graph import onnx_model
from models.onnx_runtime import OnnxModel, OnnxStream, difference
from speech.alphabets import BigramEncoder

STATISTICS = CorpusStatistics(0.07, tuple(0.1 * n for n in range(33)), tuple(1 + 0.1 * n for n in range(33)))
SPECTROGRAM = Features(sample_rate=8000, n_fft=64)  # of windows of 160 samples, folded
LOGMEL = Features(kind="logmel", sample_rate=8000, n_mels=33, window_ms=25.0)
CORPUS = dataclasses.replace(SPECTROGRAM, normalisation="corpus", corpus=STATISTICS)
LOGMEL_CORPUS = dataclasses.replace(LOGMEL, normalisation="corpus", corpus=STATISTICS)

WHOLE = {
    "gru": ModelConfig(SPECTROGRAM),
    "gru as in the paper": ModelConfig(SPECTROGRAM, batch_norm="input", time_strides=[3, 1]),
    "gru without batch norm": ModelConfig(SPECTROGRAM, batch_norm="none"),
    "rnn": ModelConfig(LOGMEL, rnn_type="rnn", n_conv=3),
    "rnn as in the paper": ModelConfig(SPECTROGRAM, rnn_type="rnn", batch_norm="input", fc_hidden=11),
    "rnn by Eq. 7": ModelConfig(SPECTROGRAM, rnn_type="rnn", batch_norm="step"),
    "lstm": ModelConfig(Features(sample_rate=11025, n_fft=512, stride_ms=25.0), rnn_type="lstm", n_conv=1),
    "lstm as in the paper, forward only": ModelConfig(LOGMEL_CORPUS, rnn_type="lstm", batch_norm="input", bidirectional=False),
    "row convolution": ModelConfig(CORPUS, bidirectional=False, row_conv=5),
    "1D convolutions": ModelConfig(SPECTROGRAM, convolutions="2-layer 1D", time_strides=[1, 2]),
    "Deep Speech 1": ModelConfig(SPECTROGRAM, model="ds1", context=3),
}
STREAMS = {
    "gru": ModelConfig(CORPUS, bidirectional=False, row_conv=5, fc_hidden=11),
    "rnn as in the paper": ModelConfig(LOGMEL_CORPUS, rnn_type="rnn", batch_norm="input", bidirectional=False),
    "lstm": ModelConfig(CORPUS, rnn_type="lstm", bidirectional=False, row_conv=2, time_strides=[1, 3]),
    "a stride above the kernel": ModelConfig(CORPUS, n_conv=1, time_strides=[13], bidirectional=False),
    "1D convolutions": ModelConfig(CORPUS, convolutions="2-layer 1D", bidirectional=False, row_conv=1),
    "Deep Speech 1": ModelConfig(CORPUS, model="ds1", context=0, bidirectional=False),
}


def trained(config: ModelConfig, encoder: CharEncoder | None = None) -> Checkpoint:
    """A small model with random weights, whose running averages, scales and biases are no ones and zeros."""
    encoder = encoder or CharEncoder()
    config = dataclasses.replace(config, rnn_hidden=12, n_rnn=2 if config.model == "ds2" else config.n_rnn)
    model = config.build(encoder).eval()
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if name.endswith("running_var"):
            value.data = 0.3 + 2 * torch.rand_like(value)
        elif name.endswith("norm.weight"):
            value.data = 0.5 + torch.rand_like(value)
        elif value.dim() == 1 or "row_convolution" in name or name.endswith("bias"):
            value.data = value.data + 0.4 * torch.randn_like(value)
    return Checkpoint(model, config, encoder)


@torch.no_grad()
def by_torch(checkpoint: Checkpoint, utterances: list[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Log-probabilities (T', B, V) and lengths of the torch model, all of them, with what stands in the padding."""
    features = [checkpoint.model.features(torch.from_numpy(samples)).t() for samples in utterances]
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True).transpose(1, 2)[:, None]  # (B, 1, F, T)
    log_probs, lengths = checkpoint.model(padded, torch.tensor([len(frames) for frames in features]))
    return log_probs.numpy(), lengths.tolist()


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_utterances_of_100_random_lengths(kind):
    checkpoint, random = trained(WHOLE[kind]), np.random.default_rng(0)
    graph = onnx_model(checkpoint)
    onnx.checker.check_model(graph, full_check=True)
    session = OnnxModel(graph.SerializeToString()).session
    for _ in range(10):
        lengths = random.integers(1, 4000, 10)
        level = np.float32(10.0 ** random.integers(-3, 1))
        utterances = [level * (0.3 + random.standard_normal(n)).astype(np.float32) for n in lengths]
        samples = np.full((10, lengths.max() + 50), np.nan, np.float32)  # whatever stands behind the end
        for row, utterance in zip(samples, utterances, strict=True):
            row[: len(utterance)] = utterance
        log_probs, output_lengths = session.run(["log_probs", "output_lengths"], {"samples": samples, "lengths": lengths})
        expected, expected_lengths = by_torch(checkpoint, utterances)
        assert output_lengths.tolist() == expected_lengths and len(log_probs) >= len(expected)
        np.testing.assert_allclose(log_probs[: len(expected)], expected, rtol=0, atol=1e-4)
    # Of silence both divide what rounding leaves of the mean by 1e-5, so they agree roughly only.
    silence = np.zeros((1, 70), np.float32)  # shorter than a window, too
    log_probs = session.run(["log_probs"], {"samples": silence, "lengths": np.array([70])})[0]
    np.testing.assert_allclose(log_probs, by_torch(checkpoint, list(silence))[0], rtol=0, atol=1.0)


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_of_random_lengths_in_pieces(kind):
    checkpoint, random = trained(STREAMS[kind]), np.random.default_rng(0)
    graph = onnx_model(checkpoint, stream=True)
    onnx.checker.check_model(graph, full_check=True)
    model = OnnxModel(graph.SerializeToString())
    for number in range(12):
        samples = 0.1 * random.standard_normal(random.integers(checkpoint.model.features.window, 4000)).astype(np.float32)
        stream, rows, place = OnnxStream(model), [], 0
        while place <= len(samples):  # pieces without a sample too, and a last one
            size = int(random.integers(0, (200, 2000)[number % 2]))
            rows.append(stream.log_probs(samples[place : place + size], last=place + size > len(samples)))
            place += size
        (expected, _) = by_torch(checkpoint, [samples])
        np.testing.assert_allclose(torch.cat(rows), expected[:, 0], rtol=0, atol=1e-4)


def test_several_streams_in_step_are_what_each_is_alone():
    model = OnnxModel(onnx_model(trained(STREAMS["gru"]), stream=True).SerializeToString())
    samples = 0.1 * np.random.default_rng(0).standard_normal((3, 3000)).astype(np.float32)
    states = {name: np.zeros([3 if size == "B" else size for size in shape], np.float32) for name, shape in model.states.items()}
    rows = []
    for begin in (0, 1000, 2000):
        given = {"samples": samples[:, begin : begin + 1000], "last": np.array(begin == 2000)}
        log_probs, *kept = model.session.run(["log_probs", *(name.replace("state", "next") for name in states)], given | states)
        states = dict(zip(states, kept, strict=True))
        rows.append(log_probs)
    for place, alone in enumerate(samples):
        np.testing.assert_allclose(np.concatenate(rows)[:, place], model.log_probs(alone), rtol=0, atol=1e-5)


def test_the_metadata_say_how_to_decode():
    encoder = BigramEncoder(["a", "b", "ab", " ", "ü"])
    checkpoint = trained(STREAMS["gru"], encoder)
    for stream in (False, True):
        graph = onnx_model(checkpoint, stream)
        told = {entry.key: entry.value for entry in graph.metadata_props}
        assert told["kind"] == ("stream" if stream else "whole") and json.loads(told["symbols"]) == ["", "a", "b", "ab", " ", "ü"]
        assert (told["sample_rate"], float(told["seconds_per_output"])) == ("8000", 0.02)
        features = json.loads(told["features"])
        assert (features["window"], features["hop"], features["normalisation"]) == (160, 80, "corpus")
        assert features["corpus"] == {"level": 0.07, "mean": list(STATISTICS.mean), "deviation": list(STATISTICS.deviation)}
        assert json.loads(told["settings"])["row_conv"] == 5
        model = OnnxModel(graph.SerializeToString())
        assert model.encoder.alphabet == encoder.alphabet and type(model.encoder) is BigramEncoder
        assert (model.sample_rate, model.seconds_per_output, model.streams) == (8000, 0.02, stream)


def test_both_roads_to_the_rows_of_an_utterance_and_how_far_they_are_from_torch():
    checkpoint = trained(STREAMS["gru"])
    samples = 0.1 * np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    whole, stream = (onnx_model(checkpoint, stream).SerializeToString() for stream in (False, True))
    torch.testing.assert_close(OnnxModel(whole).log_probs(samples), OnnxModel(stream).log_probs(samples), atol=1e-5, rtol=0)
    assert difference(checkpoint, whole) < 1e-4 > difference(checkpoint, stream)
    checkpoint.model.output.bias.data[3] += 0.5
    assert difference(checkpoint, whole) > 0.1 < difference(checkpoint, stream)


def test_what_does_not_fit_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="bidirectional, so they need the end"):
        onnx_model(trained(WHOLE["gru"]), stream=True)
    whole, stream = (OnnxModel(onnx_model(trained(STREAMS["gru"]), s).SerializeToString()) for s in (False, True))
    with pytest.raises(ValueError, match="exported for whole utterances: export a forward-only model with --stream"):
        OnnxStream(whole)
    with pytest.raises(ValueError, match="so it takes no batch of utterances: use OnnxStream"):
        stream.batch([np.zeros(500)])
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ValueError, match=r"text\.onnx: not an ONNX model that onnxruntime can run"):
        OnnxModel(tmp_path / "text.onnx")
    graph = onnx_model(trained(STREAMS["gru"]))
    del graph.metadata_props[:]
    with pytest.raises(ValueError, match=r"not one that export\.py wrote"):
        OnnxModel(graph.SerializeToString())
    graph = onnx_model(trained(STREAMS["gru"]))
    next(entry for entry in graph.metadata_props if entry.key == "words").value = "[1]"
    with pytest.raises(ValueError, match=r"its metadata are broken \(its 'words' are not a list of words\): export"):
        OnnxModel(graph.SerializeToString())
