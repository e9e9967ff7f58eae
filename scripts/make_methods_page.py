"""Writes docs/methods.md and its figures from the docstrings of the methods."""

from __future__ import annotations

import argparse
from pathlib import Path

from threadpoolctl import threadpool_limits

from methods_page import figures, page
from rayopt.methods import METHODS

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DOCS, help="folder to write (default: docs)")
    parser.add_argument("--text-only", action="store_true", help="leave the figures as they are")
    parser.add_argument("--figures", nargs="+", choices=METHODS, default=(), metavar="NAME", help="draw only these")
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "methods.md").write_text(page.text(), encoding="utf-8")
    if not arguments.text_only:
        # The problems are small: a second thread would wait for the first.
        with threadpool_limits(1):
            for path in figures.write(arguments.out / page.FIGURES, arguments.figures):
                print(path)


if __name__ == "__main__":
    main()
