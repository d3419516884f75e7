"""notebook.ipynb: it was run as it stands, from top to bottom, and it ends where it says."""

from __future__ import annotations

import ast
import os
import re

import pytest

from helpers import DATA, ROOT, Notebook

STORED = Notebook("notebook.ipynb")
CODE, source, printed = STORED.code, STORED.source, STORED.printed
TEXT = "\n".join(source(cell) for cell in STORED.cells if cell["cell_type"] == "markdown")


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


def test_each_part_has_a_cell_to_change_with_a_question_before_it_and_a_folded_answer_behind_it():
    order = "".join(
        "C" if source(cell).startswith("# Change ") else "Q" if source(cell).startswith("**Predict.**") else
        "A" if source(cell).startswith("<details><summary>What happens</summary>") else "P" * source(cell).startswith("## ")
        for cell in STORED.cells
    )  # fmt: skip
    assert re.fullmatch(r"P(PQCA){13}PP", order)  # the first picture, the parts, the summary, where to go on


def test_the_short_runs_show_what_the_text_says():
    losses = [float(loss) for loss in re.findall(r"loss in the last epoch +([\d.]+)", printed(CODE))]
    shallow, shallow_norm, deep, deep_norm, unsorted, in_order = losses
    assert deep_norm < deep - 1 and shallow_norm < shallow and in_order < unsorted - 1
    for first, second in ((shallow_norm, shallow), (deep_norm, deep), (in_order, unsorted)):
        assert re.search(rf"\b{first:.2f} instead of {second:.2f}\b", TEXT)


def test_parts_11_and_12_hear_a_voice_without_any_data():
    text = printed(CODE)
    assert text.count("'yes'") >= 4 and "any letters: 'yes', likeliest of the 35 words: 'yes'" in text
    heard = re.findall(r"^up to (\d+) Hz: any letters '(\w+)', likeliest of the 35 words '(\w+)'", text, re.MULTILINE)
    assert heard[1] == ("3400", "yes", "yes") and heard[0][0] == "2000"
    assert "the letters become *{}*, and the likeliest of the 35 words is *{}*".format(*heard[0][1:]) in TEXT


def test_pictures_and_sound_are_stored():
    kinds = [kind for cell in CODE for output in cell["outputs"] for kind in output.get("data", {})]
    html = "".join("".join(output.get("data", {}).get("text/html", "")) for cell in CODE for output in cell["outputs"])
    assert kinds.count("image/png") >= 9 and html.count("<audio") >= 3


def test_the_stored_run_reached_its_error_rate_and_heard_real_speech():
    text = printed(CODE)
    greedy, beam, with_model = word_error_rates(text)
    assert float(re.search(r"^greedy: ([\d.]+) %", text, re.MULTILINE)[1]) <= 5
    assert with_model <= 5 < beam < greedy <= 20  # in noise
    assert re.search(r"epoch 6 +loss .* dev: WER [\d.]+ % \(\d+/\d+", text)


def test_the_stored_notebook_is_small():
    assert (ROOT / "notebook.ipynb").stat().st_size < 2048 * 1024


@pytest.mark.slow
def test_it_runs_from_top_to_bottom():
    import nbformat  # takes seconds
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "notebook.ipynb", as_version=4)
    data = {"DS2_DATA": str(DATA / "fsdd")} if (DATA / "fsdd").is_dir() else {}
    client = NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    client.execute(env=os.environ | data)
    greedy, _, with_model = word_error_rates(printed([cell for cell in notebook.cells if cell.cell_type == "code"]))
    assert greedy <= 20 and with_model <= 10
