"""Agent settings: nested tables, overridden from the command line."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from jepawm_bench.errors import UsageError

PLANNER_FRAME = ("horizon", "execution_horizon", "bounds")
"""What belongs to the task and not to a planner."""
KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """Nested table from ``a.b=value`` strings; later ones win.

    Raises:
        UsageError: when one is not of that form.
    """
    table: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not KEY.fullmatch(key.strip()):
            raise UsageError(f"--set {text!r} is not of the form KEY=VALUE, such as planner.num_samples=64.")
        table = merge(table, _nested(key.strip().split("."), parse_value(value.strip())))
    return table


def parse_value(text: str) -> Any:
    """A TOML value (``3``, ``0.5``, ``true``, ``[1, 2]``, ``"text"``), else, or if JSON has no such value, the text."""
    try:
        table = tomllib.loads(f"value = {text}")
        json.dumps(table, allow_nan=False)  # dates, inf and nan could not be stored
    except (tomllib.TOMLDecodeError, TypeError, ValueError):
        return text
    return table["value"] if len(table) == 1 else text


def format_value(value: Any) -> str:
    """The text that :func:`parse_value` reads as ``value``."""
    if isinstance(value, str):
        return value if parse_value(value) == value == value.strip() else _quoted(value)
    return _toml(value)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the entries of ``over`` put on top, table by table; neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below if isinstance(below, Mapping) else {}, value) if isinstance(value, Mapping) else value
    return merged


def refuse_parts_of_values(settings: Mapping[str, Any], overrides: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse to set a part of what has no parts; the value would vanish and take what it said of the rest along.

    Raises:
        UsageError: naming the setting.
    """
    for key, value in overrides.items():
        below, name = settings.get(key), f"{prefix}{key}"
        if not isinstance(value, Mapping) or below is None:
            continue
        if not isinstance(below, Mapping):
            part, whole = next(iter(flatten({name: value}))), format_value(below)
            raise UsageError(
                f"--set {part} sets a part of {name}, which is {whole} as a whole; write --set {name}=VALUE."
            )
        refuse_parts_of_values(below, value, f"{name}.")


def for_protocol(settings: Mapping[str, Any], protocol: str, env_id: str = "") -> dict[str, Any]:
    """A variant's settings for one protocol and environment.

    Its table ``protocols.<name>`` is merged over the rest, then those of its tables ``envs.<pattern>`` that match,
    in order; these may have tables ``protocols.<name>`` of their own.
    """
    chosen = {key: value for key, value in settings.items() if key not in ("protocols", "envs")}
    chosen = merge(chosen, settings.get("protocols", {}).get(protocol, {}))
    for pattern, table in settings.get("envs", {}).items():
        if fnmatchcase(env_id, pattern):
            chosen = merge(chosen, for_protocol(table, protocol))
    return chosen


def switch_planner(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for another planner than the variant's, where the overrides name one.

    Numbers that were chosen for one planner mean something else to another, so of the variant's table ``planner``
    only :data:`PLANNER_FRAME` stays; the rest is the other planner's own default.
    """
    own, asked = settings.get("planner", {}), overrides.get("planner", {})
    if not isinstance(asked, Mapping) or asked.get("name", own.get("name")) == own.get("name"):
        return dict(settings)
    return {**settings, "planner": {key: value for key, value in own.items() if key in PLANNER_FRAME}}


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys and their values, sorted."""
    flat: dict[str, Any] = {}
    for key in sorted(settings):
        value = settings[key]
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)


def _quoted(text: str) -> str:
    """A basic string; JSON's escapes are TOML's but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return value
