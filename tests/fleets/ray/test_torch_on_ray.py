"""Real Ray: PyTorch in training mode in real time, and the same workload with gradients computed ahead."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods

pytest.importorskip("torch", reason="PyTorch is not installed")
from tests.problems.torch_modules import mnist_in_training_mode

pytestmark = pytest.mark.timeout(240)


def test_methods_train_on_mnist_in_real_time_and_are_replayed(cluster, tmp_path):
    """Dropout is addressed, and the statistics of batch normalisation come with the gradients to the server."""
    chosen = [methods.Ringmaster(0.05, threshold=4), methods.Rennala(0.2, batch_size=4), methods.FedAvg(0.1, 2)]
    updates, fleet = 300, ro.RayFleet(workers_per_actor=2)
    result = ro.run(chosen, mnist_in_training_mode(), ro.Workers(4, "0.01 * sqrt(i)"), until=ro.Until(updates=updates),
                    fleet=fleet, out=tmp_path / "run", record=ro.Record(every=30.0))  # fmt: skip
    assert (result.table.accuracy > 0.8).all(), result.table.accuracy
    again = ro.replay(tmp_path / "run", trust_code=True)
    assert [(run.difference, run.updates) for run in again.runs] == [(None, updates)] * 3


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_here_batched_and_ray_agree(cluster, mode):
    """Processes of Ray compute the bits of this one; many points at once are rounded otherwise, in float32."""
    problem = ro.problems.TorchProblem.from_config(
        "tests.problems.torch_modules:Normalised", data="digits", rows=300, batch=8, mode=mode
    )
    chosen = [methods.FedAvg(0.05, local_steps=2), methods.Ringmaster(0.05, threshold=4), methods.Rennala(0.1, 3)]
    fleets = {
        "here": ro.SimulatedFleet(), "batched": ro.SimulatedFleet(gradients="batched"),
        "ray": ro.SimulatedFleet(gradients="ray", processes=2),
    }  # fmt: skip
    histories = {
        name: ro.run(chosen, problem, ro.Workers(4, "sqrt(i)"), until=ro.Until(time=30), fleet=fleet).history
        for name, fleet in fleets.items()
    }
    columns = ["value", "grad_norm_sq", "accuracy"]
    here = histories["here"]
    assert len(here) > 30
    np.testing.assert_array_equal(histories["ray"][columns], here[columns])
    np.testing.assert_allclose(histories["batched"][columns], here[columns], rtol=1e-3, atol=1e-4)
    for name in ("batched", "ray"):
        assert histories[name][["label", "time", "updates"]].equals(here[["label", "time", "updates"]])


def test_compressed_messages_of_float32_have_half_the_bytes(cluster, tmp_path):
    compressors = ro.compressors
    chosen = [methods.DCGD(0.1, compressors.RandK(100)), methods.EF21(0.1, compressors.TopK(100)),
              methods.QSGD(0.1, compressors.QSGD(4))]  # fmt: skip
    received, counted = {}, {}
    for dtype in ("float64", "float32"):
        problem = ro.problems.LogisticRegression.digits(batch=8, dtype=dtype)
        folder = tmp_path / dtype
        result = ro.run(chosen, problem, ro.Workers(3, 0.004), until=ro.Until(updates=6), fleet=ro.RayFleet(),
                        out=folder, force=True)  # fmt: skip
        assert [run.difference for run in ro.replay(folder).runs] == [None] * 3
        runs = {run["label"]: run for run in result.summary["runs"]}
        received[dtype] = {label: run["bytes_received"] for label, run in runs.items()}
        counted[dtype] = result.table.set_index("label").bits_up
    assert counted["float32"]["DCGD"] == counted["float64"]["DCGD"] / 2
    assert received["float32"]["DCGD"] == received["float64"]["DCGD"] / 2
    # Indices are as long as before, and levels of QSGD.
    assert 0.5 < received["float32"]["EF21"] / received["float64"]["EF21"] < 0.65
    assert received["float32"]["QSGD"] < received["float64"]["QSGD"]
