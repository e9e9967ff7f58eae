"""Results of run folders whose files are damaged."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import rayopt as ro
from rayopt.cli import main


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run leaves, by the names of its files."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    ro.run(ro.methods.ASGD(0.1), ro.problems.Quadratic(5), ro.Workers(3, "i"), until=ro.Until(time=20), out=folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(whole, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name, content in whole.items():
        (folder / name).write_bytes(content)
    return folder


def flipped(content):
    """The content with its first half, where the values are, overwritten."""
    return content[:4] + b"\xff" * (len(content) // 2) + content[4 + len(content) // 2 :]


DAMAGE = {
    "summary.json": [b"", b"[]", b"null", b"{}", b'{"table": 1}', b"\xff", b"[" * 100_000, lambda whole: whole[:-9]],
    "history.parquet": [b"", b"PAR1", lambda whole: whole[:-9], flipped],
    "config.yaml": [b"", b"[1, 2]", b"{a: b: c", b"\xff", b"just words"],
}


@pytest.mark.parametrize(
    ("name", "damage"), [(name, damage) for name, kinds in DAMAGE.items() for damage in kinds],
    ids=lambda given: given if isinstance(given, str) else "",
)  # fmt: skip
def test_a_file_that_is_damaged_is_named(folder, name, damage):
    path = folder / name
    path.write_bytes(damage(path.read_bytes()) if callable(damage) else damage)
    with pytest.raises(ro.InvalidInput, match=rf"^run: {path} (cannot be read \(|holds something else)") as caught:
        ro.load(folder)
    assert "\n" not in str(caught.value)
    shown = CliRunner().invoke(main, ["report", str(folder)])
    assert (shown.exit_code, shown.stderr) == (2, f"{caught.value}\n")


def test_a_history_of_something_else(folder, whole):
    (folder / "history.parquet").write_bytes(whole["trace.parquet"])
    with pytest.raises(ro.InvalidInput, match=r"history\.parquet holds something else"):
        ro.load(folder)


def test_a_trace_that_is_damaged_is_named_when_it_is_asked_for(folder):
    path = folder / "trace.parquet"
    path.write_bytes(flipped(path.read_bytes()))
    result = ro.load(folder)
    with pytest.raises(ro.InvalidInput, match=rf"^trace: {path} cannot be read"):
        _ = result.trace
