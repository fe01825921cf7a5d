"""World models whose file names its encoder instead of holding it.

A published encoder has up to a billion weights, and every model trained on it would store them again. So the file of
such a model holds the name and the hash of the encoder's file, and not where it lay: model files travel. The encoder
is looked for in the caches and then fetched, or named by the user, and taken only if the hash is the same. One with
random weights, for trying things out, is made again from its seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jepawm_agents.checkpoints.encoder import AUTO, RANDOM, LoadedEncoder, load_encoder
from jepawm_agents.checkpoints.encoder_files import ENCODER_FILES
from jepawm_agents.checkpoints.fetch import cache_folder, sha256_of
from jepawm_agents.errors import WeightsError


def source_of(loaded: LoadedEncoder) -> dict[str, Any]:
    """What a world model's file says of an encoder that it does not hold: ``file``, ``sha256``, ``entry``."""
    if loaded.path is None:
        return {"file": RANDOM, "sha256": None, "entry": None}
    return {"file": loaded.path.name, "sha256": loaded.sha256, "entry": loaded.entry}


def encoder_from(source: Mapping[str, Any], model: Mapping[str, Any], named: str | None = None) -> LoadedEncoder:
    """The encoder that a world model was trained on.

    Args:
        source: see :func:`source_of`.
        model: family and sizes.
        named: a file that the user names; otherwise it is looked for.

    Raises:
        WeightsError: if it is nowhere to be had, or has another hash.
    """
    if source["file"] == RANDOM:
        return load_encoder({**model, "weights": RANDOM}, None, may_be_random=True)
    weights = named or _lying_here(source) or (AUTO if _is_published(source, model) else None)
    if weights is None:
        raise WeightsError(
            f"{_trained_on(source)} Put that file into {cache_folder()}, or name it with --set encoder.weights=PATH."
        )
    if weights != AUTO:
        _check_hash(Path(weights), source)
    entry = {"entry": source["entry"]} if source["entry"] else {}
    try:
        loaded = load_encoder({**model, "weights": weights, **entry}, None, may_be_random=False)
    except WeightsError as problem:
        raise WeightsError(f"{_trained_on(source)} {problem}") from None
    if loaded.sha256 != source["sha256"]:
        raise _another(str(loaded.path), loaded.sha256, source)
    return loaded


def _lying_here(source: Mapping[str, Any]) -> str | None:
    """The file of that name in the cache, if it is the same there."""
    path = cache_folder() / source["file"]
    return str(path) if path.is_file() and sha256_of(path) == source["sha256"] else None


def _is_published(source: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    """Whether it is the file that others can fetch."""
    known = ENCODER_FILES.get((str(model["family"]), str(model.get("size"))))
    return known is not None and source["file"] in (known.file.name, *known.file.aliases)


def _trained_on(source: Mapping[str, Any]) -> str:
    return (
        f"The world model was trained on the encoder of {source['file']} (sha256 {source['sha256'][:12]}...), which it "
        "does not hold."
    )


def _check_hash(path: Path, source: Mapping[str, Any]) -> None:
    if path.is_file() and (found := sha256_of(path)) != source["sha256"]:
        raise _another(str(path), found, source)


def _another(path: str, found: str | None, source: Mapping[str, Any]) -> WeightsError:
    return WeightsError(
        f"{path} is another encoder than the world model was trained on: its sha256 is {str(found)[:12]}..., and that "
        f"of {source['file']} was {source['sha256'][:12]}...; name the right file with --set encoder.weights=PATH."
    )
