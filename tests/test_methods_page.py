"""docs/methods.md is what the docstrings say today, whole, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from methods_page import page
from methods_page.gallery import CASES
from rayopt.experiments.components import make
from rayopt.methods import METHODS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "methods.md").read_text(encoding="utf-8")
PARTS = ("**Update**\n\n", "```math\n", "**Server knows**\n\n", "**Guarantee**\n\n", "**Figure**\n\n![")
WANTED = "python scripts/make_methods_page.py"


def sections() -> dict[str, str]:
    """The text under each heading of a method."""
    found = re.split(r"^### (\w+)$", PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def test_the_page_is_made_from_the_docstrings_of_today():
    assert page.text() == PAGE, f"the docstrings have changed: {WANTED}"


def test_every_method_has_its_section():
    assert sorted(sections()) == sorted(method.__name__ for method in METHODS.values())


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_section_has_its_parts_and_its_figure(method):
    text = sections()[method.__name__]
    places = [text.find(part) for part in PARTS]
    assert -1 not in places
    assert places == sorted(places)
    assert f"(methods/{method.name}.png)" in text
    assert (DOCS / "methods" / f"{method.name}.png").is_file(), WANTED


def test_no_figure_is_left_over_and_all_are_small():
    files = list((DOCS / "methods").iterdir())
    assert {file.name for file in files} == {f"{name}.png" for name in METHODS}
    assert sum(file.stat().st_size for file in files) < 1_500_000


def test_links_lead_somewhere():
    headings = {heading.lower() for heading in re.findall(r"^#+ (\S+)$", PAGE, flags=re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]*)\)", PAGE):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("https://"):
            assert (DOCS / target).is_file(), target


def test_formulas_are_whole():
    assert PAGE.count("```math\n") >= len(METHODS)
    assert ".. math::" not in PAGE
    for formula in re.findall(r"```math\n(.*?)\n```", PAGE, flags=re.DOTALL):
        bare = formula.replace(r"\{", "").replace(r"\}", "")
        assert bare.count("{") == bare.count("}"), formula
        assert r"\\" not in formula


def test_workload_lines_make_the_methods_that_are_drawn():
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    lines = [entry for block in blocks for entry in yaml.safe_load(block)]
    drawn = [case.timeline.method for cases in CASES.values() for case in cases.values()]
    made = [make(METHODS[line["name"]], {key: value for key, value in line.items() if key != "name"}) for line in lines]
    assert [repr(method) for method in made] == [repr(method) for method in drawn]


def test_a_method_without_a_place_is_an_error(monkeypatch):
    monkeypatch.setitem(METHODS, "another", METHODS["hero"])
    with pytest.raises(ValueError, match="another"):
        page.text()
