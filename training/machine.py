"""The machine that trains: device, precision, memory, and DS2_QUICK, which tries a command in seconds."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

import torch


def is_switched_on(value: str) -> bool:
    """Whether an environment variable means yes: any text except an empty one, zero, false, no, off, none or disabled."""
    value = value.strip().strip("\"'").lower()
    return value.strip("0.") != "" and value not in ("false", "f", "no", "n", "off", "none", "null", "disabled")


KERNELS = 128  # enough for several steps [ours]
QUICK = is_switched_on(os.environ.get("DS2_QUICK", ""))  # scripts then train for seconds only, to try a command


def choose_device(name: str) -> torch.device:
    """The device for 'auto' or a name; refuses a device that this machine lacks, and says which ones it has."""
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
        raise ValueError(f"there is no device {name!r}; this machine has: {', '.join(available)}")
    return torch.device("cpu") if device.type == "cpu" else device  # torch loads nothing onto "cpu:0"


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; without it bf16 is many times slower than fp32."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    if not any(_says_yes(check) for check in checks):
        return False
    return _says_yes(lambda: torch.ops.mkldnn._is_mkldnn_bf16_supported())  # oneDNN has the products; not every build has it


def _says_yes(check: Callable[[], bool] | None) -> bool:
    """The answer of a check that this version of torch may lack."""
    try:
        return check is not None and bool(check())
    except Exception:  # a build may lack anything
        return False


def cuda_has_bf16(device: torch.device) -> bool:
    """Whether the GPU multiplies bfloat16 in hardware; older ones emulate it, which is slower than fp32."""
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The number format for 'fp32', 'bf16' or 'auto': bf16 if the hardware multiplies it.

    Raises:
        ValueError: for bf16 on hardware without it, or another name.
    """
    if name not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision must be auto, fp32 or bf16, not {name!r}")
    has_bf16 = cpu_has_bf16() if device.type == "cpu" else device.type == "cuda" and cuda_has_bf16(device)
    if name == "bf16" and not has_bf16:
        raise ValueError(f"precision bf16: this {device.type} does not multiply bf16 in hardware; use fp32 or auto")
    return torch.bfloat16 if name == "bf16" or (name == "auto" and has_bf16) else torch.float32


def keep_freed_memory() -> None:
    """Asks the C library (glibc) to keep freed memory for the next step instead of giving it back to the system.

    Each step frees and requests the same large buffers; if the system has to clear them each time, that takes a quarter
    of a step's time. Without Linux and glibc this does nothing. See ``give_back_freed_memory``.
    """
    if (mallopt := _of_glibc("mallopt")) is None:
        return
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3  # <malloc.h>
    mallopt(m_mmap_threshold, 1 << 30)
    mallopt(m_trim_threshold, (1 << 31) - 1)
    mallopt(m_top_pad, 1 << 26)


def give_back_freed_memory() -> None:
    """Gives back to the system what ``keep_freed_memory`` kept.

    Minibatches of changing lengths leave gaps that later ones do not fit into. Training calls this at regular intervals.
    """
    if malloc_trim := _of_glibc("malloc_trim"):
        malloc_trim(0)


def keep_few_kernels() -> None:
    """Limits how many shapes of a bf16 product torch and oneDNN keep; by default each of them stores 1024.

    Minibatches of changing lengths bring about twenty new shapes per step. Each takes 0.6 MB, besides the gaps around it.
    The limit takes effect with a process's first such product; values already set in the environment are respected.
    """
    for store in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(store, str(KERNELS))


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library, if that is glibc."""
    if sys.platform != "linux":
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
