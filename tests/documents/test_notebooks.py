"""What holds for each notebook: run as it stands, nothing of the machine in it, a folded answer at the end of each part."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from helpers import ROOT, Notebook

KINDS = {"stream", "display_data"}  # of outputs
NOTEBOOKS = [
    pytest.param(Notebook("notebook.ipynb"), KINDS | {"execute_result"}, 13, id="notebook"),
    pytest.param(Notebook("notebooks/ctc_from_scratch.ipynb"), KINDS, 13, id="ctc"),
    pytest.param(Notebook("notebooks/deep_speech_1.ipynb"), KINDS, 9, id="deep_speech_1"),
    pytest.param(Notebook("notebooks/mandarin.ipynb"), KINDS, 7, id="mandarin"),
]
each = pytest.mark.parametrize(("notebook", "kinds", "parts"), NOTEBOOKS)


@each
def test_it_was_run_in_order_without_errors_and_warnings(notebook, kinds, parts):
    assert [cell["execution_count"] for cell in notebook.code] == list(range(1, len(notebook.code) + 1))
    outputs = [output for cell in notebook.code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == kinds
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)


@each
def test_nothing_of_the_machine_it_ran_on_is_stored(notebook, kinds, parts):
    assert notebook.stored["metadata"]["kernelspec"]["name"] == "python3"
    text = "".join(notebook.source(cell) for cell in notebook.cells) + notebook.printed(notebook.code)
    assert not re.search(r"/(tmp|home|root|work|usr|Users)/|[A-Z]:\\|20\d\d-\d\d-\d\d", text)
    assert all(set(cell["metadata"]) <= {"tags"} for cell in notebook.cells)
    assert [cell["id"] for cell in notebook.cells] == [f"cell-{number:02}" for number in range(len(notebook.cells))]


@each
def test_every_part_ends_with_one_folded_answer(notebook, kinds, parts):
    found = notebook.parts()
    assert [int(part.split(".")[0]) for part in found] == list(range(1, parts + 1))
    for part in found:
        assert part.count("**Question.**") == part.count("<details><summary>Answer</summary>") == 1
        assert part.rstrip().endswith("</details>")


@each
def test_a_prediction_is_asked_before_the_cell_to_change_and_answered_behind_it(notebook, kinds, parts):
    begins = [notebook.source(cell) for cell in notebook.cells]
    asked = [i for i, text in enumerate(begins) if text.startswith("**Predict.**")]
    assert all(begins[i + 1].startswith("# Change ") for i in asked)
    assert all(begins[i + 2].startswith("<details><summary>What happens</summary>") for i in asked)
    assert any(text.startswith("# Change ") for text in begins)


# Where the project is found

FINDING = [Notebook(name) for name in ("notebook.ipynb", "notebooks/deep_speech_1.ipynb", "notebooks/mandarin.ipynb")]


@pytest.fixture
def find(tmp_path, monkeypatch):
    """Runs the first cell in a folder of tmp_path; gives the commands that it ran and the folder that it ended in."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(folder, address=""):
        commands = []

        def fetched(command, check):
            commands.append(command)
            if command[0] == "git":
                subprocess.check_call([sys.executable, "-c", "import os; os.mkdir('deep_speech_2')"])
                (tmp_path / folder / "deep_speech_2" / "requirements.txt").write_text((ROOT / "requirements.txt").read_text())

        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        cell = FINDING[0].source(FINDING[0].code[0]).replace('ADDRESS = ""', f"ADDRESS = {address!r}")
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "run", fetched)
            exec(cell, {})
        return commands, sys.path[0]

    return run


def test_the_first_cell_is_the_same_in_all_notebooks_that_need_the_project():
    assert len({notebook.source(notebook.code[0]) for notebook in FINDING}) == 1
    assert FINDING[0].source(FINDING[0].code[0]).count('ADDRESS = ""  #') == 1


@pytest.mark.parametrize("folder", [".", "notebooks"])
def test_beside_or_above_the_notebook_the_project_is_found_silently(find, tmp_path, capfd, folder):
    (tmp_path / "implementation.py").touch()
    assert find(folder) == ([], str(tmp_path)) and capfd.readouterr() == ("", "")


def test_what_was_fetched_is_found_again_after_the_kernel_restarts(find, tmp_path, capfd):
    fetched = tmp_path / "elsewhere" / "deep_speech_2"
    fetched.mkdir(parents=True)
    (fetched / "implementation.py").touch()
    for address in ("", "some.where/project.git"):
        assert find("elsewhere", address) == ([], str(fetched)) and capfd.readouterr() == ("", "")


def test_without_project_and_address_one_sentence_says_what_to_do(find):
    with pytest.raises(SystemExit, match=r"^The project is not here: [^.]*ADDRESS[^.]*, and run this cell again\.$"):
        find("empty")


def test_elsewhere_the_project_is_fetched_and_what_it_needs_is_installed(find, tmp_path):
    (clone, install), path = find("elsewhere", "some.where/project.git")
    assert clone[:2] == ["git", "clone"] and clone[-2:] == ["some.where/project.git", "deep_speech_2"]
    needed = install[install.index("--quiet") + 1 :]
    assert path == str(tmp_path / "elsewhere" / "deep_speech_2")
    assert {"torch", "numpy", "soxr"} < {pin.split("==")[0] for pin in needed} and all("==" in pin for pin in needed)
    assert not any("jupyter" in pin for pin in needed)
