"""The numbers that stand before the formulas in the papers.

Every time of this package takes the argument ``constant``, 1 by default: methods are compared with constant 1 in
front of each, which says how they grow and not what their proofs lose. The constants of the papers are here, where
they are known.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Constant:
    """What stands before a formula.

    Attributes:
      value: the number.
      source: where it is from: a theorem, with how it was read: [paper], [poster] (talk or poster of the
        authors), [sib] (a sibling paper), [derived] (a short calculation), [memory].
    """

    value: float
    source: str


CONSTANTS = {
    "Hero": Constant(8, "K of arXiv 2405.16218, Theorem 21 [sib], times tau_1"),
    "Minibatch": Constant(8, "K of arXiv 2405.16218, Theorem 21 [sib], times tau_n"),
    "MSync": Constant(8, "K of arXiv 2405.16218, Theorem 21 [sib], times tau_m"),
    "Rennala": Constant(96, "arXiv 2305.12387, Theorem 7.5 [poster]"),
    "Malenia": Constant(96, "arXiv 2305.12387, Theorem A.4; the number [memory][derived]"),
    "NonsmoothRennala": Constant(8, "arXiv 2305.12387, Theorem B.9; the number [derived]"),
    "AcceleratedRennala": Constant(32, "arXiv 2305.12387, Theorem B.11; the number [derived]"),
    "Ringmaster": Constant(96, "arXiv 2501.16168, Theorem 4.2, up to a ceiling; the number [derived]"),
    "MindFlayer": Constant(8, "arXiv 2410.04285; the number [memory]"),
}
"""By the class of the method. Others are stated in order of magnitude only."""
