"""The flags of train_minimal.py: what they say reaches the settings, whose defaults are theirs; wrong ones are refused."""

from __future__ import annotations

import dataclasses
import runpy

import pytest
import torch

from helpers import ROOT
from implementation import ENGLISH, CharEncoder, Features
from models.checkpoints import ModelConfig
from speech.alphabets import encoder_of
from training import flags as door
from training.flags import parse_args
from training.settings import LanguageModelSettings, OutputSettings, SpeechSettings, TrainingSettings


def test_without_flags_all_is_as_the_settings_have_it_but_the_strides():
    speech, model, training, output = parse_args([])
    assert (speech, training, output) == (SpeechSettings(), TrainingSettings(), OutputSettings())
    assert model.time_strides == [2, 2] and dataclasses.replace(model, time_strides=None) == ModelConfig()


def test_recordings_have_defaults_of_their_own():
    speech, model, training, _ = parse_args(["--data", "x", "--n-conv", "3"])
    assert (speech.data, model.time_strides, training.epochs, training.lr) == ("x", [3, 1, 1], 16, 2e-3)


def test_every_flag_reaches_its_setting(tmp_path):
    (tmp_path / "lm.arpa").touch()
    lm = str(tmp_path / "lm.arpa")
    said = (
        "--data corpus --train a,b --dev d --test c "
        "--join 3 --n-train 9 --n-val 8 --max-seconds 7.5 --unknown drop --masks sentences --bigrams "
        "--sample-rate 8000 --alphabet mandarin --transcript-column hanzi "
        "--forward-only --row-conv 4 --fc-hidden 30 --normalize corpus "
        "--conv 1d --n-conv 3 --n-rnn 2 --rnn-hidden 20 --rnn-type rnn --batch-norm step --time-strides 1,2,1 --dropout 0.25 "
        "--features spectrogram --n-fft 64 --n-mels 12 --window-ms 30 --stride-ms 15 "
        "--epochs 6 --batch-size 5 --lr 0.5 --optimizer sgd --schedule noam --warmup 77 --no-sortagrad --precision fp32 "
        f"--device cpu --num-workers 4 --threads 1 --seed 11 --lm {lm} --unit word --lexicon "
        "--unknown-penalty 1.5 --output-dir out --overwrite --save-minutes 2.5"
    )
    assert parse_args(said.split()) == (
        SpeechSettings(
            "corpus", ("a", "b"), "d", ("c",), 3, 9, 8, 7.5, "drop", True, "sentences", True, 8000, "mandarin", "hanzi"
        ),
        ModelConfig(
            Features("spectrogram", 16000, 30, 15, 64, 12, "corpus"), n_conv=3, convolutions="3-layer 1D", n_rnn=2, rnn_hidden=20,
            rnn_type="rnn", batch_norm="step", bidirectional=False, row_conv=4, fc_hidden=30, time_strides=[1, 2, 1],
            dropout=0.25,
        ),
        TrainingSettings(6, 5, 0.5, "sgd", "noam", 77, False, "fp32", "cpu", 4, 1, 11),
        OutputSettings("out", True, None, LanguageModelSettings(lm, "word", True, unknown_penalty=1.5), save_minutes=2.5),
    )  # fmt: skip
    assert parse_args(["--batch-seconds", "60"])[2] == TrainingSettings(batch_seconds=60.0)
    assert parse_args(["--checkpoint", "a.pt"])[2].checkpoint == "a.pt" and parse_args(["--resume", "x"])[3].resume == "x"


def test_the_deployed_model_is_that_of_the_paper_and_said_in_full(capsys):
    model = parse_args(["--preset", "deployed"])[1]
    assert (model.bidirectional, model.rnn_type, model.n_rnn, model.rnn_hidden) == (False, "gru", 5, 2560)
    assert (model.row_conv, model.fc_hidden, model.features.normalisation) == (19, 2560, "corpus")
    assert capsys.readouterr().out == (
        "preset deployed: --forward-only --rnn-type gru --n-rnn 5 --rnn-hidden 2560 "
        "--row-conv 19 --fc-hidden 2560 --normalize corpus\n"
    )
    smaller = parse_args("--rnn-hidden 256 --preset deployed --fc-hidden 0 --row-conv 0 --normalize utterance --n-rnn 3".split())[
        1
    ]
    assert (smaller.rnn_hidden, smaller.fc_hidden, smaller.row_conv, smaller.n_rnn) == (256, 0, 0, 3)
    assert smaller.features.normalisation == "utterance" and not smaller.bidirectional
    assert "--rnn-hidden 256 --row-conv 0 --fc-hidden 0 --normalize utterance" in capsys.readouterr().out


def test_the_flags_of_deep_speech_1(tmp_path):
    _, model, _, output = parse_args("--model ds1 --context 5 --rnn-hidden 20 --dropout 0.1 --forward-only --jitter".split())
    features = Features(n_fft=128, normalisation="corpus")
    expected = ModelConfig(features, model="ds1", context=5, rnn_hidden=20, dropout=0.1, bidirectional=False)
    assert model == expected and output == OutputSettings(jitter=True)
    for flags in ([], ["--data", "x"]):
        _, model, training, _ = parse_args(["--model", "ds1", *flags])
        assert model == ModelConfig(model="ds1", rnn_hidden=512, dropout=0.05) and training.lr == 1e-3
    assert parse_args(["--model", "ds1", "--checkpoint", "x"])[1] == ModelConfig(model="ds1")  # that of the checkpoint counts


def test_log_mel_features_have_their_own_window():
    assert parse_args(["--features", "logmel"])[1].features == Features("logmel", window_ms=25, n_fft=128)
    assert parse_args(["--features", "logmel", "--window-ms", "20"])[1].features.window_ms == 20
    assert parse_args([])[1].features == Features(n_fft=128)


def test_the_lesson_is_what_is_done_without_a_preset(capsys):
    assert parse_args(["--preset", "lesson"]) == parse_args([])
    assert "--n-fft 128 --n-conv 2 --rnn-type gru --n-rnn 3 --rnn-hidden 128 --batch-norm output" in capsys.readouterr().out


def test_the_best_english_model_of_the_paper(capsys):
    speech, model, training, _ = parse_args(["--preset", "paper"])
    assert (model.n_conv, model.n_rnn, model.rnn_type, model.batch_norm, model.bidirectional) == (3, 7, "rnn", "input", True)
    assert speech.bigrams and model.time_strides == [3, 1, 1]
    assert (training.optimizer, training.schedule, training.epochs, training.batch_size) == ("sgd", "anneal", 20, 512)
    with torch.device("meta"):
        built = model.build(encoder_of([*ENGLISH, *(a + b for a in ENGLISH[:26] for b in "aeiou")]))
    assert sum(p.numel() for p in built.parameters()) == pytest.approx(100e6, rel=0.03)
    assert "--time-strides 3,1,1" in (out := capsys.readouterr().out) and "--bigrams --epochs 20" in out and "--lr 0.0003" in out


def test_the_small_librispeech_recipe(capsys):
    _, model, training, _ = parse_args(["--preset", "librispeech-lstm", "--rnn-hidden", "128"])
    assert model.features == Features("logmel", window_ms=25, n_fft=128, n_mels=80, normalisation="corpus")
    first, second = (c for c in model.build(CharEncoder()).specification)
    assert (first.kernel, first.stride, second.kernel, second.stride) == ((41, 11), (2, 2), (21, 11), (2, 1))
    assert (model.rnn_type, model.bidirectional, model.n_rnn, model.rnn_hidden) == ("lstm", False, 5, 128)
    assert (model.row_conv, model.fc_hidden, model.dropout) == (4, 1024, 0.1)
    assert (training.batch_size, training.optimizer, training.schedule, training.warmup) == (2, "adam", "noam", 10_000)
    assert training.lr == pytest.approx(512**-0.5 * 10_000**-0.5, rel=0.01)  # Vaswani et al. 2017, Eq. 3, at its peak
    assert "--window-ms 25 --stride-ms 10" in capsys.readouterr().out


def test_the_recipe_for_commands_can_hear_a_stream(capsys):
    speech, model, training, _ = parse_args(["--preset", "commands", "--data", "x", "--epochs", "3"])
    assert (model.bidirectional, model.features.normalisation, model.features.kind) == (False, "corpus", "logmel")
    assert speech.join > 1 and training.epochs == 3
    assert sum(p.numel() for p in model.build(CharEncoder()).parameters()) < 990_000  # 2 MB in half precision
    assert "--forward-only" in capsys.readouterr().out


@pytest.mark.parametrize(("flag", "setting"), [("output", "output"), ("paper", "input"), ("none", "none")])
def test_the_placements_of_batch_norm_by_the_flags_words(flag, setting):
    assert parse_args(["--batch-norm", flag])[1].batch_norm == setting


@pytest.mark.parametrize(
    ("flags", "over"),
    [("", "utterance"), ("--normalize corpus", "corpus"), ("--forward-only", "corpus"),
     ("--forward-only --normalize utterance", "utterance")],
)  # fmt: skip
def test_forward_only_models_are_normalised_over_the_corpus_unless_said(flags, over):
    assert parse_args(flags.split())[1].features.normalisation == over


def test_strides_of_a_checkpoint_are_not_asked_for_unless_said():
    assert parse_args(["--checkpoint", "x"])[1].time_strides is None
    assert parse_args(["--checkpoint", "x", "--time-strides", "3,2"])[1].time_strides == [3, 2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochs", "0"], "--epochs must be at least 1, not 0"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--batch-seconds", "0"], "--batch-seconds must be a number of seconds above 0, not 0.0"),
        (["--batch-seconds", "nan"], "--batch-seconds must be a number of seconds above 0, not nan"),
        (["--batch-size", "8", "--batch-seconds", "60"], "--batch-size and --batch-seconds both say how much a step takes"),
        (["--n-conv", "4"], "--n-conv must be 1, 2 or 3"),
        (["--n-rnn", "8"], "--n-rnn must be 1 to 7"),
        (["--lr", "0"], "--lr must be above 0"),
        (["--n-fft", "129"], "--n-fft must be even"),
        (["--window-ms", "0.5"], "--window-ms must lie between 1 and 1000 ms, not 0.5"),
        (["--stride-ms", "0"], "--stride-ms must lie between 1 and 1000 ms, not 0.0"),
        (["--preset", "deployed", "--checkpoint", "a.pt"], "--checkpoint brings its own model: leave out --preset"),
        (["--n-mels", "0"], "--n-mels must be at least 1, not 0"),
        (["--features", "logmel", "--n-fft", "256"], "--n-fft is for spectrograms"),
        (["--model", "ds1", "--n-conv", "1", "--time-strides", "2"], "--rnn-hidden): leave out --n-conv, --time-strides"),
        (["--model", "ds1", "--conv", "1d"], "--model ds1 has layers of its own (see --context and --rnn-hidden): leave"),
        (["--model", "ds1", "--preset", "deployed"], "leave out --n-rnn, --row-conv, --fc-hidden"),
        (["--context", "5"], "--context is for Deep Speech 1: add --model ds1"),
        (["--model", "ds1", "--context", "-1"], "--context must be at least 0, not -1"),
        (["--model", "ds3"], "invalid choice"),
        (["--max-seconds", "9"], "--max-seconds leaves out long recordings of --data"),
        (["--masks", "sentences"], "--masks sentences changes how --data is augmented: add --data PATH"),
        (["--masks", "sentences", "--data", "x", "--no-augment"], "--masks sentences changes how --data is augmented: leave"),
        (["--join", "3"], "--join joins recordings of --data"),
        (["--resume", "x", "--output-dir", "y"], "continues in its own folder"),
        (["--resume", "x", "--overwrite"], "choose one"),
        (["--resume", "--overwrite"], "choose one"),
        (["--resume", ""], "--resume is empty"),
        (["--save-minutes", "-1"], "--save-minutes must be 0 or more, not -1.0"),
        (["--save-minutes", "nan"], "--save-minutes must be 0 or more, not nan"),
        (["--data", ""], "--data is empty"),
        (["--output-dir", ""], "--output-dir is empty"),
        (["--num-workers", "-1"], "--num-workers must be at least 0"),
        (["--seed", "-1"], "--seed must be 0 to 2^32 - 1, not -1"),
        (["--time-strides", "2,2,2"], "needs 2 strides"),
        (["--time-strides", "fast"], "whole numbers"),
        (["--rnn-type", "transformer"], "invalid choice"),
        (["--dropout", "1"], "below 1"),
        (["--conv", "3d"], "invalid choice"),
        (["--batch-norm", "step"], "--batch-norm step works with the simple recurrence only (arXiv Eq. 7): add --rnn-type rnn"),
        (["--lexicon"], "--lexicon needs a language model: add --lm train"),
        (["--lm", "no.arpa"], "--lm no.arpa: no such file"),
        (["--bigrams", "--checkpoint", "x"], "--checkpoint brings its own outputs: leave out --bigrams"),
    ],
)
def test_wrong_flags_are_refused_plainly(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_args(flags)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_seconds_take_the_place_of_a_presets_number_of_utterances(capsys):
    training = parse_args(["--preset", "librispeech-lstm", "--batch-seconds", "60"])[2]
    said = capsys.readouterr().out
    assert training.batch_seconds == 60 and "--batch-seconds 60" in said and "--batch-size" not in said


def test_help_gives_defaults_and_sources(capsys):
    with pytest.raises(SystemExit):
        parse_args(["--help"])
    text = capsys.readouterr().out
    assert "(default: None)" not in text and "(default: 8)" in text
    flags = (
        "--epochs --batch-size --lr --n-train --n-val --n-conv --n-rnn --rnn-hidden --rnn-type --n-fft --seed --output-dir "
        "--no-sortagrad --conv --batch-norm --data --join --optimizer --schedule --precision --device --resume --checkpoint"
    )
    assert all(flag in text for flag in flags.split())
    assert "arXiv Table 4" in text and "Hz" in text and "default:" in text


def test_a_quick_try_is_cut_down_to_seconds_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(door, "QUICK", True)
    speech, model, training, _ = parse_args(["--epochs", "40", "--rnn-hidden", "512"])
    assert (training.epochs, speech.n_train, speech.n_val, model.rnn_hidden) == (1, 16, 4, 16)
    assert "DS2_QUICK is set: one epoch of 16 utterances with 16 hidden units" in capsys.readouterr().err
    assert parse_args(["--checkpoint", "x"])[1].rnn_hidden == ModelConfig.rnn_hidden  # that of the checkpoint counts


@pytest.mark.parametrize(("value", "expected"), [("0", False), ("", False), ("1", True)])
def test_the_environment_switches_quick_tries_on_and_off(value, expected, monkeypatch):
    monkeypatch.setenv("DS2_QUICK", value)
    assert runpy.run_path(str(ROOT / "training" / "machine.py"))["QUICK"] is expected
