"""Reports the exercises: one line each, a message where a check fails, a progress bar; also --hint, --reset, --solution."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pictures.folding import fold, width_of

from ladder import FOLDER, WIDTH, Exercise, Failed, Ladder, Todo, all_exercises, fingerprint, load_answer

PROGRESS = FOLDER / ".progress.json"  # results and hints asked for; delete it at will
TIERS = ("a question", "the equation", "pseudocode")
MARKS = {"done": "✔", "todo": "·", "failed": "✘"}
COLOURS = {"done": {"green": True}, "todo": {"yellow": True}, "failed": {"red": True}}


# ---------------------------------------------------------------------------------------------
# Commands
# ---------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("exercises")
    group.addoption("--hint", type=int, metavar="N", help="show a hint for exercise N; ask again for the next of its three hints")
    group.addoption("--reset", type=int, metavar="N", help="put back the stub of exercise N; your file is kept as a backup")
    group.addoption("--solution", type=int, metavar="N", help="show the solution of exercise N, after asking")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Runs --hint, --reset or --solution instead of the checks."""
    commands = {"hint": show_hint, "reset": reset, "solution": show_solution}
    asked = [(command, config.getoption(name)) for name, command in commands.items() if config.getoption(name) is not None]
    if not asked:
        return None
    config.pluginmanager.getplugin("capturemanager").suspend(in_=True)
    for command, number in asked:
        found = [exercise for exercise in all_exercises() if exercise.number == number]
        said = command(found[0]) if found else f"There is no exercise {number}; they are 1 to {len(all_exercises())}."
        print(said if command is show_solution else fold(said, room()))
    return 0


def room() -> int:
    """Columns of the terminal, or of a file; pytest must not be capturing."""
    return width_of(sys.stdout) if sys.stdout.isatty() else WIDTH


def show_hint(exercise: Exercise) -> str:
    """The next hint; the last one again when all were given."""
    progress = read_progress()
    tier = min(progress["hints"].get(exercise.name, 0), len(exercise.hints) - 1)
    progress["hints"][exercise.name] = tier + 1
    write_progress(progress)
    more = (
        "ask again for the next hint" if tier < 2 else f"this was the last hint; --solution {exercise.number} shows one solution"
    )
    hint = textwrap.indent(exercise.hints[tier], "  ")
    return f"\nExercise {exercise.number}, hint {tier + 1} of 3: {TIERS[tier]}\n\n{hint}\n\n({more})"


def reset(exercise: Exercise) -> str:
    """Puts the stub in the place of the learner's file, which is kept."""
    kept = ""
    if exercise.file.exists():
        folder = FOLDER / "backups"
        folder.mkdir(exist_ok=True)
        stamp, count = time.strftime("%Y%m%d-%H%M%S"), 0
        while (backup := folder / f"{exercise.name}.{stamp}{f'-{count}' if count else ''}.py").exists():
            count += 1
        shutil.copy2(exercise.file, backup)
        kept = f"; your file is kept as exercises/backups/{backup.name}"
    shutil.copyfile(exercise.stub, exercise.file)
    progress = read_progress()
    progress["hints"].pop(exercise.name, None)
    progress["results"].pop(exercise.name, None)
    write_progress(progress)
    return f"Exercise {exercise.number} is back at its stub{kept}."


def show_solution(exercise: Exercise) -> str:
    """The solution, if the answer to the question is yes."""
    try:
        question = f"Show the solution of exercise {exercise.number}, {exercise.title}? You learn more from --hint. [y/N] "
        answer = input(fold(question, room()))
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        return f"\nNot shown. For a hint, run python -m pytest exercises --hint {exercise.number}"
    return "\n" + exercise.solution.read_text(encoding="utf-8")


def read_progress() -> dict:
    try:
        return {"hints": {}, "results": {}} | json.loads(PROGRESS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"hints": {}, "results": {}}


def write_progress(progress: dict) -> None:
    PROGRESS.write_text(json.dumps(progress, indent=1), encoding="utf-8")


# ---------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def climb(request: pytest.FixtureRequest):
    """Checks the learner's file against a ladder and keeps the result on the test item for the report."""

    def run(ladder: Ladder) -> None:
        exercise, result = ladder.exercise, {"state": "done", "step": len(ladder.steps), "steps": len(ladder.steps)}
        terminal = request.config.pluginmanager.getplugin("terminalreporter")
        capture = request.config.pluginmanager.getplugin("capturemanager")

        def tell(line: str) -> None:
            with capture.global_and_fixture_disabled():
                terminal.write_line(line)

        ladder.tell = tell
        try:
            ladder.climb(load_answer(exercise.file))
        except Todo as todo:
            result |= {"state": "todo", "step": todo.step, "message": str(todo)}
            raise
        except Failed as failed:
            failed.heading = failed.heading or f"Exercise {exercise.number}, before the first step"
            with capture.global_and_fixture_disabled():
                message = failed.shown(room())
            result |= {"state": "failed", "step": failed.step, "message": message}
            raise
        finally:
            request.node.exercise, request.node.result = exercise, result

    return run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Unfinished work is not a failure. A failure shows its message, without a traceback of the check."""
    report = (yield).get_result()
    if call.when == "call" and hasattr(item, "result"):
        report.exercise_name, report.result = item.exercise.name, item.result
        if item.result["state"] == "todo":
            report.outcome, report.longrepr = "skipped", (str(item.path), 0, "TODO")
        elif item.result["state"] == "failed":
            report.longrepr = item.result["message"]


def pytest_report_teststatus(report: pytest.TestReport):
    """The lines below stand in the place of pytest's letters."""
    if report.when == "call" and hasattr(report, "result"):
        return {"done": "passed", "todo": "todo", "failed": "failed"}[report.result["state"]], "", ""
    return ("", "", "") if report.passed else None


def pytest_configure(config: pytest.Config) -> None:
    """If only the exercises are run, pytest prints nothing of its own."""
    places = [Path(str(arg).split("::")[0]).resolve() for arg in config.args]
    if places and all(place.is_relative_to(FOLDER) for place in places) and config.option.verbose <= 0:
        config.option.verbose, config.option.tbstyle, config.option.reportchars = -2, "no", ""
        config.pluginmanager.register(Reporter(config), "exercise-reporter")


class Reporter:
    """A line for each exercise as it is done; messages and the bar at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.progress = config, read_progress()

    def say(self, text: str, **colours: bool) -> None:
        """Writes lines, none wider than the terminal."""
        with self.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            self.terminal.write_line(fold(text, room()), **colours)

    @property
    def terminal(self) -> pytest.TerminalReporter:
        return self.config.pluginmanager.getplugin("terminalreporter")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(report, "result"):
            return
        exercise, result = Exercise(report.exercise_name), report.result
        self.progress["results"][exercise.name] = result | {"file": fingerprint([exercise.file])}
        note = {"done": "", "failed": f"step {result['step'] + 1} of {result['steps']}"}.get(result["state"])
        if note is None:
            note = "TODO" + (f", now at step {result['step'] + 1} of {result['steps']}" if result["step"] else "")
            note += f", {result['message']}" if result["message"] else ""
        line = f"{MARKS[result['state']]} {exercise.number:2} {exercise.title}"
        self.terminal.ensure_newline()
        self.say(f"{line}{'  ' + note if note else ''}", **COLOURS[result["state"]])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write_progress(read_progress() | {"results": self.progress["results"]})
        for report in terminalreporter.getreports("failed"):
            if report.when == "call" and hasattr(report, "result"):
                terminalreporter.write_line("\n" + report.result["message"])
            else:
                terminalreporter.write_line("\n" + report.longreprtext)
        self.say("\n" + self.bar())

    def bar(self) -> str:
        """How many are done, and where the next one stands."""
        exercises = all_exercises()
        results = {exercise: self.progress["results"].get(exercise.name, {}) for exercise in exercises}
        fresh = {e: r for e, r in results.items() if r.get("file") == fingerprint([e.file])}  # else it was changed since
        done = [exercise for exercise in exercises if fresh.get(exercise, {}).get("state") == "done"]
        text = f"[{'█' * len(done)}{'░' * (len(exercises) - len(done))}] {len(done)} of {len(exercises)} done"
        left = [exercise for exercise in exercises if exercise not in done]
        if not left:
            return text + ". All of them: the recogniser is yours."
        following = left[0]
        result = fresh.get(following, {"step": 0})
        stands = f"; you are at step {result['step'] + 1} of {result['steps']}" if result["step"] else ""
        text += f"\nNext: exercise {following.number}, {following.title} ({following.minutes} minutes, "
        text += f"difficulty {following.difficulty} of 3){stands}\n      {following.file.relative_to(FOLDER.parent)}"
        return text + f"   hint: python -m pytest exercises --hint {following.number}"
