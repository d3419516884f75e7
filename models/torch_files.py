"""Reads files from ``torch.save``, whole or not at all: their checksums are tested first, and nothing in them is ever run.

torch writes a CRC-32 for each record of its zip archive, but ``torch.load`` does not check it: if one bit of a weight is
flipped, it silently returns a different model. And the archive holds a pickle, which is a program.
"""

from __future__ import annotations

import os
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch

# All names that torch.save puts into a pickle of plain tensors, numbers, strings, lists and dicts.
_OF_PLAIN_THINGS = re.compile(r"collections\.OrderedDict|torch\._utils\._rebuild_tensor_v2|torch\.[A-Z][A-Za-z0-9]*Storage")
_BEGIN_OF_ZIP = b"PK\3\4"


class BadFile(ValueError):
    """Why a file is not read."""


def read_torch_file(path: Path, device: str | torch.device) -> object:
    """The plain tensors, numbers, strings, lists and dicts that ``torch.save`` wrote.

    Each record must match its checksum, so that any flipped bit that matters is found, and must be uncompressed, so that
    nothing takes more memory than the file. The pickle may name only functions that make dicts and tensors. These names are
    checked without running the pickle; then torch's own reader, which runs nothing else either, reads it.

    Args:
        path: the file.
        device: where the tensors go.

    Raises:
        BadFile: if the file is anything else, or is cut off or damaged; the message says which.
        OSError: if the file can't be opened.
    """
    with open(path, "rb") as file:
        try:
            _refuse_what_is_no_archive(file)
            with zipfile.ZipFile(file) as archive:
                _refuse_code(archive.read(_checked_pickle(archive, file.seek(0, os.SEEK_END))))
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about other protocols and the like: the file can be read or it can't
                return torch.load(file, map_location=device, weights_only=True)
        except BadFile:
            raise
        except Exception as error:  # reading foreign bytes can raise anything
            raise BadFile(f"{type(error).__name__}: {' '.join(str(error).split())[:100]}") from error


def _refuse_what_is_no_archive(file: BinaryIO) -> None:
    """Raises ``BadFile`` if the file is no archive; the message says what it is instead, as far as its first bytes tell."""
    head = file.read(64)
    if not head:
        raise BadFile("it is empty")
    if head.startswith(b"version https://git-lfs"):
        raise BadFile("a Git LFS pointer, not the file itself; fetch it: git lfs pull")
    if head.startswith(b"\x80"):
        raise BadFile("a bare pickle, which could run anything")
    if not head.startswith(_BEGIN_OF_ZIP):
        raise BadFile(f"it begins with {head[:12]!r}, unlike files from torch.save")
    if not zipfile.is_zipfile(file):
        raise BadFile("its end is missing: copy it again")


def _checked_pickle(archive: zipfile.ZipFile, size: int) -> zipfile.ZipInfo:
    """The pickle's record, once all records are found to be whole; ``size``: the file's bytes."""
    records = archive.infolist()
    names = [record.filename.lower() for record in records]  # as torch looks for them
    pickles = [record for record, name in zip(records, names, strict=True) if name.endswith("/data.pkl")]
    if len(pickles) != 1 or len(set(names)) < len(names):
        raise BadFile("a zip archive, but not one from torch.save")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records) or sum(r.file_size for r in records) > size:
        raise BadFile(f"its records would unpack to more than the {size:,} bytes of the file")
    if damaged := archive.testzip():
        raise BadFile(f"the checksum of {damaged} is wrong, so its bytes were changed: copy it again")
    return pickles[0]


def _refuse_code(pickle: bytes) -> None:
    """Raises ``BadFile`` if a pickle names anything that does not make dicts or tensors; runs none of it."""
    texts, named = [], []
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in ("GLOBAL", "INST"):
            named.append(argument.replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":  # in newer pickles: module and name are the strings before it
            named.append(".".join(texts[-2:]))
        elif isinstance(argument, str):
            texts.append(argument)
    if other := sorted({name for name in named if not _OF_PLAIN_THINGS.fullmatch(name)}):
        raise BadFile(f"it asks to run {', '.join(other[:3])}{', ...' if len(other) > 3 else ''}, which is never done")
