"""Audio to text with a model: times of what was found."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

import transcribe
from decoding.ngrams import NGramModel
from decoding.scorers import WordScorer
from implementation import CharEncoder, Features, compute_spectrogram, prefix_beam_search
from models import transcription
from models.checkpoints import Checkpoint, CheckpointError, ModelConfig, load_checkpoint
from models.transcription import Decoder
from speech.alphabets import BigramEncoder
from speech.audio import BadAudio


def test_times_are_of_the_labels_that_were_found(small_corpus, monkeypatch):
    """c after ab and x, in an alphabet where the same text may also be cut as a, b: its time is that of its own frame."""
    folder, _ = small_corpus
    encoder, (blank, x, pair, c) = BigramEncoder(["a", "b", "c", "x", "ab"]), (0, 4, 5, 3)
    path = [x, blank, pair, blank, c, blank, blank, blank, blank, blank]
    log_probs = np.log(np.where(np.eye(6)[path] == 1, 0.95, 0.01)).astype(np.float32)
    checkpoint = load_checkpoint(folder / "run" / "checkpoint.pt")
    model = checkpoint.model
    monkeypatch.setattr(model, "forward", lambda features, lengths: (torch.tensor(log_probs)[:, None], torch.tensor([10])))
    checkpoint.encoder = encoder
    for decoder in (None, transcribe.Decoder(beam=4)):
        found = transcribe.transcribe(checkpoint, folder / "0.wav", decoder, times=True)
        hop = model.time_stride * 0.01
        assert found["text"] == "xabc" and [unit["text"] for unit in found["characters"]] == ["x", "ab", "c"]
        assert [unit["start"] for unit in found["characters"]] == pytest.approx([0.0, 2 * hop, 4 * hop])


@pytest.mark.parametrize("known", [None, ["a b", "ab a"]])
@pytest.mark.parametrize("seed", range(3))
def test_texts_that_differ_in_spaces_alone_are_one_with_the_paths_of_all(seed, known):
    """Against the sum over all paths of five frames."""
    encoder, rng = CharEncoder("ab "), np.random.default_rng(seed)
    rows = np.log(rng.dirichlet(np.ones(4), size=5))  # (T', V)
    masses = Counter()
    for path in itertools.product(range(4), repeat=5):
        masses[" ".join(encoder.ctc_decode(path).split())] += math.exp(rows[range(5), path].sum())
    scorer = WordScorer(NGramModel.train(known, 2), encoder) if known else None
    hypotheses = prefix_beam_search(rows, 10**4, scorer, 0.7 * bool(known), 0.4 * bool(known))
    found = [transcription._described(h, encoder) for h in transcription.distinct(hypotheses, encoder)]
    assert len(hypotheses) > len(found) == len(masses) and sum(masses.values()) == pytest.approx(1)
    assert {one["text"]: math.exp(one["log_ctc"]) for one in found} == pytest.approx(dict(masses))
    for one in found:
        assert one["score"] == pytest.approx(one["log_ctc"] + 0.7 * one["log_lm"] + 0.4 * one["words"])
        assert not known or one["log_lm"] == pytest.approx(
            max(h.log_lm for h in hypotheses if written(encoder, h) == one["text"])
        )
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)


def written(encoder, hypothesis):
    return " ".join(encoder.decode(hypothesis.labels).split())


def made(**features):
    """A checkpoint of an untrained model that hears so."""
    config, encoder = ModelConfig(Features(n_fft=64, **features), n_conv=1, n_rnn=1, rnn_hidden=8), CharEncoder()
    return Checkpoint(config.build(encoder).eval(), config, encoder)


def test_a_clip_shorter_than_the_models_own_window_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(360), 8000)  # 45 ms
    assert "text" in transcribe.transcribe(made(sample_rate=8000), tmp_path / "a.wav")
    assert "text" in transcribe.transcribe(made(sample_rate=8000, window_ms=45.0), tmp_path / "a.wav")
    with pytest.raises(BadAudio, match=r"lasts 45\.0 ms, too short for speech: one window takes 50 ms"):
        transcribe.transcribe(made(sample_rate=8000, window_ms=50.0), tmp_path / "a.wav")


def test_a_model_that_gives_nan_is_no_silence(small_corpus):
    checkpoint = load_checkpoint(small_corpus[0] / "run" / "checkpoint.pt")
    next(norm for name, norm in checkpoint.model.named_buffers() if name.endswith("running_var")).fill_(-1)
    for decoder in (None, transcribe.Decoder(beam=4)):
        with pytest.raises(CheckpointError, match=r"0\.wav: the model gives nan instead of probabilities"):
            transcribe.transcribe(checkpoint, small_corpus[0] / "0.wav", decoder)


def test_times_are_in_the_models_own_frames(tmp_path, monkeypatch):
    """At 11025 Hz 10 ms are 110 samples, and with a stride of 2 an output comes every 220 samples."""
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(11025), 11025)
    checkpoint = made(sample_rate=11025)
    path = torch.tensor([0] * 40 + [1] + [0] * 10)
    outputs = torch.nn.functional.one_hot(path, 29).double().clamp_min(1e-6).log()[:, None]
    monkeypatch.setattr(checkpoint.model, "forward", lambda features, lengths: (outputs, torch.tensor([51])))
    (unit,) = transcribe.transcribe(checkpoint, tmp_path / "a.wav", times=True)["characters"]
    assert (unit["text"], unit["start"], unit["end"]) == ("a", pytest.approx(40 * 220 / 11025), pytest.approx(41 * 220 / 11025))


def test_the_model_hears_its_own_features(tmp_path, monkeypatch):
    audio = 0.1 * np.random.default_rng(0).standard_normal(8000)
    soundfile.write(tmp_path / "a.flac", audio, 8000, subtype="PCM_24")
    checkpoint, heard = made(sample_rate=8000, window_ms=40.0, stride_ms=5.0), []
    checkpoint.model.register_forward_pre_hook(lambda _module, inputs: heard.append(inputs[0]))
    transcribe.transcribe(checkpoint, tmp_path / "a.flac")
    expected = compute_spectrogram(torch.tensor(audio), 8000, window_ms=40.0, stride_ms=5.0, n_fft=64)
    assert heard[0].shape == (1, 1, 33, 193)
    torch.testing.assert_close(heard[0][0, 0].double(), expected, atol=2e-3, rtol=0)


def test_a_checkpoint_with_a_list_finds_its_words_alone():
    """Against all paths of five frames: of the texts that its words make, the one with the largest sum."""
    encoder, words = CharEncoder("ab "), ["a", "bab", "bb"]
    checkpoint = Checkpoint(None, None, encoder, {"words": words})
    assert transcription.decoder_of(checkpoint, 1) == transcription.decoder_of(Checkpoint(None, None, encoder)) == Decoder(1)
    decoder, changed = transcription.decoder_of(checkpoint, 200), 0
    for seed in range(10):
        rows = np.log(np.random.default_rng(seed).dirichlet(np.ones(4), size=5))  # (T', V)
        masses = Counter()
        for path in itertools.product(range(4), repeat=5):
            masses[" ".join(encoder.ctc_decode(path).split())] += math.exp(rows[range(5), path].sum())
        known = {text: mass for text, mass in masses.items() if set(text.split()) <= set(words)}
        found = transcription.distinct(
            prefix_beam_search(rows, decoder.beam, decoder.scorer, decoder.alpha, decoder.beta), encoder
        )
        assert written(encoder, found[0]) == max(known, key=known.get)
        assert math.exp(found[0].log_ctc) == pytest.approx(max(known.values()))
        changed += max(known, key=known.get) != max(masses, key=masses.get)
    assert changed
