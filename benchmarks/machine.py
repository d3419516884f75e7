"""Describes in one line the machine that a benchmark runs on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path


def machine(*packages: str, threads: int | None = None) -> str:
    """CPU, cores, threads and versions."""
    info = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else []
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    cpu = f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores"
    return f"{cpu}{f', {threads} threads' if threads else ''}; Python {platform.python_version()}, {versions}"
