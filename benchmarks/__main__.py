"""Prints every benchmark beside its floor: ``python -m benchmarks [PART ...]``; all parts by default."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from benchmarks import (
    ahead,
    checkpoint,
    compression,
    finite_sums,
    hogwild,
    large_gradients,
    many_workers,
    networks,
    own_networks,
    paper_sizes,
    real_time,
    soak,
    spread,
    tuning,
    virtual_time,
)

PARTS = {
    "virtual": virtual_time.rows,
    "papers": paper_sizes.rows,
    "finite": finite_sums.rows,
    "compression": compression.rows,
    "network": networks.rows,
    "torch": own_networks.rows,
    "real": real_time.rows,
    "many": many_workers.rows,
    "large": large_gradients.rows,
    "ahead": ahead.rows,
    "checkpoint": checkpoint.rows,
    "tuning": tuning.rows,
    "spread": spread.rows,
    "hogwild": hogwild.rows,
    "soak": soak.rows,
}
WHEN_NAMED = {"soak"}
"""Ten minutes are for those who ask for them."""


def main(chosen: list[str]) -> int:
    """Prints the table; returns 1 if a row is not met, 2 for an unknown part."""
    if set(chosen) - set(PARTS):
        print(f"usage: python -m benchmarks [{'|'.join(PARTS)}]", file=sys.stderr)
        return 2
    table = Table("path", "measured", "required", "floor", "met", title="rayopt benchmarks, medians of three")
    all_met = True
    progress = Console(stderr=True)
    for part in chosen or [part for part in PARTS if part not in WHEN_NAMED]:
        for row in PARTS[part]():
            all_met &= row.met
            progress.print(f"{row.path}: {row.measured}", highlight=False)
            table.add_row(row.path, row.measured, row.required, row.floor, "yes" if row.met else "NO")
    Console(width=170).print(table)
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
