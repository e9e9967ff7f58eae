"""Docstrings in parts, and as Markdown that GitHub renders."""

from __future__ import annotations

from methods_page.docstrings import entries, inline, parse, to_markdown


class Documented:
    """One line.

    .. math:: x_{k+1} = \\{a, b\\} \\,
              \\frac12

    Prose with x_i
    on two lines.

    Server knows:
      Nothing:
      really nothing.

    Args:
      one: its text
        goes on.
      other: 0 < b.
    """


def test_parts():
    found = parse(Documented)
    assert found.summary == "One line."
    assert list(found.sections) == ["Server knows", "Args"]
    assert found.sections["Server knows"] == "Nothing:\nreally nothing."
    assert found.body.startswith(".. math::")
    assert found.body.endswith("on two lines.")


def test_a_formula_is_a_fenced_block_to_the_letter():
    formula, prose = to_markdown(parse(Documented).body).split("\n\n")
    assert formula == "```math\nx_{k+1} = \\{a, b\\} \\,\n\\frac12\n```"
    assert prose == "Prose with x_i on two lines."


def test_two_formulas_are_two_blocks():
    assert to_markdown(".. math:: a\n\n.. math:: b\n\nend") == "```math\na\n```\n\n```math\nb\n```\n\nend"


def test_arguments_by_name():
    assert entries(parse(Documented).sections["Args"]) == {"one": "its text goes on.", "other": "0 < b."}


def test_code_links_and_objects():
    assert inline("``a_*b`` of :class:`rayopt.Until`") == "`a_*b` of `rayopt.Until`"
    assert inline("see `Title\n  of it <https://a.org/b_c>`_, 2023") == "see [Title of it](https://a.org/b_c), 2023"
    assert inline("baseline of arXiv 1106.5730.") == "baseline of [arXiv 1106.5730](https://arxiv.org/abs/1106.5730)."


def test_what_markdown_would_read_as_markup_is_escaped():
    assert inline("x* and m*") == r"x\* and m\*"
    assert inline("sum_{i <= m} ||X||_a") == r"sum\_{i ≤ m} ||X||\_a"
    assert inline("a <b> c < d") == r"a \<b> c < d"


def test_letters_have_their_signs_where_they_are_words():
    assert inline("gamma >= tau_1 eps^2, E||grad f||^2") == "γ ≥ τ_1 ε², E||∇f||²"
    assert inline("theta and beta, etalon, ``eta``, ^23") == "θ and beta, etalon, `eta`, ^23"
