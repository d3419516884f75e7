"""The loop over epochs: interrupted and resumed, the longest minibatch tried, bad audio and dying workers named."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import signal

import numpy as np
import pytest
import soundfile
import torch

from helpers import noisy_utterances
from implementation import AudioSample, CharEncoder, Features, generate_synthetic_audio, generate_synthetic_dataset
from models.checkpoints import CheckpointError, ModelConfig, load_checkpoint, save_checkpoint
from speech.augmentation import Augmentation
from speech.corpora import CorpusError, Utterance
from speech.datasets import JoinedDataset, SpeechDataset
from trainers import SMALL, make_trainer, weights
from training import loop
from training.data import TrainingSet
from training.loop import Trainer
from training.optimisation import learning_rate_factor
from training.settings import TrainingSettings


def trained(**settings):
    trainer = make_trainer(epochs=1, **settings)
    trainer.run_epoch()
    return weights(trainer)


class TestResume:
    @pytest.mark.parametrize(("stop_epoch", "stop_batch", "workers"), [(2, 0, 0), (1, 2, 0), (0, 3, 0), (1, 1, 2)])
    def test_an_interrupted_run_ends_as_the_whole_one(self, tmp_path, stop_epoch, stop_batch, workers):
        whole = make_trainer(epochs=3)
        for _ in range(3):
            whole.run_epoch()

        part = make_trainer(epochs=3, num_workers=workers)
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
        resumed = make_trainer(epochs=3, num_workers=workers)
        torch.manual_seed(99)  # whatever was drawn before does not matter
        resumed.model.load_state_dict(saved.model.state_dict())
        resumed.load_state_dict(saved.training)
        assert (resumed.epoch, resumed.batch) == (stop_epoch, stop_batch)
        while resumed.epoch < 3:
            resumed.run_epoch()
        assert torch.equal(weights(whole), weights(resumed))

    def test_a_run_stopped_in_the_last_step_of_an_epoch_reports_its_rate(self):
        whole, part, resumed = (make_trainer(epochs=1) for _ in range(3))

        def interrupt(_loss, _utterances):
            if part.batch == len(part.sampler):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            part.run_epoch(interrupt)
        resumed.load_state_dict(part.state_dict())
        assert resumed.run_epoch().learning_rate == whole.run_epoch().learning_rate

    def test_other_settings_are_refused_by_name(self):
        state = make_trainer(epochs=3).state_dict()
        with pytest.raises(CheckpointError, match="epochs was 3, is 5"):
            make_trainer(epochs=5).load_state_dict(state)

    def test_a_state_of_an_older_version_is_taken_up_too(self):
        """One without the scheduler's mark on the optimiser, without problems and the random state of CUDA."""
        whole, resumed = make_trainer(epochs=2), make_trainer(epochs=2)
        whole.run_epoch()
        state = copy.deepcopy(whole.state_dict())
        resumed.model.load_state_dict(copy.deepcopy(whole.model.state_dict()))
        whole.run_epoch()
        for name in ("problems", "cuda_rng"):
            del state[name]
        for group in state["optimizer"]["param_groups"]:
            del group["initial_lr"]
        resumed.load_state_dict(state)
        resumed.run_epoch()
        assert torch.equal(weights(whole), weights(resumed))
        del state["tally"]
        make_trainer(epochs=2).load_state_dict(state)

    def test_problems_found_so_far_are_not_forgotten(self, tmp_path):
        utterances = noisy_utterances(tmp_path, 110)
        sound = (tmp_path / "17.wav").read_bytes()
        (tmp_path / "17.wav").write_bytes(b"RIFF")
        part, resumed, other = (trainer_of(utterances, epochs=2, batch_size=60) for _ in range(3))
        part.run_epoch()
        state = copy.deepcopy(part.state_dict())
        (tmp_path / "17.wav").write_bytes(sound)
        resumed.load_state_dict(state)
        assert [problem.where for problem in resumed.run_epoch().problems] == [str(tmp_path / "17.wav")]
        (tmp_path / "50.wav").write_bytes(b"RIFF")
        other.load_state_dict(state)
        with pytest.raises(CorpusError, match="2 of 110 utterances are bad"):
            other.run_epoch()

    def test_the_random_numbers_of_a_gpu_go_on_too(self, monkeypatch):
        """As a machine without one can tell: what torch says of the device is kept, and given back to it."""
        numbers, given = torch.arange(16, dtype=torch.uint8), []
        monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: numbers)
        monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: given.append((state, device)))
        trainer, resumed = make_trainer(), make_trainer()
        assert trainer.state_dict()["cuda_rng"] is None
        trainer.device = resumed.device = torch.device("cuda", 1)
        state = trainer.state_dict()
        resumed.load_state_dict(state)
        assert len(given) == 1 and torch.equal(given[0][0], numbers) and given[0][1] == torch.device("cuda", 1)

    def test_seed_alone_fixes_a_run(self):
        first, second, other = (trained(seed=seed) for seed in (3, 3, 4))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_workers_give_the_same_numbers(self):
        assert torch.equal(trained(num_workers=0), trained(num_workers=2))


def spoken_corpus(folder):
    """Nine files of synthetic speech by two speakers, short enough to be joined."""
    utterances = []
    for i, text in enumerate("hello moon tree book see good all off egg".split()):
        sample = AudioSample(generate_synthetic_audio(text, 8000, speaker=i % 2), 8000, text)
        soundfile.write(folder / f"{i}.wav", sample.audio.numpy(), 8000)
        utterances.append(Utterance(folder / f"{i}.wav", text, f"s{i % 2}", "train", sample.seconds))
    return utterances


def trainer_of(utterances, join=1, augmentation=None, **settings):
    """A trainer of a new small model on recordings."""
    torch.manual_seed(0)
    encoder, speech = CharEncoder(), SpeechDataset(utterances, 8000, cache_mb=10)
    model = SMALL.build(encoder)
    data = TrainingSet(JoinedDataset(speech, join) if join > 1 else speech, encoder, model, augmentation)
    return Trainer(model, data, TrainingSettings(**settings))


def workers_now():
    """Process numbers of all workers that live."""
    return {process.pid for process in multiprocessing.active_children()}


class TestWorkers:
    def test_they_follow_the_epoch_its_joins_and_its_augmentation(self, tmp_path):
        utterances, found = spoken_corpus(tmp_path), []
        for workers in (0, 1, 2):
            trainer = trainer_of(utterances, 3, Augmentation(), epochs=3, batch_size=2, num_workers=workers)
            losses = [trainer.run_epoch().loss for _ in range(3)]
            found.append((losses, weights(trainer)))
        assert found[0][0] == found[1][0] == found[2][0]
        assert torch.equal(found[0][1], found[1][1]) and torch.equal(found[0][1], found[2][1])

    def test_the_same_ones_serve_all_epochs_and_keep_the_audio_that_they_read(self, tmp_path):
        trainer = trainer_of(spoken_corpus(tmp_path), epochs=2, batch_size=2, num_workers=1)
        trainer.run_epoch()
        workers = workers_now()
        for file in tmp_path.glob("*.wav"):
            file.unlink()
        assert not trainer.run_epoch().problems and workers_now() == workers

    def test_they_end_with_their_trainer(self, tmp_path):
        """At once: nothing holds the trainer, so it need not wait for the garbage collector, which leaves workers 5 s each."""
        trainer = trainer_of(spoken_corpus(tmp_path), epochs=1, batch_size=2, num_workers=1)
        before = workers_now()
        trainer.run_epoch()
        assert workers_now() > before
        gc.disable()
        try:
            del trainer
            assert workers_now() == before
        finally:
            gc.enable()

    def test_after_an_interruption_they_go_on_with_what_was_not_done(self, tmp_path):
        settings = {"join": 3, "augmentation": Augmentation(), "epochs": 3, "batch_size": 1, "num_workers": 2}
        utterances = spoken_corpus(tmp_path)
        whole, part = (trainer_of(utterances, **settings) for _ in range(2))
        torch.manual_seed(7)  # of dropout
        losses = [whole.run_epoch().loss for _ in range(3)]

        def interrupt(_loss, _utterances):
            if part.batch == 2:
                raise KeyboardInterrupt

        torch.manual_seed(7)
        part.run_epoch()
        with pytest.raises(KeyboardInterrupt):
            part.run_epoch(interrupt)
        assert [part.run_epoch().loss, part.run_epoch().loss] == losses[1:]
        assert torch.equal(weights(whole), weights(part))

    def test_ctrl_c_is_left_to_the_loop(self, tmp_path):
        trainer, others = trainer_of(spoken_corpus(tmp_path), epochs=2, batch_size=1, num_workers=2), workers_now()

        def press(_loss, _utterances):
            if trainer.batch == 3:  # they run by now
                for pid in workers_now() - others:
                    os.kill(pid, signal.SIGINT)

        trainer.run_epoch(press)
        hit = workers_now() - others
        trainer.run_epoch()
        assert len(hit) == 2 and workers_now() - others == hit


class TestSchedule:
    def rates(self, monkeypatch):
        """Where the learning rate of each step that is made will stand."""
        found, real = [], loop.train_step
        monkeypatch.setattr(loop, "train_step", lambda *a: (found.append(a[2].param_groups[0]["lr"]), real(*a))[1])
        return found

    @pytest.mark.parametrize("schedule", ["onecycle", "anneal"])
    def test_each_step_has_the_rate_of_its_number_also_after_a_resume(self, monkeypatch, schedule):
        found = self.rates(monkeypatch)
        part, resumed = (make_trainer(epochs=3, schedule=schedule) for _ in range(2))
        report = part.run_epoch()
        assert report.learning_rate == found[-1]
        resumed.load_state_dict(copy.deepcopy(part.state_dict()))
        resumed.run_epoch()
        resumed.run_epoch()
        assert found == [1e-2 * learning_rate_factor(schedule, step, 12, 4) for step in range(12)]

    def test_a_minibatch_of_which_nothing_is_left_counts_without_a_word(self, monkeypatch, tmp_path, recwarn):
        found = self.rates(monkeypatch)
        utterances = noisy_utterances(tmp_path, 120)
        (tmp_path / "0.wav").write_bytes(b"RIFF")
        trainer = trainer_of(utterances, epochs=1, batch_size=1, lr=1e-3)
        assert len(trainer.run_epoch().problems) == 1
        assert found == [1e-3 * learning_rate_factor("onecycle", step, 120, 120) for step in range(1, 120)]
        assert not [warning for warning in recwarn if "lr_scheduler" in str(warning.message)]


def test_audio_seconds_are_counted_in_the_models_own_frames(tmp_path):
    """At 11025 Hz a hop of 10 ms is 110 samples."""
    encoder = CharEncoder()
    model = ModelConfig(Features(sample_rate=11025, n_fft=64), n_conv=1, n_rnn=1, rnn_hidden=8).build(encoder)
    data = TrainingSet([AudioSample(torch.randn(11025 * 10), 11025, "ab")] * 2, encoder, model)
    report = Trainer(model, data, TrainingSettings(epochs=1)).run_epoch()
    assert report.audio_seconds == pytest.approx(2 * 1001 * 110 / 11025, rel=1e-12)


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
        model, settings = SMALL.build(encoder), TrainingSettings(epochs=1, batch_size=60)
        trainer = Trainer(model, TrainingSet(SpeechDataset(utterances, 8000), encoder, model), settings)
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
        assert "'ab' needs 2 output frames, but its audio gives 1" in str(report.problems[0])
        soundfile.write(tmp_path / "100.wav", 0.1 * np.random.default_rng(0).standard_normal(200), 8000)
        with pytest.raises(CorpusError, match="4 of 300 utterances are bad"):
            self.train(utterances)

    def test_a_bad_file_is_named_alone_and_counted_once_however_often_it_is_joined(self, tmp_path):
        utterances = noisy_utterances(tmp_path)
        (tmp_path / "17.wav").write_bytes(b"RIFF")
        trainer = trainer_of(utterances, join=4, epochs=3, batch_size=40, num_workers=1)
        for _ in range(3):
            report = trainer.run_epoch()
        assert [problem.where for problem in report.problems] == [str(tmp_path / "17.wav")]

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
    with pytest.raises(
        CorpusError, match=r"a worker process ran out of memory or was killed.* reading: .*utterance 5.*--num-workers 0"
    ):
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
