"""Mutants of the exercises' solutions that nobody thought of: one operator, number, name or statement changed at a time.

    python tests/generated_mutants.py           all of them, a line for each that is accepted
    python tests/generated_mutants.py 4 7       those of exercises 4 and 7
    python tests/generated_mutants.py same      that those in the list below are accepted, as they must be

``EQUIVALENT`` lists, with the reason, those that compute the same as the solution; they were looked through by hand."""

from __future__ import annotations

import ast
import copy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "exercises"))

import ladder as framework
from ladder import Exercise, Shortcut, all_exercises, load

SECONDS = 5  # a mutant that calls for longer has a loop without an end

COMPARED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
COMPARED |= {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}
REVERSED = {ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt}
COMPUTED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
}
COMPUTED |= {ast.Pow: ast.Mult, ast.MatMult: ast.Mult}
NAMED = {"min": "max", "max": "min", "cos": "sin", "sin": "cos", "sigmoid": "tanh", "tanh": "sigmoid", "argmax": "argmin"}
NAMED |= {"logsumexp": "amax", "logaddexp": "maximum", "sum": "mean", "mean": "sum", "log_softmax": "softmax", "exp": "expm1"}
NAMED |= {"clamp": "clamp_min", "zeros_like": "ones_like", "ones": "zeros", "zeros": "ones", "train": "eval", "uniform": "normal"}


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that may stand in the place of one."""
    new = copy.deepcopy(node)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for table in (COMPARED, REVERSED):
            if type(node.ops[0]) in table:
                yield ast.Compare(node.left, [table[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in COMPUTED:
        new.op = COMPUTED[type(node.op)]()
        yield new
    elif isinstance(node, ast.BoolOp):
        new.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        yield new
        yield from node.values
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield from (ast.Constant(node.value + 1), ast.Constant(node.value - 1))
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield from (ast.Constant(node.value * 2 or 1.0), ast.Constant(0.0 if node.value else -1.0))
    else:
        yield from changes_of_words(node, new)


def changes_of_words(node: ast.AST, new: ast.AST) -> Iterator[ast.AST]:
    """Other names, arguments in another order or fewer of them, bounds left out."""
    if isinstance(node, ast.Attribute) and node.attr in NAMED:
        new.attr = NAMED[node.attr]
        yield new
    elif isinstance(node, ast.Name) and node.id in ("min", "max") and isinstance(node.ctx, ast.Load):
        yield ast.Name(NAMED[node.id], ast.Load())
    elif isinstance(node, ast.Call) and len(node.args) > 1 and not any(isinstance(arg, ast.Starred) for arg in node.args):
        new.args[0], new.args[1] = new.args[1], new.args[0]
        yield new
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
        yield node.func.value  # x.detach() -> x
    elif isinstance(node, ast.Slice):
        for bound in ("lower", "upper", "step"):
            if getattr(node, bound) is not None:
                yield ast.Slice(**{name: None if name == bound else getattr(node, name) for name in ("lower", "upper", "step")})
    elif isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and not is_text(node):
        yield ast.Pass()
    elif isinstance(node, ast.If):
        yield ast.If(ast.Constant(True), node.body, [])
        yield node.orelse[0] if node.orelse else ast.Pass()


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """All places below a node where something may be changed: owner, field, index. Annotations and messages are left out."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "keywords") and not isinstance(node, ast.Call):
            continue
        for index, part in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(part, ast.AST) and not isinstance(part, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
                yield node, field, index
                yield from places(part)


def generated(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """What was changed, and the text of the mutant."""
    source = exercise.solution.read_text(encoding="utf-8")
    tree, seen = ast.parse(source), set()
    for function in written(exercise, tree):
        for owner, field, index in list(places(ast.Module(function.body, []))):
            value = getattr(owner, field)
            node = value if index is None else value[index]
            for new in changes(node):
                put(owner, field, index, new)
                text = ast.unparse(ast.fix_missing_locations(tree))
                put(owner, field, index, node)
                if text not in seen:
                    seen.add(text)
                    place = f"{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"
                    yield f"{exercise.number}, {place}: {words(node)} -> {words(new)}", text


def written(exercise: Exercise, tree: ast.Module) -> list[ast.FunctionDef]:
    """The functions of a solution that the stub does not give."""
    stub = exercise.stub.read_text(encoding="utf-8")
    given = framework.definitions(stub).keys() - set(framework.unwritten(stub))
    functions = []
    for node in tree.body:
        inside = isinstance(node, ast.ClassDef)
        for part in node.body if inside else [node]:
            if isinstance(part, ast.FunctionDef) and (f"{node.name}.{part.name}" if inside else part.name) not in given:
                functions.append(part)
    return functions


def put(owner: ast.AST, field: str, index: int | None, new: ast.AST) -> None:
    if index is None:
        setattr(owner, field, new)
    else:
        getattr(owner, field)[index] = new


def words(node: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(node)).split())[:90]


def refused(exercise: Exercise, text: str) -> bool:
    """True if the check refuses the answer."""
    try:
        with warnings.catch_warnings(action="ignore"), patch.object(framework, "SECONDS_PER_CALL", SECONDS):
            answer = load(exercise.solution, text)
            if hasattr(answer, "parts"):  # of exercise 12: the solutions of the others, which have tests of their own
                framework._passed.update((part.name, module.source) for part, module in answer.parts.modules.items())
            exercise.ladder.climb(answer, slow=False, diagnose=False)
    except (Exception, Shortcut, SystemExit):
        return True
    return False


def sample(exercise: Exercise, count: int) -> list[tuple[str, str]]:
    """So many of the mutants that are not equivalent, spread over the solution."""
    mutants = [one for one in generated(exercise) if one[0] not in EQUIVALENT]
    return [mutants[i * len(mutants) // count] for i in range(min(count, len(mutants)))]


SAME = {  # why nothing changes: which mutants
    'arguments are tensors already': [
        '1, 16:4: audio = torch.as_tensor(audio) -> pass',
    ],
    '1 is odd, and refused as such': [
        '1, 20:15: 2 -> 1',
    ],
    'the order of two arguments of max, min, != or a sum does not matter': [
        '1, 25:27: max(0, window - len(audio)) -> max(window - len(audio), 0)',
        '4, 39:49: max(n - 1, 1) -> max(1, n - 1)',
        '7, 45:61: max(0, 2 * labels - 1) -> max(2 * labels - 1, 0)',
        '9, 27:24: np.logaddexp(masses[place], mass) -> np.logaddexp(mass, masses[place])',
        '9, 30:15: np.logaddexp(p_b, p_nb) -> np.logaddexp(p_nb, p_b)',
        '10, 16:23: min(table[i - 1][j] + 1, row[j - 1] + 1, table[i - 1][j - 1] + (ref != hyp)) -> min(row[j - 1] + 1, table[i - 1][j] + 1, table[i - 1][j - 1] + (ref != hyp))',  # noqa: E501
        '10, 23:11: edit_table(reference, hypothesis) -> edit_table(hypothesis, reference)',
        '10, 66:75: max(1, words) -> max(words, 1)',
        '5, 31:32: u.transpose(1, 2) -> u.transpose(2, 1)',
        '6, 16:37: u.transpose(1, 2) -> u.transpose(2, 1)',
    ],
    'the first is the last: one dimension, or one element': [
        '1, 26:26: 0 -> -1',
        '7, 45:103: 0 -> -1',
        '8, 45:42: 0 -> -1',
        '5, 51:44: 0 -> -1',
        '9, 52:53: 0 -> -1',
        '9, 52:78: 0 -> -1',
    ],
    'only its shape is asked for': [
        '5, 27:27: 0 -> -1',
    ],
    'arange counts to a whole float just as well': [
        '1, 31:59: n_fft // 2 -> n_fft / 2',
    ],
    'numbers are taken from tensors where they are needed': [
        '2, 60:66: lengths.tolist() -> lengths',
        '2, 61:31: path[:length].tolist() -> path[:length]',
        '7, 27:31: labels.tolist() -> labels',
        '7, 43:45: output_lengths.tolist() -> output_lengths',
        '7, 43:70: target_lengths.tolist() -> target_lengths',
        '8, 19:31: labels.tolist() -> labels',
        '8, 41:39: labels.tolist() -> labels',
    ],
    'both are of one length, or were compared before': [
        '2, 61:100: True -> False',
        '5, 29:43: True -> False',
        '6, 13:43: True -> False',
        '7, 43:102: True -> False',
        '10, 51:68: True -> False',
    ],
    'zip(strict=True) raises the same ValueError': [
        "10, 48:4: if len(references) != len(hypotheses): raise ValueError(f'{len(references)} references but -> pass",
    ],
    'detach spares a graph; the values are the same': [
        '7, 24:4: log_probs = log_probs.detach() -> pass',
        '7, 24:16: log_probs.detach() -> log_probs',
        '8, 16:4: log_probs = log_probs.detach() -> pass',
        '8, 16:16: log_probs.detach() -> log_probs',
        '8, 36:4: log_probs = log_probs.detach() -> pass',
        '8, 36:16: log_probs.detach() -> log_probs',
        '12, 86:17: log_probs.detach() -> log_probs',
    ],
    'state 2 is a blank, and before state 0 stands -inf': [
        '7, 29:29: s >= 2 -> s > 2',
        '7, 29:34: 2 -> 3',
        '7, 29:34: 2 -> 1',
    ],
    'a blank has a blank two states away, so != refuses it too': [
        '7, 29:49: 0 -> -1',
        '8, 23:13: entered != 0 and entered != left -> entered != left',
        '8, 23:24: 0 -> -1',
    ],
    'behind the last state stands -inf': [
        '7, 45:61: max(0, 2 * labels - 1):2 * labels + 1 -> max(0, 2 * labels - 1):',
        '7, 45:86: 2 -> 3',
        '7, 45:99: 1 -> 2',
        '8, 23:67: zip(states, [*states[2:], 0, 0], strict=False) -> zip([*states[2:], 0, 0], states, strict=False)',
        '8, 23:93: 0 -> 1',
        '8, 23:93: 0 -> -1',
        '8, 23:96: 0 -> 1',
        '8, 23:96: 0 -> -1',
    ],
    'the sum over all states is p(l | x) in every frame': [
        '8, 45:38: 0 -> -1',
    ],
    'what is not above -inf, nan too, is left out later': [
        '9, 59:15: NEVER if log_lm == NEVER else float(log_ctc + alpha * log_lm + beta * words) -> float(log_ctc + alpha * log_lm + beta * words)',  # noqa: E501
        '9, 65:53: rank[prefix] > NEVER -> rank[prefix] >= NEVER',
    ],
    'ctc_gradient raises the same ValueError': [
        "12, 88:4: if torch.isinf(loss): raise ValueError('an utterance has too few output frames for its tex -> pass",
    ],
}  # fmt: skip
EQUIVALENT = {name: why for why, names in SAME.items() for name in names}


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["same"]:
        listed = [(e, name, text) for e in all_exercises() for name, text in generated(e) if name in EQUIVALENT]
        print("not the same:", [name for e, name, text in listed if refused(e, text)], "unknown:", len(EQUIVALENT) - len(listed))
        raise SystemExit
    tried = accepted = 0
    for exercise in all_exercises():
        if len(sys.argv) > 1 and str(exercise.number) not in sys.argv[1:]:
            continue
        for name, text in generated(exercise):
            if name in EQUIVALENT:
                continue
            tried += 1
            if not refused(exercise, text):
                accepted += 1
                print(f"accepted: {name}", flush=True)
        print(
            f"up to exercise {exercise.number}: {tried - accepted} of {tried} refused, {len(EQUIVALENT)} are equivalent",
            flush=True,
        )
