"""``rayopt doctor``: what is installed, what works, and what to do about what does not."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rayopt.cli.app import main, open_console
from rayopt.core.errors import first_line
from rayopt.core.version import __version__

PACKAGES = ("numpy", "scipy", "ray", "scikit-learn", "pandas", "pyarrow", "matplotlib", "plotly", "networkx")
EXTRAS = {
    "torch": "torch",
    "jax": "jax",
    "numba": "hogwild",
    "tensorboardX": "tensorboard",
    "mlflow-skinny": "mlflow",
    "wandb": "wandb",
}
LEAST_DISK, LEAST_SHARED_MEMORY = 1e9, 0.5e9


class Found(NamedTuple):
    """What came of one look.

    Attributes:
      text: what there is.
      advice: what to do; "" if all is well.
    """

    text: str
    advice: str = ""


@main.command()
def doctor(
    ray: Annotated[bool, typer.Option("--ray/--no-ray", help="Start a local Ray cluster, which takes seconds.")] = True,
) -> None:
    """Print what is installed, what works, and what to do.

    Ends with 1 if something does not work that rayopt needs.

    \b
    rayopt doctor
    rayopt doctor --no-ray
    """
    console = open_console()
    looks: dict[str, Callable[[], Found]] = {
        "versions": _versions, "extras": _extras, "plug-ins": _plugins, "cores": _cores, "memory": _memory,
        "disk": _disk,
        "/dev/shm": _shared_memory, "virtual time": _virtual_time, "figures": _figures,
    }  # fmt: skip
    if ray:
        looks["Ray"] = _ray
    is_ill = False
    for name, look in looks.items():
        try:
            found = look()
        except Exception as error:
            found = Found(
                f"{type(error).__name__}: {first_line(error)}", "see the error; `pip install rayopt` again helps most"
            )
        is_ill |= bool(found.advice)
        mark = "!!" if found.advice else "ok"
        console.out(f"{mark}  {name:<12} {found.text}{f': {found.advice}' if found.advice else ''}", highlight=False)
    if is_ill:
        raise typer.Exit(1)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _versions() -> Found:
    missing = [package for package in PACKAGES if not _version(package)]
    text = ", ".join(f"{package} {_version(package)}" for package in PACKAGES if _version(package))
    return Found(f"rayopt {__version__}, {text}", f"install {', '.join(missing)}" if missing else "")


def _extras() -> Found:
    facts = [
        f"{package} {_version(package)}"
        if _version(package)
        else f"{package} is not there (pip install 'rayopt[{extra}]')"
        for package, extra in EXTRAS.items()
    ]
    return Found(", ".join(facts))


def _plugins() -> Found:
    from rayopt.experiments.plugins import load_plugins

    return Found("; ".join(load_plugins()) or "none is installed")


def _cores() -> Found:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Found(f"{usable} of {os.cpu_count()} can be used")


def _memory() -> Found:
    import psutil

    memory = psutil.virtual_memory()
    return Found(f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB are free")


def _disk() -> Found:
    free = shutil.disk_usage(Path.cwd()).free
    advice = "" if free >= LEAST_DISK else "make room, or give --out on another disk: a long trace takes gigabytes"
    return Found(f"{free / 1e9:.1f} GB are free here", advice)


def _shared_memory() -> Found:
    place = Path("/dev/shm")
    if not place.is_dir():
        return Found("is not there; Ray uses the disk, which is slower")
    free = shutil.disk_usage(place).free
    advice = (
        ""
        if free >= LEAST_SHARED_MEMORY
        else "make it larger (docker run --shm-size=2g), or Ray's objects go to the disk"
    )
    return Found(f"{free / 1e9:.1f} GB are free", advice)


def _virtual_time() -> Found:
    import rayopt as ro

    start = time.perf_counter()
    result = ro.run(ro.methods.Ringmaster(0.1, 4), ro.problems.Quadratic(dimension=10), ro.Workers(4, "sqrt(i)"),
                    until=ro.Until(updates=1_000))  # fmt: skip
    arrivals = int(result.table.arrivals[0])
    return Found(f"{arrivals:,} arrivals in {time.perf_counter() - start:.2g} s")


def _figures() -> Found:
    from matplotlib.figure import Figure

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        Figure().savefig(path)
        return Found(f"are drawn ({path.stat().st_size:,} bytes)")


def _ray() -> Found:
    import ray

    from rayopt.fleets.ray.connection import connect

    start = time.perf_counter()
    connect(None)
    try:
        cpus = ray.cluster_resources().get("CPU", 0)
    finally:
        ray.shutdown()
    return Found(f"a local cluster with {cpus:g} CPUs starts in {time.perf_counter() - start:.1f} s")
