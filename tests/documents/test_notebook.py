"""notebook.ipynb: it was run as it stands, from top to bottom, and it ends where it says."""

from __future__ import annotations

import ast
import os
import re

import pytest

from helpers import DATA, ROOT, Notebook

STORED = Notebook("notebook.ipynb")
CODE, source, printed = STORED.code, STORED.source, STORED.printed


def word_error_rates(text):
    """The three rates of part 9, in per cent: greedy, beam, beam with the language model."""
    return [float(rate) for rate in re.findall(r"^(?:greedy|beam 16|beam 16, language model) +([\d.]+) %", text, re.MULTILINE)]


def test_no_model_code_stands_in_the_cells():
    for cell in CODE:
        code = "\n".join(line for line in source(cell).splitlines() if not line.startswith("%"))
        nodes = list(ast.walk(ast.parse(code)))
        assert not any(isinstance(node, ast.ClassDef) for node in nodes)
        assert not any(isinstance(node, ast.Attribute) and node.attr in ("nn", "autograd", "optim") for node in nodes)


def test_every_part_names_its_section():
    assert all(re.search(r"\(Sections? \d", part.splitlines()[0]) for part in STORED.parts())


def test_pictures_and_sound_are_stored():
    kinds = [kind for cell in CODE for output in cell["outputs"] for kind in output.get("data", {})]
    html = "".join("".join(output.get("data", {}).get("text/html", "")) for cell in CODE for output in cell["outputs"])
    assert kinds.count("image/png") >= 9 and html.count("<audio") >= 3


def test_the_stored_run_reached_its_error_rate_and_heard_real_speech():
    text = printed(CODE)
    greedy, beam, with_model = word_error_rates(text)
    assert greedy <= 10 and beam <= 10 and with_model <= greedy
    assert re.search(r"epoch 6 +loss .* dev: WER [\d.]+ % \(\d+/\d+", text)


@pytest.mark.slow
def test_it_runs_from_top_to_bottom():
    import nbformat  # takes seconds
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "notebook.ipynb", as_version=4)
    data = {"DS2_DATA": str(DATA / "fsdd")} if (DATA / "fsdd").is_dir() else {}
    client = NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    client.execute(env=os.environ | data)
    greedy, _, with_model = word_error_rates(printed([cell for cell in notebook.cells if cell.cell_type == "code"]))
    assert greedy <= 10 and with_model <= 10
