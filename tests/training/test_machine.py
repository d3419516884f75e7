"""Devices and precisions: what is not here is refused, bf16 trains too."""

from __future__ import annotations

import pytest
import torch

from trainers import make_trainer
from training import machine
from training.machine import choose_device, choose_precision


def test_a_device_that_is_not_here_is_refused_with_what_is():
    with pytest.raises(ValueError, match="device 'tpu' is not here; this machine has: cpu"):
        choose_device("tpu")
    for name in ("cpu:foo", "", "cuda:99"):
        with pytest.raises(ValueError, match="is not here; this machine has: cpu"):
            choose_device(name)


def test_bf16_without_hardware_is_refused_and_auto_is_not(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: False)
    assert choose_precision("auto", cpu) == torch.float32
    with pytest.raises(ValueError, match="precision bf16: this cpu does not multiply bf16"):
        choose_precision("bf16", cpu)
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: True)
    assert choose_precision("auto", cpu) == torch.bfloat16


def test_bf16_products_train_too(monkeypatch):
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: True)
    trainer = make_trainer(epochs=2, precision="bf16")
    first, second = trainer.run_epoch(), trainer.run_epoch()
    plain = make_trainer(epochs=2)
    assert first.loss == pytest.approx(plain.run_epoch().loss, rel=0.03)
    assert second.loss == pytest.approx(plain.run_epoch().loss, rel=0.1)
    assert any(not torch.equal(a, b) for a, b in zip(trainer.model.parameters(), plain.model.parameters(), strict=True))
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
