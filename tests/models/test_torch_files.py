"""Files of torch.save: what was changed, would run code or would fill the memory is refused, with the reason."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from models.torch_files import BadFile, read_torch_file

WEIGHTS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor([1, 2]),
    "more": {"text": "x", "numbers": [1, 2.5, None, True]},
}


@pytest.fixture
def saved(tmp_path) -> Path:
    torch.save(WEIGHTS, tmp_path / "a.pt")
    return tmp_path / "a.pt"


def again(path: Path, changed: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    """Writes the archive again with other content in some records, each with its right checksum."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()} | changed
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def test_what_was_saved_comes_back(saved):
    found = read_torch_file(saved, "cpu")
    assert found["a"].equal(WEIGHTS["a"]) and found["b"].equal(WEIGHTS["b"]) and found["more"] == WEIGHTS["more"]


def test_a_bit_of_a_weight_is_missed_by_torch_and_found_here(saved):
    data = bytearray(saved.read_bytes())
    data[data.index(torch.tensor([5.0]).numpy().tobytes()) + 2] ^= 1
    saved.write_bytes(data)
    assert torch.load(saved)["a"][1, 2] != 5  # should torch find it one day, this file can go
    with pytest.raises(BadFile, match="the checksum of a/data/0 is wrong, so its bytes were changed: copy it again"):
        read_torch_file(saved, "cpu")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (pickle.dumps([1]), "a bare pickle, which could run anything"),
        (b"some text", "it begins with b'some text', unlike files"),
        (b"PK\3\4 cut off", "its end is missing: copy it again"),
    ],
)
def test_other_files_are_named(tmp_path, data, why):
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(BadFile, match=why):
        read_torch_file(tmp_path / "a.pt", "cpu")


@pytest.mark.parametrize("size", [100, 500, -100, -1])
def test_a_file_that_is_cut_off_is_named(saved, size):
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(BadFile, match="its end is missing"):
        read_torch_file(saved, "cpu")


def test_a_zip_archive_of_another_kind_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(BadFile, match=r"a zip archive, but not one from torch\.save"):
        read_torch_file(tmp_path / "a.pt", "cpu")


class Runs:
    def __reduce__(self):
        return eval, ("1",)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (pickle.dumps(Runs(), 2), r"__builtin__\.eval"),
        (pickle.dumps([Runs()], 4), r"builtins\.eval"),
        (b"(S'touch a'\nios\nsystem\n.", r"os\.system"),
        (b"\x80\2cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.", r"builtins\.bytearray"),  # two gigabytes
        (b"\x80\2ctorch.serialization\nload\nX\1\0\0\0a\x85R.", r"torch\.serialization\.load"),
        (b"\x80\2ctorch._utils\n_rebuild_wrapper_subclass\n)R.", r"torch\._utils\._rebuild_wrapper_subclass"),
    ],
)
def test_what_a_pickle_would_run_is_named(saved, content, what):
    again(saved, {"a/data.pkl": content})
    with pytest.raises(BadFile, match=f"it asks to run {what}, which is never done"):
        read_torch_file(saved, "cpu")


def test_a_second_pickle_by_another_spelling_is_refused(saved):
    again(saved, {"a/DATA.PKL": pickle.dumps(Runs(), 2)})
    with pytest.raises(BadFile, match="not one from torch"):
        read_torch_file(saved, "cpu")


def test_records_that_unpack_to_more_than_the_file_are_refused(saved):
    again(saved, {"a/data/0": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(BadFile, match=r"its records would unpack to more than the [\d,]+ bytes of the file"):
        read_torch_file(saved, "cpu")
