"""Links and a compressor as ``rayopt theory`` takes them."""

from __future__ import annotations

from typing import Any

import yaml
from numpy.typing import ArrayLike

from rayopt.core.errors import InvalidInput, at_least
from rayopt.core.keys import Stream


def links_of(
    times: ArrayLike, upload: str | None, per_message: str | None, dimension: int | None, compressor: str
) -> dict[str, Any]:
    """Returns ``upload``, ``dense_upload`` and ``omega`` of a setting.

    Args:
      times: of the workers, shape (n,).
      upload: seconds per float, as text.
      per_message: seconds of a message, as text.
      dimension: d.
      compressor: the YAML of a compressor.

    Raises:
      InvalidInput: the dimension is missing, or something cannot be read; a compressor without omega.
    """
    from rayopt.compression import compressor as parse
    from rayopt.compression import unbiased
    from rayopt.core.tasks import FLOAT_BITS
    from rayopt.latency.link import Link

    if dimension is None:
        raise InvalidInput("--dimension", "missing beside --upload", "the dimension of x")
    d = at_least("--dimension", dimension, 1)
    chosen = unbiased(parse(yaml_value("--compressor", compressor), "--compressor"), "theory")
    chosen.check(d)
    parts = {"per_message": per_message, "per_float": upload}
    given = {key: yaml_value("--upload", text) for key, text in parts.items() if text is not None}
    try:
        link = Link(**given).bind(len(list(times)), Stream(0, "upload"), d)  # type: ignore[arg-type]
    except InvalidInput as error:
        raise error.within("--upload") from None
    return {
        "upload": link.seconds(chosen.bits(d)), "dense_upload": link.seconds(FLOAT_BITS * d), "omega": chosen.omega(d),
    }  # fmt: skip


def yaml_value(option: str, text: str) -> Any:
    """Returns what a text means in YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(
            option, f"{text!r} is not YAML ({error})", "a number, a list, a formula or a mapping"
        ) from None
