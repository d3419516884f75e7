"""The machine that trains: device, precision, memory, and trying a command in seconds."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import torch

QUICK = bool(os.environ.get("DS2_QUICK"))  # scripts cut their trainings down to seconds, to try a command


def choose_device(name: str) -> torch.device:
    """'auto', or a device by name; refuses one that this machine lacks and says what it has."""
    available = ["cpu"]
    if torch.cuda.is_available():
        available.append("cuda")
    if torch.backends.mps.is_available():
        available.append("mps")
    if name == "auto":
        return torch.device("cuda" if "cuda" in available else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    missing = device is None or device.type not in available
    if missing or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f"device {name!r} is not here; this machine has: {', '.join(available)}")
    return device


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; without it bf16 is many times slower than fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _cpu_flag("avx512_bf16", "amx_bf16")


def _cpu_flag(*names: str) -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(errors="ignore")
    except OSError:
        return False
    return any(name in flags for name in names)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """'fp32', 'bf16', or 'auto': bf16 where the hardware multiplies it.

    Raises:
        ValueError: for bf16 on hardware without it, or another name.
    """
    has_bf16 = cpu_has_bf16() if device.type == "cpu" else device.type == "cuda" and torch.cuda.is_bf16_supported()
    if name not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision must be auto, fp32 or bf16, not {name!r}")
    if name == "bf16" and not has_bf16:
        raise ValueError(f"precision bf16: this {device.type} does not multiply bf16 in hardware; use fp32 or auto")
    return torch.bfloat16 if name == "bf16" or (name == "auto" and has_bf16) else torch.float32


def keep_freed_memory() -> None:
    """Asks the C library (glibc) to keep freed memory for the next step instead of giving it back to the system.

    Each step frees and asks for the same large buffers; having the system clear them anew takes a quarter of the
    time of a step. Elsewhere than on Linux with glibc this does nothing.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3  # <malloc.h>
    mallopt(m_mmap_threshold, 1 << 30)
    mallopt(m_trim_threshold, (1 << 31) - 1)
    mallopt(m_top_pad, 1 << 26)
