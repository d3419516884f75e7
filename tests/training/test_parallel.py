"""Two processes against one: the same losses, weights and running averages; what they tell each other; torchrun for real."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

import train_minimal
from helpers import ROOT
from implementation import Convolution, DeepSpeech2, SpectrogramBatch, plain_definitions, shared_batch, train_step
from speech.corpora import Problem
from trainers import make_trainer, weights
from training import loop, parallel
from training.settings import OutputSettings

BINS, SYMBOLS, LENGTHS = 9, 5, (40, 33, 31, 20, 12)
PLACES = [(kind, placement) for kind in ("gru", "rnn") for placement in ("output", "input")]


def small_batch(chosen: list[int]) -> SpectrogramBatch:
    """Some of five utterances, in float64, padded to the longest that is chosen."""
    rng = np.random.default_rng(1)
    features = [torch.from_numpy(rng.standard_normal((length, BINS))) for length in LENGTHS]
    targets = [torch.from_numpy(rng.integers(1, SYMBOLS, 3)) for _ in LENGTHS]
    padded = torch.nn.utils.rnn.pad_sequence([features[i] for i in chosen], batch_first=True)  # (B, T, F)
    lengths = torch.tensor([LENGTHS[i] for i in chosen])
    labels = torch.cat([targets[i] for i in chosen])
    return SpectrogramBatch(padded.transpose(1, 2)[:, None], lengths, labels, torch.full((len(chosen),), 3), ["x"] * len(chosen))


def fifty_steps(kind: str, placement: str, dtype: torch.dtype = torch.float64, steps: int = 50, autocast: bool = False) -> dict:
    """Losses, weights with running averages, and the share of this process."""
    torch.manual_seed(0)
    small = {"rnn_hidden": 6, "n_rnn": 2, "convolutions": [Convolution(4, (5, 5), (2, 2))]}
    model = DeepSpeech2(BINS, SYMBOLS, rnn_type=kind, batch_norm=placement, **small).to(dtype)
    share = parallel.shares(range(len(LENGTHS)), LENGTHS, parallel.count())[parallel.rank()]
    batch = small_batch(share)
    batch.features = batch.features.to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, nesterov=True)
    taken, shared = parallel.in_parallel(model), shared_batch() if parallel.count() > 1 else contextlib.nullcontext()
    with shared, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        losses = [train_step(taken, batch, optimizer, max_norm=20.0) for _ in range(steps)]
    return {"losses": torch.tensor(losses, dtype=torch.float64), "weights": model.state_dict(), "share": share}


def trained(bad: int | None = None, dropout: float = 0.0) -> dict:
    """Two epochs of a trainer: seven utterances by two, so that one minibatch is too small for two processes."""
    trainer, losses = make_trainer(epochs=2, optimizer="sgd", lr=1e-4), []  # Adam makes large steps of rounding errors
    trainer.model.dropout.p = dropout
    item = trainer.data._item
    trainer.data._item = lambda index: Problem(f"{index}.wav", "bad") if index == bad else item(index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "stop_if_many", lambda *_: None)  # one of seven is too many
        reports = [trainer.run_epoch(lambda loss, _: losses.append(loss)) for _ in range(2)]
    return {
        "losses": torch.tensor(losses), "weights": trainer.model.state_dict(),
        "problems": [p.where for p in reports[0].problems], "audio_seconds": [report.audio_seconds for report in reports],
    }  # fmt: skip


def taken_up() -> dict:
    """Weights after three epochs with dropout; the same stopped in the second and taken up by new trainers."""
    whole, part, resumed = (make_trainer(epochs=3) for _ in range(3))
    while whole.epoch < 3:
        whole.run_epoch()

    def stop(_loss, _utterances):
        if (part.epoch, part.batch) == (1, 2):
            raise KeyboardInterrupt

    part.run_epoch()
    with contextlib.suppress(KeyboardInterrupt):
        part.run_epoch(stop)
    state = parallel.from_first(copy.deepcopy(part.state_dict()))  # as last.pt, which the first process writes
    resumed.model.load_state_dict(part.model.state_dict())
    torch.manual_seed(99)  # whatever was drawn before does not matter
    resumed.load_state_dict(state)
    while resumed.epoch < 3:
        resumed.run_epoch()
    return {"whole": weights(whole), "resumed": weights(resumed), "at": (state["epoch"], state["batch"])}


def skipped(what: str) -> dict:
    """An epoch in whose second step the last process alone has a loss, or a gradient, that is no number."""
    trainer, losses, told, calls = make_trainer(epochs=1, optimizer="sgd", lr=1e-4), [], [], []
    trainer.model.dropout.p = 0.0
    forward, last = trainer.model.output.forward, parallel.rank() == parallel.count() - 1

    def broken(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        y = forward(x)
        if not last or len(calls) != 2:
            return y
        y.register_hook(lambda grad: grad * torch.inf)
        return y * torch.nan if what == "loss" else y

    trainer.model.output.forward = broken
    report = trainer.run_epoch(lambda loss, _: (losses.append(loss), told.extend(trainer.tally.skipped[len(told) :])))
    return {"losses": torch.tensor(losses), "weights": trainer.model.state_dict(), "told": told, "count": report.skipped_steps}


def exchanged() -> dict:
    rank = parallel.rank()
    with pytest.raises(ValueError, match="--batch-norm step"):
        parallel.in_parallel(DeepSpeech2(BINS, SYMBOLS, rnn_hidden=4, rnn_type="rnn", batch_norm="step"))
    return {
        "summed": parallel.summed(1, 10 * rank), "highest": parallel.highest(5 * rank),
        "gathered": parallel.gathered(["a"] * (rank + 1)), "from_first": parallel.from_first(f"of {rank}"),
    }  # fmt: skip


def all_of_it() -> dict:
    """Everything that is compared below, by name."""
    found = {place: fifty_steps(*place) for place in PLACES}
    with plain_definitions():
        found |= {("plain", *place): fifty_steps(*place, steps=5) for place in PLACES}
    found["single precision"] = fifty_steps("gru", "output", torch.float32, 20)
    found["bf16"] = fifty_steps("gru", "input", torch.float32, 10, autocast=True)
    found |= {("skipped", what): skipped(what) for what in ("loss", "gradient")}
    return found | {"trained": trained(), "bad": trained(bad=3)}


def process(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    torch.save(
        all_of_it() | {"dropout": trained(dropout=0.1), "taken up": taken_up(), "told": exchanged()}, folder / f"{rank}.pt"
    )
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def alone() -> dict:
    return all_of_it()


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> list[dict]:
    """What each of two processes comes to."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(process, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def furthest(a: dict, b: dict) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.slow  # half a minute
class TestTwoProcessesAgainstOne:
    @pytest.mark.parametrize("place", [*PLACES, *(("plain", *place) for place in PLACES)], ids="-".join)
    def test_the_same_losses_weights_and_running_averages(self, alone, together, place):
        one, two = alone[place], together[0][place]
        assert one["losses"][-1] < 0.95 * one["losses"][0]
        assert float((one["losses"] - two["losses"]).abs().max()) < 1e-9
        assert furthest(one["weights"], two["weights"]) < 1e-9

    def test_the_share_of_each_process_is_another(self, together):
        first, second = (set(found["single precision"]["share"]) for found in together)
        assert first | second == set(range(len(LENGTHS))) and not first & second

    def test_single_precision_keeps_to_a_hundred_thousandth(self, alone, together):
        one, two = alone["single precision"], together[0]["single precision"]
        assert float((one["losses"] / two["losses"] - 1).abs().max()) < 1e-5

    def test_products_in_bf16_keep_statistics_in_single_precision(self, alone, together):
        one, two = alone["bf16"], together[0]["bf16"]
        assert float((one["losses"] / two["losses"] - 1).abs().max()) < 0.02
        averages = [value for name, value in two["weights"].items() if "running" in name]
        assert averages and all(value.dtype == torch.float32 for value in averages)
        assert all(torch.equal(value, together[1]["bf16"]["weights"][name]) for name, value in two["weights"].items())

    @pytest.mark.parametrize("what", ["trained", "bad"])
    def test_a_trainer_takes_the_same_steps(self, alone, together, what):
        """The last minibatch holds one utterance; where item 3 is bad, a process has nothing of a minibatch either."""
        one, two = alone[what], together[0][what]
        assert len(one["losses"]) == len(two["losses"]) == 8
        assert float((one["losses"] / two["losses"] - 1).abs().max()) < 1e-5
        assert furthest(one["weights"], two["weights"]) < 1e-4
        assert one["audio_seconds"] == pytest.approx(two["audio_seconds"])

    def test_what_one_process_finds_bad_all_know(self, together):
        assert [found["bad"]["problems"] for found in together] == [["3.wav"]] * 2

    @pytest.mark.parametrize("what", ["loss", "gradient"])
    def test_a_step_without_finite_numbers_in_one_process_is_skipped_by_all(self, alone, together, what):
        one, *both = (found["skipped", what] for found in (alone, *together))
        assert (
            one["told"][0].count("utterance ") == 2 and f"the {'loss is' if what == 'loss' else 'norm of the'}" in one["told"][0]
        )
        for found in both:
            assert found["told"] == one["told"] and found["count"] == 1
            assert found["losses"].isnan().tolist() == [False, True, False, False] == one["losses"].isnan().tolist()
            assert furthest(one["weights"], found["weights"]) < 1e-4

    @pytest.mark.parametrize(
        "what", ["trained", "bad", "dropout", ("rnn", "input"), ("skipped", "loss"), ("skipped", "gradient")]
    )
    def test_all_processes_have_the_same_weights_to_the_last_bit(self, together, what):
        first, second = (found[what] for found in together)
        assert torch.equal(first["losses"].nan_to_num(-1), second["losses"].nan_to_num(-1))
        assert all(torch.equal(value, second["weights"][name]) for name, value in first["weights"].items())

    def test_a_run_taken_up_ends_as_the_whole_one(self, together):
        for found in together:
            assert found["taken up"]["at"] == (1, 2)
            assert torch.equal(found["taken up"]["whole"], found["taken up"]["resumed"])

    def test_what_the_processes_tell_each_other(self, together):
        told = {"summed": [2, 10], "highest": 5, "gathered": ["a", "a", "a"], "from_first": "of 0"}
        assert [found["told"] for found in together] == [told, told]


class TestShares:
    @given(st.lists(st.floats(0.1, 30.0), min_size=1, max_size=40), st.integers(1, 6))
    def test_no_utterance_is_lost_or_repeated_and_lengths_are_balanced(self, seconds, processes):
        batch = list(range(100, 100 + len(seconds)))
        by_index = dict(zip(batch, seconds, strict=True))
        dealt = parallel.shares(batch, by_index, processes)
        assert sorted(index for share in dealt for index in share) == batch
        assert all(dealt) or len(batch) < processes
        loads = [sum(by_index[index] for index in share) for share in dealt]
        assert max(loads) - min(loads) <= max(seconds) + 1e-6


class TestAfterRestart:
    def run(self, folder: Path, mark: str = "job 7", saved: bool = True) -> Path:
        folder.mkdir(parents=True)
        (folder / parallel.JOB_FILE).write_text(f"{mark}\n")
        if saved:
            (folder / "last.pt").touch()
        return folder

    @pytest.fixture(autouse=True)
    def started_by_torchrun(self, monkeypatch):
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job 7")

    @pytest.mark.parametrize("name", [None, "none"])
    def test_without_a_name_of_torchrun_nothing_changes(self, tmp_path, monkeypatch, name):
        monkeypatch.delenv("TORCHELASTIC_RUN_ID")
        if name:
            monkeypatch.setenv("TORCHELASTIC_RUN_ID", name)
        output = OutputSettings(self.run(tmp_path / "a", mark="none"), overwrite=True)
        assert parallel.after_restart(output) == output

    def test_the_run_goes_on_from_its_last_checkpoint(self, tmp_path):
        folder = self.run(tmp_path / "a")
        for output in (OutputSettings(folder, overwrite=True), OutputSettings(resume=folder)):
            assert parallel.after_restart(output) == OutputSettings(resume=folder)

    def test_a_run_with_a_number_finds_its_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        self.run(Path("runs/001"), mark="job 6")
        self.run(Path("runs/002"))
        Path("runs/003").mkdir()
        for output in (OutputSettings(), OutputSettings(resume=True)):
            assert parallel.after_restart(output) == OutputSettings(resume=Path("runs/002"))

    def test_before_the_first_checkpoint_it_begins_anew(self, tmp_path):
        folder = self.run(tmp_path / "a", saved=False)
        assert parallel.after_restart(OutputSettings(folder)) == OutputSettings(folder, overwrite=True)

    def test_the_run_of_another_is_not_touched(self, tmp_path):
        output = OutputSettings(self.run(tmp_path / "a", mark="job 6"))
        assert parallel.after_restart(output) == output

    @pytest.mark.parametrize(
        ("name", "machines", "message"), [("none", "1", "--rdzv-id NAME"), ("job 7", "2", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1")]
    )
    def test_restarts_that_could_not_work_are_refused_at_once(self, monkeypatch, name, machines, message):
        asked = {"RUN_ID": name, "MAX_RESTARTS": "3", "USE_AGENT_STORE": "True"}
        for variable, value in asked.items():
            monkeypatch.setenv(f"TORCHELASTIC_{variable}", value)
        monkeypatch.setenv("GROUP_WORLD_SIZE", machines)
        with pytest.raises(ValueError, match=message), parallel.joined_processes():
            pass


@pytest.mark.parametrize(
    ("name", "message"),
    [("cuda", "this machine has 1: torchrun --nproc_per_node=1"), ("cuda:0", "not on cuda:0"), ("mps", "mps")],
)
def test_a_process_without_a_device_of_its_own_is_refused(monkeypatch, name, message):
    monkeypatch.setattr(parallel, "count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert parallel.own_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ValueError, match=message):
        parallel.own_device(torch.device(name))


# ---------------------------------------------------------------------------------------------
# torchrun for real
# ---------------------------------------------------------------------------------------------

FLAGS = "--n-fft 64 --n-rnn 1 --rnn-hidden 8 --n-train 24 --n-val 2 --precision fp32 --epochs 4".split()
BY_SECONDS = "--batch-seconds 4 --optimizer sgd --lr 1e-4 --dropout 0 --epochs 1".split()


def start(folder: Path, *flags: str, restarts: int = 0, of_the_second: str = "") -> subprocess.Popen:
    """train_minimal.py in two processes; what all of them say goes to one pipe."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--no-python"]
    torchrun += [f"--max-restarts={restarts}", "sh", "-c", f'[ $RANK = 0 ] || set -- "$@" {of_the_second}; exec "$@"', "sh"]
    batch = [] if "--batch-seconds" in flags else ["--batch-size", "2"]
    command = [*torchrun, sys.executable, "train_minimal.py", *FLAGS, *batch, *flags]
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    where = [] if "--resume" in flags else ["--output-dir", str(folder)]
    return subprocess.Popen([*command, *where], cwd=ROOT, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def lines(folder: Path) -> list[dict]:
    """Those of metrics.jsonl without what the clock says."""
    return [{n: v for n, v in line.items() if n != "seconds"} for line in loop.read_metrics(folder / "metrics.jsonl")]


def wait_for_epoch(folder: Path, epoch: int, process: subprocess.Popen) -> None:
    while len(lines(folder)) < epoch:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)


def worker(torchrun: subprocess.Popen, rank: int) -> int:
    """Process id of the worker of that rank."""
    for child in Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                return int(child)
    raise AssertionError(f"no worker {rank}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, str]:
    """A run that nothing disturbs, and what it said."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    process = start(folder)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return folder, said


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="workers are found by /proc")
class TestTorchrun:
    def test_one_process_speaks_and_writes(self, whole):
        folder, said = whole
        for line in ("machine: 2 processes", "epoch   4/4", "transcribe your own", " s in all"):
            assert said.count(line) == 1, said
        assert [line["epoch"] for line in lines(folder)] == [1, 2, 3, 4]

    @pytest.mark.parametrize("rank", [0, 1])
    def test_a_killed_worker_is_started_again_and_the_run_goes_on(self, whole, tmp_path, rank):
        process = start(tmp_path / "run", "--save-minutes", "0", restarts=1)
        wait_for_epoch(tmp_path / "run", 2, process)  # so that the checkpoint of the first is there
        os.kill(worker(process, rank), signal.SIGKILL)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0 and "resumed after" in said, said
        assert lines(tmp_path / "run") == lines(whole[0])

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_stopped_run_is_resumed_and_ends_as_the_whole_one(self, whole, tmp_path, number):
        folder = tmp_path / "run"
        process = start(folder)
        wait_for_epoch(folder, 1, process)
        process.send_signal(number)
        said, _ = process.communicate(timeout=300)
        assert said.count("stopped; the state is in") == 1, said
        process = start(folder, "--resume", str(folder))
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0 and said.count("resumed after") == 1, said
        assert lines(folder) == lines(whole[0])

    def test_what_one_process_refuses_ends_all_in_a_sentence(self, whole):
        process = start(whole[0])
        said, _ = process.communicate(timeout=300)
        assert process.returncode != 0 and said.count("holds a run already") == 1, said
        assert said.count("\nerror: ") + said.startswith("error: ") == 1 and "stopped" not in said, said

    def test_what_one_process_alone_refuses_it_tells_itself(self, tmp_path):
        process = start(tmp_path / "run", of_the_second="--data no/such")
        said, _ = process.communicate(timeout=300)
        assert process.returncode != 0 and said.count("error: ") == 1, said
        assert "error: process 1 of 2: no/such does not exist" in said, said

    def test_wrong_flags_are_told_once(self, tmp_path):
        process = start(tmp_path / "run", "--epochz", "3")
        said, _ = process.communicate(timeout=300)
        assert process.returncode != 0 and said.count("error: there is no flag --epochz; did you mean --epochs?") == 1, said

    def test_minibatches_by_seconds_are_those_of_one_process(self, tmp_path):
        process = start(tmp_path / "two", *BY_SECONDS)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert train_minimal.main([*FLAGS, *BY_SECONDS, "--output-dir", str(tmp_path / "one")]) == 0
        [one], [two] = lines(tmp_path / "one"), lines(tmp_path / "two")
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5) and two["dev_loss"] == pytest.approx(one["dev_loss"], rel=1e-4)
