"""What every method must satisfy: one row in the table buys these tests."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro
from rayopt import compressors, methods
from rayopt.compression import RandK, TopK
from rayopt.core.arrivals import Arrival
from rayopt.fleets.base import Job
from rayopt.problems import LogisticRegression, NonconvexQuadratics, Quadratic
from rayopt.testing import METHOD_CHECKS, workers_for

TABLE = [
    methods.Hero(0.3),
    methods.Minibatch(0.3),
    methods.MSync(0.3, batch_size=3),
    methods.MSync(0.3, batch_size=3, wait_for="fastest"),
    methods.ASGD(0.02),
    methods.Hogwild(0.02),
    methods.DelayAdaptiveASGD(0.02),
    methods.DelayAdaptiveASGD(0.02, rule="koloskova"),
    methods.NaiveOptimalASGD(0.02, noise_ratio=10),
    methods.NaiveOptimalASGD(0.02, workers_used=3),
    methods.Picky(0.05, distance_limit=0.05),
    methods.Rennala(0.3, batch_size=6),
    methods.Rennala(0.3, batch_size=6, interrupt=True),
    methods.AcceleratedRennala(0.05, batch_size=6),
    methods.AcceleratedRennala(0.05, batch_size=6, interrupt=True),
    methods.NonsmoothRennala(0.3, batch_size=6),
    methods.NonsmoothRennala(0.3, batch_size=6, interrupt=True),
    methods.Malenia(0.3, batch_size=12),
    methods.Malenia(0.3, batch_size=12, interrupt=True),
    methods.Ringmaster(0.05, threshold=4),
    methods.Ringmaster(0.05, threshold=4, interrupt=True),
    methods.Ringleader(0.05),
    methods.Ringleader(0.05, resend_current=True),
    methods.IA2SGD(0.05),
    methods.RescaledASGD(0.02),
    methods.MindFlayer(0.3, trials=2, time_limit=1.7),
    methods.MindFlayer(0.3, trials=[3, 2, 2, 1, 1, 1, 0, 0], time_limit="1 + i"),
    methods.Vecna(0.3, trials=2, time_limit="1.5 + i"),
    methods.ATA(0.3, batch_size=6, alpha=0.1),
    methods.ATAEmpirical(0.3, batch_size=6, eta=0.1),
    methods.GTA(0.3, batch_size=6),
    methods.UTA(0.3, batch_size=12),
    methods.OFTA(0.3, batch_size=6),
    methods.FedAvg(0.2, local_steps=3),
    methods.FedAvg(0.2, local_steps=2, fraction=0.4, weighting="equal"),
    methods.FedBuff(0.1, local_steps=2, buffer_size=3),
    methods.FedBuff(0.1, local_steps=1, buffer_size=2, concurrency=4, staleness_power=0.0),
    methods.FreyaPAGE(0.1),
    methods.FreyaPAGE(0.1, batch_size=3, probability=0.5),
    methods.FreyaSGD(0.1, batch_size=7),
    methods.PAGE(0.1),
    methods.HeroGD(0.3),
    methods.HeroPAGE(0.1, batch_size=4),
    methods.SovietGD(0.3),
    methods.SovietPAGE(0.1),
    methods.Shadowheart(0.1, RandK(4), noise_ratio=2.0),
    methods.Shadowheart(0.1, RandK(4), noise_ratio=2.0, max_messages=True, without_replacement=True),
    methods.AdaptiveShadowheart(0.1, RandK(4), noise_ratio=2.0),
    methods.BidirectionalShadowheart(0.05, RandK(4), noise_ratio=2.0, downlink=TopK(7)),
    methods.QSGD(0.1, RandK(8)),
    methods.BatchQSGD(0.1, RandK(4), batch_size=2, messages=3),
    methods.SGDone(0.3),
    methods.DCGD(0.1, compressors.QSGD(5)),
    methods.DIANA(0.1, RandK(8)),
    methods.MARINA(0.1, RandK(8)),
    methods.PermKMARINA(0.1),
    methods.EF21(0.1, TopK(8)),
    methods.EF21SGDM(0.1, TopK(8), momentum=0.3),
    methods.Fragile(0.3, batch_size=6),
    methods.Amelie(0.3, batch_size=9),
    methods.AcceleratedFragile(0.1, batch_size=6),
    methods.AcceleratedAmelie(0.1, batch_size=9),
    methods.NonsmoothFragile(0.3, batch_size=6),
    methods.DecentralizedMinibatch(0.3, pivot="centre"),
    methods.GossipSGD(0.3),
    methods.GradientTracking(0.1),
    methods.RelaySGD(0.2),
    methods.RelaySGD(0.2, relay="gradients"),
    methods.AsynchronousGossip(0.1),
]
UNEQUAL = "1 + sqrt(i) / 3"


@pytest.fixture(params=TABLE, ids=repr)
def method(request):
    return request.param.fresh()


@pytest.fixture
def grid_method(method):
    """A method whose grids run on one schedule."""
    if method.control_depends_on_x:
        pytest.skip("its grids run one by one")
    return method


def fitting(method, problem):
    """Returns the problem, or a finite sum for a method that needs one."""
    return NonconvexQuadratics(components=15, dimension=20, regularisation=0.2) if method.needs_components else problem


def with_steps(method, steps):
    return type(method)(**{**method.parameters, "step_size": steps})


def test_the_table_has_every_method():
    assert {type(method) for method in TABLE} == set(methods.METHODS.values())


@pytest.mark.parametrize("check", METHOD_CHECKS)
def test_checks_that_anybodys_method_must_pass(method, check):
    METHOD_CHECKS[check](method)


def test_seeds_differ(method, simulate):
    problem = fitting(method, Quadratic(20, noise=0.1))
    first, second = (simulate(method.fresh(), problem, UNEQUAL, ro.Until(time=60), seed=s, n=8) for s in (0, 1))
    if isinstance(method, methods.HeroGD | methods.SovietGD):
        np.testing.assert_allclose(first.method.x, second.method.x, rtol=1e-9)  # Their gradients are exact.
    else:
        assert first.method.x.tobytes() != second.method.x.tobytes()


@pytest.mark.parametrize("problem", [Quadratic(20, noise=0.1), Quadratic(20, noise=0.1, noise_kind="iid")], ids=repr)
def test_grid_member_equals_its_own_single_run(grid_method, simulate, problem):
    problem = fitting(grid_method, problem)
    steps = [0.1, 0.05, 0.02]
    grid = simulate(with_steps(grid_method, steps), problem, UNEQUAL, ro.Until(time=40), n=8)
    for row, step in zip(grid.method.x, steps, strict=True):
        single = simulate(grid_method.with_step_size(step), problem, UNEQUAL, ro.Until(time=40), n=8)
        assert row.tobytes() == single.method.x.tobytes()
        assert grid.rows.tobytes() == single.rows.tobytes()


def test_grid_member_equals_its_own_single_run_on_data(grid_method, simulate):
    problem = LogisticRegression.digits(batch=2)
    steps = [0.5, 0.1]
    grid = simulate(with_steps(grid_method, steps), problem, UNEQUAL, ro.Until(time=20), n=8)
    for row, step in zip(grid.method.x, steps, strict=True):
        single = simulate(grid_method.with_step_size(step), problem, UNEQUAL, ro.Until(time=20), n=8)
        assert row.tobytes() == single.method.x.tobytes()


def test_has_a_paper_and_a_docstring_with_its_reference(method):
    text = type(method).__doc__
    assert type(method).paper
    parts = (".. math::", "Server knows:", "Guarantee:", "Args:", "Examples:", "References:")
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("section", ["Server knows:", "Guarantee:"])
def test_says_what_the_server_must_know_and_what_is_guaranteed(method, section):
    before, _, rest = (type(method).__doc__ or "").partition(f"\n    {section}\n")
    lines = rest.split("\n\n")[0].splitlines()
    assert before
    assert lines
    assert all(line.startswith("      ") for line in lines)


# ---- limits that equal simpler methods, iterate by iterate ----


def test_ringmaster_with_infinite_threshold_is_asgd(iterates):
    problem, times = Quadratic(20, noise=0.1), ro.latency.half_normal("i", "sqrt(i)")
    ringmaster = iterates(methods.Ringmaster(0.02, threshold=math.inf), problem, times, 200)
    stops = iterates(methods.Ringmaster(0.02, threshold=math.inf, interrupt=True), problem, times, 200)
    assert ringmaster == stops == iterates(methods.ASGD(0.02), problem, times, 200)


def test_hogwild_is_asgd_where_a_server_receives_arrivals(iterates):
    problem, times = Quadratic(20, noise=0.1), ro.latency.half_normal("i", "sqrt(i)")
    hogwild = iterates(methods.Hogwild(0.02), problem, times, 200)
    assert hogwild == iterates(methods.ASGD(0.02), problem, times, 200)


@pytest.mark.parametrize("interrupt", [False, True])
def test_ringmaster_with_threshold_one_is_hero_when_times_are_fixed(iterates, interrupt):
    problem = Quadratic(20, noise=0.1)
    ringmaster = iterates(methods.Ringmaster(0.3, 1, interrupt), problem, "sqrt(i)", 100)
    assert ringmaster == iterates(methods.Hero(0.3), problem, "sqrt(i)", 100)


def test_rennala_with_batch_one_is_ringmaster_with_threshold_one(iterates):
    problem = Quadratic(20, noise=0.1)
    rennala = iterates(methods.Rennala(0.3, batch_size=1, interrupt=True), problem, "sqrt(i)", 100)
    assert rennala == iterates(methods.Ringmaster(0.3, 1, True), problem, "sqrt(i)", 100)


def test_m_sync_of_everyone_is_minibatch(iterates):
    problem = Quadratic(20, noise=0.1)
    m_sync = iterates(methods.MSync(0.3, batch_size=8), problem, "sqrt(i)", 50)
    assert m_sync == iterates(methods.Minibatch(0.3), problem, "sqrt(i)", 50)


@pytest.mark.parametrize(("noise_ratio", "simpler"), [(0, methods.Hero(0.02)), (1e9, methods.ASGD(0.02))], ids=str)
def test_naive_optimal_asgd_is_hero_without_noise_and_asgd_with_much(iterates, noise_ratio, simpler):
    problem = Quadratic(20, noise=0.1)
    naive = iterates(methods.NaiveOptimalASGD(0.02, noise_ratio=noise_ratio), problem, "sqrt(i)", 100)
    assert naive == iterates(simpler, problem, "sqrt(i)", 100)


def test_picky_with_infinite_limit_is_asgd(iterates):
    problem, times = Quadratic(20, noise=0.1), ro.latency.half_normal("i", "sqrt(i)")
    picky = iterates(methods.Picky(0.02, distance_limit=math.inf), problem, times, 200)
    assert picky == iterates(methods.ASGD(0.02), problem, times, 200)


def test_rescaled_asgd_with_equal_times_is_asgd(iterates):
    problem = Quadratic(20, noise=0.1)
    rescaled = iterates(methods.RescaledASGD(0.02), problem, 1.5, 100)
    assert rescaled == iterates(methods.ASGD(0.02), problem, 1.5, 100)


def test_malenia_and_rennala_of_one_worker_are_ringleader_of_one_worker(iterates):
    problem = Quadratic(20, noise=0.1)
    ringleader = iterates(methods.Ringleader(0.3), problem, 1.0, 50, n=1)
    assert ringleader == iterates(methods.Rennala(0.3, batch_size=1), problem, 1.0, 50, n=1)
    assert ringleader == iterates(methods.Malenia(0.3, batch_size=1), problem, 1.0, 50, n=1)


def test_a_grid_whose_control_depends_on_x_is_refused_as_one_run(simulate):
    with pytest.raises(ro.InvalidInput) as caught:
        simulate(methods.Picky([0.1, 0.2], distance_limit=1.0))
    assert caught.value.key == "step_size"


# ---- steps computed by hand ----


def test_malenia_weighs_workers_equally_however_often_they_report(prepared):
    method, fleet = prepared(methods.Malenia(1.0, batch_size=2), 2)
    for worker, value in [(0, 1.0), (0, 3.0), (1, 10.0)]:
        method.receive(Arrival.with_value(worker, [value]), fleet)
    assert method.x.tolist() == [-(0.5 * (1.0 + 3.0) / 2 + 0.5 * 10.0)]


def test_rennala_weighs_gradients_equally(prepared):
    method, fleet = prepared(methods.Rennala(1.0, batch_size=3), 2)
    for worker, value in [(0, 1.0), (0, 3.0), (1, 11.0)]:
        method.receive(Arrival.with_value(worker, [value]), fleet)
    assert method.x.tolist() == [-5.0]
    assert fleet.assigned[-1] == ([1], 1)


@pytest.mark.parametrize(
    ("rule", "delay", "scale"),
    [("mishchenko", 2, 1.0), ("mishchenko", 8, 0.25), ("koloskova", 2, 1.0), ("koloskova", 8, 0.125)],
)
def test_delay_adaptive_step(prepared, rule, delay, scale):
    method, fleet = prepared(methods.DelayAdaptiveASGD(1.0, rule=rule), 2)
    method.updates = delay
    method.receive(Arrival.with_value(0, [1.0], version=0), fleet)
    assert method.x.tolist() == [-scale]


def test_ringmaster_ignores_exactly_from_the_threshold_on(prepared):
    for delay, moved in [(0, True), (1, True), (2, False), (3, False)]:
        method, fleet = prepared(methods.Ringmaster(1.0, threshold=2), 2)
        method.updates = 5
        arrival = Arrival.with_value(0, [1.0], version=5 - delay)
        method.receive(arrival, fleet)
        assert arrival.used == moved
        assert method.updates == 5 + moved


# ---- bad parameters ----


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: methods.ASGD(0.0), "step_size"),
        (lambda: methods.ASGD(-1), "step_size"),
        (lambda: methods.ASGD(math.nan), "step_size"),
        (lambda: methods.ASGD("fast"), "step_size"),
        (lambda: methods.ASGD([]), "step_size"),
        (lambda: methods.ASGD([0.1, -0.1]), "step_size"),
        (lambda: methods.Hogwild(0.1, access="fre"), "access"),
        (lambda: methods.Ringmaster(0.1, 0), "threshold"),
        (lambda: methods.Ringmaster(0.1, 1.5), "threshold"),
        (lambda: methods.Rennala(0.1, 0), "batch_size"),
        (lambda: methods.Malenia(0.1, -3), "batch_size"),
        (lambda: methods.MSync(0.1, 0), "batch_size"),
        (lambda: methods.MSync(0.1, 2, wait_for="slowest"), "wait_for"),
        (lambda: methods.DelayAdaptiveASGD(0.1, rule="koloskowa"), "rule"),
        (lambda: methods.NaiveOptimalASGD(0.1), "noise_ratio"),
        (lambda: methods.NaiveOptimalASGD(0.1, noise_ratio=1, workers_used=2), "noise_ratio"),
        (lambda: methods.NaiveOptimalASGD(0.1, noise_ratio=-1), "noise_ratio"),
        (lambda: methods.NaiveOptimalASGD(0.1, noise_ratio=math.inf), "noise_ratio"),
        (lambda: methods.NaiveOptimalASGD(0.1, workers_used=0), "workers_used"),
        (lambda: methods.Picky(0.1, 0.0), "distance_limit"),
        (lambda: methods.Picky(0.1, math.nan), "distance_limit"),
        (lambda: methods.Picky(0.1, -math.inf), "distance_limit"),
        (lambda: methods.Picky(0.1, True), "distance_limit"),
        (lambda: methods.Ringleader(0.1, resend_current=1), "resend_current"),
        (lambda: methods.AcceleratedRennala(0.1, 0), "batch_size"),
        (lambda: methods.NonsmoothRennala(0.1, 2, interrupt="no"), "interrupt"),
        (lambda: methods.MSync(0.1, 9).prepare(np.zeros(1), 8), "batch_size"),
        (lambda: methods.NaiveOptimalASGD(0.1, workers_used=9).prepare(np.zeros(1), 8), "workers_used"),
        (lambda: methods.Hero(0.1, worker=8).prepare(np.zeros(1), 8), "worker"),
    ],
)
def test_bad_parameters(make, key):
    with pytest.raises(ro.InvalidInput) as caught:
        make()
    assert caught.value.key == key
    assert caught.value.allowed


@pytest.mark.parametrize("method", TABLE, ids=repr)
def test_x_has_the_type_of_the_problem(method):
    """Also what it is evaluated at and the points of tasks; float32 ends near float64."""
    ends = []
    for dtype in ("float64", "float32"):
        problem = LogisticRegression.digits(rows=300, batch=2, dtype=dtype, block=20)
        points: set[str] = set()

        def seen(compute, points=points):
            def call(x, *others, **named):
                points.add(str(x.dtype))
                found = compute(x, *others, **named)
                points.add(str(found.dtype))
                return found

            return call

        for name in ("gradient", "gradient_sum", "component_gradient"):
            setattr(problem, name, seen(getattr(problem, name)))
        problem.split = lambda workers, seed, problem=problem: problem
        until = ro.Until(time=30)
        record = ro.Record(trace=False).resolve(problem.metric_names, until)
        made = method.fresh()
        with ro.SimulatedFleet().open(problem, workers_for(made, 8, UNEQUAL)) as session:
            session.run(Job(made, 0, until, record), lambda rows: None, lambda progress: None)
        assert points == {dtype}
        assert made.x.dtype == made.estimate.dtype == dtype
        ends.append(problem.value(made.estimate.astype(float)))
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)
