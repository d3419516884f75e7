"""What holds for each notebook: run as it stands, nothing of the machine in it, a folded answer at the end of each part."""

from __future__ import annotations

import re

import pytest

from helpers import Notebook

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
