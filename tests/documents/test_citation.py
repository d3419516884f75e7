"""CITATION.cff is simple YAML, has what a citation needs, and says the same as the BibTeX in README."""

import re
from datetime import date

from helpers import ROOT

LINE = r'(?: {2})*(?:- )?(?:[a-z-]+:(?: "[^"]*"| [\w.-]+)?|[\w ]+)'  # a key with its value, a key alone, or an item of a list


def entries():
    """The fields of README's two BibTeX entries, by the kind of entry."""
    found = re.findall(r"^@(\w+)\{\w+,\n(.*?)\n\}", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {kind: dict(re.findall(r"(\w+) += \{+(.*?)\}+,?$", text, re.MULTILINE)) for kind, text in found}


def fields(text):
    return dict(re.findall(r'^ *(?:- )?([a-z-]+): "?(.*?)"?$', text, re.MULTILINE))


def test_the_citation_file_says_what_the_bibtex_says():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if not re.fullmatch(LINE, line)] == []
    ours, paper = map(fields, text.split("\nreferences:\n"))
    assert {"cff-version", "message", "title", "version"} < ours.keys() and "\nauthors:\n" in text
    software, article = entries()["software"], entries()["article"]
    assert (ours["title"], ours["name"]) == (software["title"], software["author"])
    assert (ours["version"], ours["license"]) == (software["version"], software["license"])
    assert ours["date-released"].startswith(f"{software['year']}-") and date.fromisoformat(ours["date-released"])
    assert (paper["title"], paper["year"]) == (article["title"], article["year"])
    assert f"{paper['family-names']}, {paper['given-names']} {paper['name']}" == article["author"]
    assert paper["value"] in article["journal"] and paper["url"].endswith(paper["value"].removeprefix("arXiv:"))
