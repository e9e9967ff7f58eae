"""Parameters of the methods that look at how random the times are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rayopt.theory.checks import Array, NotAllowed
from rayopt.theory.parameters.homogeneous import batch_of_variance, minibatch_step
from rayopt.theory.setting import Setting
from rayopt.theory.trials import Trials, mindflayer_trials, vecna_trials


def mindflayer(setting: Setting) -> dict[str, Any]:
    r"""Returns the trials B_i [code, with the sorted p] and the step size [poster] of MindFlayer SGD, arXiv 2410.04285.

    .. math:: \gamma = \frac1{2L} \min\Big\{1, \frac{\varepsilon B}{\sigma^2}\Big\}, \qquad B = \sum_i p_i B_i

    with p = ``setting.success_probabilities`` and the limits tau_i + t_i = ``setting.trial_times``.
    """
    trial_times, probabilities = setting.get_array("trial_times"), setting.get_array("success_probabilities")
    trials = mindflayer_trials(trial_times, probabilities, setting.noise_ratio)
    return {"step_size": minibatch_step(setting, trials.expected), **_handed_out(trials, trial_times)}


def vecna(setting: Setting) -> dict[str, Any]:
    r"""Returns trials B_i >= 1 and a step size for Vecna SGD: uncertain, not the paper's (?).

    .. math:: \gamma = \min\Big\{\frac1{2L}, \frac{\varepsilon}{4 L C}, \frac{\varepsilon}{12 L \Delta A}\Big\}, \quad
              C = \frac{\sigma^2}{n^2} \sum_i \frac1{p_i B_i}, \quad
              A = \max_i \frac{L_i (1 - p_i)}{n p_i B_i}

    The form is that of methods whose variance grows with f - inf f, applied to the variance of the estimator
    [derived]; the constants are rayopt's. L_max stands for the L_i; where p_i = 1 neither it nor Delta is needed.
    """
    trial_times, probabilities = setting.get_array("trial_times"), setting.get_array("success_probabilities")
    trials = vecna_trials(trial_times, probabilities, setting.noise_ratio)
    n, successes = setting.workers, probabilities * trials.counts
    noise = setting.get("noise_variance") / n**2 * float(np.sum(1 / successes))
    bounds = [0.5, setting.eps / (4 * noise) if noise else math.inf]
    failures = float(np.max((1 - probabilities) / (n * successes)))
    if failures:
        growth = setting.get("largest_smoothness") * failures
        bounds.append(setting.eps / (12 * setting.get("initial_gap") * growth))
    return {"step_size": min(bounds) / setting.get("smoothness"), **_handed_out(trials, trial_times)}


def _handed_out(trials: Trials, trial_times: Array) -> dict[str, Any]:
    """Returns the arguments of the trials; a worker without one has the limit of another, for a limit is finite."""
    used = trials.counts > 0
    return {
        "trials": trials.counts.tolist(),
        "time_limit": np.where(used, trial_times, trial_times[used].max()).tolist(),
    }


def task_allocation(setting: Setting) -> dict[str, Any]:
    """Returns B = max{ceil(sigma^2 / eps), 1} of ATA-Empirical, UTA, GTA and OFTA and the step of that batch [derived].

    The paper leaves the optimiser open: an allocation is about who computes the B gradients of one step.
    """
    batch = batch_of_variance(setting)
    return {"step_size": minibatch_step(setting, batch), "batch_size": batch}


def ata(setting: Setting) -> dict[str, Any]:
    """Returns :func:`task_allocation` with alpha = 2 max_i mu_i over the finite means, as in the authors' code [code].

    The theorem asks for a bound of the sub-exponential norms of the times; this is one for exponential tails.
    """
    means = setting.ascending
    if not np.isfinite(means[0]):
        raise NotAllowed("times", "no mean is finite", "at least one worker whose mean time is finite")
    return {**task_allocation(setting), "alpha": 2 * float(means[np.isfinite(means)].max())}
