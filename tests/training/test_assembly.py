"""Runs put together from settings: what they name reaches speech, model and trainer; flags and Python start the same run."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from helpers import TINY, write_audio
from implementation import CharEncoder, Features
from models.checkpoints import CheckpointError, ModelConfig, load_checkpoint
from speech.augmentation import SENTENCE_AUGMENTATION, SYNTHETIC_AUGMENTATION, Augmentation
from speech.corpora import CorpusError
from training import assembly
from training.assembly import assemble, start_run
from training.data import corpus_features
from training.flags import parse_args
from training.report import finish
from training.settings import OutputSettings, SpeechSettings, TrainingSettings


def prepared(*flags):
    """Trainer, configuration and dev set that the flags lead to."""
    parts = assemble(*parse_args([*TINY, *flags])[:3])
    return parts.trainer, parts.config, parts.evaluation["dev"]


def test_flags_reach_what_they_name(monkeypatch):
    voices = []
    real = assembly.generate_synthetic_dataset
    monkeypatch.setattr(
        assembly, "generate_synthetic_dataset", lambda *a, **k: (voices.append(k.get("speakers")), real(*a, **k))[1]
    )
    trainer, config, _ = prepared()
    assert voices[1] is assembly.VALIDATION_SPEAKERS and voices[0] is None
    assert trainer.data.augmentation == SYNTHETIC_AUGMENTATION and trainer.sampler.sortagrad
    assert config.batch_norm == "output" and isinstance(trainer.optimizer, torch.optim.AdamW)
    assert trainer.settings.schedule == "onecycle"
    trainer, config, _ = prepared("--no-augment", "--no-sortagrad", "--batch-norm", "paper", "--optimizer", "sgd",
                                  "--schedule", "anneal", "--batch-size", "3", "--lr", "1e-4", "--dropout", "0.25")  # fmt: skip
    assert trainer.data.augmentation is None and not trainer.sampler.sortagrad
    assert config.batch_norm == "input" and config.dropout == 0.25 and trainer.model.dropout.p == 0.25
    assert isinstance(trainer.optimizer, torch.optim.SGD) and trainer.optimizer.param_groups[0]["nesterov"]
    assert (trainer.settings.schedule, trainer.sampler.batch_size, trainer.optimizer.param_groups[0]["lr"]) == ("anneal", 3, 1e-4)


def test_recordings_are_augmented_as_the_flags_say():
    model = ModelConfig().build(CharEncoder())
    changed = {
        flags: assembly.training_set(parse_args(["--data", "x", *flags.split()])[0], [], CharEncoder(), model, 0).augmentation
        for flags in ("", "--masks sentences", "--masks none", "--no-augment")
    }
    unmasked = Augmentation(time_masks=0, frequency_masks=0)
    assert changed == {
        "": Augmentation(), "--masks sentences": SENTENCE_AUGMENTATION, "--masks none": unmasked, "--no-augment": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "channels"),
    [(["--n-conv", "1"], [32]), (["--conv", "1d"], [640, 640]), (["--conv", "1d", "--n-conv", "1"], [1280])],
)
def test_the_convolutions_are_the_rows_of_table_4_that_the_flags_name(flags, channels):
    trainer, _, _ = prepared(*flags)
    assert [layer.channels for layer in trainer.model.specification] == channels
    assert all((layer.kernel[0] == 0) == ("1d" in flags) for layer in trainer.model.specification)


def test_from_python_the_same_settings_start_the_same_run(run_folder, tmp_path, capsys):
    speech, training = SpeechSettings(n_train=8, n_val=3), TrainingSettings(epochs=2, batch_size=4)
    model = ModelConfig(Features(n_fft=64), n_rnn=1, rnn_hidden=16, time_strides=[2, 2])
    run = start_run(speech, model, training, OutputSettings(tmp_path / "run"), "my own script")
    run.train()
    finish(run)
    for name in ("metrics.jsonl", "results.json"):
        theirs, mine = ((folder / name).read_text() for folder in (run_folder, tmp_path / "run"))
        if name == "metrics.jsonl":
            theirs, mine = ([json.loads(line) | {"seconds": 0} for line in text.splitlines()] for text in (theirs, mine))
        assert mine == theirs
    assert run.caption == "measured here: my own script"


def test_the_features_get_the_sample_rate_of_the_speech():
    parts = assemble(SpeechSettings(n_train=2, n_val=1, sample_rate=8000), ModelConfig(rnn_hidden=8), TrainingSettings())
    assert parts.config.features == parts.trainer.model.features == Features(sample_rate=8000, n_fft=128)
    assert parts.trainer.data.samples[0].sample_rate == 8000


def test_features_over_the_corpus_get_the_statistics_of_the_training_speech():
    model = ModelConfig(Features(n_fft=64, normalisation="corpus"), rnn_hidden=8, bidirectional=False)
    parts = assemble(SpeechSettings(n_train=4, n_val=1), model, TrainingSettings())
    expected = corpus_features(model.features, parts.trainer.data.samples)
    assert parts.config.features == parts.trainer.model.features == parts.trainer.data.features == expected


def test_a_checkpoint_to_start_from_wants_its_own_model_and_rate(run_folder):
    training = TrainingSettings(checkpoint=run_folder / "checkpoint.pt")
    few = SpeechSettings(n_train=2, n_val=1)
    assert assemble(few, ModelConfig(), training).config == load_checkpoint(run_folder / "checkpoint.pt").config
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt brings its own model: leave out --dropout \(it has 0\.0\)"):
        assemble(few, ModelConfig(dropout=0.5), training)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt was trained at 16000 Hz: add --sample-rate 16000"):
        assemble(SpeechSettings(n_train=2, n_val=1, sample_rate=8000), ModelConfig(), training)


def test_parts_of_recordings_are_drawn_by_the_seed_and_told(small_corpus, capsys):
    """Of dev the same for every seed, so that runs can be compared."""
    folder, samples = small_corpus
    speech, taken = SpeechSettings(data=folder, n_train=3, n_val=2), {}
    for seed in (1, 2):
        parts = assemble(speech, ModelConfig(rnn_hidden=16), TrainingSettings(seed=seed))
        train = np.random.default_rng(seed).choice(6, size=3, replace=False)
        dev = np.random.default_rng(0).choice(3, size=2, replace=False)
        assert list(parts.texts) == [samples[index].transcript for index in sorted(train)]
        assert parts.evaluation["dev"].transcripts == [samples[6 + index].transcript for index in sorted(dev)]
        out = capsys.readouterr().out
        assert f"train: uses 3 of 6 utterances, drawn with seed {seed}\n" in out
        assert "dev: uses 2 of 3 utterances, drawn with seed 0\n" in out
        taken[seed] = list(parts.texts)
    assert taken[1] != taken[2]


def test_the_usual_limit_of_dev_is_a_part_too(small_corpus, monkeypatch, capsys):
    monkeypatch.setattr(assembly, "MOST_OF_DEV", 2)
    parts = assemble(SpeechSettings(data=small_corpus[0]), ModelConfig(rnn_hidden=16), TrainingSettings())
    assert len(parts.evaluation["dev"]) == 2 and "dev: uses 2 of 3 utterances" in capsys.readouterr().out


def test_bigrams_and_a_checkpoint_are_refused_from_python_too(run_folder):
    training = TrainingSettings(checkpoint=run_folder / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt brings its own outputs: leave out bigrams"):
        assemble(SpeechSettings(n_train=2, n_val=1, bigrams=True), ModelConfig(), training)


def test_a_split_of_another_name_is_not_left_out_silently(small_corpus, tmp_path, capsys):
    folder, _ = small_corpus
    manifest = (folder / "manifest.tsv").read_text().replace("\ttest\t", "\teval\t")
    for file in folder.glob("*.wav"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "manifest.tsv").write_text(manifest)
    assemble(SpeechSettings(data=tmp_path), ModelConfig(rnn_hidden=16), TrainingSettings())
    assert "split 'eval': 3 utterances, used for neither training nor testing" in capsys.readouterr().out


def test_a_part_that_is_not_there_is_said_in_one_sentence_below_what_is_there(tmp_path, capsys):
    for part, speaker in (("train-clean-100", "19"), ("dev-clean", "84")):
        write_audio(tmp_path / part / speaker / "7" / f"{speaker}-7-0000.flac")
        (tmp_path / part / speaker / "7" / f"{speaker}-7.trans.txt").write_text(f"{speaker}-7-0000 YES\n")
    (tmp_path / "train-clean-360.tar.gz").touch()
    speech = SpeechSettings(data=tmp_path, train=("train-clean-100", "train-clean-360"), dev="dev-clean")
    with pytest.raises(CorpusError) as error:
        assemble(speech, ModelConfig(rnn_hidden=16), TrainingSettings())
    assert str(error.value) == (
        f"{tmp_path}: no utterance is in the split 'train-clean-360'; there are dev-clean, train-clean-100"
    )
    out = capsys.readouterr().out
    assert "train-clean-100: 1 utterance" in out and "train-clean-360.tar.gz: is not unpacked: tar xf" in out


def test_the_report_before_training_tells_what_each_part_is_for(tmp_path, capsys):
    for number, part in enumerate(("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "test-clean")):
        chapter = tmp_path / "LibriSpeech" / part / str(number) / "7"
        write_audio(chapter / f"{number}-7-0000.flac", seconds=1.0 + number)
        (chapter / f"{number}-7.trans.txt").write_text(f"{number}-7-0000 YES\n")
    speech = SpeechSettings(data=tmp_path, train=("train-clean-100", "train-clean-360"), dev="dev-clean", test=("test-clean",))
    parts = assemble(speech, ModelConfig(rnn_hidden=16), TrainingSettings())
    assert len(parts.trainer.data) == 2 and set(parts.evaluation) == {"dev", "test-clean"}
    out = capsys.readouterr().out
    for line in (
        "train-clean-360 (train): 1 utterance, 0.0 minutes, speakers: 1, longest 2.0 s",
        "train-other-500 (not used): 1 utterance, 0.1 minutes, speakers: 1, longest 3.0 s",
        "dev-clean (dev): 1 utterance",
        "train in all: 2 utterances, 0.1 minutes, speakers: 2, longest 2.0 s",
    ):
        assert f"  {line}" in out
