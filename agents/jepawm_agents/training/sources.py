"""Where the episodes of a recipe come from: collected here, converted from a published layout, or there already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jepawm_agents.errors import ConfigError
from jepawm_agents.training.data import GIB, Episodes
from jepawm_agents.training.distributed import Ranks
from jepawm_agents.training.frames_on_disk import FramesOnDisk
from jepawm_agents.training.joined_store import JoinedStore, Store
from jepawm_agents.training.loop import Progress
from jepawm_envs.data import EpisodeStore, collect, convert
from jepawm_envs.data.readers import LAYOUTS
from jepawm_envs.registration import ENVIRONMENTS


def check_data(data: Mapping[str, Any]) -> None:
    """Refuse a table ``data`` that cannot be had.

    Raises:
        ConfigError: saying why.
    """
    if data["layout"] not in LAYOUTS:
        raise ConfigError(f"data.layout={data['layout']!r} is not known; there are {', '.join(sorted(LAYOUTS))}.")
    if not 0 <= data["validation_share"] < 1:
        raise ConfigError(f"data.validation_share={data['validation_share']} must be at least 0 and below 1.")
    if data["loaders"] < 1 or data["memory"] < 0:
        raise ConfigError("data.loaders must be at least 1, and data.memory not negative.")
    if data["path"]:
        return
    unknown = [env for env in _environments(data) if env not in ENVIRONMENTS]
    if unknown or data["layout"] != "store":
        raise ConfigError(
            f"These data cannot be collected here; name them with data.path ({', '.join(unknown) or data['env']}, "
            f"layout {data['layout']!r})."
        )


def load_episodes(data: Mapping[str, Any], out: Path, progress: Progress, *, states: bool = False) -> Episodes:
    """The episodes that the table ``data`` of a recipe describes.

    Collected data are a file ``data.h5``, one an environment, if their images fit in memory, else a folder ``data``.

    Args:
        data: the table.
        out: folder for what is collected or converted; both continue where they were interrupted.
        progress: told about every episode.
        states: whether the simulator's states are read too.

    Raises:
        ConfigError: if data that were named do not belong to the recipe's environment, or differ
            among themselves.
    """
    store = open_data(data, out, progress)
    episodes = Episodes.load(store, data["validation_share"], data["memory"], states=states)
    if not isinstance(episodes.pixels, FramesOnDisk):
        store.close()
    return episodes


def open_data(data: Mapping[str, Any], out: Path, progress: Progress) -> Store:
    """The data set that the table ``data`` of a recipe describes, open; see :func:`load_episodes`.

    Of several processes only the first one collects and converts; the others open what it made, so they must come
    after it (:func:`.distributed.first_goes_first`).
    """
    return _given(data, out, progress) if data["path"] else _collected(data, out, progress)


def _collected(data: Mapping[str, Any], out: Path, progress: Progress) -> Store:
    environments = _environments(data)
    frames = data["episodes"] * (data["steps"] // data["frameskip"] + 1) * len(environments)
    in_memory = frames * 3 * data["image_size"] ** 2 <= data["memory"] * GIB
    total, stores = data["episodes"] * len(environments), []
    for number, env in enumerate(environments):
        path = out / f"data{f'-{number + 1}' if number else ''}{'.h5' if in_memory else ''}"
        before = number * data["episodes"]
        if Ranks.current().first:
            collect(
                env,
                path,
                episodes=data["episodes"],
                steps=data["steps"],
                seed=data["seed"],
                image_size=data["image_size"],
                frameskip=data["frameskip"],
                workers=data["collect"]["workers"],
                settings=data["collect"]["settings"],
                progress=lambda done, _, before=before: progress("data", before + done, total, {}),
            )
        stores.append(EpisodeStore(path))
    return stores[0] if len(stores) == 1 else JoinedStore(stores)


def _given(data: Mapping[str, Any], out: Path, progress: Progress) -> EpisodeStore:
    path = Path(data["path"])
    if data["layout"] != "store":
        path = out / "data"
        if Ranks.current().first:
            _convert(data, path, progress)
    store = EpisodeStore(path)
    env = store.meta.get("env")
    if env is not None and data["env"] and env not in _environments(data):
        raise ConfigError(f"{path} holds episodes of {env}, but the recipe is for {', '.join(_environments(data))}.")
    return store


def _convert(data: Mapping[str, Any], path: Path, progress: Progress) -> None:
    options = {"image_size": data["image_size"], **data["options"]}
    convert(
        data["layout"],
        data["path"],
        path,
        workers=data["collect"]["workers"],
        progress=lambda done, total: progress("data", done, total, {}),
        **options,
    )


def _environments(data: Mapping[str, Any]) -> list[str]:
    return [data["env"], *data["further_envs"]]
