"""A program for two hosts: one worker near the server and one on the other host, or all of them there.

It prints what came over the link.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import rayopt as ro

FAR = {"far": {"share": 1, "compute": 1e-6}}
LABELS = {"near": {"share": 1, "compute": 0.05}, "far": {"share": 1, "compute": 0.2}}


def received() -> int:
    """Bytes that this host has received over the link."""
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if "near:" in line)
    return int(line.partition(":")[2].split()[0])


def main(name: str, dimension: int, arrivals: int, far: int = 0) -> None:
    """Runs one method until so many arrivals; ``far`` workers on the other host, or one here and one there."""
    method = {
        "minibatch": lambda: ro.methods.Minibatch(0.1),
        "ringmaster": lambda: ro.methods.Ringmaster(0.1, threshold=1),
        "asgd": lambda: ro.methods.ASGD(0.1),
        "compressed": lambda: ro.methods.ASGD(0.001, compressor=ro.compressors.RandK(dimension // 100)),
        "top_k": lambda: ro.methods.EF21(0.1, ro.compressors.TopK(dimension // 100)),
    }[name]()
    fleet = ro.RayFleet(placement={"labels": FAR if far else LABELS}, server_node="head")
    before = received()
    result = ro.run(
        method, ro.problems.Quadratic(dimension), ro.Workers(far or 2, 1.0),
        until=ro.Until(arrivals=arrivals), fleet=fleet,
        record=ro.Record(metrics=[]),
    )  # fmt: skip
    far = result.trace[result.trace.worker == 1]
    own = result.workers[result.workers.worker == 1]
    print(json.dumps({
        "bytes": received() - before, "far": Counter(far.outcome), "updates": int(result.table.updates[0]),
        "seconds": float(result.table.time[0]),
        "counted": int(own.bits.sum()) // 8, "received": result.summary["runs"][0]["bytes_received"],
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:]))
