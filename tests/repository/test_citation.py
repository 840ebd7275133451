"""CITATION.cff: valid by the rules of CFF 1.2.0 that it uses, and of one mind with pyproject.toml and paper.toml."""

import re
import tomllib

import pytest

from reproduce.results import paper
from tests.helpers import ROOT

# What CFF 1.2.0 asks for and allows, as far as this file goes; anything else is read up there first.
TOP = {"cff-version", "message", "type", "title", "abstract", "version", "license", "authors", "keywords", "references"}
REFERENCE = {"type", "scope", "title", "authors", "date-published", "url", "doi", "identifiers"}


def read(lines: list[str], indent: int = 0):
    """The part of YAML this file keeps to: mappings, lists, scalars, two spaces a level. Takes lines off the front."""
    if lines[0][indent:].startswith("- "):
        found = []
        while lines and lines[0].startswith(" " * indent + "- "):
            item = lines[0][indent + 2 :]
            if re.match(r"[\w-]+:", item):
                lines[0] = " " * (indent + 2) + item
                found.append(read(lines, indent + 2))
            else:
                found.append(scalar(item))
                lines.pop(0)
        return found
    found = {}
    while lines and re.match(rf" {{{indent}}}[\w-]", lines[0]):
        key, value = re.fullmatch(r" *([\w-]+):(?: (.+))?", lines.pop(0)).groups()
        assert key not in found, f"{key} stands twice"
        found[key] = scalar(value) if value else read(lines, indent + 2)
    assert found, f"not understood: {lines[0]!r}"
    return found


def scalar(text: str) -> str:
    """A string in double quotes, or a plain one that YAML takes for nothing else."""
    if text.startswith('"'):
        return re.fullmatch(r'"([^"\\]*)"', text).group(1)
    assert re.fullmatch(r"[A-Za-z][\w.-]*|1\.2\.0|\d{4}-\d\d-\d\d", text), f"needs quotes: {text}"
    return text


@pytest.fixture(scope="module")
def citation():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert "\t" not in text and text.endswith("\n")
    lines = text.splitlines()
    found = read(lines)
    assert not lines, f"not understood: {lines[0]!r}"
    return found


def test_it_is_cff(citation):
    assert set(citation) == TOP and citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert all(set(author) == {"name"} for author in citation["authors"]) and citation["authors"]
    assert all(isinstance(word, str) for word in citation["keywords"])
    reference, = citation["references"]
    assert set(reference) == REFERENCE and reference["type"] == "article"
    assert all(set(author) == {"family-names", "given-names"} for author in reference["authors"])
    assert all(set(one) == {"type", "value", "description"} for one in reference["identifiers"])
    assert all(one["type"] == "other" for one in reference["identifiers"])


def test_the_software_is_that_of_pyproject(citation):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["authors"][0]["name"] == f"The maintainers of {project['name']}"
    assert f"# {citation['title']}\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_paper_is_the_one_known_here(citation):
    about, (reference,) = paper.load().about, citation["references"]
    authors = ", ".join(f"{one['given-names']} {one['family-names']}" for one in reference["authors"])
    assert (reference["title"], authors) == (about.title, about.authors)
    number, date = about.reference.split(", ")
    assert reference["identifiers"][0]["value"] == number
    assert reference["url"] == f"https://arxiv.org/abs/{number.removeprefix('arXiv:').removesuffix('v1')}"
    assert (reference["date-published"], date) == ("2019-03-29", "29 March 2019")


def test_the_reader_is_strict():
    for bad in ("a: b\na: c", "a: no colon: here", "a: 'b'", "a: 0.1", "a:\n   - b"):
        with pytest.raises((AssertionError, AttributeError)):
            lines = bad.splitlines()
            read(lines)
            assert not lines
