"""The exercises themselves: stubs are TODO, solutions pass, every known wrong answer fails with its own message.

All of it runs on ``exercises/stubs`` and ``exercises/solutions``, never on the files that a learner edits.
"""

from __future__ import annotations

import ast
import doctest
import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import generated_mutants
import implementation
from helpers import ROOT, on_terminal

sys.path.insert(0, str(ROOT / "exercises"))

import ladder as framework
from ladder import Exercise, Failed, Mutant, Todo, all_exercises, load

EXERCISES = all_exercises()
MUTANTS = [
    pytest.param(e, mutant, id=f"{e.number}: {mutant.name}", marks=pytest.mark.slow if number >= 10 else ())  # all take a minute
    for e in EXERCISES for number, mutant in enumerate(e.mutants)
]  # fmt: skip
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
TODO = "raise NotImplementedError"


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------
# The thirteen
# ---------------------------------------------------------------------------------------------


def test_there_are_thirteen():
    assert [exercise.number for exercise in EXERCISES] == list(range(1, 14))
    assert len(MUTANTS) >= 50


@each_exercise
def test_an_exercise_is_whole(exercise: Exercise):
    assert len(exercise.mutants) >= 3
    assert len(exercise.hints) == 3
    assert all(len(hint) > 100 for hint in exercise.hints)
    assert len(set(exercise.hints)) == 3
    text = text_of(ROOT / "exercises" / "hints" / f"{exercise.name}.md")
    question, equation, pseudocode = exercise.hints
    assert all(part in text for part in (question, equation, textwrap.indent(pseudocode, "    ")))  # lines keep their places
    assert 5 <= exercise.minutes <= 90
    assert 1 <= exercise.difficulty <= 3
    assert all(
        part in exercise.header for part in ("Why it matters.", "Paper.", "Effort.", "You may use.", "Check it.", "What if.")
    )
    assert 5 <= len(exercise.ladder.steps) <= 8


@each_exercise
def test_the_readme_lists_it_with_its_minutes(exercise: Exercise):
    readme = text_of(ROOT / "exercises" / "README.md")
    row = f"| {exercise.number} | [{exercise.title}]({exercise.name}.py) | {exercise.minutes} | {exercise.difficulty} of 3 |"
    assert row in readme


@each_exercise
def test_a_stub_is_todo_from_the_first_step(exercise: Exercise):
    with pytest.raises(Todo) as todo:
        exercise.ladder.climb(load(exercise.stub))
    assert todo.value.step == 0


@each_exercise
def test_what_was_not_begun_equals_the_stub(exercise: Exercise):
    """A file of the learner's folder in which nothing was written yet is the stub, letter by letter."""
    if exercise.file.exists() and text_of(exercise.file).count(TODO) == text_of(exercise.stub).count(TODO):
        assert text_of(exercise.file) == text_of(exercise.stub)


@each_exercise
def test_a_solution_passes(exercise: Exercise):
    exercise.ladder.climb(load(exercise.solution), slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])  # one takes minutes
def test_the_solutions_together_learn_to_recognise(seed: int):
    torch.set_num_threads(1)  # small products: quicker than two, and the same wherever it runs
    exercise = EXERCISES[11]
    check = load(exercise.check)
    answer = load(exercise.solution)
    references, *decoded = check.train(answer, seed)
    for hypotheses in decoded:
        assert implementation.word_error_rate(references, hypotheses) <= check.RATE


@each_exercise
def test_a_solution_is_short(exercise: Exercise):
    functions = [node for node in ast.walk(ast.parse(text_of(exercise.solution))) if isinstance(node, ast.FunctionDef)]
    assert max(node.end_lineno - node.lineno for node in functions) < 40
    assert len(text_of(exercise.solution).splitlines()) <= len(text_of(exercise.stub).splitlines()) + 10
    assert "#" in text_of(exercise.solution)  # a word on the decisions


@pytest.mark.parametrize(("exercise", "mutant"), MUTANTS)
def test_a_mutant_fails_with_its_own_message(exercise: Exercise, mutant: Mutant):
    with pytest.raises(Failed) as failed:
        exercise.ladder.climb(framework.mutant_module(exercise.name, mutant), slow=False)
    assert failed.value.mistake == mutant, f"was taken for {failed.value.mistake and failed.value.mistake.name}"
    message = " ".join(str(failed.value).split())
    assert " ".join(mutant.name.split()) in message
    assert " ".join(mutant.why.split()) in message


@pytest.mark.parametrize(
    ("number", "name"),
    [(2, "repeats are not merged"), (4, "statistics over padding"), (11, "the longest first"), (13, "it looks back, not ahead")],
)
def test_a_mistake_in_a_class_is_named_for_a_learner_who_makes_it(number: int, name: str):
    """The learner's answer is another module than the mutant, and messages say what its objects were made with."""
    exercise = EXERCISES[number - 1]
    mutant = next(mutant for mutant in exercise.mutants if mutant.name == name)
    assert climb(exercise, mutant.apply(text_of(exercise.solution))).mistake == mutant


@pytest.mark.slow  # a minute
def test_generated_mutants_are_refused(capsys: pytest.CaptureFixture):
    """Ten of each solution; ``python tests/generated_mutants.py`` tries all of them."""
    mutants = [(exercise, name, text) for exercise in EXERCISES for name, text in generated_mutants.sample(exercise, 10)]
    accepted = [name for exercise, name, text in mutants if not generated_mutants.refused(exercise, text)]
    with capsys.disabled():
        refused = f"{len(mutants) - len(accepted)} of {len(mutants)} generated mutants refused"
        print(f"\n{refused}; {len(MUTANTS)} named ones have a test each")
    assert len(mutants) >= 100
    assert len(accepted) <= 0.02 * len(mutants), accepted


def test_mutants_that_are_listed_as_equivalent_exist():
    names = [name for exercise in EXERCISES for name, _ in generated_mutants.generated(exercise)]
    same = generated_mutants.EQUIVALENT
    assert set(same) <= set(names)
    readme = " ".join(text_of(ROOT / "exercises" / "README.md").split())
    assert (
        f"{len(same)} of these compute the same as the solution; the checks refuse all the others, {len(names) - len(same)}."
        in readme
    )


@each_exercise
def test_signatures_are_those_of_the_library(exercise: Exercise):
    for module in (load(exercise.stub), load(exercise.solution)):
        for name in exercise.ladder.names:
            ours, theirs = getattr(module, name), getattr(implementation, name)
            pairs = [(ours, theirs)]
            if inspect.isclass(ours):
                methods = [method for method, value in vars(ours).items() if inspect.isfunction(value)]
                pairs += [(getattr(ours, method), getattr(theirs, method)) for method in methods]
            for one, other in pairs:
                assert str(inspect.signature(one)) == str(without_later_kinds(one, other)), f"{name}: {one}"


def without_later_kinds(ours, theirs) -> inspect.Signature:
    """The library's signature without what it has behind the stub's arguments: with defaults, for kinds no exercise asks for."""
    signature, count = inspect.signature(theirs), len(inspect.signature(ours).parameters)
    parameters = list(signature.parameters.values())
    assert all(parameter.default is not parameter.empty for parameter in parameters[count:])
    return signature.replace(parameters=parameters[:count])


@each_exercise
def test_worked_examples_are_true(exercise: Exercise):
    """The examples in the docstrings of the stub, run with the solution."""
    solution, parser, count = load(exercise.solution), doctest.DocTestParser(), 0
    for node in ast.walk(ast.parse(text_of(exercise.stub))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            examples = parser.get_doctest(ast.get_docstring(node) or "", dict(vars(solution)), exercise.name, None, 0)
            assert doctest.DocTestRunner(verbose=False).run(examples).failed == 0
            count += len(examples.examples)
    assert count or exercise.number == 12


# ---------------------------------------------------------------------------------------------
# The ladder
# ---------------------------------------------------------------------------------------------


def climb(exercise: Exercise, source: str) -> Failed:
    """What the check says of an answer with this text."""
    assert exercise.ladder.originals  # taken before the answer is read
    with pytest.raises(Failed) as failed:
        exercise.ladder.climb(load(exercise.solution, source), slow=False)
    return failed.value


@each_exercise
def test_shortcuts_are_refused_by_reading(exercise: Exercise):
    solution, name = text_of(exercise.solution), exercise.ladder.names[0]
    lines = [f"from implementation import {name}", "import implementation as imp", f"from given import {name}"]
    lines += ["from solutions import x", "import importlib", "eval('1')", "__import__('implementation')"]
    lines += [f"torch.{forbidden}" for forbidden in exercise.ladder.forbidden]
    for line in lines:
        with pytest.raises(Failed, match="rules"):
            exercise.ladder.check_rules(f"{solution}\n\ndef shortcut():\n    {line}\n")


LIBRARY = "vars(torch)['s' + 'ys'].modules['implement' + 'ation']"
ROADS = {  # how an answer may be asked of torch, the library or the check; what the message says
    "torch.ops": (6, "getattr(torch.ops.aten, 'gru' + '_cell')(x[0, 0], x[0, 0, :, :4], u[0], u[0])", "gru_cell was called"),
    "in C": (6, "[*map(getattr(torch._C._VariableFunctions, 'gru' + '_cell'), [x[0, 0]], [x[0, 0, :, :4]], [u[0]], [u[0]])]",
             "gru_cell"),
    "a module": (6, "getattr(torch.nn, 'G' + 'RU')(12, 4, dtype=x.dtype)(x[:, 0])", "gru was called"),
    "the library": (6, f"{LIBRARY}.gru_loop(x, u, mask)", "gru_loop of the library was called; it is what you must write"),
    "its twin": (6, f"{LIBRARY}.sequence_mask(torch.tensor([1]), 2)",
                 "of the library was called; it is not one of the parts given for this exercise"),
    "eval": (6, "vars(torch)['__buil' + 'tins__']['ev' + 'al']('1')", "eval was called; an answer uses its own lines"),
    "a process": (6, "vars(torch)['o' + 's'].system('true')", "system was called; an answer uses its own lines"),
    "a file": (6, "vars(torch)['__buil' + 'tins__']['op' + 'en'](torch.__file__)", "open was called; an answer uses its own"),
    "the check": (6, "next(m for n, m in vars(torch)['s' + 'ys'].modules.items() if n.startswith('test_exercise_06'))"
                  ".equation_10(x, u, mask)", "equation_10 was called, which belongs to the check"),
}  # fmt: skip


@pytest.mark.parametrize("road", ROADS)
def test_shortcuts_are_refused_when_they_run(road: str):
    number, line, message = ROADS[road]
    source = text_of(EXERCISES[number - 1].stub).replace(TODO, f"return {line}", 1)
    assert message in " ".join(str(climb(EXERCISES[number - 1], source)).split())


def with_end(exercise: Exercise, code: str) -> str:
    """The solution with some lines more at its end."""
    return text_of(exercise.solution).replace("if __name__ ==", f"{code}\n\nif __name__ ==")


CAPTURED = {
    3: f"import given as g\nsequence_mask = lambda n, m: getattr(g, 'sequence' + '_mask')(n, m)\nlibrary = {LIBRARY}",
    4: f"SequenceBatchNorm = type('SequenceBatchNorm', ({LIBRARY}.SequenceBatchNorm,), {{'__module__': __name__}})",
    11: f"kind = {LIBRARY}.SortaGradBatchSampler\nclass SortaGradBatchSampler(kind):\n    pass",
    13: f"RowConvolution.over = {LIBRARY}.RowConvolution.over",
}


@pytest.mark.parametrize("number", CAPTURED)
def test_what_was_taken_from_the_library_before_is_recognised_when_it_runs(number: int):
    message = str(climb(EXERCISES[number - 1], with_end(EXERCISES[number - 1], CAPTURED[number])))
    assert "of the library was called; it is what you must write yourself" in " ".join(message.split())


WRONG = "real = gru_loop\ndef gru_loop(x, u, mask):\n    return real(x, u, mask) + 0.01\n"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("torch.isclose = torch.eq", "torch.isclose"),
        ("torch.Tensor.any = lambda self: torch.tensor(False)", "Tensor.any"),
        ("vars(torch)['s' + 'ys'].modules['ladder'].Checker.close = print", "Checker.close"),
        ("vars(torch)['s' + 'ys'].modules['ladder'].isinstance = lambda *_: False", "ladder.isinstance"),
        ("setattr(vars(torch)['s' + 'ys'].modules['ladder'].same, '__co' + 'de__', getattr(lambda a, b: True, '__co' + 'de__'))",
         "ladder.same"),
    ],
)  # fmt: skip
def test_functions_of_others_are_not_replaced(code: str, name: str):
    for source in (
        with_end(EXERCISES[5], WRONG + code),
        with_end(EXERCISES[5], WRONG.replace("    return", f"    {code}\n    return")),
    ):
        assert f"{name} was replaced" in str(climb(EXERCISES[5], source))
    EXERCISES[5].ladder.climb(load(EXERCISES[5].solution))  # all of it is what it was


def test_a_result_is_no_tensor_with_a_will_of_its_own():
    code = "class Yes(torch.Tensor):\n    pass\nreal = gru_loop\ndef gru_loop(*args):\n    return real(*args).as_subclass(Yes)"
    assert "torch's own Tensor" in str(climb(EXERCISES[5], with_end(EXERCISES[5], code)))


MEMO = """
memo, real = {{}}, {name}
def {name}(*args, **kwargs):
    key = {key}
    if key not in memo:
        memo[key] = real(*args, **kwargs)
    return memo[key]
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (1, MEMO.format(name="compute_spectrogram", key="str(args) + str(kwargs)")),
        (6, MEMO.format(name="gru_loop", key="tuple(arg.shape for arg in args)")),
        (7, MEMO.format(name="ctc_loss_by_recursion", key="tuple(arg.data_ptr() for arg in args)")),
        (8, MEMO.format(name="ctc_gradient", key="tuple(map(id, args))")),
        (5, "kept, real = {}, rnn_loop\ndef rnn_loop(*args):\n    y = real(*args)\n"
            "    return kept.setdefault((y.shape, y.dtype), torch.empty_like(y)).copy_(y)"),
        (2, "def encode(self, text, real=CharEncoder.encode):\n    kept = self.__dict__.setdefault('kept', [])\n"
            "    kept[:] = real(self, text)\n    return kept\nCharEncoder.encode = encode"),
        (11, "def start(self, *settings, real=SortaGradBatchSampler.__init__):\n    real(self, *settings)\n"
             "    SortaGradBatchSampler.seconds = vars(self).pop('seconds')\nSortaGradBatchSampler.__init__ = start"),
        (13, "def forward(self, x, lengths=None, real=RowConvolution.forward, memo={}):\n"
             "    return memo.setdefault((id(self), x.shape), real(self, x, lengths))\nRowConvolution.forward = forward"),
    ],
)  # fmt: skip
def test_a_result_that_depends_on_earlier_calls_is_refused(number: int, code: str):
    exercise = EXERCISES[number - 1]
    assert "the result depends on earlier calls" in " ".join(str(climb(exercise, with_end(exercise, code))).split())


def test_results_kept_by_their_arguments_are_right():
    code = (
        "memo, real = {}, rnn_loop\ndef rnn_loop(x, u, mask, clip=20.0):\n    torch.arange(3)\n    return real(x, u, mask, clip)"
    )
    kept = MEMO.format(name="conv_output_lengths", key="str((args[0].tolist(), args[0].dtype, args[1:], kwargs))")
    for number, more in ((5, code), (3, kept)):
        EXERCISES[number - 1].ladder.climb(load(EXERCISES[number - 1].solution, with_end(EXERCISES[number - 1], more)))


def test_chance_and_settings_of_others_stay_as_they_were():
    for code, name in (
        ("torch.manual_seed(1)", "torch's random state"),
        ("torch.set_default_dtype(torch.float64)", "default dtype"),
    ):
        more = f"real = gru_loop\ndef gru_loop(*args):\n    {code}\n    return real(*args)"
        assert name in str(climb(EXERCISES[5], with_end(EXERCISES[5], more)))


BY_AUTOGRAD = """
{imports}

def ctc_gradient(log_probs, targets, output_lengths, target_lengths):
    def loss(logits):
        alpha = ctc_forward_variables(logits.log_softmax(-1), targets, output_lengths, target_lengths)
        ends = [alpha[t - 1, b, max(2 * u - 1, 0) : 2 * u + 1] for b, (t, u) in enumerate(zip(output_lengths, target_lengths))]
        return -torch.stack([torch.logsumexp(end, 0) for end in ends]).sum()
    {body}
"""


@pytest.mark.parametrize(
    ("imports", "body"),
    [
        ("", "x = torch.nn.Parameter(log_probs.clone()); return torch.autograd.grad(loss(x), x)[0]"),
        ("from torch.autograd import grad", "x = torch.nn.Parameter(log_probs.clone()); return grad(loss(x), x)[0]"),
        ("from torch import autograd as a", "x = torch.nn.Parameter(log_probs.clone()); return a.grad(loss(x), x)[0]"),
        ("", "x = torch.nn.Parameter(log_probs.clone()); loss(x).backward(); return x.grad"),
        ("", "x = torch.zeros_like(log_probs, requires_grad=True); return x"),
        ("", "return torch.func.grad(loss)(log_probs)"),
        ("from torch.func import grad as slope", "return slope(loss)(log_probs)"),
        ("import torch.func as f", "return f.jacfwd(loss)(log_probs)"),
        ("from torch.autograd.functional import jacobian as j", "return j(loss, log_probs)"),
        ("from torch.func import *", "return jacrev(loss)(log_probs)"),
    ],
)
def test_autograd_is_no_answer_to_the_gradient(imports: str, body: str):
    source = text_of(EXERCISES[7].solution) + BY_AUTOGRAD.format(imports=imports, body=body)
    assert "compute the gradient yourself, without autograd" in str(climb(EXERCISES[7], source))


@pytest.mark.parametrize("name", ["grad", "jacrev", "jacfwd"])
def test_autograd_by_another_name_is_noticed_when_it_is_called(name: str):
    body = f"return getattr(getattr(torch, 'fu' + 'nc'), {name!r})(loss)(log_probs)"
    source = text_of(EXERCISES[7].solution) + BY_AUTOGRAD.format(imports="", body=body)
    assert "was called; in this exercise you write it yourself" in str(climb(EXERCISES[7], source))


@pytest.mark.parametrize(("number", "ours", "natural"), [(1, "log_power", "spectrogram"), (8, "gradient", "grad")])
def test_a_variable_may_have_any_name(number: int, ours: str, natural: str):
    exercise = EXERCISES[number - 1]
    source = re.sub(rf"\b{ours}\b", natural, text_of(exercise.solution))
    assert f" {natural} = " in source
    exercise.ladder.climb(load(exercise.solution, source), slow=False)


def test_float32_may_round_in_its_own_way():
    source = text_of(EXERCISES[0].solution)
    assert source.count(" % n_fft") == 1
    EXERCISES[0].ladder.climb(load(EXERCISES[0].solution, source.replace(" % n_fft", "")), slow=False)


@pytest.mark.parametrize(
    ("number", "name", "line"),
    [
        (3, "sequence_mask", "def sequence_mask(lengths: Tensor, max_length: int) -> Tensor"),
        (3, "ConvBlock.output_lengths", "def output_lengths(self, lengths: Tensor) -> Tensor"),
        (2, "CharEncoder.vocab_size", "def vocab_size(self) -> int"),
        (4, "SequenceBatchNorm.forward", "def forward(self, x: Tensor, lengths: Tensor | None=None) -> Tensor"),
        (5, "ClippedReLU", "class ClippedReLU(nn.Module)"),
    ],
)
def test_a_name_that_is_missing_is_named(tmp_path: Path, number: int, name: str, line: str):
    exercise = EXERCISES[number - 1]
    answer = tmp_path / exercise.file.name
    for source in (exercise.stub, exercise.solution):
        answer.write_text(re.sub(rf"\b{name.split('.')[-1]}\b", "something_else", text_of(source)), encoding="utf-8")
        with pytest.raises(Failed) as failed:
            framework.load_answer(answer)
        message = " ".join(str(failed.value).split())
        assert f"{name} is missing or has another name; the stub calls it `{line}`" in message
        assert f"python -m pytest exercises --reset {number} brings the stub back" in message


def test_nothing_is_said_to_be_missing_of_what_is_not_begun():
    source = text_of(EXERCISES[2].stub)
    assert EXERCISES[2].still_to_write(source) == ""
    assert EXERCISES[2].still_to_write(source.replace(TODO, "return 1", 2)) == (
        "still to write: ConvBlock.output_lengths, ConvBlock.forward"
    )


def test_changed_arguments_are_noticed():
    source = text_of(EXERCISES[0].solution).replace("audio = audio - audio.mean()", "audio -= audio.mean()")
    assert "arguments are unchanged" in str(climb(EXERCISES[0], source))


def test_an_error_in_the_answer_is_shown_with_its_line():
    source = text_of(EXERCISES[1].solution).replace("labels = []\n", "labels = [][0]\n")
    message = str(climb(EXERCISES[1], source))
    assert "IndexError" in message
    assert "exercise_02_characters.py" in message


def test_an_answer_that_knows_only_the_example_fails():
    source = text_of(EXERCISES[1].stub).replace(TODO, "return {'cab': [3, 1, 2], 'ab': [1, 2]}[text]", 1)
    with pytest.raises((Failed, Todo)):
        EXERCISES[1].ladder.climb(load(EXERCISES[1].stub, source))


def test_a_mistake_that_is_not_known_has_a_message_without_a_name():
    failed = climb(EXERCISES[9], text_of(EXERCISES[9].solution).replace("row[j - 1] + 1,", "row[j - 1] + 3,"))
    assert failed.mistake is None
    assert all(word in str(failed) for word in ("checked", "input", "got", "wanted"))


def test_a_number_that_agrees_by_chance_names_no_mistake():
    """One word in the reference and a rate of 1: so has the rate that stops at one, but it stops for all references."""
    source = text_of(EXERCISES[9].solution)
    rate = "(counts.substitutions + counts.deletions + counts.insertions) / max(1, words)"
    failed = climb(EXERCISES[9], source.replace(rate, f"{rate} if words != 1 else min(1.0, {rate})"))
    assert failed.got == 1.0
    assert failed.mistake is None
    [stops] = [mutant for mutant in EXERCISES[9].mutants if mutant.name == "the rate stops at one"]
    assert climb(EXERCISES[9], stops.apply(source)).mistake == stops


def test_a_mistake_is_not_named_where_an_earlier_step_would_have_shown_it():
    """Without frames the end is not scored here; the known mistake never scores it, and fails at an earlier step."""
    source = text_of(EXERCISES[8].solution)
    end = "scorer.finish(state) if scorer else"
    failed = climb(EXERCISES[8], source.replace(end, "scorer.finish(state) if scorer and len(log_probs) else"))
    assert "no frame at all" in failed.what
    assert failed.mistake is None


def test_a_part_that_fails_is_named_by_its_exercise_alone():
    answer = load(EXERCISES[11].solution)
    part = answer.parts.modules[EXERCISES[5]]
    part.source = EXERCISES[5].mutants[0].apply(part.source)
    with pytest.raises(Failed, match="exercise 6, the GRU cell") as failed:
        EXERCISES[11].ladder.climb(answer, slow=False)
    assert failed.value.mistake is None


def test_a_mistake_is_named_only_if_fresh_input_agrees():
    """Three unlike letters less, and so alike by chance: the known mistake would count another text another way."""
    source = text_of(EXERCISES[9].solution).replace("[-1][-1]", "[-1][-1] - (reference == 'saw')")
    failed = climb(EXERCISES[9], source)
    assert failed.got == 1
    assert failed.mistake is None


def test_got_and_wanted_are_shown_to_the_digits_in_which_they_differ():
    assert "got      1.3333333" in str(Failed("", got=1.33333331, wanted=1.33333332))
    assert "wanted   1.33333332" in str(Failed("", got=1.33333331, wanted=1.33333332))
    assert "got      1.5\n" in str(Failed("", got=1.5, wanted=2.0))
    source = text_of(EXERCISES[9].solution).replace("/ max(1, words)", "/ max(1, words) * (1 + 1e-6)")
    message = str(climb(EXERCISES[9], source))
    assert "wanted   0.25\n" in message
    assert "too high" in message


def test_the_input_names_what_an_object_was_made_with():
    source = text_of(EXERCISES[1].solution).replace(".index(char) + 1", ".index(char)")
    assert "CharEncoder('abc').encode('ab')" in str(climb(EXERCISES[1], source)) or "CharEncoder('abc')" in str(
        climb(EXERCISES[1], source)
    )


def test_an_error_of_autograd_reads_as_such():
    source = text_of(EXERCISES[5].solution).replace("    return torch.stack(states)", "    return torch.stack(states).detach()")
    message = " ".join(str(climb(EXERCISES[5], source)).split())
    assert "autograd" in message or "gradient" in message


def test_the_first_digits_in_which_two_numbers_differ_are_shown():
    assert framework._apart(1.5, 2.25) == ("1.5", "2.25")
    assert framework._apart(1.8513440, 1.8513447) == ("1.851344", "1.8513447")
    assert framework._apart(2**53 + 1, 2**53 + 2) == ("9007199254740993", "9007199254740994")


# ---------------------------------------------------------------------------------------------
# The learner's commands, in a copy of the folder
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A learner's project: nothing begun."""
    copy = tmp_path / "exercises"
    shutil.copytree(ROOT / "exercises", copy, ignore=shutil.ignore_patterns("__pycache__", ".progress.json", "backups"))
    (tmp_path / "pictures").mkdir()
    for name in ("implementation.py", "pyproject.toml", "pictures/__init__.py", "pictures/folding.py"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for stub in (copy / "stubs").glob("*.py"):
        shutil.copyfile(stub, copy / stub.name)
    return copy


def learner(folder: Path, *command: str, answer: str = "") -> tuple[int, str]:
    run = subprocess.run(
        [sys.executable, *command], cwd=folder.parent, input=answer, capture_output=True, text=True, timeout=120, check=False
    )
    return run.returncode, run.stdout + run.stderr


@pytest.mark.slow  # all exercises, twice
def test_the_whole_check_tells_how_far_one_is(folder: Path):
    shutil.copyfile(folder / "solutions" / EXERCISES[1].file.name, folder / EXERCISES[1].file.name)
    mutant = EXERCISES[2].mutants[0]
    (folder / EXERCISES[2].file.name).write_text(mutant.apply(text_of(EXERCISES[2].solution)), encoding="utf-8")
    (folder / EXERCISES[3].file.name).write_text("def SequenceBatchNorm(:\n", encoding="utf-8")
    renamed = text_of(EXERCISES[4].solution).replace("def rnn_loop(", "def my_loop(")
    (folder / EXERCISES[4].file.name).write_text(renamed, encoding="utf-8")
    begun = text_of(EXERCISES[6].stub).replace(TODO, "return [0, *(state for label in target for state in (label, 0))]", 1)
    (folder / EXERCISES[6].file.name).write_text(begun, encoding="utf-8")
    code, output = learner(folder, "-m", "pytest", "exercises")
    assert code == 1
    assert "✔  2" in output
    assert output.count("TODO") == 9
    assert "TODO, still to write: ctc_forward_variables, ctc_loss_by_recursion\n" in output
    assert "Next: exercise 1, framing and the log spectrogram (30 minutes, difficulty 2 of 3)" in output
    assert "1 of 13 done" in output
    assert "Exercise 3, step 2 of 8" in output
    assert mutant.name in output
    assert "Python can read your file" in output
    assert "rnn_loop is missing or has another name" in output
    assert "Traceback" not in output
    assert "it needs exercise 4" in output

    code, output = learner(folder, f"exercises/{EXERCISES[1].file.name}")
    assert code == 0
    assert "1 of 13 done" in output
    alone = learner(folder, f"exercises/{EXERCISES[2].file.name}")
    assert alone == learner(folder, "-m", "pytest", f"exercises/test_{EXERCISES[2].name}.py")
    assert alone[0] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo terminal")
@pytest.mark.slow  # a pytest for each of several answers
def test_nothing_is_wider_than_the_terminal(folder: Path):
    for exercise in EXERCISES[6:9]:
        (folder / exercise.file.name).write_text(exercise.mutants[1].apply(text_of(exercise.solution)), encoding="utf-8")
    checks = [f"exercises/test_{exercise.name}.py" for exercise in EXERCISES[6:9]]
    for command in (checks, ["exercises", "--hint", "3"], ["exercises", "--hint", "3"], ["exercises", "--hint", "3"]):
        said = on_terminal([sys.executable, "-m", "pytest", *command], cwd=folder.parent)
        assert max(len(line) for line in said.split("\n")) <= 80, said
        assert ("mistake  " in said and "Next: exercise" in said) or "Exercise 3, hint" in said


def test_commands_from_the_command_line(folder: Path):
    output = learner(folder, "-m", "pytest", "exercises", "--hint", "3", "--solution", "3", answer="n\n")[1]
    assert "hint 1 of 3: a question" in output
    assert "Not shown" in output


@pytest.fixture
def commands(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The module with the commands, at work in the copy."""
    spec = importlib.util.spec_from_file_location("exercise_commands", folder / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for owner in (module, framework):
        monkeypatch.setattr(owner, "FOLDER", folder)
    monkeypatch.setattr(module, "PROGRESS", folder / ".progress.json")
    return module


def test_hints_come_one_after_the_other(commands):
    shown = [commands.show_hint(EXERCISES[2]) for _ in range(4)]
    for tier in range(3):
        assert textwrap.indent(EXERCISES[2].hints[tier], "  ") in shown[tier]
    assert shown[3] == shown[2]
    assert "hint 1 of 3" in commands.show_hint(EXERCISES[4])


def test_a_reset_keeps_what_was_there(commands, folder: Path):
    for text in ("mine", "mine again"):
        EXERCISES[2].file.write_text(text, encoding="utf-8")
        assert "kept as" in commands.reset(EXERCISES[2])
        assert text_of(EXERCISES[2].file) == text_of(EXERCISES[2].stub)
    assert sorted(map(text_of, (folder / "backups").iterdir())) == ["mine", "mine again"]


def test_solutions_are_shown_only_after_a_yes(commands, monkeypatch: pytest.MonkeyPatch):
    for answer, shown in (("y", True), ("", False), ("n", False)):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        assert (text_of(EXERCISES[2].solution) in commands.show_solution(EXERCISES[2])) == shown
