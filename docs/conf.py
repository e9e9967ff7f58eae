"""How Sphinx builds the site: `python -m sphinx -W --keep-going docs docs/_build`."""

from __future__ import annotations

import inspect
import logging
import re
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx_gallery.scrapers import figure_rst

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import rayopt

# The gallery would print them.
logging.getLogger("rayopt").setLevel(logging.WARNING)

project = "rayopt"
author = "the rayopt developers"
release = rayopt.__version__
html_title = f"rayopt {release}"

extensions = [
    "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb", "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]  # fmt: skip
html_theme = "furo"
exclude_patterns = [
    "_build", "how-to/sample-plugin", "gallery/*.rst",
    *(f"figures/*.{kind}" for kind in ("py", "ipynb", "md5", "json", "zip")),
]  # fmt: skip

# The tests execute the notebooks and compare what they print: here their outputs are shown as they are kept.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3
# Links to files of the repository that are no pages.
suppress_warnings = ["config.cache"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# An attribute that has a docstring section and a value stands once.
napoleon_use_ivar = True


def _drawn(block: Any, variables: dict[str, Any], settings: dict[str, Any]) -> str:
    """Saves the figures that a block of an example has drawn, which pyplot does not know."""
    saved = []
    for thing in list(variables["example_globals"].values()):
        for figure in thing.values() if isinstance(thing, dict) else [thing]:
            if isinstance(figure, Figure) and not hasattr(figure, "was_shown"):
                figure.was_shown = True
                saved.append(next(variables["image_path_iterator"]))
                figure.savefig(saved[-1], dpi=110)
    return figure_rst(saved, settings["src_dir"])


sphinx_gallery_conf = {
    "image_scrapers": (_drawn,),
    "examples_dirs": "gallery",
    "gallery_dirs": "figures",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "download_all_examples": False,
}

PAGES = {"CONTRIBUTING": "contributing", "CHANGELOG": "changelog", "README": "index"}
"""Of files at the top of the repository."""


def _reference(app: Sphinx) -> None:
    """Writes a page for rayopt itself and for each of its public modules, from their ``__all__``."""
    folder = Path(app.srcdir) / "reference"
    folder.mkdir(exist_ok=True)
    modules = [name for name in rayopt.__all__ if inspect.ismodule(getattr(rayopt, name)) and name != "methods"]
    pages = {"rayopt": [name for name in rayopt.__all__ if not inspect.ismodule(getattr(rayopt, name))]}
    pages |= {f"rayopt.{name}": list(getattr(rayopt, name).__all__) for name in modules}
    for page, names in pages.items():
        lines = [page, "=" * len(page), ""]
        if page != "rayopt":
            module = getattr(rayopt, page.removeprefix("rayopt."))
            lines += [f".. py:module:: {page}", "", _escaped((inspect.getdoc(module) or "").partition("\n")[0]), ""]
        for name in names:
            found = getattr(rayopt if page == "rayopt" else module, name)
            if inspect.isclass(found):
                lines += [f".. autoclass:: {page}.{name}", "   :members:", ""]
            elif callable(found):
                lines += [f".. autofunction:: {page}.{name}", ""]
        _write(folder / f"{page}.rst", "\n".join(lines))
    toctree = ["Reference", "=========", "", "Every public name, with arguments, units and errors; methods have "
               ":doc:`a page of their own </methods>`, and :doc:`/api` is the list that is kept stable.", "",
               ".. toctree::", "   :maxdepth: 1", "", *(f"   {page}" for page in pages), ""]  # fmt: skip
    _write(folder / "index.rst", "\n".join(toctree))


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _escaped(line: str) -> str:
    """Returns a line of a docstring in which formulas are no markup: what is not ``code`` or :role:`name`."""
    bullet = re.match(r"\s*\* ", line)
    start = bullet.end() if bullet else 0
    parts = re.split(r"(``.+?``|:\w+(?::\w+)?:`.+?`)", line[start:])
    return line[:start] + "".join(
        part if place % 2 else re.sub(r"([|*_`])", r"\\\1", part) for place, part in enumerate(parts)
    )


def _escape(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escapes the formulas of a docstring, but for its examples."""
    in_example, directive_at = False, -1
    for place, line in enumerate(lines):
        text, indent = line.lstrip(), len(line) - len(line.lstrip())
        if text.startswith(">>>"):
            in_example = True
        elif not text:
            in_example = False
        elif indent <= directive_at:
            directive_at = -1
        if text.startswith(".. "):
            directive_at = indent
        if not in_example and directive_at < 0:
            lines[place] = _escaped(line)


def _link(app: Sphinx, page: str, source: list[str]) -> None:
    """Links files of the repository to the pages that include them, and so that they are found from a subfolder."""
    up = "../" * page.count("/")
    for file in ("CONTRIBUTING", "CHANGELOG", "README"):
        source[0] = re.sub(rf"\((?:\.\./)+{file}\.md\)", f"({up}{PAGES[file]}.md)", source[0])
    if page in PAGES.values():
        source[0] = source[0].replace("](docs/", "](")


def setup(app: Sphinx) -> None:
    """Connects what Sphinx cannot be told by settings."""
    app.connect("builder-inited", _reference)
    app.connect("source-read", _link)
    # Before napoleon, which looks for section names.
    app.connect("autodoc-process-docstring", _escape, priority=100)
