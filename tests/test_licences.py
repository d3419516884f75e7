"""The table of licences in CONTRIBUTING.md: it has each direct dependency, in its pinned version, with the licence it states."""

from __future__ import annotations

import importlib.metadata
import re

import pytest

from helpers import ROOT


def pinned() -> dict[str, str]:
    """Version by name, of all files of requirements, and of what .ci/run installs beside them."""
    files = [path.read_text(encoding="utf-8") for path in (*ROOT.glob("requirements*.txt"), ROOT / ".ci" / "run")]
    return {name: version for text in files for name, version in re.findall(r"^[^#\n]*?\b([\w-]+)==([\d.]+)", text, re.MULTILINE)}


def table() -> dict[str, tuple[str, str]]:
    """Version and licence by name."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Licences")[2]
    rows = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| (.+) \|$", text, re.MULTILINE)
    return {name: (version, licence) for name, version, licence in rows}


def stated(name: str) -> str:
    """The licence as the installed package states it: an expression, else a short text, else its classifiers."""
    about = importlib.metadata.metadata(name)
    text = about.get("License-Expression") or about.get("License") or ""
    if text and "\n" not in text and len(text) < 100:
        return text
    classifiers = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    return ", ".join(classifiers) or text.strip().partition("\n")[0] or "none stated"


def test_the_table_has_what_is_pinned_and_nothing_else():
    assert {name: version for name, (version, _) in table().items()} == pinned()


@pytest.mark.parametrize("name", sorted(pinned()))
def test_a_licence_is_the_one_that_the_package_states(name):
    try:
        version = importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")
    if version == pinned()[name]:
        row = f"| {name} | {version} | {stated(name)} |"
        assert re.match(re.escape(stated(name)) + r"( by the package; .*)?$", table()[name][1]), row
