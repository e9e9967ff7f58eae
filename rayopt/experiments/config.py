"""A workload file, and the experiment or the tuning that it means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from rayopt.core.errors import DataError, InvalidInput, NoTheory, nearest, positive
from rayopt.core.user_code import beside, names_of_code
from rayopt.experiments import workload_file
from rayopt.experiments.callbacks import CALLBACKS, Callback
from rayopt.experiments.components import FLEETS, look_up, make
from rayopt.experiments.description import describe
from rayopt.experiments.experiment import Experiment, NothingRan, default_labels
from rayopt.experiments.plugins import load_module, load_plugins, refuse_untrusted
from rayopt.experiments.tuning.grid import Grid, is_grid
from rayopt.fleets.base import FleetKind
from rayopt.latency.network import Network
from rayopt.latency.workers import Workers
from rayopt.methods import METHODS, Method
from rayopt.problems import PROBLEMS, Problem
from rayopt.runs.record import Record
from rayopt.runs.until import Until
from rayopt.theory.setting import SYMBOLS

if TYPE_CHECKING:
    from rayopt.experiments.tuning.tuning import Tuning

T = TypeVar("T")


def one_or_more(given: Any) -> Any:
    """Returns a list for one integer or name, and everything else as it is."""
    return [given] if isinstance(given, (int, str)) else given


class Section(BaseModel):
    """A mapping of a workload file.

    Here stands which keys there are and of what type; the ranges of values are checked by the
    objects that are built from them. A field's description says what is allowed.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_the_right_keys(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        for key in given:
            if key not in cls.model_fields and cls.model_config.get("extra") != "allow":
                raise InvalidInput(str(key), f"unknown key{nearest(str(key), cls.model_fields)}",
                                   ", ".join(cls.model_fields))  # fmt: skip
        for key, field in cls.model_fields.items():
            if field.is_required() and given.get(key) is None:
                raise InvalidInput(key, "missing", field.description or "a value")
        return given

    def given(self) -> dict[str, Any]:
        """Returns what the file sets, as plain mappings."""
        return self.model_dump(exclude_none=True)


class Component(Section):
    """A name with arguments; a bare name is one without."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _may_be_a_bare_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @property
    def arguments(self) -> dict[str, Any]:
        """What stands beside the name."""
        return dict(self.model_extra or {})

    def make(self, component: type[Any]) -> Any:
        """Returns the component of this class."""
        return make(component, self.arguments, type(self).model_fields)


class ProblemSection(Component):
    name: str = Field(description="the name of a problem; `rayopt problems` lists them")

    def build(self) -> Problem:
        """Returns the problem, its data loaded."""
        return self.make(look_up(self.name, PROBLEMS))


class FleetSection(Component):
    name: str = Field(default="simulated", description=", ".join(FLEETS))

    def build(self) -> FleetKind:
        """Returns the fleet, not yet started."""
        return self.make(look_up(self.name, FLEETS)())


class MethodSection(Component):
    name: str = Field(description="the name of a method; `rayopt methods` lists them")
    label: str | None = None
    theory: dict[str, Any] | None = None

    def build(self) -> Method:
        """Returns the method; its step sizes may be a list, every other argument is one value."""
        for key, value in self.arguments.items():
            if is_grid(value):
                raise InvalidInput(
                    key, f"{value} is a grid", "one value here; `rayopt tune` tries the values of a grid"
                )
        return self.make(look_up(self.name, METHODS))

    def build_from_theory(self, problem: Problem, workers: Workers) -> Method:
        """Returns the method with the arguments that theory recommends, but for those that the file gives.

        Raises:
          NoTheory: theory needs a constant that neither the problem nor the file knows, or other workers.
        """
        method = look_up(self.name, METHODS)
        constants = dict(self.theory or {})
        with _at("theory"):
            if "eps" not in constants:
                raise InvalidInput(
                    "eps", "missing", "the accuracy that theory is asked for, such as theory: {eps: 0.01}"
                )
            eps = positive("eps", constants.pop("eps"))
            allowed = ("eps", *SYMBOLS)
            for key in constants:
                if key not in SYMBOLS:
                    raise InvalidInput(key, f"unknown key{nearest(key, allowed)}", ", ".join(allowed))
            return method.from_theory(problem, workers, eps, **constants, **self.arguments)

    def grid(self) -> Grid:
        """Returns the method with all values that its arguments may have."""
        if self.theory is not None:
            raise InvalidInput("theory", "theory leaves nothing to tune", "arguments or grids in its place")
        return Grid(look_up(self.name, METHODS), self.arguments, self.label)


class CallbackSection(Component):
    name: str = Field(description=f"the name of a callback: {', '.join(CALLBACKS)}")
    strict: bool = False

    def build(self) -> Callback:
        """Returns the callback."""
        made: Callback = self.make(look_up(self.name, CALLBACKS))
        made.strict = self.strict
        return made


class WorkersSection(Section):
    count: int = Field(description="the number of workers, an integer of at least 1")
    compute: Any = Field(description="seconds per gradient: a number, a list, a formula such as sqrt(i), or a latency")
    upload: Any = None
    download: Any = None


class NetworkSection(Section):
    graph: Any = Field(description="a graph, such as {name: mesh, shape: [10, 10]} or mesh:10x10")
    compute: Any = Field(description="seconds per gradient: a number, a list, a formula such as sqrt(i), or a latency")
    edges: Any = None
    full_duplex_flows: bool = False


class TargetSection(Section):
    metric: str = Field(description="a metric of the problem")
    reaches: float = Field(description="the level at which a run ends")


class UntilSection(Section):
    time: float | None = None
    updates: int | None = None
    arrivals: int | None = None
    target: TargetSection | None = None


class RecordSection(Section):
    every: float | None = None
    metrics: list[str] | None = None
    trace: Any = None
    checkpoint: Any = None


class TuneSection(Section):
    metric: str | None = None
    seeds: list[int] = Field(description="a list of tuning seeds, such as [0, 1, 2]")
    confirm: list[int] = Field(description="a list of other seeds, such as [100, 101, 102]")
    processes: int | None = None

    _may_be_one_integer = field_validator("seeds", "confirm", mode="before")(one_or_more)


class ProblemAlone(Section):
    problem: ProblemSection = Field(description="the name of a problem, or a mapping with its name and arguments")


class Workload(ProblemAlone):
    """A workload file, read and checked."""

    workers: WorkersSection | None = Field(default=None, description="a mapping such as {count: 100, compute: sqrt(i)}")
    network: NetworkSection | None = None
    fleet: FleetSection = FleetSection()
    methods: list[MethodSection] = Field(description="a list of at least one method")
    until: UntilSection = Field(description="a mapping with at least one of time, updates, arrivals, target")
    record: RecordSection = RecordSection()
    seeds: list[int] = [0]
    force: bool = False
    callbacks: list[CallbackSection] = []
    tune: TuneSection | None = None
    module: list[str] = []

    _source: str = PrivateAttr(default="")
    _trust_code: bool = PrivateAttr(default=True)

    _may_be_one_integer = field_validator("seeds", mode="before")(one_or_more)
    _may_be_one_name = field_validator("module", mode="before")(one_or_more)

    def build(self) -> Experiment:
        """Returns the experiment that the file describes, its data loaded.

        Raises:
          InvalidInput: a name or an argument is unknown, missing or out of its range.
          DataError: the data cannot be used.
        """
        with _at(source=self._source):
            setting = self._setting()
            made = self._each_method(lambda section: None if section.theory is not None else section.build())
            callbacks = []
            for position, section in enumerate(self.callbacks):
                with _at(f"callbacks[{position}]"):
                    callbacks.append(section.build())
            problem, problem_config = self._load_problem()
            skipped = self._ask_theory(made, problem, setting["workers"])
            chosen = [(section, method) for section, method in zip(self.methods, made, strict=True) if method]
            if skipped and not chosen:
                raise NothingRan("; ".join(skipped))
            methods = [method for _, method in chosen]
            defaults = default_labels(methods)
            labels = [section.label or default for (section, _), default in zip(chosen, defaults, strict=True)]
            with _at(data_key="problem.partition"):
                experiment = Experiment(methods, problem, seeds=self.seeds, labels=labels, skipped=skipped,
                                        callbacks=callbacks, modules=self.module, **setting)  # fmt: skip
        experiment.config = {**describe(experiment), "problem": problem_config}
        return experiment

    def build_tuning(self) -> Tuning:
        """Returns the tuning that the file describes, its data loaded.

        Raises:
          InvalidInput: the section ``tune`` is missing, or a name, a grid or an argument is not allowed.
          DataError: the data cannot be used.
        """
        from rayopt.experiments.tuning.tuning import Tuning

        with _at(source=self._source):
            if self.tune is None:
                example = "a mapping such as {metric: value, seeds: [0, 1, 2], confirm: [100, 101, 102]}"
                raise InvalidInput("tune", "missing", example)
            setting = self._setting()
            grids = self._each_method(MethodSection.grid)
            problem, problem_config = self._load_problem()
            setting |= {"seeds": self.tune.seeds, "confirm": self.tune.confirm, "metric": self.tune.metric}
            with _at(data_key="problem.partition"):
                return Tuning(grids, problem, problem_config=problem_config, modules=self.module, **setting)

    def build_fleet(self) -> tuple[Problem, Workers, FleetKind]:
        """Returns the problem, its data loaded, the workers and the fleet, whatever is to run there.

        Raises:
          InvalidInput: a name or an argument is unknown, missing or out of its range.
          DataError: the data cannot be used.
        """
        with _at(source=self._source):
            setting = self._setting()
            return self._load_problem()[0], setting["workers"], setting["fleet"]

    def _setting(self) -> dict[str, Any]:
        """Returns what stands around the methods and the problem: arguments of an experiment."""
        workers = self._workers()
        with _at("fleet"):
            fleet = self.fleet.build()
        with _at("until"):
            until = Until(**self.until.given())
        with _at("record"):
            record = Record(**self.record.given())
        return {"workers": workers, "fleet": fleet, "until": until, "record": record, "force": self.force}

    def _workers(self) -> Workers:
        """Returns the workers of a server, or the network."""
        if self.workers is not None and self.network is not None:
            raise InvalidInput("network", "cannot be combined with workers", "one of them")
        if self.network is not None:
            with _at("network"):
                return Network(**self.network.given())
        if self.workers is None:
            raise InvalidInput("workers", "missing", "a mapping such as {count: 100, compute: sqrt(i)}; or network")
        with _at("workers"):
            return Workers(**self.workers.given())

    def _each_method(self, build: Callable[[MethodSection], T]) -> list[T]:
        """Returns what is built of each section of ``methods``; errors say of which."""
        built = []
        for position, section in enumerate(self.methods):
            with _at(f"methods[{position}]"):
                built.append(build(section))
        return built

    def _ask_theory(self, made: list[Method | None], problem: Problem, workers: Workers) -> list[str]:
        """Makes the methods that are still missing; returns why some cannot be made, a sentence each."""
        skipped = []
        for position, section in enumerate(self.methods):
            if made[position] is None:
                try:
                    with _at(f"methods[{position}]"):
                        made[position] = section.build_from_theory(problem, workers)
                except NoTheory as error:
                    skipped.append(f"{section.label or look_up(section.name, METHODS).__name__}: skipped: {error}")
        return skipped

    def _load_problem(self) -> tuple[Problem, dict[str, Any]]:
        """Returns the problem and its description, with the data that were really used, wherever they were found.

        Loading data may take seconds: what else may be wrong is looked at before.
        """
        place = self._source if Path(self._source).is_file() else None
        with _at("problem", data_key="problem.data"), names_of_code(self._trust_code), beside(place):
            problem = self.problem.build()
        found = {"data": problem.data} if hasattr(problem, "data") else {}
        return problem, {**self.problem.given(), **found}


def load_workload(
    path: str | Path,
    overrides: Sequence[str] = (),
    fleet: str | None = None,
    data: str | Path | None = None,
    trust_code: bool = True,
    trust_module: bool | None = None,
) -> Workload:
    """Returns a workload file, checked as far as can be without loading data.

    Args:
      path: the YAML file.
      overrides: changes such as ``workers.count=64`` or ``methods[0].step_size=[0.1, 0.2]``; the values are YAML.
      fleet: run on this fleet; its arguments in the file stay if it is the same one. The overrides come after it.
      data: the folder of the problem's data.
      trust_code: whether code that the file names may run, as that of a workload may which its user has chosen to run.
      trust_module: whether its ``module`` may be imported; by default as ``trust_code``.

    Raises:
      InvalidInput: the file cannot be read, a key is unknown, missing or of the wrong type, or its ``module`` is not
        trusted or cannot be used.
    """
    tree = workload_file.read(path)
    if fleet is not None and fleet != _name(tree.get("fleet")):
        tree["fleet"] = {"name": fleet}
    for change in overrides:
        workload_file.override(tree, change)
    if data is not None:
        workload_file.assign(tree, "problem.data", {"path": str(data)})
    try:
        workload = Workload.model_validate(tree)
    except ValidationError as error:
        raise _first_problem(error, str(path)) from None
    workload._source, workload._trust_code = str(path), trust_code
    load_plugins()
    with _at(source=str(path)):
        for position, name in enumerate(workload.module):
            if not (trust_code if trust_module is None else trust_module):
                refuse_untrusted(name)
            workload.module[position] = load_module(name, Path(path).resolve().parent)
    return workload


def build_problem(text: str, data: str | Path | None = None) -> Problem:
    """Returns the problem that a text means, its data loaded.

    Args:
      text: what a workload file would say: a name, or a mapping in YAML.
      data: the folder of the problem's data.

    Raises:
      InvalidInput: it is not a problem, or an argument is unknown, missing or out of its range.
      DataError: the data cannot be used.
    """
    tree: dict[str, Any] = {}
    workload_file.override(tree, f"problem={text}")
    if data is not None:
        workload_file.assign(tree, "problem.data", {"path": str(data)})
    try:
        section = ProblemAlone.model_validate(tree).problem
    except ValidationError as error:
        raise _first_problem(error, "") from None
    load_plugins()
    with _at("problem", data_key="problem.data"):
        return section.build()


@contextmanager
def _at(place: str = "", source: str = "", data_key: str = "") -> Iterator[None]:
    """Gives the errors from within the key of the enclosing place, or the file.

    Args:
      place: the enclosing key, or "".
      source: the file, or "".
      data_key: the key that is to blame for data that cannot be used, or "".
    """
    try:
        yield
    except InvalidInput as error:
        # "until: no limit is given" is about the place itself.
        raise error.within("" if error.key == place else place, source) from None
    except DataError as error:
        raise DataError(": ".join(filter(None, (source, data_key, str(error))))) from None


def _name(component: Any) -> Any:
    """Returns the name of a component as a file writes it, short or long."""
    return component.get("name") if isinstance(component, Mapping) else component


def _first_problem(error: ValidationError, source: str) -> InvalidInput:
    """Returns the first of pydantic's errors in the words of rayopt."""
    first = error.errors(include_url=False)[0]
    place = _dotted(first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInput):
        return cause.within(place, source)
    allowed = first["msg"].removeprefix("Input should be ")
    if first["type"] == "model_type":
        allowed = "a mapping"
    written = workload_file.written_at(source, first["loc"]) if first["type"] == "string_type" else None
    if written is not None:
        kind = type(first["input"]).__name__
        return InvalidInput(
            place, f"YAML reads {written} as {_KINDS.get(kind, kind)}", f'a text; in quotes: "{written}"', source
        )
    return InvalidInput(place, f"{first['input']!r} is of the wrong type", allowed, source)


_KINDS = {"bool": "true or false", "date": "a date", "datetime": "a time", "int": "a number", "float": "a number"}


def _dotted(location: Collection[str | int]) -> str:
    """Returns a place such as methods[1].step_size."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")
