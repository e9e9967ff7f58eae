"""Where an experiment can go on: its last checkpoint, with everything that this counts on."""

from __future__ import annotations

from pathlib import Path

from rayopt.core.errors import DataError
from rayopt.storage.checkpoint_files import CheckpointFiles
from rayopt.storage.encoding import Encoded
from rayopt.storage.trace.parts import check_parts, keep_runs

NO_CHECKPOINT = (0, Encoded({"ended": [], "left": [], "trace": ([], 0), "run": None}, []))


def last_checkpoint(folder: Path, first: int = 0) -> tuple[int, Encoded]:
    """Returns the last checkpoint with its number, :data:`NO_CHECKPOINT` if there is none.

    All that is needed later is looked at now, before hours of training count on it. The trace keeps no row of a run
    that begins anew.

    Args:
      folder: where checkpoints and parts of the trace are.
      first: position in the experiment of the first run in this folder.

    Raises:
      DataError: there are checkpoints and none can be read, or something that the last one counts on cannot.
    """
    files = CheckpointFiles(folder)
    number, checkpoint = files.latest() or NO_CHECKPOINT
    tree = checkpoint.tree
    try:
        for _, earlier in tree["left"]:
            files.read(earlier)
        paths = check_parts(folder, tree["trace"][0])
        kept = [position for position, *_ in (*tree["ended"], *tree["left"])]
        kept += [] if tree["run"] is None else [tree["run"]["position"]]
        keep_runs(paths, {first + position for position in kept})
    except DataError as error:
        raise DataError(f"{error}; checkpoint {number} counts on it: remove {folder} to begin anew") from None
    except OSError as error:
        raise DataError(
            f"the trace in {folder} cannot be brought to where checkpoint {number} stands ({error})"
        ) from None
    return number, checkpoint
