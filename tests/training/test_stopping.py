"""Signals: Ctrl-C, SIGTERM and SIGHUP end a run where it can be resumed; what is not yet begun leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

import train_minimal
from helpers import ROOT, TINY
from models.checkpoints import load_checkpoint
from training import assembly, run
from training.stopping import OTHERS, Stopped, exit_code, interrupts_noted, signals_raise, workers_survive

ALL = (signal.SIGINT, *OTHERS)


@pytest.fixture(autouse=True)
def usual_handlers():
    """As they are when a script starts; a signal that nothing handles would end the tests."""
    old = {number: signal.getsignal(number) for number in ALL}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in OTHERS:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in old.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    assert signal.getsignal(number) is not signal.SIG_DFL  # else these tests end here
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", ALL, ids=lambda number: number.name)
def test_each_signal_is_noted_and_the_usual_handlers_come_back(number, capfd):
    before = [signal.getsignal(other) for other in ALL]
    with interrupts_noted() as noted:
        send(number)
        assert noted == [number]
    assert [signal.getsignal(other) for other in ALL] == before
    assert "stopping after this step" in capfd.readouterr().err


def test_only_a_second_ctrl_c_stops_at_once_for_schedulers_send_twice():
    with interrupts_noted() as noted:
        for number in (*OTHERS, *OTHERS):
            send(number)
        with pytest.raises(Stopped):
            send(signal.SIGINT)
        assert len(noted) == 5


def test_an_evaluation_is_not_waited_for_but_after_ctrl_c():
    with interrupts_noted() as noted:
        with noted.ending_at_once():
            send(signal.SIGINT)
            with pytest.raises(Stopped) as stop:
                send(signal.SIGTERM)
        send(signal.SIGTERM)
    assert exit_code(stop.value) == 143 and exit_code(KeyboardInterrupt()) == 130


def test_what_is_ignored_or_handled_by_others_stays_so():
    """nohup ignores SIGHUP."""
    calls = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: calls.append(1))
    with signals_raise(), interrupts_noted() as noted:
        send(signal.SIGHUP)
        send(signal.SIGTERM)
    assert noted == [] and calls == [1]


def test_outside_of_the_main_thread_nothing_is_handled():
    found = []

    def work():
        with interrupts_noted() as noted:
            found.append((noted, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [([], signal.SIG_DFL)]


def test_a_worker_survives_the_first_signal_to_the_group():
    workers_survive(0)
    for number in ALL:
        send(number)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # so that the next one ends it
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_run_ends_after_the_step_under_way_and_is_resumed_there(run_folder, tmp_path, monkeypatch, capsys):
    flags, real, calls, number = [*TINY, "--epochs", "2"], torch.Tensor.backward, [], signal.SIGTERM

    def backward(tensor, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:  # the first is that of try_longest_batch
            send(number)
        return real(tensor, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    assert train_minimal.main([*flags, "--output-dir", str(tmp_path / "run")]) == 128 + number
    assert f"--resume {tmp_path / 'run'}" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run" / "last.pt").training["trainer"]["batch"] == 1
    monkeypatch.undo()
    monkeypatch.setattr(train_minimal, "finish", lambda *_: None)
    assert train_minimal.main([*flags, "--resume", str(tmp_path / "run")]) == 0
    whole, found = (load_checkpoint(folder / "last.pt").model.state_dict() for folder in (run_folder, tmp_path / "run"))
    assert all(torch.equal(value, whole[name]) for name, value in found.items())


def test_an_evaluation_under_way_is_done_again_after_sigterm(tmp_path, monkeypatch):
    flags, real, calls = [*TINY, "--epochs", "1"], run.evaluate, []

    def evaluate(*arguments):
        calls.append(1)
        if len(calls) == 1:
            send(signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(run, "evaluate", evaluate)
    monkeypatch.setattr(train_minimal, "finish", lambda *_: None)
    assert train_minimal.main([*flags, "--output-dir", str(tmp_path / "run")]) == 143
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert train_minimal.main([*flags, "--resume", str(tmp_path / "run")]) == 0
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("where", ["assemble", "first step"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_before_the_first_step_nothing_is_left_and_nothing_said_to_be_saved(tmp_path, monkeypatch, capsys, where, number):
    monkeypatch.chdir(tmp_path)

    def stop(*_):
        send(number)
        raise Stopped(number)  # where the signal was only noted

    if where == "assemble":
        monkeypatch.setattr(assembly, "assemble", stop)
    else:
        monkeypatch.setattr(run.Run, "epoch", stop)
    assert train_minimal.main([*TINY]) == 128 + number
    said = "".join(capsys.readouterr())
    assert "nothing was saved" in said and "--resume" not in said and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_within_a_step_no_half_done_state_is_saved(tmp_path, monkeypatch, capsys):
    real, calls = torch.optim.AdamW.step, []

    def step(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:  # the second epoch's second of two
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    assert train_minimal.main([*TINY, "--epochs", "2", "--output-dir", str(tmp_path / "run")]) == 130
    assert f"--resume {tmp_path / 'run'}" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run" / "last.pt").training["trainer"]["epoch"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), zip(OTHERS, "02", strict=False))
def test_a_real_process_and_its_group_are_stopped(tmp_path, number, workers):
    folder = tmp_path / "run"
    command = [sys.executable, str(ROOT / "train_minimal.py"), *TINY, "--num-workers", workers, "--epochs", "400"]
    command += ["--output-dir", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    process = subprocess.Popen(command, **pipes, preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in OTHERS])
    deadline = time.time() + 90
    while not (folder / "checkpoint.pt").exists() and time.time() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, out
    assert f"--resume {folder}" in out and "Traceback" not in out and not (folder / "run.lock").exists()
    state = load_checkpoint(Path(folder) / "last.pt").training["trainer"]
    lines = [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert state["epoch"] - len(lines) in (0, 1)


@pytest.mark.slow  # imports torch once more
def test_a_program_ends_that_still_holds_its_run_when_it_is_over(tmp_path):
    """Without an end of their own the workers would wait for minibatches for ever, and the program for them."""
    program = """
import sys
from models.checkpoints import ModelConfig
from training.assembly import start_run
from training.settings import OutputSettings, SpeechSettings, TrainingSettings

speech, training = SpeechSettings(n_train=4, n_val=2), TrainingSettings(epochs=1, num_workers=1)
run = start_run(speech, ModelConfig(n_rnn=1, rnn_hidden=8, time_strides=[2, 2]), training, OutputSettings(sys.argv[1]), "a test")
run.train()
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")], cwd=ROOT, check=True, timeout=60, capture_output=True)
    assert (tmp_path / "run" / "last.pt").exists()
