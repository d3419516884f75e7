"""Devices and precisions: what is not here is refused, bf16 trains too."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from trainers import make_trainer
from training import machine
from training.machine import choose_device, choose_precision, cpu_has_bf16, is_switched_on, keep_few_kernels


def test_a_device_that_is_not_here_is_refused_with_what_is():
    with pytest.raises(ValueError, match="there is no device 'tpu'; this machine has: cpu"):
        choose_device("tpu")
    for name in ("cpu:foo", "", "cuda:99"):
        with pytest.raises(ValueError, match=r"there is no device .*; this machine has: cpu"):
            choose_device(name)


def test_the_cpu_has_no_number():
    assert choose_device("cpu:0") == choose_device("cpu") == torch.device("cpu")


def test_bf16_without_hardware_is_refused_and_auto_is_not(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: False)
    assert choose_precision("auto", cpu) == torch.float32
    with pytest.raises(ValueError, match="precision bf16: this cpu does not multiply bf16"):
        choose_precision("bf16", cpu)
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: True)
    assert choose_precision("auto", cpu) == torch.bfloat16


@pytest.mark.slow  # ten seconds, where bf16 is in hardware
def test_bf16_products_train_too(monkeypatch):
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: True)
    trainer = make_trainer(epochs=2, precision="bf16")
    first, second = trainer.run_epoch(), trainer.run_epoch()
    plain = make_trainer(epochs=2)
    assert first.loss == pytest.approx(plain.run_epoch().loss, rel=0.03)
    assert second.loss == pytest.approx(plain.run_epoch().loss, rel=0.1)
    assert any(not torch.equal(a, b) for a, b in zip(trainer.model.parameters(), plain.model.parameters(), strict=True))
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())


class Lacking:
    """A namespace of operations in a build that has none of them."""

    def __getattr__(self, name):
        raise RuntimeError(f"no such operator: {name}")


@pytest.mark.parametrize(
    ("avx512", "amx", "one_dnn", "expected"),
    [
        (True, False, True, True),
        (False, True, True, True),
        (True, True, False, False),
        (False, False, True, False),
        (True, True, None, False),  # a build without oneDNN
        (False, False, None, False),
        (None, None, None, False),  # a torch without these checks
        (None, True, True, True),
    ],
)
def test_bf16_is_asked_of_the_cpu_first_and_nothing_that_is_lacking_stops_it(monkeypatch, avx512, amx, one_dnn, expected):
    for name, answer in (("_is_avx512_bf16_supported", avx512), ("_is_amx_tile_supported", amx)):
        if answer is None:
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda answer=answer: answer, raising=False)
    has = SimpleNamespace(_is_mkldnn_bf16_supported=lambda: one_dnn)
    monkeypatch.setattr(torch.ops, "mkldnn", Lacking() if one_dnn is None else has, raising=False)
    assert cpu_has_bf16() is expected
    assert choose_precision("auto", torch.device("cpu")) == (torch.bfloat16 if expected else torch.float32)


def test_a_gpu_that_only_emulates_bf16_has_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "device", lambda _device: contextlib.nullcontext())
    assert choose_precision("auto", torch.device("cuda")) == torch.float32
    with pytest.raises(ValueError, match="precision bf16: this cuda does not multiply bf16 in hardware"):
        choose_precision("bf16", torch.device("cuda"))


@pytest.mark.parametrize(("value", "on"), [("", False), ("0", False), ("false", False), ("No", False), (" off ", False),
                                           ("00", False), ("n", False), ("none", False), ("'0'", False), ("10", True),
                                           ("1", True), ("yes", True), ("true", True)])  # fmt: skip
def test_what_switches_an_environment_variable_on(value, on):
    assert is_switched_on(value) is on


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_memory_is_kept_and_given_back():
    """In a process of its own, whose settings of malloc die with it."""
    script = """
import torch
from training.machine import give_back_freed_memory, keep_freed_memory

def resident():  # megabytes
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

keep_freed_memory()
before = resident()
tensors = [torch.ones(1_000_000) for _ in range(100)]  # 400 MB
between = torch.ones(1_000_000)  # so that they are not the end of the heap
del tensors
kept = resident() - before
give_back_freed_memory()
print(kept, resident() - before)
"""
    root = Path(__file__).parents[2]
    kept, left = map(
        float, subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, check=True).stdout.split()
    )
    assert kept > 390 and left < 100


@pytest.mark.skipif(not cpu_has_bf16(), reason="products in bf16 are made by oneDNN where the CPU has them")
@pytest.mark.slow  # it imports torch once more
def test_products_of_ever_other_shapes_are_not_all_kept():
    """In a process of its own, for which the stores have their size once and for all."""
    script = """
import ctypes, os, sys
import torch
from training.machine import keep_few_kernels

class Malloc(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks".split()]
    _fields_ += [("keepcost", ctypes.c_size_t)]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Malloc
torch.set_num_threads(1)
if sys.argv[1] == "few":
    keep_few_kernels()
weight = torch.ones(64, 192, dtype=torch.bfloat16)
for rows in range(1000, 1300):
    torch.ones(rows, 64, dtype=torch.bfloat16) @ weight
    if rows == 1000:
        before = libc.mallinfo2().uordblks
print((libc.mallinfo2().uordblks - before) / 1e6)
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    grown = {}
    for kept in ("few", "all"):
        command = [sys.executable, "-c", script, kept]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True, env=environment)
        grown[kept] = float(done.stdout)
    assert grown["few"] < 0.6 * grown["all"], grown


def test_what_the_user_says_of_the_stores_holds(monkeypatch):
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    keep_few_kernels()
    assert (os.environ["LRU_CACHE_CAPACITY"], os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) == ("7", "128")
