"""tune_decoder.py: weights chosen on dev alone, and what is left beside the checkpoint."""

from __future__ import annotations

import json

import matplotlib.image
import pytest

import tune_decoder
from implementation import DeepSpeech2
from models.jitter import Jittered
from training import report


def tune_arguments(folder) -> list[str]:
    return [str(folder / "run" / "checkpoint.pt"), "--data", str(folder), "--lm", str(folder / "lm.arpa"), "--beam", "4"]


def test_alpha_and_beta_are_chosen_on_dev_alone(small_corpus, capsys, monkeypatch):
    folder, samples = small_corpus
    seen, real = [], report.tune

    def spy(dev, *arguments, **options):
        seen.extend(output.reference for output in dev)
        return real(dev, *arguments, alphas=(0.0, 0.5), betas=(0.0, 1.0), on_pair=options["on_pair"])

    monkeypatch.setattr(report, "tune", spy)
    assert tune_decoder.main([*tune_arguments(folder), "--tune-beam", "2", "--unknown-penalty", "1.5"]) == 0
    assert sorted(seen) == sorted(sample.transcript for sample in samples[6:9])
    out = capsys.readouterr().out
    for name in ("dev", "test"):
        for kind in ("greedy", "beam 4 ", "beam 4 + language model"):
            assert any(line.startswith(name) and kind in line and "WER" in line for line in out.splitlines())
    known = {word for sample in samples[:6] for word in sample.transcript.split()}
    spoken = [word for sample in samples[6:9] for word in sample.transcript.split()]
    unknown = sum(word not in known for word in spoken)
    assert unknown and f"{unknown} of its {len(spoken)} words are not in the language model ({unknown / len(spoken):.1%})" in out
    settings = json.loads((folder / "run" / "decoder.json").read_text())
    assert settings["alpha"] in (0.0, 0.5) and settings["beta"] in (0.0, 1.0)
    assert settings["unknown_penalty"] == 1.5
    picture = matplotlib.image.imread(folder / "run" / "tuning.png")
    assert min(picture.shape[:2]) > 200 and picture[..., :3].std() > 0.05
    with pytest.raises(SystemExit):
        tune_decoder.main(tune_arguments(folder))
    assert "add --overwrite to replace it" in capsys.readouterr().err


@pytest.mark.parametrize("penalty", ["-1", "nan", "inf"])
def test_a_penalty_out_of_range_is_refused(tmp_path, penalty, capsys):
    with pytest.raises(SystemExit):
        tune_decoder.main([str(tmp_path / "c.pt"), "--data", "x", "--lm", "y", "--unknown-penalty", penalty])
    assert f"--unknown-penalty must be 0 or more, not {float(penalty)}" in capsys.readouterr().err


def test_with_jitter_the_weights_are_chosen_on_the_mean_of_three_hearings(small_corpus, monkeypatch):
    folder, _ = small_corpus
    heard = []
    monkeypatch.setattr(tune_decoder, "tune_and_compare", lambda checkpoint, *_: heard.append(type(checkpoint.model)))
    for flags in ([], ["--jitter"]):
        assert tune_decoder.main([*tune_arguments(folder), "--overwrite", *flags]) == 0
    assert heard == [DeepSpeech2, Jittered]
