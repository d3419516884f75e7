"""Checkpoints, preflight, schedules, resuming: what training.py promises."""

import os
import pickle
from itertools import pairwise

import corpora
import numpy as np
import pytest
import soundfile
import torch
from augmentation import Augmentation, Timing
from corpora import CorpusError, Problem, SpeechDataset, Utterance

import training
from implementation import AudioSample, CharEncoder, compute_spectrogram, generate_synthetic_dataset
from training import CheckpointError, ModelConfig, Trainer, TrainingSet, load_checkpoint, save_checkpoint

SMALL = ModelConfig(n_fft=64, n_conv=1, n_rnn=1, rnn_hidden=12, dropout=0.1)


def make_trainer(epochs=4, seed=3, **settings):
    np.random.seed(0)
    torch.manual_seed(0)
    encoder = CharEncoder()
    model = SMALL.build(encoder)
    data = TrainingSet(generate_synthetic_dataset(7, max_words=2), encoder, model, Augmentation(), seed)
    return Trainer(model, data, epochs, batch_size=2, lr=1e-2, **settings)


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.state_dict().values()])


def trained(**settings):
    trainer = make_trainer(epochs=1, **settings)
    trainer.run_epoch()
    return weights(trainer)


class TestCheckpoint:
    def test_gives_back_the_same_model_and_alphabet(self, tmp_path):
        encoder = CharEncoder("abc ")
        config = ModelConfig(n_fft=64, n_conv=1, n_rnn=1, rnn_hidden=8, rnn_type="rnn", batch_norm="input", time_strides=[3])
        model = config.build(encoder).eval()
        save_checkpoint(tmp_path / "c.pt", model, config, encoder, {"note": 1})
        loaded = load_checkpoint(tmp_path / "c.pt")
        features, lengths = torch.randn(2, 1, 33, 40), torch.tensor([40, 31])
        torch.testing.assert_close(loaded.model(features, lengths)[0], model(features, lengths)[0])
        assert (loaded.config, loaded.encoder.alphabet, loaded.training) == (config, list("abc "), {"note": 1})

    def test_a_missing_file_says_who_writes_one(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"none\.pt: no such file; train_minimal\.py writes"):
            load_checkpoint(tmp_path / "none.pt")

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
    def test_a_damaged_file_is_named(self, tmp_path, content):
        (tmp_path / "bad.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"bad\.pt: not a checkpoint of this library, or damaged"):
            load_checkpoint(tmp_path / "bad.pt")

    def test_a_truncated_checkpoint_is_named(self, tmp_path):
        trainer = make_trainer()
        save_checkpoint(tmp_path / "c.pt", trainer.model, SMALL, trainer.data.encoder)
        content = (tmp_path / "c.pt").read_bytes()
        (tmp_path / "c.pt").write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(tmp_path / "c.pt")

    def test_code_in_a_file_is_not_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "owned"), "w"))

        torch.save({"format": 1, "model": Evil()}, tmp_path / "evil.pt")
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "evil.pt")
        assert not (tmp_path / "owned").exists()
        pickle.loads(pickle.dumps(Evil())).close()
        assert (tmp_path / "owned").exists()  # the trap works when it is not guarded

    def test_other_settings_and_formats_are_told_apart(self, tmp_path):
        torch.save([1], tmp_path / "list.pt")
        with pytest.raises(CheckpointError, match="not a checkpoint of this library"):
            load_checkpoint(tmp_path / "list.pt")
        content = {"format": 99, "config": {}, "alphabet": [], "model": {}}
        torch.save(content, tmp_path / "new.pt")
        with pytest.raises(CheckpointError, match="format 99, this version reads 1"):
            load_checkpoint(tmp_path / "new.pt")
        torch.save(content | {"format": 1, "config": {"wings": 2}}, tmp_path / "odd.pt")
        with pytest.raises(CheckpointError, match="wings"):
            load_checkpoint(tmp_path / "odd.pt")


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

    def test_threads_do_not_change_the_features(self):
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


class TestPreflight:
    encoder = CharEncoder()

    def test_too_short_audio_is_named_with_the_arithmetic(self):
        model = SMALL.build(self.encoder)  # one convolution, a frame every 20 ms
        samples = [AudioSample(torch.randn(16000 * n // 100), 16000, "all") for n in (5, 6, 7, 8)]
        good, problems = training.feasible(samples, self.encoder, model)
        # 3 letters + 1 repeat need 4 outputs; 0.07 s are 6 frames and 3 outputs, 0.08 s are 7 and 4.
        assert good == samples[3:]
        assert str(problems[2]) == (
            "utterance 2: 'all': 3 symbols + 1 equal neighbours need 4 output frames, 0.07 s give 3"
        )

    def test_agrees_with_the_real_features(self):
        model = SMALL.build(self.encoder)
        for n in range(320, 3000, 37):
            audio = torch.randn(n)
            outputs = int(model.output_lengths(torch.tensor([compute_spectrogram(audio, n_fft=64).shape[1]])))
            text = "ab" * 40
            for length in (outputs, outputs + 1):
                good, _ = training.feasible([AudioSample(audio, 16000, text[:length])], self.encoder, model)
                assert len(good) == (length == outputs)

    def test_text_outside_the_alphabet_is_named(self):
        items = [Utterance(path="a.wav", transcript="seven"), Utterance(path="b.wav", transcript="7 up")]
        good, problems = training.encodable(items, self.encoder)
        assert good == items[:1]
        assert "b.wav" in str(problems[0]) and "'7' at position 0" in str(problems[0])

    def test_a_text_of_which_nothing_is_left_is_named(self):
        items = [Utterance(path="a.wav", transcript="seven 7"), Utterance(path="b.wav", transcript="北京")]
        good, problems = training.encodable(items, CharEncoder(unknown="drop"))
        assert good == items[:1] and "b.wav" in str(problems[0]) and "nothing of its transcript '北京'" in str(problems[0])

    def test_more_than_one_percent_stops(self):
        training.stop_if_many([Problem("x", "y")], 100)
        with pytest.raises(CorpusError, match="2 of 100 utterances are bad, more than 1 %: x: y"):
            training.stop_if_many([Problem("x", "y")] * 2, 100)


def write_corpus(folder, n=120):
    rng = np.random.default_rng(0)
    utterances = []
    for i in range(n):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(4000), 8000)
        utterances.append(Utterance(folder / f"{i}.wav", "ab", "s", "train", 0.5))
    return utterances


class TestBadAudioInTraining:
    def train(self, utterances):
        encoder = CharEncoder()
        model = SMALL.build(encoder)
        trainer = Trainer(model, TrainingSet(SpeechDataset(utterances, 8000), encoder, model), 1)
        return trainer.run_epoch()

    def test_one_bad_file_is_reported_and_left_out(self, tmp_path):
        utterances = write_corpus(tmp_path)
        (tmp_path / "17.wav").write_bytes(b"RIFF")
        report = self.train(utterances)
        assert [p.where for p in report.problems] == [str(tmp_path / "17.wav")]

    def test_clips_of_one_text_that_are_too_short_are_named_and_counted_one_by_one(self, tmp_path):
        utterances = write_corpus(tmp_path, 300)
        for i in (17, 50, 99):  # shorter than their headers' place in the manifest says
            soundfile.write(tmp_path / f"{i}.wav", 0.1 * np.random.default_rng(i).standard_normal(200), 8000)
        report = self.train(utterances)
        assert sorted(p.where for p in report.problems) == sorted(str(tmp_path / f"{i}.wav") for i in (17, 50, 99))
        assert "'ab' needs 2 output frames, its audio gives 1" in str(report.problems[0])
        soundfile.write(tmp_path / "100.wav", 0.1 * np.random.default_rng(0).standard_normal(200), 8000)
        with pytest.raises(CorpusError, match="4 of 300 utterances are bad"):
            self.train(utterances)

    def test_many_bad_files_stop_it(self, tmp_path):
        utterances = write_corpus(tmp_path)
        for i in (17, 50):
            (tmp_path / f"{i}.wav").write_bytes(b"RIFF")
        with pytest.raises(CorpusError, match="2 of 120 utterances are bad"):
            self.train(utterances)

    def test_readable_finds_them_beforehand(self, tmp_path):
        utterances = write_corpus(tmp_path, 3)
        (tmp_path / "1.wav").write_bytes(b"RIFF")
        good, problems = training.readable(utterances)
        assert [u.path.name for u in good] == ["0.wav", "2.wav"] and "1.wav" in str(problems[0])


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
        Trainer(model, data, epochs=1, batch_size=2, num_workers=1).run_epoch()


def test_an_exception_within_a_worker_is_not_taken_for_its_death():
    class Broken(list):
        def __getitem__(self, index):
            raise RuntimeError("the disc is on fire")

    encoder = CharEncoder()
    model = SMALL.build(encoder)
    data = TrainingSet(Broken(generate_synthetic_dataset(4, max_words=1)), encoder, model)
    with pytest.raises(RuntimeError, match="the disc is on fire"):
        Trainer(model, data, epochs=1, batch_size=2, num_workers=1).run_epoch()


class TestAugmentation:
    def test_is_fixed_by_seed_epoch_and_index(self):
        data = make_trainer().data
        first = data[2][0]
        data.set_epoch(1)
        other = data[2][0]
        data.set_epoch(0)
        assert torch.equal(first, data[2][0]) and first.shape != other.shape

    def test_noise_has_the_ratio_asked_for(self):
        from augmentation import add_noise

        audio = torch.sin(torch.arange(16000) / 5)
        noise = add_noise(audio, 10.0, np.random.default_rng(0)) - audio
        assert 10 * torch.log10(audio.square().mean() / noise.square().mean()) == pytest.approx(10.0, abs=1e-3)

    def test_all_off_changes_nothing(self):
        none = Augmentation(
            trim_ms=0, speed=0, tempo=0, tract=0, gain_db=0, noise_share=0, channel=0, time_masks=0, frequency_masks=0
        )
        audio, rng = torch.randn(4000), np.random.default_rng(0)
        assert none.draw_timing(0.5, rng) == Timing()
        assert torch.equal(none.change_audio(audio, 8000, Timing(), rng), audio)
        features = compute_spectrogram(audio, 8000, n_fft=128)
        torch.testing.assert_close(none.change_features(features, 1.0, rng), features, atol=1e-4, rtol=0)

    def test_speed_moves_pitch_and_length_together(self):
        alone = Augmentation(gain_db=0, noise_share=0)
        audio = torch.sin(2 * np.pi * 500 * torch.arange(16000) / 16000)
        changed = alone.change_audio(audio, 16000, Timing(speed=1.25), np.random.default_rng(0))
        peak = torch.fft.rfft(changed).abs().argmax() * 16000 / len(changed)
        assert len(changed) == pytest.approx(16000 / 1.25, rel=0.001) and float(peak) == pytest.approx(625, rel=0.01)

    def test_ends_are_cut_every_second_time_and_never_far(self):
        rng, audio = np.random.default_rng(0), torch.arange(8000.0)
        timings = [Augmentation().draw_timing(0.2, rng) for _ in range(400)] + [Augmentation().draw_timing(5.0, rng)] * 100
        assert 0.4 < np.mean([timing.start > 0 for timing in timings[:400]]) < 0.6
        assert all(0 <= cut <= 0.03 for timing in timings[:400] for cut in (timing.start, timing.end))
        assert max(timing.end for timing in timings[:400]) > 0.028 and timings[-1].start <= 0.06
        kept = Augmentation(gain_db=0, noise_share=0).change_audio(audio, 8000, Timing(start=0.1, end=0.25), rng)
        assert torch.equal(kept, audio[800:6000])
        assert Timing(0.1, 0.25, 1.25, 0.8).seconds(1.0) == pytest.approx(0.65)

    def test_lengths_are_known_beforehand(self):
        data = make_trainer().data
        data.set_epoch(2)
        assert data.seconds != [sample.seconds for sample in data.samples]
        for index, seconds in enumerate(data.seconds):
            assert data[index][0].shape[1] == pytest.approx(seconds * 100, abs=3)

    def test_tract_moves_resonances_up_and_down_within_the_band(self):
        from augmentation import _warped_bins

        for stretch in (0.8, 0.9, 1.0, 1.1, 1.2):
            places = _warped_bins(65, stretch)
            assert places[0] == 0 and float(places[-1]) == pytest.approx(64, abs=1e-3)
            assert bool((places.diff() > 0).all())
            assert float(places[20]) == pytest.approx(20 * stretch, abs=1e-4)

    def test_an_utterance_made_too_short_is_taken_unchanged(self):
        encoder = CharEncoder()
        model = SMALL.build(encoder)
        audio = torch.randn(16000 * 8 // 100)  # just enough for "all"
        data = TrainingSet([AudioSample(audio, 16000, "all")], encoder, model, Augmentation(speed=0.5, tempo=0.5))
        for epoch in range(20):
            data.set_epoch(epoch)
            features, _ = data[0]
            assert int(model.output_lengths(torch.tensor([features.shape[1]]))) >= 4


class TestSchedules:
    def test_anneal_divides_by_1_2_after_each_epoch(self):
        factors = [training.learning_rate_factor("anneal", step, 30, 10) for step in (0, 9, 10, 25)]
        assert factors == pytest.approx([1, 1, 1 / 1.2, 1 / 1.44])

    def test_onecycle_rises_and_falls(self):
        factors = [training.learning_rate_factor("onecycle", step, 100, 10) for step in range(101)]
        assert max(factors) == factors[15] == 1.0 and factors[100] == pytest.approx(0)
        assert all(a < b for a, b in pairwise(factors[:16]))
        assert all(a > b for a, b in pairwise(factors[15:]))

    def test_unknown_names_are_refused(self):
        with pytest.raises(ValueError, match="schedule must be"):
            training.learning_rate_factor("cosine", 0, 1, 1)
        with pytest.raises(ValueError, match="optimizer must be"):
            training.make_optimizer("lion", SMALL.build(CharEncoder()), 1e-3)

    def test_sgd_is_the_papers(self):
        sgd = training.make_optimizer("sgd", SMALL.build(CharEncoder()), 1e-3)
        assert sgd.defaults["momentum"] == 0.99 and sgd.defaults["nesterov"]


class TestMachine:
    def test_a_device_that_is_not_here_is_refused_with_what_is(self):
        with pytest.raises(ValueError, match="device 'tpu' is not here; this machine has: cpu"):
            training.choose_device("tpu")
        for name in ("cpu:foo", "", "cuda:99"):
            with pytest.raises(ValueError, match="is not here; this machine has: cpu"):
                training.choose_device(name)

    def test_bf16_without_hardware_is_refused_and_auto_is_not(self, monkeypatch):
        cpu = torch.device("cpu")
        monkeypatch.setattr(training, "cpu_has_bf16", lambda: False)
        assert training.choose_precision("auto", cpu) == torch.float32
        with pytest.raises(ValueError, match="precision bf16: this cpu does not multiply bf16"):
            training.choose_precision("bf16", cpu)
        monkeypatch.setattr(training, "cpu_has_bf16", lambda: True)
        assert training.choose_precision("auto", cpu) == torch.bfloat16

    def test_bf16_products_train_too(self):
        trainer = make_trainer(epochs=2, precision=torch.bfloat16)
        first, second = trainer.run_epoch(), trainer.run_epoch()
        plain = make_trainer(epochs=2)
        assert first.loss == pytest.approx(plain.run_epoch().loss, rel=0.03)
        assert second.loss == pytest.approx(plain.run_epoch().loss, rel=0.1)
        assert any(not torch.equal(a, b) for a, b in zip(trainer.model.parameters(), plain.model.parameters(), strict=True))
        assert all(p.dtype == torch.float32 for p in trainer.model.parameters())


def test_the_real_sets_are_all_spellable_at_the_default_stride():
    from pathlib import Path

    data = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (data / "fsdd").is_dir():
        pytest.skip("no real speech at ../shared/data")
    encoder = CharEncoder()
    model = ModelConfig().build(encoder)
    for name in ("fsdd", "barista_en", "kathleen_arctic"):
        utterances = corpora.read_corpus(data / name).utterances
        good, problems = training.feasible(utterances, encoder, model)
        assert len(good) == len(utterances), problems[:3]


def test_a_joined_item_is_named_by_all_its_files(tmp_path):
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(8000), 8000)
    (tmp_path / "manifest.tsv").write_text(
        "path\tspeaker\tsplit\ttranscript\n" + "".join(f"{n}.wav\ts\ttrain\tword {'abcd'[n]}\n" for n in range(4))
    )
    encoder, corpus = CharEncoder(), corpora.read_corpus(tmp_path)
    joined = corpora.JoinedDataset(corpora.SpeechDataset(corpus.utterances, 8000), 3)
    data = TrainingSet(joined, encoder, SMALL.build(encoder))
    for index in range(4):
        files = [name.rsplit("/", 1)[-1] for name in data.name(index).split(" + ")]
        assert [f"word {'abcd'[int(name[0])]}" for name in files] == joined[index].transcript.replace(" word", "|word").split("|")
