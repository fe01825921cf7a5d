"""Where the episodes of a recipe come from: collected here, converted from a published layout, or there already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

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
        others = "" if unknown else " Others can: data.layout=store with data.validation empty."
        raise ConfigError(
            f"These data cannot be collected here; name them with data.path ({', '.join(unknown) or data['env']}, "
            f"layout {data['layout']!r}).{others}"
        )
    if data["validation"]:
        raise ConfigError(
            f"data.validation={data['validation']!r} is held out beside the data set that data.path names, but it "
            "names none; leave data.validation empty to hold out data.validation_share of the collected episodes."
        )


def load_episodes(data: Mapping[str, Any], out: Path, progress: Progress, *, states: bool = False) -> Episodes:
    """The episodes that the table ``data`` of a recipe describes.

    Collected data are a file ``data.h5``, one an environment, if their images fit in memory, else a folder ``data``.
    What ``data.validation`` names is converted beside them, into the folder ``data-validation``.

    Args:
        data: the table.
        out: folder for what is collected or converted; both continue where they were interrupted.
        progress: told about every episode.
        states: whether the simulator's states are read too.

    Raises:
        ConfigError: if data that were named do not belong to the recipe's environment, or differ
            among themselves.
    """
    store, validation = open_data(data, out, progress), None
    if data["validation"]:
        held_out = _held_out(data, out, progress)
        _check_another(store, held_out)
        first = len(store)
        store = JoinedStore([*(store.stores if isinstance(store, JoinedStore) else [store]), held_out])
        validation = np.arange(first, len(store))
    share = data["validation_share"]
    episodes = Episodes.load(store, share, data["memory"], states=states, validation=validation)
    if not isinstance(episodes.pixels, FramesOnDisk):
        store.close()
    return episodes


def open_data(data: Mapping[str, Any], out: Path, progress: Progress) -> Store:
    """The data set that the table ``data`` of a recipe describes, open, without ``data.validation``.

    Of several processes only the first one collects and converts; the others open what it made, so they must come
    after it (:func:`.distributed.first_goes_first`).
    """
    if data["path"]:
        return _given(data, Path(data["path"]), out / "data", progress)
    return _collected(data, out, progress)


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


def _held_out(data: Mapping[str, Any], out: Path, progress: Progress) -> EpisodeStore:
    """The data set that ``data.validation`` names, such as the folder ``val`` in that of ``data.path``.

    Raises:
        ConfigError: if there is none.
    """
    path = Path(data["path"]) / data["validation"]
    if not path.exists():
        path = Path(data["validation"])
    if not path.exists() and data["layout"] != "minari":  # whose data sets have identifiers, not places
        raise ConfigError(
            f"data.validation={data['validation']!r} names no data set, neither in {data['path']} nor by itself; name "
            "one, or leave it empty to hold out data.validation_share of the episodes."
        )
    return _given(data, path, out / "data-validation", progress)


def _check_another(train: Store, validation: Store) -> None:
    if train.sha256() == validation.sha256():
        raise ConfigError("data.validation names the data set that is trained on; name another one, or a share.")


def _given(data: Mapping[str, Any], path: Path, converted: Path, progress: Progress) -> EpisodeStore:
    """The data set at ``path``; one in another layout is first converted into the folder ``converted``."""
    if data["layout"] != "store":
        if Ranks.current().first:
            _convert(data, path, converted, progress)
        path = converted
    store = EpisodeStore(path)
    env = store.meta.get("env")
    if env is not None and data["env"] and env not in _environments(data):
        raise ConfigError(f"{path} holds episodes of {env}, but the recipe is for {', '.join(_environments(data))}.")
    return store


def _convert(data: Mapping[str, Any], source: Path, path: Path, progress: Progress) -> None:
    options = {"image_size": data["image_size"], **data["options"]}
    convert(
        data["layout"],
        source,
        path,
        workers=data["collect"]["workers"],
        progress=lambda done, total: progress("data", done, total, {}),
        **options,
    )


def _environments(data: Mapping[str, Any]) -> list[str]:
    return [data["env"], *data["further_envs"]]
