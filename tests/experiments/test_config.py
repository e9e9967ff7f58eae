"""A workload file means the experiment that Python would make, and what it cannot mean is one clear error."""

from __future__ import annotations

import math

import pytest
import yaml

import rayopt as ro
from rayopt.core.errors import DataError, InvalidInput
from rayopt.experiments.config import describe, load_workload
from rayopt.problems.data.mnist import SUBSET


def experiment(path, *overrides, **options):
    return load_workload(path, overrides, **options).build()


class TestMeaning:
    def test_the_file_says_what_python_says(self, workload_file):
        found = experiment(workload_file())
        assert [repr(method) for method in found.methods] == [
            "Rennala(step_size=[0.5, 0.25], batch_size=3, interrupt=False)",
            "Ringmaster(step_size=0.1, threshold=4, interrupt=False)",
        ]
        assert found.labels == ["Rennala", "Ring"]
        assert found.problem.dimension == 12
        assert found.workers == ro.Workers(4, compute=ro.latency.fixed("sqrt(i)"))
        assert found.until == ro.Until(time=20)
        assert found.seeds == [0, 1]
        assert isinstance(found.fleet, ro.SimulatedFleet)

    @pytest.mark.parametrize(
        "name", [name for name in ro.latency.LATENCIES if name not in ("zero", "trace", "measured")]
    )
    def test_every_latency_is_read_written_and_read_again(self, workload_file, name):
        example = yaml.safe_load(ro.latency.LATENCIES[name].example)
        found = experiment(workload_file(workers={"count": 4, "compute": example, "upload": example}))
        assert found.workers == ro.Workers(4, compute=ro.latency.latency(example), upload=ro.latency.latency(example))
        assert experiment(workload_file(workers=found.to_config()["workers"])).workers == found.workers

    @pytest.mark.parametrize(
        ("compute", "key"),
        [
            ({"name": "mixture", "parts": [1, {"name": "levy", "scale": 0}]}, r"parts\[1\]\.scale: 0"),
            ({"name": "infinite_bernoulli", "base": 1, "probability": 1.5}, "probability: 1.5"),
            ({"name": "power", "starts": [0, 5], "powers": [1, -1]}, r"powers\[1\]: -1"),
            ({"name": "outages", "times": 1, "period": 3, "length": 4}, "length: 4 for worker 0"),
        ],
    )
    def test_an_error_in_a_latency_has_its_place(self, workload_file, compute, key):
        with pytest.raises(InvalidInput, match=rf"workers\.compute\.{key}"):
            experiment(workload_file(workers={"count": 4, "compute": compute}))

    @pytest.mark.parametrize("name", ["DelayAdaptiveASGD", "delay_adaptive_asgd", "delay-adaptive-asgd"])
    def test_names_are_read_generously(self, workload_file, name):
        (method,) = experiment(workload_file(methods=[{"name": name, "step_size": 1}])).methods
        assert isinstance(method, ro.methods.DelayAdaptiveASGD)

    def test_a_bare_name_is_enough(self, workload_file):
        assert experiment(workload_file(problem="Free", fleet="simulated")).problem.dimension == 1

    def test_one_seed_needs_no_list(self, workload_file):
        assert experiment(workload_file(seeds=3)).seeds == [3]

    @pytest.mark.parametrize(("written", "trace"), [(False, False), (True, "all"), ("arrivals", "arrivals")])
    def test_trace(self, workload_file, written, trace):
        assert experiment(workload_file(record={"trace": written})).record.trace == trace

    def test_every_limit(self, workload_file):
        limits = {"time": 2.5, "updates": 3, "arrivals": 4, "target": {"metric": "gap", "reaches": 1}}
        assert experiment(workload_file(until=limits)).until == ro.Until(2.5, 3, 4, ro.Target("gap", 1))

    @pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("1E+2", 100.0), (".5e-1", 0.05), ("2.e-1", 0.2)])
    def test_exponents_need_no_point(self, workload_file, text, value):
        (method, _) = experiment(workload_file(), f"methods.0.step_size={text}").methods
        assert method.step_size == value


class TestOverrides:
    @pytest.mark.parametrize("key", ["methods.1.step_size", "methods[1].step_size"])
    def test_positions_in_lists(self, workload_file, key):
        assert experiment(workload_file(), f"{key}=[0.3, 0.4]").methods[1].step_size == [0.3, 0.4]

    def test_a_section_that_the_file_does_not_have(self, workload_file):
        assert experiment(workload_file(), "record.trace=false").record.trace is False

    def test_a_bare_name_gets_arguments(self, workload_file):
        assert experiment(workload_file(problem="quadratic"), "problem.dimension=7").problem.dimension == 7

    def test_the_last_one_wins(self, workload_file):
        assert experiment(workload_file(), "workers.count=5", "workers.count=6").workers.count == 6

    def test_another_fleet_replaces_the_arguments_of_the_first(self, workload_file):
        path = workload_file(fleet={"name": "ray", "time_scale": 0.5})
        assert load_workload(path, fleet="simulated").fleet.arguments == {}
        assert load_workload(path, fleet="ray").fleet.arguments == {"time_scale": 0.5}

    def test_the_chosen_fleet_can_be_given_arguments(self, workload_file):
        chosen = load_workload(workload_file(), ["fleet.time_scale=0.02"], fleet="ray").fleet
        assert (chosen.name, chosen.arguments) == ("ray", {"time_scale": 0.02})

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("workers.count", "--set: 'workers.count' is not a change; allowed: key=value"),
            ("methods.2.step_size=1", "--set methods.2.step_size=1: methods.2.step_size: '2' is not a position"),
            ("workers.count.more.x=1", "--set workers.count.more.x=1: workers.count.more.x: 'more' is asked of 4"),
            ("seeds=[1", "--set seeds=[1: line 1: "),
        ],
    )
    def test_what_leads_nowhere(self, workload_file, change, message):
        with pytest.raises(InvalidInput) as caught:
            load_workload(workload_file(), [change])
        assert str(caught.value).startswith(message)


BAD_VALUES = {
    "worker.count=3": "worker: unknown key (did you mean 'workers'?); allowed: problem, workers, network, fleet",
    "workers.counts=3": "workers.counts: unknown key (did you mean 'count'?); allowed: count, compute",
    "workers=7": "workers: 7 is of the wrong type; allowed: a mapping",
    "workers.count=0": "workers.count: 0 is not an integer of at least 1",
    "workers.count=true": "workers.count: True is of the wrong type; allowed: a valid integer",
    "workers.compute=null": "workers.compute: missing; allowed: seconds per gradient",
    "workers.compute=0": "workers.compute: 0 for worker 0; allowed: times above 0",
    "workers.compute={name: zero}": "workers.compute: 0 for worker 0; allowed: times above 0",
    "workers.compute=[1, 2, -3, 4]": "workers.compute.times: -3 for worker 2; allowed: numbers",
    "workers.compute=[1, 2, 3]": "workers.compute.times: 3 values for 4 workers; allowed: a list of 4",
    "workers.compute={name: fixed}": "workers.compute.times: missing; allowed: fixed has the parameters times",
    "workers.compute={name: fixd, times: 1}": "workers.compute.name: 'fixd' is unknown (did you mean 'fixed'?)",
    "workers.compute=__import__('os').getcwd()": "workers.compute.times: \"__import__('os').getcwd()\" is not arithm",
    "workers.upload=-1": "workers.upload.times: -1; allowed: numbers",
    "problem.name=quadratics": "problem.name: 'quadratics' is unknown (did you mean 'quadratic'?); allowed: quadratic,",
    "problem.dim=3": "problem.dim: unknown key (did you mean 'dimension'?); allowed: name, dimension, noise",
    "problem.dimension=1": "problem.dimension: 1 is not an integer of at least 2",
    "fleet=rai": "fleet.name: 'rai' is unknown (did you mean 'ray'?); allowed: simulated, ray",
    "fleet={name: simulated, time_scale: 1}": "fleet.time_scale: unknown key; allowed: name",
    "methods=[]": "methods: none is given; allowed: at least one method",
    "methods=null": "methods: missing; allowed: a list of at least one method",
    "methods[1].name=ringmister": "methods[1].name: 'ringmister' is unknown (did you mean 'ringmaster'?); allowed",
    "methods[0]={step_size: 1}": "methods[0].name: missing; allowed: the name of a method",
    "methods[0]=rennala": "methods[0].step_size: missing; allowed: a value; Rennala needs step_size, batch_size",
    "methods[0].batchsize=3": "methods[0].batchsize: unknown key (did you mean 'batch_size'?); allowed: name, label",
    "methods[1].step_size=-1": "methods[1].step_size: -1 is not a positive number; allowed: a finite number above 0",
    "methods[0].step_size=[0.1, 0]": "methods[0].step_size: 0 is not a positive number",
    "methods[0].step_size=[]": "methods[0].step_size: an empty list",
    "methods[0].step_size=[0.1, 0.2, 0.1]": "methods[0].step_size: 0.1 stands twice in the list; allowed: numbers that",
    "methods[0].step_size=[[0.1, 0.2]]": "methods[0].step_size: [0.1, 0.2] is not a positive number",
    "methods[0].interrupt='no, never'": "methods[0].interrupt: 'no, never' is not a boolean; allowed: true or false",
    "methods[1].interrupt=1": "methods[1].interrupt: 1 is not a boolean; allowed: true or false",
    "methods[0]={name: malenia, step_size: 1, batch_size: 1, interrupt: 0}": "methods[0].interrupt: 0 is not a boolean",
    "methods[0].batch_size=0": "methods[0].batch_size: 0 is not an integer of at least 1",
    "methods[1].threshold=0": "methods[1].threshold: 0 is not an integer of at least 1; "
    "allowed: an integer of at least 1, or infinity (.inf in a file)",
    "methods[0]={name: m_sync, step_size: 1, batch_size: 5}": "methods[0].batch_size: 5 is more than the 4 workers",
    "methods[1].label=Rennala": "methods[1].label: 'Rennala' is taken; allowed: labels that differ",
    "until=null": "until: missing; allowed: a mapping with at least one of time",
    "until={}": "until: no limit is given; allowed: at least one of time, updates, arrivals, target",
    "until.time=0": "until.time: 0.0 is not a positive number",
    "until.updates=0": "until.updates: 0 is not an integer of at least 1",
    "until.tme=1": "until.tme: unknown key (did you mean 'time'?)",
    "until.target={metric: gap}": "until.target.reaches: missing; allowed: the level at which a run ends",
    "until.target={metric: gab, reaches: 1}": "until.target.metric: 'gab' is unknown (did you mean 'gap'?)",
    "until.target={metric: gap, reaches: .nan}": "until.target.reaches: nan is not a finite number",
    "record.every=-1": "record.every: -1.0 is not a positive number",
    "record.metrics=[valu]": "record.metrics: 'valu' is unknown (did you mean 'value'?); allowed: value, grad_norm_sq",
    "record.trace=al": "record.trace: 'al' is unknown (did you mean 'all'?); allowed: all, arrivals, False",
    "seeds=[0, -1]": "seeds: -1 is not an integer of at least 0",
    "seeds=[]": "seeds: none is given; allowed: at least one integer",
    "seeds=[a]": "seeds[0]: 'a' is of the wrong type; allowed: a valid integer",
    "force=maybe": "force: 'maybe' is of the wrong type; allowed: a valid boolean",
}


class TestBadInput:
    @pytest.mark.parametrize("change", BAD_VALUES)
    def test_names_the_file_the_key_and_what_is_allowed(self, workload_file, change):
        path = workload_file()
        with pytest.raises(InvalidInput) as caught:
            experiment(path, change)
        assert str(caught.value).startswith(f"{path}: {BAD_VALUES[change]}")
        assert "; allowed: " in str(caught.value)

    def test_data_folder_without_the_files(self, workload_file, tmp_path):
        path = workload_file(problem={"name": "logistic_regression", "data": {"path": str(tmp_path)}})
        with pytest.raises(DataError, match=f"^{path}: problem.data: {tmp_path}/train-images.* missing"):
            experiment(path)

    def test_a_data_folder_for_a_problem_without_data(self, workload_file, tmp_path):
        with pytest.raises(InvalidInput, match=r"problem.data: unknown key"):
            experiment(workload_file(), data=tmp_path)

    def test_what_belongs_to_the_data_is_no_argument(self, workload_file):
        path = workload_file(problem={"name": "logistic_regression", "data": "digits", "scale": 1.0})
        with pytest.raises(
            InvalidInput, match=r"problem.scale: unknown key.*: name, data, partition, batch, l2, solve"
        ):
            experiment(path)

    def test_an_empty_shard(self, workload_file):
        problem = {"name": "logistic_regression", "data": "digits", "partition": "split"}
        path = workload_file(problem=problem, workers={"count": 1500, "compute": 1})
        with pytest.raises(DataError, match=f"^{path}: problem.partition: worker 1437 would have no data"):
            experiment(path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "{path}: it is empty; allowed: a mapping"),
            ("- 1", "{path}: it holds a list; allowed: a mapping"),
            ("a: [1\nb: 2", "{path}: line 2: while parsing a flow sequence"),
            (
                "problem: free\nuntil: {time: 1, time: 2}",
                "{path}: line 2: the key 'time' stands twice, first in line 2",
            ),
            ("{[1, 2]: 3}", "{path}: line 1: a list or a mapping stands for a key"),
            ("a: 1\n? {b: 2}\n: 3", "{path}: line 2: a list or a mapping stands for a key"),
            ("x: !!python/object/apply:os.getcwd []", "{path}: line 1: could not determine a constructor"),
            ("\x00", "{path}: text: "),
        ],
    )
    def test_what_is_not_a_workload(self, tmp_path, text, message):
        path = tmp_path / "bad.yaml"
        path.write_text(text)
        with pytest.raises(InvalidInput) as caught:
            load_workload(path)
        assert str(caught.value).startswith(message.format(path=path))

    def test_no_such_file(self, tmp_path):
        with pytest.raises(InvalidInput, match="there is no such file"):
            load_workload(tmp_path / "none.yaml")


class TestDescribe:
    def test_is_read_back_as_an_equal_experiment(self, tmp_path):
        made = ro.Experiment(
            methods=[
                ro.methods.Ringmaster(step_size=1e-5, threshold=math.inf),
                ro.methods.Ringmaster(step_size=(0.1, 0.2), threshold=2, interrupt=True),
            ],
            problem=ro.problems.Quadratic(dimension=5, noise_kind="iid"),
            workers=ro.Workers(
                3, compute=ro.latency.half_normal("i", 0.1), upload=ro.latency.permuted([1.0, 2.0, math.inf])
            ),
            until=ro.Until(time=9, target=ro.Target("gap", 0.1)),
            record=ro.Record(metrics=["gap"], trace="arrivals"),
            seeds=[4],
            force=True,
        )
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(made.to_config(), sort_keys=False))
        read = experiment(path)
        assert [method.members() for method in read.methods] == [method.members() for method in made.methods]
        assert (read.labels, read.seeds, read.force) == (made.labels, made.seeds, made.force)
        assert (read.workers, read.until, read.record) == (made.workers, made.until, made.record)
        assert describe(read) == describe(made)

    def test_keeps_what_the_file_says_of_the_problem(self, workload_file):
        problem = {"name": "logistic_regression", "data": "digits", "partition": {"name": "dirichlet", "alpha": 0.5}}
        assert experiment(workload_file(problem=problem)).config["problem"] == problem

    def test_names_the_data_that_were_really_used(self, workload_file, monkeypatch):
        monkeypatch.setenv("RAYOPT_DATA", str(SUBSET))
        config = experiment(workload_file(problem={"name": "logistic_regression", "batch": 2})).config
        assert config["problem"] == {"name": "logistic_regression", "batch": 2, "data": {"path": str(SUBSET)}}


class TestTheory:
    """Methods whose arguments theory fills in."""

    def build(self, workload_file, *methods, **changes):
        return load_workload(workload_file(methods=list(methods), **changes)).build()

    def test_fills_in_what_the_file_leaves_open(self, workload_file):
        section = {"name": "rennala", "theory": {"eps": 0.0004}, "interrupt": True}
        (method,) = self.build(workload_file, section).methods
        direct = ro.methods.Rennala.from_theory(
            ro.problems.Quadratic(12), ro.Workers(4, "sqrt(i)"), eps=0.0004, interrupt=True
        )
        assert repr(method) == repr(direct)
        assert method.batch_size == 3

    def test_the_resolved_config_has_the_arguments(self, workload_file, tmp_path):
        experiment = self.build(workload_file, {"name": "ringmaster", "theory": {"eps": 0.0004}})
        assert experiment.to_config()["methods"][0]["threshold"] == 3
        again = tmp_path / "config.yaml"
        again.write_text(yaml.safe_dump(experiment.to_config()))
        assert load_workload(again).build().to_config() == experiment.to_config()

    def test_a_method_without_its_constants_is_skipped_and_the_summary_says_which(self, workload_file):
        problem = {"name": "logistic_regression", "data": "digits"}
        ringmaster = {"name": "ringmaster", "theory": {"eps": 0.1}}
        experiment = self.build(workload_file, ringmaster, {"name": "asgd", "step_size": 0.01}, problem=problem)
        result = experiment.run()
        (text,) = result.summary["problems"]
        assert text.startswith("Ringmaster: skipped: ")
        assert "noise_variance: not known" in text
        assert result.table.label.tolist() == ["ASGD"]

    @pytest.mark.parametrize("name", ["ringleader", "ia2sgd", "rescaled_asgd", "vecna"])
    def test_a_method_is_skipped_whose_theorem_is_not_about_these_workers(self, workload_file, name):
        workers = {"count": 2, "compute": [1.0, math.inf]}
        refused = {"name": name, "theory": {"eps": 0.1}}
        experiment = self.build(workload_file, refused, {"name": "asgd", "step_size": 0.01}, workers=workers)
        assert [method.name for method in experiment.methods] == ["asgd"]
        (text,) = experiment.skipped
        assert text.startswith(f"{ro.methods.METHODS[name].__name__}: skipped: ")
        assert "finite" in text

    def test_if_nothing_is_left_the_error_says_why(self, workload_file):
        problem = {"name": "logistic_regression", "data": "digits"}
        with pytest.raises(ro.RayoptError, match="noise_variance: not known"):
            self.build(workload_file, {"name": "ringmaster", "theory": {"eps": 0.1}}, problem=problem)

    @pytest.mark.parametrize(
        ("theory", "key"),
        [
            ({}, "methods[0].theory.eps"),
            ({"eps": 0}, "methods[0].theory.eps"),
            ({"eps": 0.1, "noise": 1}, "methods[0].theory.noise"),
        ],
    )
    def test_bad_input(self, workload_file, theory, key):
        with pytest.raises(ro.InvalidInput) as caught:
            self.build(workload_file, {"name": "rennala", "theory": theory})
        assert caught.value.key == key

    def test_a_method_without_a_theory_is_an_error_of_the_key_theory(self, workload_file):
        with pytest.raises(ro.InvalidInput, match="no theory of FedAvg") as caught:
            self.build(workload_file, {"name": "fedavg", "theory": {"eps": 0.1}, "local_steps": 2})
        assert caught.value.key == "methods[0].theory"
