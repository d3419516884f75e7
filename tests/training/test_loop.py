"""The loop over epochs: interrupted and resumed, the longest minibatch tried, bad audio and dying workers named."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile
import torch

from helpers import noisy_utterances
from implementation import CharEncoder, generate_synthetic_dataset
from models.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from speech.corpora import CorpusError
from speech.datasets import SpeechDataset
from trainers import SMALL, make_trainer, weights
from training.data import TrainingSet
from training.loop import Trainer
from training.settings import TrainingSettings


def trained(**settings):
    trainer = make_trainer(epochs=1, **settings)
    trainer.run_epoch()
    return weights(trainer)


class TestResume:
    @pytest.mark.parametrize(("stop_epoch", "stop_batch"), [(2, 0), (1, 2), (0, 3)])
    def test_an_interrupted_run_ends_as_the_whole_one(self, tmp_path, stop_epoch, stop_batch):
        whole = make_trainer(epochs=3)
        for _ in range(3):
            whole.run_epoch()

        part = make_trainer(epochs=3)
        for _ in range(stop_epoch):
            part.run_epoch()
        if stop_batch:

            def interrupt(_loss, _utterances):
                if part.batch == stop_batch:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                part.run_epoch(interrupt)
        save_checkpoint(tmp_path / "last.pt", part.model, SMALL, part.data.encoder, part.state_dict())

        saved = load_checkpoint(tmp_path / "last.pt")
        resumed = make_trainer(epochs=3)
        torch.manual_seed(99)  # whatever was drawn before does not matter
        resumed.model.load_state_dict(saved.model.state_dict())
        resumed.load_state_dict(saved.training)
        assert (resumed.epoch, resumed.batch) == (stop_epoch, stop_batch)
        while resumed.epoch < 3:
            resumed.run_epoch()
        assert torch.equal(weights(whole), weights(resumed))

    def test_other_settings_are_refused_by_name(self):
        state = make_trainer(epochs=3).state_dict()
        with pytest.raises(CheckpointError, match="epochs was 3, is 5"):
            make_trainer(epochs=5).load_state_dict(state)

    def test_seed_alone_fixes_a_run(self):
        first, second, other = (trained(seed=seed) for seed in (3, 3, 4))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_workers_give_the_same_numbers(self):
        assert torch.equal(trained(num_workers=0), trained(num_workers=2))


class TestLongestMinibatch:
    def test_is_as_large_as_any_and_leaves_everything_as_it_was(self):
        tried, shapes = make_trainer(), []
        hook = tried.model.register_forward_pre_hook(lambda _module, inputs: shapes.append(tuple(inputs[0].shape)))
        tried.try_longest_batch()
        tried.run_epoch()
        hook.remove()
        plain = make_trainer()
        plain.run_epoch()
        assert shapes[0][0] == 2 and shapes[0][3] >= max(shape[3] for shape in shapes[1:])
        assert torch.equal(weights(tried), weights(plain))

    def test_runs_in_training_mode_and_keeps_running_averages_and_random_numbers(self):
        trainer, modes = make_trainer(), []
        trainer.model.eval().dropout.p = 0.5
        trainer.model.register_forward_pre_hook(lambda module, _inputs: modes.append(module.training))
        before, numbers = {name: value.clone() for name, value in trainer.model.named_buffers()}, torch.get_rng_state()
        trainer.try_longest_batch()
        assert modes == [True] and not trainer.model.training  # cuDNN has no gradient of a recurrence in evaluation mode
        assert before and all(torch.equal(value, before[name]) for name, value in trainer.model.named_buffers())
        assert torch.equal(torch.get_rng_state(), numbers)

    def test_too_little_memory_is_an_error_that_says_what_to_change(self, monkeypatch):
        trainer = make_trainer()

        def full(*_):
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(trainer.model, "forward", full)
        with pytest.raises(CorpusError, match=r"2 utterances of \d+\.\d s.*--batch-size.*--max-seconds"):
            trainer.try_longest_batch()

    def test_other_errors_are_not_taken_for_it(self, monkeypatch):
        trainer = make_trainer()

        def broken(*_):
            raise RuntimeError("shapes do not fit")

        monkeypatch.setattr(trainer.model, "forward", broken)
        with pytest.raises(RuntimeError, match="shapes do not fit"):
            trainer.try_longest_batch()


class TestBadAudioInTraining:
    def train(self, utterances):
        encoder = CharEncoder()
        model = SMALL.build(encoder)
        trainer = Trainer(model, TrainingSet(SpeechDataset(utterances, 8000), encoder, model), TrainingSettings(epochs=1))
        return trainer.run_epoch()

    def test_one_bad_file_is_reported_and_left_out(self, tmp_path):
        utterances = noisy_utterances(tmp_path)
        (tmp_path / "17.wav").write_bytes(b"RIFF")
        report = self.train(utterances)
        assert [p.where for p in report.problems] == [str(tmp_path / "17.wav")]

    def test_clips_of_one_text_that_are_too_short_are_named_and_counted_one_by_one(self, tmp_path):
        utterances = noisy_utterances(tmp_path, 300)
        for i in (17, 50, 99):  # shorter than their headers' place in the manifest says
            soundfile.write(tmp_path / f"{i}.wav", 0.1 * np.random.default_rng(i).standard_normal(200), 8000)
        report = self.train(utterances)
        assert sorted(p.where for p in report.problems) == sorted(str(tmp_path / f"{i}.wav") for i in (17, 50, 99))
        assert "'ab' needs 2 output frames, its audio gives 1" in str(report.problems[0])
        soundfile.write(tmp_path / "100.wav", 0.1 * np.random.default_rng(0).standard_normal(200), 8000)
        with pytest.raises(CorpusError, match="4 of 300 utterances are bad"):
            self.train(utterances)

    def test_many_bad_files_stop_it(self, tmp_path):
        utterances = noisy_utterances(tmp_path)
        for i in (17, 50):
            (tmp_path / f"{i}.wav").write_bytes(b"RIFF")
        with pytest.raises(CorpusError, match="2 of 120 utterances are bad"):
            self.train(utterances)


class Deadly(list):
    """Samples of which one kills the process that reads it."""

    def __getitem__(self, index):
        if index == 5:
            os._exit(1)
        return super().__getitem__(index)


def test_a_worker_that_dies_is_an_error_that_names_what_it_read():
    encoder = CharEncoder()
    model = SMALL.build(encoder)
    data = TrainingSet(Deadly(generate_synthetic_dataset(7, max_words=1)), encoder, model)
    with pytest.raises(CorpusError, match=r"a worker process died.* at: .*utterance 5.*--num-workers 0"):
        Trainer(model, data, TrainingSettings(epochs=1, batch_size=2, num_workers=1)).run_epoch()


def test_an_exception_within_a_worker_is_not_taken_for_its_death():
    class Broken(list):
        def __getitem__(self, index):
            raise RuntimeError("the disc is on fire")

    encoder = CharEncoder()
    model = SMALL.build(encoder)
    data = TrainingSet(Broken(generate_synthetic_dataset(4, max_words=1)), encoder, model)
    with pytest.raises(RuntimeError, match="the disc is on fire"):
        Trainer(model, data, TrainingSettings(epochs=1, batch_size=2, num_workers=1)).run_epoch()
