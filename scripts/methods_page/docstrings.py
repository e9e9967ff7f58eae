"""Docstrings as rayopt writes them, taken apart and turned into GitHub's Markdown."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

HEADING = re.compile(r"^([A-Z][A-Za-z ]*):$")
MATH = ".. math::"
ARGUMENT = re.compile(r"^(\w+): ?(.*)$")
MARKUP = re.compile(
    r"``(?P<code>[^`]+)``"
    r"|:\w+:`(?P<object>[^`]+)`"
    r"|`(?P<title>[^`<]+?)\s*<(?P<address>[^>]+)>`_"
    r"|\barXiv (?P<arxiv>\d{4}\.\d{4,5})"
)
SIGNS = {
    "alpha": "α", "gamma": "γ", "delta": "δ", "Delta": "Δ", "eps": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "mu": "μ", "xi": "ξ", "rho": "ρ", "sigma": "σ", "tau": "τ", "psi1": "ψ₁", "Omega": "Ω", "<=": "≤", ">=": "≥",
    "^2": "²", "grad ": "∇", "infinity": "∞",
}  # fmt: skip
SPELLED = re.compile(
    r"(?<![A-Za-z])(?:alpha|gamma|delta|Delta|eps|zeta|eta|theta|mu|xi|rho|sigma|tau|psi1|Omega)(?![A-Za-z])"
    r"|[<>]="
    r"|\^2(?!\d)"
    r"|(?<![A-Za-z])(?:grad (?=f)|infinity(?![A-Za-z]))"
)
ESCAPED = re.compile(
    r"[*`\\]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # Within a word GitHub leaves it alone.
    r"|<(?=[A-Za-z/!])"
)


@dataclass(frozen=True)
class Docstring:
    """A docstring in parts.

    Attributes:
      summary: its first line.
      body: what stands before the first section, paragraphs and formulas.
      sections: the text of each section without its indentation, by heading.
    """

    summary: str
    body: str
    sections: dict[str, str]


def parse(documented: object) -> Docstring:
    """Returns the docstring of a class, a function or a module in parts; a section is an indented block."""
    summary, _, rest = (inspect.getdoc(documented) or "").partition("\n")
    body: list[str] = []
    sections: dict[str, list[str]] = {}
    lines = body
    for line in rest.splitlines():
        if heading := HEADING.match(line):
            lines = sections.setdefault(heading[1], [])
        else:
            lines.append(line)
    texts = {name: inspect.cleandoc("\n" + "\n".join(found)) for name, found in sections.items()}
    return Docstring(summary, "\n".join(body).strip("\n"), texts)


def to_markdown(text: str) -> str:
    """Returns paragraphs and formulas as Markdown, a paragraph on one line.

    A formula is a fenced block: between dollar signs GitHub applies Markdown first, which takes the backslash from
    ``\\{`` and from ``\\,`` and reads underscores as emphasis.
    """
    blocks = [block for block in re.split(r"\n\s*\n", text) if block.strip()]
    return "\n\n".join(_block(block) for block in blocks)


def _block(block: str) -> str:
    if not block.startswith(MATH):
        return inline(block)
    formula = [line.strip() for line in block.removeprefix(MATH).strip().splitlines()]
    return "\n".join(["```math", *formula, "```"])


def inline(text: str) -> str:
    """Returns prose on one line, with its code, links and names of objects as Markdown writes them."""
    text = " ".join(text.split())
    parts, end = [], 0
    for found in MARKUP.finditer(text):
        parts += [_prose(text[end : found.start()]), _marked(found)]
        end = found.end()
    return "".join([*parts, _prose(text[end:])])


def _prose(text: str) -> str:
    return _escaped(SPELLED.sub(lambda found: SIGNS[found[0]], text))


def _marked(found: re.Match[str]) -> str:
    if found["title"]:
        return f"[{_escaped(found['title'])}]({found['address']})"
    if found["arxiv"]:
        return f"[{found[0]}](https://arxiv.org/abs/{found['arxiv']})"
    return f"`{found['code'] or found['object']}`"


def _escaped(text: str) -> str:
    return ESCAPED.sub(r"\\\g<0>", text)


def entries(section: str) -> dict[str, str]:
    """Returns the text of each argument of a section ``Args`` or ``Raises``, by name, as Markdown."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in section.splitlines():
        if argument := ARGUMENT.match(line):
            lines = found.setdefault(argument[1], [])
            line = argument[2]
        lines.append(line)
    return {name: inline(" ".join(text)) for name, text in found.items()}
