"""Data parallelism: the processes that torchrun starts train one model together by synchronous SGD (Sections 4, 4.1).

    torchrun --standalone --nproc_per_node=2 train_minimal.py

Each process has the whole model and a share of every minibatch. Batch norm and loss are those of the whole minibatch
(``implementation.shared_batch``), and torch's DistributedDataParallel averages the gradients, so all processes make the
same update. Only the first process prints, evaluates and writes. Without torchrun there is one process, and all of this does
nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from implementation import CharEncoder, DeepSpeech2, SpectrogramBatch, collate_features
from pictures.terminal import sentence
from speech.corpora import Problem
from training.settings import OutputSettings
from training.stopping import exit_code

JOB_FILE = "torchrun.txt"  # in the folder of a run: the torchrun job that started it
LONGEST_WAIT = timedelta(hours=3)  # for the slowest process; the others wait while the first one evaluates on dev [ours]
A_MOMENT = 2.0  # seconds for the first process to report what went wrong, if it knows too


@contextlib.contextmanager
def joined_processes() -> Iterator[None]:
    """Joins the processes that torchrun has started, if it has; all except the first print nothing meanwhile.

    An error is reported once: by the first process if it happened there too, otherwise by the process where it happened, with
    that process's number.

    Raises:
        ConnectionError: if another process has ended too early without saying why.
        SystemExit: in all processes except the one that reports.
        ValueError: if torchrun may restart the processes, but they would then not find their run or one another.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield
        return
    store, number, processes = _meeting_place()
    dist.init_process_group(timeout=LONGEST_WAIT, store=store, rank=number, world_size=processes)
    try:
        with contextlib.nullcontext() if is_first() else contextlib.redirect_stdout(io.StringIO()):
            yield
    except (Exception, KeyboardInterrupt) as error:
        if not _is_to_tell(error, store):
            raise SystemExit(exit_code(error) if isinstance(error, KeyboardInterrupt) else 2) from error
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            raise ConnectionError("another process of this training ended without saying why; was it killed?") from error
        if rank() and isinstance(error, ValueError | OSError | FloatingPointError):
            raise ValueError(f"process {rank()} of {count()}: {sentence(error)}") from error
        raise
    finally:
        dist.destroy_process_group()


def _is_to_tell(error: BaseException, store: dist.Store) -> bool:
    """Whether this process is the one that reports what went wrong."""
    try:
        if rank() and isinstance(error, Exception):
            time.sleep(A_MOMENT)
        return store.add(f"told {os.environ['TORCHELASTIC_RESTART_COUNT']}", 1) == 1
    except KeyboardInterrupt:  # torchrun ends all processes when one has failed
        return False
    except RuntimeError:  # the process that keeps the store has ended
        return True


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Inside this context only the first process of a machine prints; for work that all of them do, such as reading the flags."""
    if not dist.is_available() or os.environ.get("LOCAL_RANK", "0") == "0":
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            yield
        except SystemExit as end:
            if end.code:
                time.sleep(A_MOMENT)  # torchrun ends all processes when one has failed
            raise


def _meeting_place() -> tuple[dist.Store, int, int]:
    """Where the processes meet, this process's number, and how many there are; restarted ones find no old addresses there.

    torchrun keeps the addresses of processes that died, and new processes would try them (torch issue 135712). On one
    machine a name for each start prevents this; on several machines torchrun's counts of the starts differ.
    """
    restarts, shared = (
        int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)),
        os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )
    if restarts and not job():
        raise ValueError("torchrun --max-restarts also needs --standalone or --rdzv-id NAME, to find a restarted run")
    if not (restarts and shared):
        return next(dist.rendezvous("env://", timeout=LONGEST_WAIT))
    if int(os.environ["GROUP_WORLD_SIZE"]) > 1:
        raise ValueError("torchrun --max-restarts on several machines also needs: export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1")
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    store = dist.PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    return store, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this is the process that prints, evaluates and writes."""
    return rank() == 0


def own_device(device: torch.device) -> torch.device:
    """The device of this process; if the model is trained on GPUs, each process of a machine takes one of them.

    Raises:
        ValueError: if the machine has fewer GPUs than processes, or processes can't train together on such a device.
    """
    if count() == 1 or device.type == "cpu":
        return device
    local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if device.type != "cuda" or device.index is not None:
        raise ValueError(f"several processes can train on cpu, or on cuda with a GPU each, but not on {device}")
    if local >= there:
        raise ValueError(f"each process needs its own GPU, but this machine has {there}: torchrun --nproc_per_node={there}")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


# ---- Values that the processes exchange; all of them must make the call at the same time --------


def from_first(value: object) -> object:
    """The value that the first process has."""
    if count() == 1:
        return value
    told = [value]
    dist.broadcast_object_list(told)
    return told[0]


def summed(*numbers: int) -> list[int]:
    """Each number summed over the processes."""
    if count() == 1:
        return list(numbers)
    total = torch.tensor(numbers)
    dist.all_reduce(total)
    return total.tolist()


def highest(number: int) -> int:
    """The highest of the processes' numbers."""
    if count() == 1:
        return number
    top = torch.tensor(number)
    dist.all_reduce(top, dist.ReduceOp.MAX)
    return int(top)


def gathered(items: list) -> list:
    """The items of all processes, the first one's first."""
    if count() == 1:
        return items
    lists: list[list] = [[] for _ in range(count())]
    dist.all_gather_object(lists, items)
    return [item for items in lists for item in items]


# ---- Minibatches --------------------------------------------------------------------------------


def shares(batch: Sequence[int], seconds: Sequence[float], processes: int) -> list[list[int]]:
    """Deals out the utterances of a minibatch: the longest first, each to the process that has the fewest seconds so far.

    >>> shares([0, 1, 2, 3], [4.0, 1.0, 3.0, 2.0], processes=2)
    [[0, 1], [2, 3]]
    """
    dealt: list[list[int]] = [[] for _ in range(processes)]
    loads = [0.0] * processes
    for index in sorted(batch, key=lambda index: -seconds[index]):
        least = loads.index(min(loads))
        dealt[least].append(index)
        loads[least] += seconds[index]
    return dealt


def agreed(
    batch: SpectrogramBatch | None, problems: list[Problem], encoder: CharEncoder
) -> tuple[SpectrogramBatch | None, list[Problem], bool]:
    """What this process trains on in a step, the problems of all shares, and whether the minibatch is shared.

    If a process has nothing left (the minibatch has fewer utterances than there are processes, or its audio is bad), each
    process takes everything that is left, and all of them do the same step.
    """
    if count() == 1:
        return batch, problems, False
    idle, bad = summed(batch is None, len(problems))
    problems = gathered(problems) if bad else problems
    if not idle:
        return batch, problems, True
    parts = gathered([batch] if batch else [])
    features = [f[0, :, :length] for part in parts for f, length in zip(part.features, part.feature_lengths, strict=True)]
    texts = [text for part in parts for text in part.texts]
    return (collate_features(features, texts, encoder) if parts else None), problems, False


# ---- The model ----------------------------------------------------------------------------------


class ParallelModel(DistributedDataParallel):
    """A model whose gradients are averaged over the processes. Running averages are the same everywhere, so they are not sent."""

    def __init__(self, model: DeepSpeech2) -> None:
        super().__init__(model, gradient_as_bucket_view=True)
        self.broadcast_buffers = False

    def output_lengths(self, feature_lengths: torch.Tensor) -> torch.Tensor:
        """See ``DeepSpeech2.output_lengths``."""
        return self.module.output_lengths(feature_lengths)


def in_parallel(model: DeepSpeech2) -> DeepSpeech2 | ParallelModel:
    """The model to take steps with; it shares the weights of ``model``.

    Raises:
        ValueError: for batch norm at each step; processes with utterances of different lengths can't share its statistics.
    """
    if count() == 1:
        return model
    if any(layer.batch_norm == "step" for layer in model.recurrences):
        what = "--batch-norm step normalises each step alone, which several processes can't do together"
        raise ValueError(f"{what}: use one process")
    return ParallelModel(model)


def seed_step(seed: int, step: int, shared: bool) -> None:
    """With several processes, dropout depends only on seed, step and share, so that a resumed run draws the same numbers."""
    if count() > 1:
        share = rank() if shared else 0
        torch.manual_seed(int(np.random.SeedSequence((seed, step, share)).generate_state(1)[0]))


# ---- Restarts -----------------------------------------------------------------------------------


def job() -> str | None:
    """torchrun's name for the job, the same after a restart; None: it has no name."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if name == "none" else name


def after_restart(output: OutputSettings) -> OutputSettings:
    """The settings as given; if torchrun has restarted the processes, settings that resume their own run.

    The run continues from its last checkpoint, or starts again if there is none. A folder with another run stays untouched.
    """
    if not job():
        return output
    given = output.folder if output.resume is True else output.resume or output.folder
    folders = [Path(given)] if given else sorted(Path("runs").glob("*"))
    for folder in folders:
        mark = folder / JOB_FILE
        if mark.is_file() and mark.read_text(encoding="utf-8").strip() == job():
            if (folder / "last.pt").is_file():
                return dataclasses.replace(output, folder=None, overwrite=False, resume=folder)
            return dataclasses.replace(output, folder=folder, overwrite=True, resume=None)
    return output
