"""Reading recorded durations: what is right, and every way to be wrong, with the line."""

from __future__ import annotations

import pandas as pd
import pytest

from rayopt.core.errors import InvalidInput
from rayopt.latency.durations_file import read_durations

GOOD = """# rayopt profile 1
# measured: 2026-11-24T12:00:00+00:00
# units: seconds, bytes
worker,kind,bytes,number,seconds
1,compute,0,0,0.5
0,compute,0,1,0.25
0,compute,0,0,0.125

0,upload,8,0,0
0,upload,1000,0,0.01
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "profile.csv"
        path.write_text(text)
        return str(path)

    return write


def test_durations_by_kind_size_worker_and_number(written):
    durations = read_durations(written(GOOD))
    compute = durations.of("compute")
    assert {worker: seconds.tolist() for worker, seconds in compute.items()} == {0: [0.125, 0.25], 1: [0.5]}
    assert list(compute) == [0, 1]
    assert durations.sizes("upload") == [8, 1000]
    assert durations.of("upload", 1000)[0].tolist() == [0.01]
    assert durations.header["measured"] == "2026-11-24T12:00:00+00:00"
    with pytest.raises(ValueError, match="read-only"):
        compute[0][0] = 1.0


def test_columns_in_another_order_and_further_ones(written):
    text = "# units: seconds\nseconds,host,number,bytes,kind,worker\n0.5,a,0,0,compute,0\n"
    assert read_durations(written(text)).of("compute")[0].tolist() == [0.5]


def test_what_a_file_does_not_have(written):
    durations = read_durations(written(GOOD))
    with pytest.raises(InvalidInput, match="has no durations of the kind download"):
        durations.of("download")
    with pytest.raises(InvalidInput, match=r"bytes: missing, and '.*' has 2 sizes; allowed: 8, 1000"):
        durations.of("upload")
    with pytest.raises(InvalidInput, match=r"bytes: '.*' has no upload of 9 bytes; allowed: 8, 1000"):
        durations.of("upload", 9)


HEAD = "# units: seconds, bytes\nworker,kind,bytes,number,seconds\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# units: seconds\n", "is empty"),
        (HEAD, "has no rows below its header"),
        ("worker,kind,bytes,number,seconds\n0,compute,0,0,1\n", "line 1: no line above the header tells the units"),
        (HEAD.replace("seconds, bytes", "milliseconds") + "0,compute,0,0,1\n", "line 2: the units are 'milliseconds'"),
        (HEAD.replace("number", "nr") + "0,compute,0,0,1\n", "line 2: the header has no column 'number'"),
        ("# units: seconds\n0,compute,0,0,1\n", "line 2: the header has no column 'worker'"),
        (HEAD + "0,compute,0,0\n", "line 3: 4 cells"),
        (HEAD + "0,compute,0,0,nan\n", "line 3: seconds nan; allowed: a finite number above 0"),
        (HEAD + "0,compute,0,0,inf\n", "line 3: seconds inf"),
        (HEAD + "0,compute,0,0,-1e-3\n", "line 3: seconds -1e-3"),
        (HEAD + "0,compute,0,0,0\n", "line 3: seconds 0; allowed: a finite number above 0"),
        (HEAD + "0,upload,0,0,-1\n", "line 3: seconds -1; allowed: a finite number of at least 0"),
        (HEAD + "0,compute,0,0,fast\n", "line 3: seconds 'fast' is not a number"),
        (HEAD + "0,compute,0,0,1\n\n0,compute,0,1,\n", "line 5: seconds '' is not a number"),
        (HEAD + "-1,compute,0,0,1\n", "line 3: worker '-1' is not an integer of at least 0"),
        (HEAD + "0.5,compute,0,0,1\n", "line 3: worker '0.5' is not an integer"),
        (HEAD + "0,compute,0,1_0,1\n", "line 3: number '1_0' is not an integer"),
        (HEAD + "0,compute,big,0,1\n", "line 3: bytes 'big' is not an integer"),
        (HEAD + "0,think,0,0,1\n", "line 3: the kind 'think' is unknown; allowed: compute, upload, download"),
        (HEAD + "0,compute,0,0,1\n0,compute,0,0,2\n", "line 4: number 0 of worker 0 stands twice"),
    ],
)
def test_bad_files(written, text, message):
    with pytest.raises(InvalidInput) as caught:
        read_durations(written(text))
    assert caught.value.key == "path"
    assert "profile.csv'" in str(caught.value)
    assert message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InvalidInput, match=r"'nowhere\.csv' cannot be read \(No such file"):
        read_durations("nowhere.csv")
    with pytest.raises(InvalidInput, match=r"cannot be read \(Is a directory\)"):
        read_durations(str(tmp_path))
    (tmp_path / "binary.csv").write_bytes(b"\x80\x04\x95\xff")
    with pytest.raises(InvalidInput, match="it is not text in UTF-8"):
        read_durations(str(tmp_path / "binary.csv"))


RUN = pd.DataFrame(
    {
        "worker": [0, 1, 0, 1, 0],
        "time": [1.0, 2.0, 3.0, 3.0, 9.0],
        "assigned_at": [0.0, 0.0, 1.0, 2.0, 3.0],
        "outcome": ["used", "ignored", "used", "cancelled", "failed"],
    }
)


def test_the_trace_of_a_run(tmp_path):
    RUN.to_parquet(tmp_path / "trace.parquet")
    found = read_durations(str(tmp_path / "trace.parquet")).of("compute")
    assert {worker: seconds.tolist() for worker, seconds in found.items()} == {0: [1.0, 2.0], 1: [2.0]}


def test_in_real_time_a_task_ends_with_its_own_stamp(tmp_path):
    RUN.assign(completed_at=RUN.time - 0.25).to_parquet(tmp_path / "trace.parquet")
    assert read_durations(str(tmp_path / "trace.parquet")).of("compute")[0].tolist() == [0.75, 1.75]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (RUN.drop(columns="assigned_at"), "has no column 'assigned_at'"),
        (RUN[RUN.outcome == "cancelled"], "has no arrivals"),
        (RUN.assign(assigned_at=RUN.time), "row 0: a task that took no time"),
    ],
)
def test_bad_traces_of_a_run(tmp_path, frame, message):
    frame.to_parquet(tmp_path / "trace.parquet")
    with pytest.raises(InvalidInput, match=message):
        read_durations(str(tmp_path / "trace.parquet"))


def test_what_is_no_parquet(tmp_path):
    (tmp_path / "trace.parquet").write_text("worker,time\n")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_durations(str(tmp_path / "trace.parquet"))
