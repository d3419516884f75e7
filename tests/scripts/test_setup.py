"""setup.py: what is there, what is missing, and the mend."""

from __future__ import annotations

import setup


def test_says_what_is_there_and_runs_a_model(capsys):
    assert setup.main([]) in (0, 1)
    out = capsys.readouterr().out
    assert "torch" in out and "a small model forward and back" in out and "Python 3" in out


def test_names_a_missing_package_and_the_mend(capsys, monkeypatch):
    monkeypatch.setattr(setup, "NEEDED", ("no-such-package",))
    assert setup.main([]) == 1
    out = capsys.readouterr().out
    assert "no-such-package missing" in out and "pip install -r requirements.txt" in out


def test_is_no_installer(capsys):
    assert setup.main(["install"]) == 2
    assert "pip install -r requirements.txt" in capsys.readouterr().out
