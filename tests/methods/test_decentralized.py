"""Methods without a server: the traces of the specification, a simulation in plain Python, the paper's bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro
from rayopt import graphs, methods
from rayopt.core.keys import Stream
from rayopt.problems import Free, NonconvexQuadratics, Quadratic

LINE = [(0, 1, 0.41), (1, 2, 0.67)], [1.0, 1.7, 2.3]
OWN_QUADRATICS = NonconvexQuadratics(components=5, dimension=8, spread=0.5, regularisation=0.5, split=True)
SQUARE = [(0, 1, 0.31), (0, 2, 0.53), (1, 3, 0.47), (2, 3, 0.37)], [1.0, 1.7, 2.3, 0.9]


def network(pairs, compute, **others):
    """Returns the network whose edges take equally long both ways."""
    edges = [edge for i, j, seconds in pairs for edge in ((i, j, seconds), (j, i, seconds))]
    return ro.Network(graphs.from_edges(edges), compute, **others)


def run(method, on, until, problem=None, **others):
    return ro.run(method, problem or Quadratic(5, noise=0.0), on, until=until, **others)


def rounds(result):
    return [(round(time, 9), k, s) for time, k, s in result.rounds[["time", "updates", "collected"]].values.tolist()]


def by_node(result, k):
    """Returns how many gradients of each node were computed at x^k and added to a sum."""
    trace = result.trace
    return trace[(trace.version == k) & (trace.outcome == "used")].worker.value_counts().sort_index().tolist()


# ---- the traces of the specification ----


@pytest.mark.parametrize(
    ("given", "method", "expected", "value"),
    [
        (LINE, methods.Fragile(0.3, 4, 1), [(3.4, 1, 4), (6.8, 2, 4), (10.2, 3, 4)], 0.307391251272),
        (LINE, methods.Fragile(0.3, 4, 0), [(3.0, 1, 4), (6.0, 2, 4), (9.0, 3, 4)], 0.224692830719),
        (SQUARE, methods.Fragile(0.3, 5, 0), [(3.0, 1, 5), (6.0, 2, 5), (9.0, 3, 5)], 0.224692830719),
        (LINE, methods.Amelie(0.3, 6, 1), [(7.28, 1, 10), (14.56, 2, 10)], 0.841541180393),
        (SQUARE, methods.Amelie(0.3, 8, 3), [(6.9, 1, 15), (13.8, 2, 15)], 0.841541180393),
    ],
    ids=["Fragile, line, middle", "Fragile, line, end", "Fragile, square", "Amelie, line", "Amelie, square"],
)
def test_traces(given, method, expected, value):
    result = run(method, network(*given), ro.Until(time=20))
    assert rounds(result)[: len(expected)] == expected
    assert result.history.value.iloc[-1] == pytest.approx(value, abs=1e-11)


def test_who_contributed():
    result = run(methods.Amelie(0.3, 6, 1), network(*LINE), ro.Until(updates=1))
    assert by_node(result, 0) == [5, 3, 2]


# ---- a simulation in plain Python: every event searched in a list, sums as dictionaries ----


def plain_fragile(n, seconds, compute, pivot, parents, S, updates):
    """Returns (time, k, gradients by node) of Fragile, parents giving both trees."""
    children = {i: [c for c in range(n) if parents[c] == i] for i in range(n)}
    events, order, found = [], 0, []
    newest, sums = [-1] * n, [{} for _ in range(n)]
    carrying, waiting, stamp = {}, {}, [0] * n
    now = 0.0

    def add(time, node, kind, *about):
        nonlocal order
        events.append((time, node, kind, order, about))
        order += 1

    def leave(i, j, message):
        carrying[i, j] = True
        add(now + seconds[i, j], j, 1, i, message)
        add(now + seconds[i, j], i, 2, j)

    def point(i, k):
        for c in children[i]:
            if (i, c) in carrying:
                waiting[i, c] = ("x", k)
            else:
                leave(i, c, ("x", k))
        newest[i], sums[i] = k, {}
        stamp[i] += 1
        add(now + compute[i], i, 0, k, stamp[i])

    def pass_on(i):
        if i != pivot and sums[i] and (i, parents[i]) not in carrying:
            message, sums[i] = ("g", newest[i], sums[i]), {}
            leave(i, parents[i], message)

    k = 0
    point(pivot, 0)
    while len(found) < updates:
        event = min(events)
        events.remove(event)
        now, node, kind, _, about = event
        if kind == 0:
            at, own = about
            if own != stamp[node]:
                continue
            sums[node][node] = sums[node].get(node, 0) + 1
            stamp[node] += 1
            add(now + compute[node], node, 0, at, stamp[node])
            pass_on(node)
        elif kind == 1:
            message = about[1]
            if message[0] == "x":
                if message[1] > newest[node]:
                    point(node, message[1])
            elif message[1] == newest[node]:
                for who, count in message[2].items():
                    sums[node][who] = sums[node].get(who, 0) + count
                pass_on(node)
        else:
            to = about[0]
            del carrying[node, to]
            if (node, to) in waiting:
                leave(node, to, waiting.pop((node, to)))
            else:
                pass_on(node)
        if node == pivot and sum(sums[pivot].values()) >= S:
            k += 1
            found.append((now, k, [sums[pivot].get(i, 0) for i in range(n)]))
            point(pivot, k)
    return found


def random_network(seed):
    """Returns a connected random graph with random times, and how long each node and edge takes."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    pairs = {(int(rng.integers(0, i)), i) for i in range(1, n)}
    pairs |= {tuple(sorted(rng.choice(n, 2, replace=False).tolist())) for _ in range(int(rng.integers(0, n)))}
    edges = [(i, j, float(rng.exponential() * 10 ** rng.uniform(-1, 1))) for i, j in sorted(pairs)]
    compute = (rng.exponential(size=n) + 0.05).tolist()
    return edges, compute, int(rng.integers(1, 12)), int(rng.integers(n))


@pytest.mark.parametrize(
    "given",
    [
        ([(i, i + 1, 0.4 + 0.1 * i) for i in range(5)], [1.0, 1.3, 0.7, 2.1, 0.9, 1.1], 7, 2),
        ([(0, i, 0.3 * i) for i in range(1, 7)], [1.0, 1.3, 0.7, 2.1, 0.9, 1.1, 0.6], 9, 0),
        ([(3 * r + c, 3 * r + c + 1, 0.31) for r in range(3) for c in range(2)]
         + [(c, c + 3, 0.47) for c in range(6)], [1 + 0.13 * i for i in range(9)], 11, 4),
        *[random_network(seed) for seed in range(40)],
    ],
    ids=lambda given: f"{len(given[1])} nodes, S = {given[2]}",
)  # fmt: skip
def test_the_events_are_those_of_a_plain_simulation(given):
    edges, compute, S, pivot = given
    on = network(edges, compute)
    towards, outwards = on.trees(pivot)
    assert towards == outwards
    result = run(methods.Fragile(0.1, S, pivot), on, ro.Until(updates=6), Free(2))
    seconds = {(i, j): time for a, b, time in edges for i, j in ((a, b), (b, a))}
    expected = plain_fragile(len(compute), seconds, compute, pivot, towards, S, 6)
    np.testing.assert_allclose(result.rounds.time, [time for time, _, _ in expected], rtol=1e-12)
    assert result.rounds.collected.tolist() == [sum(counts) for _, _, counts in expected]


TREES = [[-1, 0, 0, 1, 1], [1, -1, 1, 2, 3], [4, 0, 0, 2, -1]]
"""Parents of the nodes of a complete graph."""


@pytest.mark.parametrize("parents", TREES, ids=str)
def test_given_trees_have_the_events_of_a_plain_simulation(parents):
    random = np.random.default_rng(0)
    edges = [(i, j, float(random.uniform(0.5, 2))) for i in range(5) for j in range(i + 1, 5)]
    compute, pivot = [1.0, 2.2, 0.7, 3.1, 1.6], parents.index(-1)
    seconds = {(i, j): time for a, b, time in edges for i, j in ((a, b), (b, a))}
    expected = plain_fragile(5, seconds, compute, pivot, parents, 4, 6)
    both = {"towards": parents, "outwards": parents}
    for method in (methods.Fragile(0.1, 4, trees=parents), methods.Fragile(0.1, 4, pivot, both)):
        result = run(method, network(edges, compute), ro.Until(updates=6), Free(2))
        np.testing.assert_allclose(result.rounds.time, [time for time, _, _ in expected], rtol=1e-12)
        assert result.rounds.collected.tolist() == [sum(counts) for _, _, counts in expected]


@pytest.mark.parametrize(
    ("trees", "pivot", "text"),
    [
        ([-1, 0], 0, "2 parents for 4 nodes"),
        ([-1, 0, -1, 2], 0, "2 nodes without a parent"),
        ([-1, 2, 1, 2], 0, "1 never comes to the pivot"),
        ([-1, 0, 1, 7], 0, "the parent of 3 is 7"),
        ([-1, 0, 0, 2], 0, "there is no edge from 2 to 0"),
        ([-1, 0, 1, 2], 2, "its root is 0, and the pivot 2"),
        ({"towards": [-1, 0, 1, 2]}, 0, "a mapping with towards"),
        ([0.5, 1], 0, "is not a list of nodes"),
    ],
)
def test_trees_that_are_none_are_one_line(trees, pivot, text):
    with pytest.raises(ro.InvalidInput, match=rf"trees.*{text}"):
        run(methods.Amelie(0.1, 4, pivot, trees), ro.Network("line:4", 1.0, 1.0), ro.Until(updates=1))


# ---- how far the nodes are from each other ----


def test_the_consensus_distance_and_the_worst_node():
    problem = ro.problems.LogisticRegression.digits(rows=100, batch=4)
    record = ro.Record(metrics=["value", "consensus_distance", "worst_value"], every=10)
    chosen = [methods.GossipSGD([0.1, 0.3]), methods.GradientTracking(0.1), methods.Fragile(0.3, batch_size=4)]
    result = ro.run(chosen, problem, ro.Network("ring:5", "i", 0.5), until=ro.Until(time=40), record=record)
    history = result.history
    start = history[history.time == 0]
    assert (start[start.label != "Fragile"].consensus_distance == 0).all()
    assert start[start.label != "Fragile"].worst_value.to_numpy() == pytest.approx(start.value.iloc[0])
    later = history[(history.time > 0) & (history.label != "Fragile")]
    assert (later.consensus_distance > 0).all()
    assert (later.worst_value > later.value).mean() > 0.9
    assert history[history.label == "Fragile"][["consensus_distance", "worst_value"]].isna().all(axis=None)


def test_the_consensus_distance_by_hand():
    """After one round of a ring of three, whose weights are 1/3, all nodes have the mean of the half steps."""
    problem = ro.problems.Quadratic(dimension=4)
    result = ro.run(methods.GossipSGD(0.3), problem, ro.Network("ring:3", 1.0, 0.5), until=ro.Until(updates=3),
                    record=ro.Record(metrics=["consensus_distance"]))  # fmt: skip
    assert result.history.consensus_distance.iloc[-1] == pytest.approx(0, abs=1e-28)


def test_it_is_a_target_and_no_metric_of_workers_with_a_server():
    problem = ro.problems.LogisticRegression.digits(rows=100, batch=4)
    until = ro.Until(time=100, target=ro.Target("consensus_distance", 0.5))
    result = ro.run(methods.GossipSGD(0.3), problem, ro.Network("ring:5", "i", 0.5), until=until)
    assert result.table.time_to_target[0] == 0
    with pytest.raises(ro.InvalidInput, match=r"record.metrics: 'consensus_distance' is unknown"):
        ro.run(methods.ASGD(0.3), problem, ro.Workers(2, 1.0), until=ro.Until(time=1),
               record=ro.Record(metrics=["consensus_distance"]))  # fmt: skip


# ---- the bounds of the paper, and what an update is ----


@pytest.mark.parametrize("seed", range(0, 300, 10))
def test_an_iteration_takes_no_longer_than_the_paper_says(seed):
    for own in range(seed, seed + 10):
        edges, compute, S, pivot = random_network(own)
        on, n = network(edges, compute, full_duplex_flows=True), len(compute)
        distances = on.distances()
        mu = distances[:, pivot] + distances[pivot]
        bar = 2 * ro.theory.decentralized_equilibrium_time(S, compute, mu)
        found = run(methods.Fragile(0.1, S, pivot), on, ro.Until(updates=5), Free(2)).rounds
        assert (np.diff(found.time, prepend=0.0) <= 3 * bar * (1 + 1e-9)).all()
        assert (found.collected >= S).all()
        S = max(S, n)
        found = run(methods.Amelie(0.1, S, pivot), on, ro.Until(updates=4), Free(2)).rounds
        # The paper has 4 max mu: it does not count the signal that tells the nodes to hand over their sums.
        farthest = max(distances[:, pivot].max(), distances[pivot].max())
        allowed = 5 * farthest + 2 * (max(compute) + S / n * np.mean(compute))
        assert (np.diff(found.time, prepend=0.0) <= allowed * (1 + 1e-9)).all()


def test_an_update_is_the_mean_of_fresh_gradients():
    """The sum at the pivot has every gradient of the round that reached it once, and no other."""
    on, problem = network(*SQUARE), Quadratic(5, noise=0.1)
    result = run(methods.Fragile(0.3, 5, 0), on, ro.Until(updates=4), problem, seed=3)
    samples, x = Stream(3, "sample"), problem.start_point()
    trace = result.trace
    number = dict.fromkeys(range(4), 0)
    for k, update in enumerate(result.rounds.itertuples()):
        gradients = []
        for i, count in enumerate([3, 1, 0, 1]):
            gradients += [problem.gradient(x, problem.draw(i, samples.key(i, number[i] + j))) for j in range(count)]
            number[i] += int(((trace.worker == i) & (trace.version == k)).sum())
        assert len(gradients) == update.collected
        x = x - 0.3 * np.mean(gradients, axis=0)
    np.testing.assert_allclose(problem.metrics(x)["value"], result.history.value.iloc[-1], rtol=1e-10)


# ---- the two ends: a star whose edges are free ----


@pytest.mark.parametrize(
    ("here", "server", "problem"),
    [
        (methods.Fragile(0.2, 7, 0), methods.Rennala(0.2, 7, interrupt=True), Quadratic(8, noise=0.0)),
        (methods.Amelie(0.2, 9, 0), methods.Malenia(0.2, 9, interrupt=True), OWN_QUADRATICS),
    ],
    ids=["Fragile is Rennala", "Amelie is Malenia"],
)  # fmt: skip
def test_a_star_with_free_edges_is_a_server(here, server, problem):
    times = [1.0, 1.31, 2.17, 0.77, 3.3]
    until = ro.Until(updates=8)
    on = ro.Network(graphs.star(5), times, edges=0.0)
    alone = run(here, on, until, problem, seed=2)
    other = run(server, ro.Workers(5, times), until, problem, seed=2)
    assert alone.rounds.updates.tolist() == list(range(1, 9))
    ends = other.trace.groupby("updates").time.min()
    np.testing.assert_allclose(alone.rounds.time, ends[ends.index > 0], rtol=1e-12)
    np.testing.assert_allclose(alone.history.value.iloc[-1], other.history.value.iloc[-1], rtol=1e-12)


# ---- gossip ----


def test_gossip_and_tracking_by_hand():
    """Two rounds of matrices."""
    on, problem = network(*SQUARE), Quadratic(5, noise=0.0)
    W = np.zeros((4, 4))
    for i, j, _ in SQUARE[0]:
        W[i, j] = W[j, i] = 1 / 3
    W += np.diag(1 - W.sum(axis=1))
    x = np.tile(problem.start_point(), (4, 1))
    gradient = np.array([problem.full_gradient(row) for row in x])
    z, y, g = x.copy(), gradient.copy(), gradient
    for _ in range(3):
        x = W @ (x - 0.2 * np.array([problem.full_gradient(row) for row in x]))
        z, y = W @ (z - 0.2 * y), W @ y
        fresh = np.array([problem.full_gradient(row) for row in z])
        y, g = y + fresh - g, fresh
    for method, expected in ((methods.GossipSGD(0.2), x), (methods.GradientTracking(0.2), z)):
        found = run(method, on, ro.Until(updates=3))
        np.testing.assert_allclose(
            found.history.value.iloc[-1], problem.metrics(expected.mean(axis=0))["value"], rtol=1e-12
        )


def test_tracking_and_relaying_repair_what_gossip_leaves_on_different_data():
    problem = NonconvexQuadratics(components=6, dimension=8, spread=2.0, regularisation=0.5, split=True)
    on = ro.Network(graphs.line(6), 1.0, edges=0.1)
    until = ro.Until(time=2_000)
    gaps = {
        method.name: run(method, on, until, problem).history.gap.iloc[-1]
        for method in (methods.GossipSGD(0.2), methods.GradientTracking(0.05), methods.RelaySGD(0.05, "gradients"))
    }
    assert gaps["gradient_tracking"] < 1e-2 * gaps["gossip_sgd"]
    assert gaps["relay_sgd"] < 1e-2 * gaps["gossip_sgd"]


# ---- what a run keeps ----


@pytest.mark.parametrize(
    "method",
    [methods.Fragile(0.3, 6), methods.Amelie(0.3, 9), methods.GradientTracking(0.1), methods.AsynchronousGossip(0.05)],
    ids=repr,
)
def test_same_seed_same_bits_and_rounds_on_disk(tmp_path, method):
    on = ro.Network("mesh:2x3", "1 + i / 7", edges={"per_message": 0.1, "per_float": "(i + j) / d / 10"})
    first = run(method, on, ro.Until(time=30), Quadratic(9, noise=0.1), seed=4, out=tmp_path / "run")
    second = run(method, on, ro.Until(time=30), Quadratic(9, noise=0.1), seed=4)
    assert first.history.equals(second.history)
    assert first.rounds.equals(second.rounds)
    assert ro.load(tmp_path / "run").rounds.equals(first.rounds)
    assert math.isfinite(first.history.value.iloc[-1])
    assert first.table.bits_up.iloc[0] > 0


# ---- bad input: one line, before anything runs ----


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ro.Network(graphs.from_edges([(0, 1), (1, 2), (2, 1)]), 1.0, 1.0), "from node 1 to node 0"),
        (lambda: ro.Network(graphs.from_edges([(0, 1), (1, 0), (1, 2)]), 1.0, 1.0), "from node 2 to node 0"),
        (lambda: ro.Network(graphs.line(3), 1.0), "edges: missing"),
        (lambda: ro.Network(graphs.line(3), 1.0, -1.0), "edges"),
        (lambda: ro.Network(graphs.line(3), 1.0, [1.0, 2.0]), "edges: 2 times for 4 edges"),
        (lambda: graphs.from_edges([(0, 1, -1.0)]), r"edges\[0\]: -1 seconds from 0 to 1"),
        (lambda: graphs.from_edges([(0, 0)]), "to itself"),
        (lambda: graphs.from_edges([(0, 1), (0, 1)]), "stands twice"),
        (lambda: graphs.from_edges([(0, 1), (1, 0, 2.0)]), "edges of"),
        (lambda: ro.Network("mesh:0x3", 1.0, 1.0), "shape"),
        (lambda: ro.Network("blob:3", 1.0, 1.0), "is not a graph"),
        (lambda: ro.Workers(3, "i + j"), "'j' is where an edge ends"),
        (lambda: run(methods.Fragile(0.1, 2, 7), ro.Network("line:3", 1.0, 1.0), ro.Until(updates=1)), "7 is not a"),
        (lambda: methods.Fragile(0.1, 2, "middle"), "pivot"),
        (lambda: methods.Fragile(0.1, 2, trees="tall"), "trees"),
        (lambda: run(methods.RelaySGD(0.1), ro.Network("ring:4", 1.0, 1.0), ro.Until(updates=1)), "no tree"),
        (lambda: run(methods.Rennala(0.1, 2), ro.Network("ring:4", 1.0, 1.0), ro.Until(updates=1)), "needs a server"),
        (lambda: run(methods.Fragile(0.1, 2), ro.Workers(4, 1.0), ro.Until(updates=1)), "runs on a network"),
        (lambda: run(methods.GossipSGD(0.1), ro.Network(graphs.from_edges([(0, 1), (1, 2), (2, 0)]), 1.0, 1.0),
                     ro.Until(updates=1)), "none back"),
    ],
)  # fmt: skip
def test_bad_input(make, text):
    with pytest.raises(ro.InvalidInput, match=text):
        make()


def test_edges_that_are_lost_for_a_while():
    """A message takes a second; from 0 to 4, 10 to 14 and so on nothing moves, and then it goes on."""
    outages = ro.latency.Outages(times=1.0, period=10.0, length=4.0)
    on = ro.Network(ro.graphs.line(2), compute=1.0, edges=outages)
    result = run(methods.GossipSGD(0.1), on, ro.Until(updates=4))
    # Sent at 1, 6, 8 and 10.
    assert result.rounds.time.tolist() == [5.0, 7.0, 9.0, 15.0]
    fragile = run(methods.Fragile(0.1, 4, 0), on, ro.Until(updates=1))
    # Gradients of node 0 come every second; the point of node 1 comes at 5, its gradients leave from 6 on.
    assert fragile.rounds[["time", "collected"]].to_numpy().tolist() == [[4.0, 4.0]]
    # An edge that is lost in one direction for ever is none.
    with pytest.raises(ro.InvalidInput, match="no way leads from node 1 to node 0"):
        ro.Network(ro.graphs.line(2), compute=1.0, edges=[1.0, np.inf])
