"""setup.py: what is there, what is missing, and the mend; and what all scripts say where nothing is installed."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

import setup
from helpers import ROOT
from pictures import terminal


def test_says_what_is_there_and_runs_a_model(capsys):
    assert setup.main([]) in (0, 1)
    out = capsys.readouterr().out
    assert "torch" in out and "a small model trained for 3 steps" in out and "Python 3" in out


def test_a_closed_output_is_no_traceback():
    process = subprocess.Popen(
        [sys.executable, "-u", "setup.py"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(timeout=60) == 141


def test_names_a_missing_package_and_the_mend(capsys, monkeypatch):
    monkeypatch.setattr(setup, "NEEDED", ("no-such-package",))
    assert setup.main([]) == 1
    out = capsys.readouterr().out
    assert "no-such-package missing" in out and "pip install -r requirements.txt" in out


@pytest.mark.parametrize("arguments", [["install"], ["egg_info", "--egg-base", "x"], ["--pyhton"], ["--python", "install"]])
def test_is_no_installer(capsys, arguments):
    assert setup.main(arguments) == 2
    out = capsys.readouterr().out
    assert "it runs from its folder" in out and "pip install -r requirements.txt" in out and out.count("\n") == 1


def test_an_environment_is_named_or_made(capsys, monkeypatch):
    monkeypatch.setattr(setup, "NEEDED", ("no-such-package",))
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert setup.main([]) == 1
    out = capsys.readouterr().out
    assert f"virtual environment: {sys.prefix}\n" in out and "to install what is missing: pip install" in out
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    assert setup.main([]) == 1
    out = capsys.readouterr().out
    assert (
        "virtual environment: none; " in out
        and "to install what is missing: python3 -m venv .venv && . .venv/bin/activate && pip install" in out
    )


def test_a_fit_python_passes_in_silence(capsys):
    assert setup.main(["--python"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("arguments", [["--python"], []])
def test_an_old_python_is_one_sentence(capsys, monkeypatch, arguments):
    monkeypatch.setattr(sys, "version_info", (3, 8, 18, "final", 0))
    monkeypatch.setattr(setup.platform, "python_version", lambda: "3.8.18")
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    assert setup.main(arguments) == 1
    needed = "error: Python 3.11 or newer is needed, and this is 3.8.18: "
    assert capsys.readouterr() == ("", f"{needed}get it from https://www.python.org/downloads/\n")
    monkeypatch.setattr(setup.shutil, "which", lambda name: name if name == "python3.12" else None)
    assert setup.main(arguments) == 1
    assert capsys.readouterr().err == f"{needed}python3.12 is installed: use it instead of python3\n"


def test_a_python_without_venv_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setattr(setup, "find_spec", lambda name: None if name == "ensurepip" else name)
    assert setup.main(["--python"]) == 1
    err = capsys.readouterr().err
    assert f"sudo apt install python3.{sys.version_info.minor}-venv" in err and err.count("\n") == 1


def test_an_old_python_comes_as_far_as_its_sentence():
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("setup.py", "pictures/__init__.py", "pictures/folding.py")]
    tree = ast.parse("\n".join(texts), feature_version=(3, 7))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]  # 3.6
    notes = [note for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for note in (node.returns, *node.args.args)]
    notes = [note.annotation if isinstance(note, ast.arg) else note for note in notes]
    notes = [ast.unparse(note) for note in notes if note]
    assert not [note for note in notes if "|" in note or "list[" in note or "tuple[" in note or "dict[" in note]
    at_first = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}  # fmt: skip
    standard = {"contextlib", "os", "platform", "re", "shutil", "sys", "time", "importlib.util", "typing", "unicodedata"}
    assert at_first == {*standard, "pictures.folding"}


# What the scripts say where nothing is installed


@pytest.mark.parametrize("name", ["train_minimal", "train_language_model", "check_corpus", "visualization"])
def test_without_its_packages_a_script_says_so_in_one_line(name):
    done = subprocess.run([sys.executable, "-S", ROOT / f"{name}.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: torch, numpy, ") and done.stderr.count("\n") == 1


def test_what_is_missing_and_where_the_environment_is(monkeypatch, tmp_path):
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    assert terminal.what_is_missing() is None
    monkeypatch.setattr(terminal, "find_spec", lambda name: None if name in ("soxr", "tqdm") else name)
    monkeypatch.setattr(terminal, "__file__", str(tmp_path / "pictures" / "terminal.py"))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert terminal.what_is_missing() == "soxr, tqdm: not installed yet; pip install -r requirements.txt"
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    make = "python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt"
    assert terminal.what_is_missing() == f"soxr, tqdm: not installed in this Python; {make}"
    (tmp_path / ".venv").mkdir()
    assert terminal.what_is_missing().endswith("the environment exists, but is not active; . .venv/bin/activate")
    monkeypatch.setattr(sys, "version_info", (3, 10, 2))
    assert terminal.what_is_missing().startswith("Python 3.11 or newer is needed, and this is ")


def test_both_lists_of_packages_are_one():
    assert terminal.NEEDED == setup.NEEDED
