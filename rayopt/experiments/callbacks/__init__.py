"""What follows the runs of an experiment and may end them; imports runs, storage and what lies below."""

from rayopt.experiments.callbacks.best_point import BestPoint
from rayopt.experiments.callbacks.csv_log import CSVLog
from rayopt.experiments.callbacks.early_stopping import EarlyStopping
from rayopt.experiments.callbacks.mlflow import MLflow
from rayopt.experiments.callbacks.tensorboard import TensorBoard
from rayopt.experiments.callbacks.weights_and_biases import WeightsAndBiases
from rayopt.runs.callbacks import Callback, FollowedRun, NewArrival

CALLBACKS: dict[str, type[Callback]] = {
    callback.name: callback for callback in (EarlyStopping, BestPoint, CSVLog, TensorBoard, MLflow, WeightsAndBiases)
}
"""Every callback by the name that a workload file gives it."""

__all__ = [
    "CALLBACKS",
    "BestPoint",
    "CSVLog",
    "Callback",
    "EarlyStopping",
    "FollowedRun",
    "MLflow",
    "NewArrival",
    "TensorBoard",
    "WeightsAndBiases",
]
