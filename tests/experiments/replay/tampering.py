"""Changes to what a run folder holds, after which a replay is to find a difference."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq


def rewrite(folder, change=lambda trace: trace, change_about=lambda about: None):
    """Writes the trace of a run folder again, its rows and what it keeps about them changed."""
    path = folder / "trace.parquet"
    table = pq.read_table(path)
    trace = table.to_pandas()
    for name in ("method", "label", "outcome"):
        trace[name] = trace[name].astype(str)
    about = json.loads(pq.read_metadata(path).metadata[b"rayopt"])
    change_about(about)
    changed = pa.Table.from_pandas(change(trace), preserve_index=False)
    pq.write_table(changed.replace_schema_metadata({"rayopt": json.dumps(about)}), path)
