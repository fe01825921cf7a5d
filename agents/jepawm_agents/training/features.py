"""Latents of all frames of a data set: in memory, on disk, or made when they are asked for.

A frozen encoder gives the same latents in every epoch. Those of a compact encoder fit in memory. Those of a large one
can be kept on disk (:class:`LatentsOnDisk`): 16 x 16 tokens of 384 channels take 196 KB a frame in float16, 19 GB for
the 1,920 episodes of Wall. Where that is too much, they are made batch by batch (:class:`EncodedNow`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jepawm_agents.errors import AgentError, ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.training.data import GIB, ByFrame, Episodes, in_portions
from jepawm_agents.training.file_lock import one_at_a_time
from jepawm_agents.training.loop import Progress

LOG = logging.getLogger(__name__)
ENCODE_BATCH = 512
CACHES = ("memory", "disk", "none")
FORMAT = "jepawm-latents/1"
# bfloat16 is no type of NumPy's; its bits are.
DTYPES: dict[str, tuple[torch.dtype, str]] = {
    "float16": (torch.float16, "<f2"),
    "bfloat16": (torch.bfloat16, "<i2"),
    "float32": (torch.float32, "<f4"),
}
NOTE_EVERY = 16
"""Portions of images between two notes of how far the file is."""


def latents_of(
    encoder: nn.Module, episodes: Episodes, settings: Mapping[str, Any], out: Path, progress: Progress
) -> ByFrame:
    """Latents of all frames.

    Args:
        encoder: frozen; images (B, H, W, C) to tokens (B, P, D).
        episodes: whose frames they are.
        settings: ``cache``, ``cache_dtype``, ``cache_folder`` and ``encode_batch`` of a recipe's table ``encoder``.
        out: folder of the training.
        progress: told about the frames that are encoded.

    Raises:
        ConfigError: for an unknown ``cache`` or ``cache_dtype``.
        AgentError: if there is no room on the disk, or a file of latents is damaged.
    """
    check_cache(settings)
    size = settings["encode_batch"]
    if settings["cache"] == "none":
        return EncodedNow(encoder, episodes.pixels, size)
    if settings["cache"] == "memory":
        return latents_in_memory(encoder, episodes, size)
    folder = Path(settings["cache_folder"] or out / "latents")
    return LatentsOnDisk.of(encoder, episodes, folder, dtype=settings["cache_dtype"], batch=size, progress=progress)


def check_cache(settings: Mapping[str, Any]) -> None:
    """Refuse what :func:`latents_of` cannot do.

    Raises:
        ConfigError: saying what there is.
    """
    if settings["cache"] not in CACHES:
        raise ConfigError(unknown("encoder.cache", settings["cache"], CACHES))
    if settings["cache_dtype"] not in DTYPES:
        raise ConfigError(unknown("encoder.cache_dtype", settings["cache_dtype"], DTYPES))
    if settings["encode_batch"] < 1:
        raise ConfigError(f"encoder.encode_batch={settings['encode_batch']} is not possible; encode at least one.")


def latents_in_memory(encoder: nn.Module, episodes: Episodes, size: int = ENCODE_BATCH) -> ByFrame:
    """Latents of all frames, encoded ``size`` images at once."""
    places = episodes.frame_places()
    rows = torch.cat([_encoded(encoder, episodes.pixels[part]).cpu() for part in in_portions(places, size)])
    if episodes.lengths is None:
        return rows.unflatten(0, (len(episodes.actions), -1))
    return _Rows(rows, first_rows(episodes))


class _Rows:
    """Latents of episodes of any length, one below the other."""

    def __init__(self, rows: Tensor, firsts: Tensor):
        self.rows, self.firsts = rows, firsts

    def __getitem__(self, place: tuple[Tensor, Tensor]) -> Tensor:
        return self.rows[self.firsts[place[0]] + place[1]]


class EncodedNow:
    """Latents that are made from the images whenever they are asked for.

    Args:
        encoder: frozen.
        pixels: images by episode and time.
        batch: images encoded at once.
    """

    def __init__(self, encoder: nn.Module, pixels: ByFrame, batch: int):
        self.encoder, self.pixels, self.batch = encoder, pixels, batch

    def __getitem__(self, place: tuple[Tensor, Tensor]) -> Tensor:
        """Latents (..., P, D) of episodes (...) at times (...)."""
        episode, time = torch.broadcast_tensors(*place)
        images = self.pixels[episode, time].flatten(0, episode.ndim - 1)
        latents = [_encoded(self.encoder, part) for part in images.split(self.batch)]
        return torch.cat(latents).unflatten(0, episode.shape)


class LatentsOnDisk:
    """Latents in a memory-mapped ``.npy`` file that several trainings may share.

    Beside it lies a note, ``.json``: of what the latents are, and how many rows are written; an interrupted file is
    continued. One process writes at a time, and others wait for it. Both are named by the hash of the data, of the
    encoder's settings and weights, and of the type.

    Args:
        path: of the ``.npy`` file.
        firsts: row of the first frame of every episode, (episodes,).
        dtype: a name in :data:`DTYPES`.

    Raises:
        AgentError: if the file cannot be read.
    """

    def __init__(self, path: Path, firsts: Tensor, dtype: str):
        self.path, self.firsts, self._dtype = path, firsts, DTYPES[dtype][0]
        self._rows = _mapped(path)

    @classmethod
    def of(
        cls, encoder: nn.Module, episodes: Episodes, folder: Path, *, dtype: str, batch: int, progress: Progress
    ) -> LatentsOnDisk:
        """Those of a data set; encodes what the folder does not hold yet.

        Args:
            encoder: frozen.
            episodes: whose frames are encoded.
            folder: where the file belongs.
            dtype: a name in :data:`DTYPES`.
            batch: images encoded at once.
            progress: told about the frames that are encoded, as stage ``latents``.

        Raises:
            AgentError: if the disk has no room, or the file is damaged.
        """
        key = _key(encoder, episodes, dtype)
        path = folder / f"{key[:16]}.npy"
        with one_at_a_time(path):  # two that begin at once would each clear what the other has written
            note = _read_note(path, key)
            _write(encoder, episodes, path, note, dtype=dtype, batch=batch, progress=progress)
        return cls(path, first_rows(episodes), dtype)

    def __getitem__(self, place: tuple[Tensor, Tensor]) -> Tensor:
        """Latents (..., P, D) of episodes (...) at times (...), float32."""
        rows = self.firsts[place[0]] + place[1]
        return torch.from_numpy(self._rows[rows.numpy()]).view(self._dtype).float()  # fancy indexing copies


def first_rows(episodes: Episodes) -> Tensor:
    """Row of every episode's first frame, where all frames lie one below the other, (episodes,)."""
    episode, time = episodes.frame_places()
    firsts = torch.zeros(len(episodes.actions), dtype=torch.long)
    firsts[episode[time == 0]] = (time == 0).nonzero()[:, 0]
    return firsts


def encoder_sha256(encoder: nn.Module) -> str:
    """Hash of an encoder's weights and constants."""
    digest = hashlib.sha256()
    for name, value in sorted([*encoder.state_dict().items(), *encoder.named_buffers()], key=lambda item: item[0]):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _key(encoder: nn.Module, episodes: Episodes, dtype: str) -> str:
    """Of what latents are: data, images, encoder, type."""
    shape = list(episodes.pixels.shape[2:])
    sizes = [getattr(encoder, name) for name in ("image_size", "grid_size", "latent_dim")]
    parts = [FORMAT, episodes.sha256, shape, type(encoder).__name__, sizes, encoder_sha256(encoder), dtype]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read_note(path: Path, key: str) -> dict[str, Any]:
    file = path.with_suffix(".json")
    if not file.exists():
        return {"format": FORMAT, "key": key, "rows": 0}
    try:
        note = json.loads(file.read_text())
        if note["key"] == key and isinstance(note["rows"], int) and path.exists():
            return note
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise AgentError(f"{file} is damaged; delete it and {path.name} beside it, and the latents are made again.")


def _write(
    encoder: nn.Module,
    episodes: Episodes,
    path: Path,
    note: dict[str, Any],
    *,
    dtype: str,
    batch: int,
    progress: Progress,
) -> None:
    """Encode the rows that are missing."""
    places = episodes.frame_places()
    total, done = len(places[0]), note["rows"]
    if done == total:
        return
    rows = _mapped(path, "r+") if done else _created(encoder, episodes, path, total, dtype)
    left = (places[0][done:], places[1][done:])
    for number, part in enumerate(in_portions(left, batch), start=1):
        latents = _encoded(encoder, episodes.pixels[part]).to(DTYPES[dtype][0]).cpu()
        _check_finite(latents, dtype)
        bits = latents.view(torch.int16) if dtype == "bfloat16" else latents
        rows[done : done + len(latents)] = bits.numpy()
        done += len(latents)
        if done == total or number % NOTE_EVERY == 0:
            rows.flush()  # before the note: it must not promise what a power cut takes away
            _note(path, {**note, "rows": done})
        progress("latents", done, total, {})


def _created(encoder: nn.Module, episodes: Episodes, path: Path, total: int, dtype: str) -> np.memmap:
    """The file in its full size, after a look at the room on the disk."""
    one = _encoded(encoder, episodes.pixels[torch.tensor([0]), torch.tensor([0])])[0]
    size = total * one.numel() * DTYPES[dtype][0].itemsize
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    announced = f"The latents of {total:,} frames take {size / GIB:.2f} GiB in {path.parent}"
    if size > free:
        raise AgentError(
            f"{announced}, which has {free / GIB:.2f} GiB left; set encoder.cache_folder to a larger disk, or "
            "encoder.cache=none to encode every batch anew."
        )
    LOG.warning("%s.", announced)
    return np.lib.format.open_memmap(path, mode="w+", dtype=DTYPES[dtype][1], shape=(total, *one.shape))


def _mapped(path: Path, mode: str = "r") -> np.memmap:
    try:
        return np.lib.format.open_memmap(path, mode=mode)  # type: ignore[arg-type]
    except (OSError, ValueError) as problem:
        raise AgentError(f"{path} cannot be read ({problem}); delete it and its note .json beside it.") from None


def _note(path: Path, note: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(dict(note)))
    os.replace(partial, path.with_suffix(".json"))


def _check_finite(latents: Tensor, dtype: str) -> None:
    if not bool(torch.isfinite(latents).all()):
        raise AgentError(f"Some latents are no numbers in {dtype}; set encoder.cache_dtype=bfloat16 or float32.")


@torch.no_grad()
def _encoded(encoder: nn.Module, pixels: Tensor) -> Tensor:
    """Latents (B, P, D), on the encoder's device; gradients are off in whichever thread this is."""
    place = next(encoder.parameters()).device
    return encoder(pixels.to(place))
