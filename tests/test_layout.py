"""The house rules that can be read off the source: which file may import which, and how long files and functions may be."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import FOLDERS, ROOT, sources

BELOW = {  # folder or file -> what it may import of ours beside its own folder
    "implementation": (),
    "speech": ("implementation",),
    "decoding": ("implementation",),
    "models": ("implementation", "speech", "decoding"),
    "pictures": ("implementation", "speech", "decoding", "models"),
    "page": ("implementation", "speech", "decoding", "models", "pictures"),
    "training": ("implementation", "speech", "decoding", "models", "pictures"),
}
SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py") if path.stem != "implementation")
MODULES = [*sources("."), *sources(*FOLDERS)]
ANSWERS = set((ROOT / "exercises").glob("exercise_*.py"))  # a learner's own
OTHERS = [path for path in sources("benchmarks", "exercises", "recipes") if path not in ANSWERS]


def name_of(path: Path) -> str:
    """training/loop.py -> training.loop"""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports_of(text: str) -> Iterator[str]:
    """Modules that a source imports, wherever in it; a name imported from a folder counts as a module of it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name their folder"
            yield from ([f"{node.module}.{alias.name}" for alias in node.names] if node.module in FOLDERS else [node.module])


def wrong_arrows(name: str, text: str) -> list[str]:
    """What a module of that name may not import, though it does."""
    house = {"implementation", *FOLDERS, *SCRIPTS}
    home = name.split(".")[0]
    allowed = {home, *BELOW[home]} if home in FOLDERS else set(BELOW.get(home, house - set(SCRIPTS)))
    return [imported for imported in imports_of(text) if imported.split(".")[0] in house - allowed]


def circle(arrows: dict[str, list[str]]) -> list[str]:
    """A way along the arrows that comes back to where it began, or []."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        found = next((c for other in arrows.get(name, []) if (c := visit(other, [*way, name]))), [])
        done.add(name)
        return found

    return next((c for name in arrows if (c := visit(name, []))), [])


def long_functions(text: str, limit: int = 40) -> list[str]:
    """Functions of more lines than the limit, from def to the last line, with the docstring."""
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = ((node.name, node.end_lineno - node.lineno + 1) for node in functions)
    return [f"{name}: {lines} lines" for name, lines in lengths if lines > limit]


def test_the_folders_are_those_with_a_place_in_the_order():
    assert set(FOLDERS) == BELOW.keys() - {"implementation"}


@pytest.mark.parametrize("path", MODULES + OTHERS, ids=name_of)
def test_imports_run_one_way(path):
    assert wrong_arrows(name_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", ["notebook.ipynb", "notebooks/ctc_from_scratch.ipynb", "notebooks/deep_speech_1.ipynb"])
def test_notebooks_import_no_script(name):
    cells = json.loads((ROOT / name).read_text(encoding="utf-8"))["cells"]
    code = "\n".join(line for cell in cells if cell["cell_type"] == "code" for line in "".join(cell["source"]).splitlines())
    code = "\n".join(line for line in code.splitlines() if not line.startswith("%"))
    assert wrong_arrows("notebook", code) == []


def test_within_the_folders_there_is_no_circle():
    arrows = {name_of(path): list(imports_of(path.read_text(encoding="utf-8"))) for path in MODULES}
    assert circle(arrows) == []


def test_train_minimal_is_a_thin_script():
    assert len((ROOT / "train_minimal.py").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readers_road_is_not_too_long():
    lines = (ROOT / "implementation.py").read_text(encoding="utf-8").splitlines()
    assert lines.index("# The same numbers, faster") <= 1200


@pytest.mark.parametrize("path", MODULES + OTHERS, ids=name_of)
def test_functions_have_at_most_40_lines(path):
    assert long_functions(path.read_text(encoding="utf-8")) == []


# ---------------------------------------------------------------------------------------------
# The checks themselves
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("implementation", "from speech.audio import read_audio", ["speech.audio"]),
        ("implementation", "import torch\nimport setup", ["setup"]),
        ("speech.audio", "from implementation import AudioSample\nfrom speech import corpora", []),
        ("speech.audio", "def f():\n    import decoding.ngrams", ["decoding.ngrams"]),
        ("models.checkpoints", "from training.loop import Trainer", ["training.loop"]),
        ("pictures.figures", "from training import loop", ["training.loop"]),
        ("training.report", "from pictures.figures import alignment", []),
        ("training.run", "import train_minimal", ["train_minimal"]),
        ("transcribe", "from train_minimal import main\nfrom training.run import Run", ["train_minimal"]),
        ("benchmarks.memory", "import train_minimal", ["train_minimal"]),
    ],
)
def test_a_wrong_arrow_is_seen(name, text, wrong):
    assert wrong_arrows(name, text) == wrong


def test_a_circle_is_seen():
    assert circle({"a": ["b", "torch"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]
    assert circle({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_a_long_function_is_seen():
    body = "".join(f"    {n}\n" for n in range(40))
    assert long_functions(f"class A:\n  @staticmethod\n  def f():\n{body}") == ["f: 41 lines"]
    assert long_functions(f"def f():\n{body[:-7]}\n") == []
