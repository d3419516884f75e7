"""What the documents say is so: code runs, files and flags exist, numbers of defaults are those of the code."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
import soundfile

import killing
from helpers import ROOT
from implementation import generate_synthetic_audio
from models.checkpoints import ModelConfig
from training.flags import parse_args

DOCUMENTS = ("README.md", "CHEATSHEET.md", "paper_notes.md")
PAGES = (*DOCUMENTS, "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
SET_UP = "python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt && "  # what .ci/run does


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", (*DOCUMENTS, "docs/runs.md"))
def test_the_python_blocks_run(name, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", text_of(name), re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)  # some leave files
    for number, block in enumerate(blocks, start=1):
        if "import onnxruntime" in block:  # tests/scripts/test_export.py runs it
            continue
        exec(compile(block, f"{name}, block {number}", "exec"), {"__name__": "__main__"})  # each with names of its own


@pytest.mark.parametrize("name", PAGES)
def test_linked_files_exist(name):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]+)?\)", text_of(name)):
        assert "://" in target or ((ROOT / name).parent / target).exists(), target


def test_the_list_of_files_is_whole():
    folders = ("speech", "decoding", "models", "training", "pictures", "page", "recipes")
    there = {f"{folder}/{path.name}" for folder in folders for path in (ROOT / folder).glob("*.py")}
    listed = set(re.findall(r"\(\.\./(\w+/\w+\.py)\)", text_of("docs/files.md")))
    assert listed == {path for path in there if not path.endswith("__init__.py")}


def slug(heading):
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("name", PAGES)
def test_linked_headings_exist(name):
    for file, anchor in re.findall(r"\]\(([\w./]*)#([^)]+)\)", text_of(name)):
        headings = re.findall(r"^#+ (.+)$", text_of((ROOT / name).parent / file if file else name), re.MULTILINE)
        assert anchor in {slug(heading) for heading in headings}, f"{file}#{anchor}"


@pytest.mark.parametrize("name", PAGES)
def test_flags_of_commands_exist(name, tmp_path):
    (tmp_path / "lm.arpa").touch()  # in place of those that a command downloads or makes
    commands = re.findall(r"python train_minimal\.py([^`\n|#&]*)", text_of(name).replace("\\\n", " "))
    for flags in commands:
        words = [word for word in flags.split() if word not in ("...", "--help")]
        parse_args([str(tmp_path / "lm.arpa") if ".arpa" in word else word for word in words])


def test_defaults_in_the_cheat_sheet_are_the_codes():
    sheet, (_, model, args, _), config = text_of("CHEATSHEET.md"), parse_args([]), ModelConfig()
    assert f"GRU, {config.n_rnn} layers of {config.rnn_hidden}" in sheet and model.rnn_hidden == config.rnn_hidden
    assert f"one cycle up to {args.lr:.0e}".replace("e-0", "e-") in sheet
    assert f"| batch | 512 utterances (6) | {args.batch_size} |" in sheet
    assert f"--n-fft {config.n_fft}" in sheet


def test_no_document_is_left_with_a_gap():
    for name in PAGES:
        assert not re.search(r"@[A-Z_]+@|TODO|TBD", text_of(name)), name


def commands_of(name):
    """Shell commands of a document: the fenced blocks, and what stands in table cells between backticks."""
    text = text_of(name)
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    rows = [line for line in text.splitlines() if line.startswith("|") and "..." not in line]
    lines += [command for row in rows for command in re.findall(r"`(python [^`]+\.py[^`]*)`", row)]
    return list(dict.fromkeys(re.split(r"\s{2,}#", line)[0].strip() for line in lines if line.strip()))


def test_the_commands_are_found():
    heard = "python transcribe.py models/commands_en.pt models/yes.wav"
    assert commands_of("README.md")[:3] == [SET_UP + "python train_minimal.py", heard, SET_UP + "python -m pytest"]
    assert "python train_minimal.py --data PATH --max-seconds 15" in commands_of("CHEATSHEET.md")
    assert len(commands_of("README.md")) >= 12 and len(commands_of("CHEATSHEET.md")) >= 18


def write_speech(folder):
    """A corpus with a manifest in ``folder``/PATH, under the names of the README's corpora too; a.wav and b.flac."""
    texts, rows = ("see the moon", "hello book", "green tree", "no way"), ["path\ttranscript\tsplit"]
    (folder / "PATH").mkdir()
    for split in ("train", "dev", "test"):
        for i, text in enumerate(texts):
            soundfile.write(folder / "PATH" / f"{split}{i}.wav", generate_synthetic_audio(text, speaker=i).numpy(), 16000)
            rows.append(f"{split}{i}.wav\t{text}\t{split}")
    (folder / "PATH" / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name in ("fsdd", "barista_en", "commands"):
        (folder / name).symlink_to("PATH")
    (folder / "dsp20_zh").mkdir()
    rows = [row.replace(".wav", ".wav\t数字", 1) for row in rows[1:]]
    rows = [row.replace("\t数字\t", f"\t{'数字 北京 语音 上海'.split()[n % 4]}\t", 1) for n, row in enumerate(rows)]
    text = "path\ttranscript\tpinyin\tsplit\n" + "\n".join(f"../PATH/{row}" for row in rows) + "\n"
    (folder / "dsp20_zh" / "manifest.tsv").write_text(text, encoding="utf-8")
    for name in ("a.wav", "b.flac"):
        soundfile.write(folder / name, generate_synthetic_audio("hello", speaker=9).numpy(), 16000)


@pytest.mark.slow
def test_every_command_runs(tmp_path):
    """In a copy of the project, one after the other, trainings cut down by DS2_QUICK, the tests collected but not run."""
    project = tmp_path / "project"
    unwanted = shutil.ignore_patterns(".git", ".venv", ".ci-venv", "runs", "plots", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, project, ignore=unwanted)
    write_speech(project)
    ran = set()  # what stands in two documents is run once
    for name in ("README.md", "CHEATSHEET.md", "exercises/README.md"):
        for made in ("runs/001/decoder.json", "lm.arpa"):  # each document makes them for the first time
            (project / made).unlink(missing_ok=True)
        ran = {command for command in ran if "lm.arpa" not in command}
        for command in commands_of(name):
            run = command.removeprefix(SET_UP)
            if run not in ran and (find_spec("onnx") or "export.py" not in run):
                ran.add(run)
                run_command(run, project)
    assert (project / "runs" / "001" / "checkpoint.pt").exists() and len(list((project / "plots").glob("*.png"))) == 21


def run_command(command, project):
    """Runs a command of the documents with this Python; it must succeed."""
    run = f"{command} --collect-only -q" if re.fullmatch(r"python -m pytest( -m slow)?", command) else command
    words = shlex.split(run)
    if words[0] == "python" and words[1].endswith(".py"):
        process = killing.context.Process(target=run_script, args=(words[1:], project))
        process.start()
        process.join()
        code, said = process.exitcode, (project / "said.txt").read_text(encoding="utf-8")
    else:
        run = re.sub(r"^python\b", f'"{sys.executable}"', run)
        environment = os.environ | {"DS2_QUICK": "1"}
        done = subprocess.run(run, shell=True, cwd=project, env=environment, capture_output=True, text=True, check=False)
        code, said = done.returncode, f"{done.stdout}\n{done.stderr}"
    assert code == 0, f"{command}\n{said}"


def is_ours(path):
    """Whether it stands in this folder; an environment may stand there too (.venv), and what it holds is not ours."""
    return path.startswith(str(ROOT)) and not path.startswith(sys.prefix)


def run_script(words, project):
    """In a process that has loaded torch already: a script of the copy with its arguments; all it says goes to said.txt."""
    os.chdir(project)
    os.environ["DS2_QUICK"] = "1"
    for name in [n for n, module in sys.modules.items() if is_ours(str(getattr(module, "__file__", "")))]:
        del sys.modules[name]  # the copy brings its own
    sys.argv = words
    sys.path[:] = [str((project / words[0]).parent), *(path for path in sys.path if not is_ours(path))]
    with open("said.txt", "w", encoding="utf-8") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        runpy.run_path(words[0], run_name="__main__")
