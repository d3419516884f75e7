"""Checkpoints: the same model comes back; what is no checkpoint, or does not fit, is named and never run."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch

from implementation import CharEncoder, CorpusStatistics, DeepSpeech2, Features
from models.checkpoints import CheckpointError, ModelConfig, load_checkpoint, save_checkpoint, unwrapped
from trainers import SMALL, make_trainer


def test_gives_back_the_same_model_and_alphabet(tmp_path):
    encoder = CharEncoder("abc ")
    config = ModelConfig(
        Features(n_fft=64), n_conv=1, n_rnn=1, rnn_hidden=8, rnn_type="rnn", batch_norm="input", time_strides=[3]
    )
    model = config.build(encoder).eval()
    save_checkpoint(tmp_path / "c.pt", model, config, encoder, {"note": 1})
    loaded = load_checkpoint(tmp_path / "c.pt")
    features, lengths = torch.randn(2, 1, 33, 40), torch.tensor([40, 31])
    torch.testing.assert_close(loaded.model(features, lengths)[0], model(features, lengths)[0])
    assert (loaded.config, loaded.encoder.alphabet, loaded.training) == (config, list("abc "), {"note": 1})


def test_a_forward_only_model_keeps_its_top_and_the_corpus_statistics(tmp_path):
    encoder, statistics = CharEncoder("abc "), CorpusStatistics(0.1, (0.5,) * 33, (1.5,) * 33)
    features = Features(n_fft=64, normalisation="corpus", corpus=statistics)
    config = ModelConfig(features, n_conv=1, n_rnn=1, rnn_hidden=8, bidirectional=False, row_conv=3, fc_hidden=5)
    save_checkpoint(tmp_path / "c.pt", config.build(encoder), config, encoder)
    loaded = load_checkpoint(tmp_path / "c.pt")
    assert loaded.config == config and loaded.model.features == features
    assert loaded.model.row_convolution.lookahead == 3 and loaded.model.fully_connected[0].out_features == 5


def test_half_precision_is_loaded_as_float32_with_its_list_of_words(tmp_path):
    encoder, config = CharEncoder("abc "), ModelConfig(Features(n_fft=64), n_conv=1, n_rnn=1, rnn_hidden=8)
    model = config.build(encoder)
    save_checkpoint(tmp_path / "whole.pt", model, config, encoder)
    save_checkpoint(tmp_path / "half.pt", model.half(), config, encoder, {"words": ["ab", "c"]})
    assert (tmp_path / "half.pt").stat().st_size < 0.7 * (tmp_path / "whole.pt").stat().st_size
    whole, half = load_checkpoint(tmp_path / "whole.pt"), load_checkpoint(tmp_path / "half.pt")
    assert (whole.words, half.words) == ([], ["ab", "c"])
    for name, weight in half.model.state_dict().items():
        torch.testing.assert_close(weight, whole.model.state_dict()[name], rtol=1e-3, atol=1e-4)  # of the same type


@pytest.mark.parametrize("words", ["ab", [1], ["a", " "], {"a": 1}])
def test_a_list_of_words_that_is_none_is_refused(tmp_path, words):
    trainer = make_trainer()
    save_checkpoint(tmp_path / "c.pt", trainer.model, SMALL, trainer.data.encoder, {"words": words})
    with pytest.raises(
        CheckpointError, match=r"c\.pt: no model can be built from its settings: its 'words' are not a list of words"
    ):
        load_checkpoint(tmp_path / "c.pt")


def test_a_missing_file_says_who_writes_one(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pt: no such file; train_minimal\.py writes"):
        load_checkpoint(tmp_path / "none.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.pt: not a checkpoint from this library, or damaged"):
        load_checkpoint(tmp_path / "bad.pt")


def test_a_truncated_checkpoint_is_named(tmp_path):
    trainer = make_trainer()
    save_checkpoint(tmp_path / "c.pt", trainer.model, SMALL, trainer.data.encoder)
    content = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "c.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "c.pt")


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"format": 1, "model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()
    pickle.loads(pickle.dumps(Evil())).close()
    assert (tmp_path / "owned").exists()  # the trap works when it is not guarded


def test_other_settings_and_formats_are_told_apart(tmp_path):
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint from this library"):
        load_checkpoint(tmp_path / "list.pt")
    content = {"format": 99, "config": {}, "alphabet": [], "model": {}}
    torch.save(content, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="format 99, but this version reads format 1"):
        load_checkpoint(tmp_path / "new.pt")
    torch.save(content | {"format": 1, "config": {"wings": 2}}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match="wings"):
        load_checkpoint(tmp_path / "odd.pt")


def test_a_checkpoint_that_can_not_be_written_is_one_sentence_and_leaves_the_old_one(tmp_path, monkeypatch):
    trainer, config = make_trainer(), SMALL
    save_checkpoint(tmp_path / "c.pt", trainer.model, config, CharEncoder())
    before = (tmp_path / "c.pt").read_bytes()

    def full(_content, path):
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc]\nmore")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"c\.pt can't be written; is the disk full\?"):
        save_checkpoint(tmp_path / "c.pt", trainer.model, config, CharEncoder())
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"] and (tmp_path / "c.pt").read_bytes() == before


def old_file(path, changed=None):
    """A checkpoint as it was written when sample rate and n_fft stood beside the model's settings; its model."""
    flat = {
        "sample_rate": 8000, "n_fft": 64, "n_conv": 1, "n_rnn": 1, "rnn_hidden": 8,
        "rnn_type": "gru", "batch_norm": "output", "time_strides": [3], "dropout": 0.25,
    }  # fmt: skip
    model = DeepSpeech2(33, 29, n_conv=1, n_rnn=1, rnn_hidden=8, time_strides=[3], dropout=0.25).eval()
    content = {"format": 1, "config": flat | (changed or {}), "alphabet": CharEncoder().alphabet, "model": model.state_dict()}
    torch.save(content | {"torch": "2.13.0", "training": {"epoch": 9}}, path)
    return model


def test_an_old_file_is_read_with_its_features_and_the_defaults_of_what_came_later(tmp_path):
    model = old_file(tmp_path / "old.pt")
    loaded = load_checkpoint(tmp_path / "old.pt")
    features = Features(sample_rate=8000, n_fft=64)
    assert loaded.config == ModelConfig(features, n_conv=1, n_rnn=1, rnn_hidden=8, time_strides=[3], dropout=0.25)
    assert (loaded.config.bidirectional, loaded.config.convolutions, loaded.training) == (True, None, {"epoch": 9})
    assert loaded.model.features == features and loaded.model.seconds_per_output == pytest.approx(0.03)
    heard, lengths = torch.randn(2, 1, 33, 40), torch.tensor([40, 31])
    assert torch.equal(loaded.model(heard, lengths)[0], model(heard, lengths)[0])
    save_checkpoint(tmp_path / "new.pt", loaded.model, loaded.config, loaded.encoder)
    assert load_checkpoint(tmp_path / "new.pt").config == loaded.config


def test_settings_of_a_newer_version_are_named_in_one_sentence(tmp_path):
    old_file(tmp_path / "new.pt", {"wings": 2, "features": {"colour": "red"}})
    with pytest.raises(CheckpointError) as told:
        load_checkpoint(tmp_path / "new.pt")
    assert str(told.value).startswith(f"{tmp_path / 'new.pt'}: ") and "does not know colour, wings;" in str(told.value)
    assert "newer" in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    "changed", [{"batch_norm": "somewhere"}, {"n_fft": 1}, {"time_strides": [1, 2, 3]}, {"features": {"kind": "smell"}}]
)
def test_settings_that_no_model_can_have_are_told(tmp_path, changed):
    old_file(tmp_path / "odd.pt", changed)
    with pytest.raises(CheckpointError, match=r"odd\.pt: no model can be built from its settings: "):
        load_checkpoint(tmp_path / "odd.pt")


@pytest.mark.parametrize(
    "changed",
    [{"convolutions": "2-layer 1D"}, {"bidirectional": False}, {"batch_norm": "none"}, {"rnn_type": "rnn", "batch_norm": "step"}],
)
def test_every_variant_comes_back(tmp_path, changed):
    config, encoder = dataclasses.replace(SMALL, **changed), CharEncoder()
    model = config.build(encoder).eval()
    save_checkpoint(tmp_path / "c.pt", model, config, encoder)
    loaded = load_checkpoint(tmp_path / "c.pt")
    heard, lengths = torch.randn(2, 1, 33, 40), torch.tensor([40, 31])
    assert loaded.config == config and torch.equal(loaded.model(heard, lengths)[0], model(heard, lengths)[0])


@pytest.mark.parametrize("wrap", ["compile", "parallel", "both", "within", "twice"])
def test_a_wrapped_model_is_saved_by_the_names_of_the_bare_one(tmp_path, wrap):
    """DistributedDataParallel calls it module, as DataParallel does."""
    encoder = CharEncoder()
    bare = SMALL.build(encoder).eval()
    names = list(bare.state_dict())
    if wrap == "within":
        model = SMALL.build(encoder).eval()
        model.load_state_dict(bare.state_dict())
        model.recurrences[0] = torch.compile(model.recurrences[0])
    else:
        model = torch.nn.DataParallel(bare) if wrap in ("parallel", "both", "twice") else bare
        model = torch.compile(model) if wrap in ("compile", "both") else model
        model = torch.nn.DataParallel(torch.compile(model)) if wrap == "twice" else model
        assert unwrapped(model) is bare
    assert list(model.state_dict()) != names
    save_checkpoint(tmp_path / "c.pt", model, SMALL, encoder)
    assert list(torch.load(tmp_path / "c.pt")["model"]) == names
    heard, lengths = torch.randn(2, 1, 33, 40), torch.tensor([40, 31])
    assert torch.equal(load_checkpoint(tmp_path / "c.pt").model(heard, lengths)[0], bare(heard, lengths)[0])


@pytest.mark.parametrize("prefix", ["module._orig_mod.", "model.", "_forward_module.module.", "model._fsdp_wrapped_module."])
def test_weights_saved_with_a_prefix_are_read(tmp_path, prefix):
    model = old_file(tmp_path / "c.pt")
    content = torch.load(tmp_path / "c.pt")
    content["model"] = {f"{prefix}{name}": value for name, value in content["model"].items()}
    torch.save(content, tmp_path / "c.pt")
    loaded = load_checkpoint(tmp_path / "c.pt").model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path, value):
    old_file(tmp_path / "c.pt")
    content = torch.load(tmp_path / "c.pt")
    names = [name for name, weights in content["model"].items() if weights.is_floating_point()][:6]
    for name in names[:2]:
        content["model"][name].view(-1)[0] = value
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(
        CheckpointError, match=f"c.pt: there is nan or infinity in {names[0]}, {names[1]}, so the model can't work"
    ):
        load_checkpoint(tmp_path / "c.pt")
    for name in names:
        content["model"][name].view(-1)[0] = value
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="and 1 more, so the model can't work"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("weights", "what"),
    [
        (lambda old: [1], "it holds no weights where they should be"),
        (lambda old: old | {"output.bias": "x"}, "it holds no weights where they should be"),
        (
            lambda old: old | {"more": torch.zeros(1)},
            r'settings stored with them \(Unexpected key\(s\) in state_dict: "more".\); train',
        ),
    ],
)
def test_weights_that_do_not_fit_are_told_in_one_line(tmp_path, weights, what):
    old_file(tmp_path / "c.pt")
    content = torch.load(tmp_path / "c.pt")
    content["model"] = weights(content["model"])
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=what) as error:
        load_checkpoint(tmp_path / "c.pt")
    assert "\n" not in str(error.value)


def test_the_settings_are_also_had_flat():
    flat = ModelConfig(Features(sample_rate=8000, n_fft=64)).flat()
    assert (flat["sample_rate"], flat["n_fft"], flat["rnn_hidden"]) == (8000, 64, 128) and "features" not in flat


def test_a_language_model_in_place_of_a_checkpoint_is_named(tmp_path):
    (tmp_path / "lm.arpa").write_text("\n\\data\\\nngram 1=3\n")
    with pytest.raises(CheckpointError, match=r"lm\.arpa is a language model, not a checkpoint; give the checkpoint\.pt that"):
        load_checkpoint(tmp_path / "lm.arpa")
