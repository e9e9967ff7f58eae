"""What a replay to the bit needs to find again: versions, the processor, the library that multiplies matrices."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

VERSIONS = ("rayopt", "numpy", "scipy", "ray")


def environment(blas_threads: int | None = None) -> dict[str, Any]:
    """Returns the versions, the processor and the BLAS libraries of this process.

    Args:
      blas_threads: threads of BLAS where gradients were computed; None for those of this process.
    """
    from threadpoolctl import threadpool_info

    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    threads = max((library["num_threads"] for library in libraries), default=1)
    return {
        "python": platform.python_version(),
        **{name: found for name in VERSIONS if (found := _version(name)) is not None},
        "machine": platform.machine(),
        "processor": _processor(),
        "blas": sorted(
            {" ".join(filter(None, (library["internal_api"], library["version"], library.get("architecture"))))
             for library in libraries}
        ),
        "blas_threads": blas_threads or threads,
    }  # fmt: skip


def differences(recorded: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Returns in what two environments differ, a phrase each."""
    return [
        f"{key} {recorded[key]} when it was recorded, {here.get(key)} here"
        for key in recorded
        if recorded[key] != here.get(key)
    ]


def _version(name: str) -> str | None:
    if name == "rayopt":
        from rayopt import __version__

        return __version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
