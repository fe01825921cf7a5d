"""Published files: where they lie on this machine, how they get here, and whether they are what they should be."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch

from jepawm_agents.errors import WeightsError

LOG = logging.getLogger(__name__)


class NotAvailable(WeightsError):
    """A published file is neither on this machine nor can it be fetched."""


TIMEOUT = 20.0
"""Seconds without an answer after which a server counts as unreachable."""
_OFFLINE = ("JEPAWM_OFFLINE", "HF_HUB_OFFLINE")


@dataclass(frozen=True)
class PublishedFile:
    """One file that somebody published."""

    name: str
    """In the cache and, if it has one, in its repository."""
    repo: str | None = None
    """Model repository on huggingface.co."""
    url: str | None = None
    """Another place to get it from."""
    sha256: str | None = None
    """If known. Without it, an eight digit suffix of the name counts, as PyTorch has it."""
    aliases: tuple[str, ...] = ()
    """Other names under which it may lie in the cache."""
    where: str = ""
    """Where to ask for it, if neither repository nor address is open to everybody."""


@dataclass(frozen=True)
class Found:
    """A file on this machine."""

    path: Path
    sha256: str
    origin: str
    """How it came here, for the record of a run."""


def cache_folder() -> Path:
    """Where fetched files lie: ``$JEPAWM_CACHE``, else ``jepawm-bench`` in the user's cache folder."""
    if named := os.environ.get("JEPAWM_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jepawm-bench"


def offline() -> bool:
    """Whether the user forbids the network, with ``JEPAWM_OFFLINE=1`` or Hugging Face's ``HF_HUB_OFFLINE=1``."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in _OFFLINE)


def find_or_fetch(file: PublishedFile, *, flag: str) -> Found:
    """Find a published file on this machine, or fetch it.

    Args:
        file: which.
        flag: how a user names such a file in the command, for the sentence of the error.

    Raises:
        NotAvailable: if it is nowhere to be had.
        WeightsError: if it is not the file it should be.
    """
    path = lying_here(file)
    if path is not None:
        return checked(path, file, origin="cache")
    tried: list[str] = []
    if offline():
        tried.append(f"the network is switched off by {' or '.join(_OFFLINE)}")
    else:
        for fetch in (_from_hub, _from_url):
            found = fetch(file, tried)
            if found is not None:
                return found
    raise NotAvailable(_not_to_be_had(file, tried, flag))


def lying_here(file: PublishedFile) -> Path | None:
    """The file in our cache, in PyTorch's or in Hugging Face's, in this order."""
    for folder in (cache_folder(), Path(torch.hub.get_dir()) / "checkpoints"):
        for name in (file.name, *file.aliases):
            if (folder / name).is_file():
                return folder / name
    if file.repo is None:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    cached = try_to_load_from_cache(file.repo, file.name)
    return Path(cached) if isinstance(cached, str) else None


def checked(path: Path, file: PublishedFile, *, origin: str) -> Found:
    """Hash a file and compare with what is known of it.

    Raises:
        WeightsError: if the hash is another.
    """
    digest = sha256_of(path)
    expected = file.sha256 or _hash_in_name(file.name) or _hash_in_cache(path)
    if expected is not None and not digest.startswith(expected):
        raise WeightsError(
            f"{path} is not the published {file.name}: its SHA-256 begins with {digest[:8]} instead of "
            f"{expected[:8]}. It is damaged or another file; delete it and get it again."
        )
    return Found(path, digest, origin)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file of any size, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_hub(file: PublishedFile, tried: list[str]) -> Found | None:
    """From huggingface.co into its cache; a failure is added to ``tried``."""
    if file.repo is None:
        return None
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        tried.append("huggingface.co was not asked because huggingface_hub is not installed")
        return None
    try:
        path = Path(hf_hub_download(file.repo, file.name, etag_timeout=TIMEOUT))
    except Exception as problem:  # whatever its network stack raises
        tried.append(f"huggingface.co/{file.repo} gave {_first_line(problem)}")
        return None
    return checked(path, file, origin=f"huggingface.co/{file.repo}@{path.parent.name}")


def _from_url(file: PublishedFile, tried: list[str]) -> Found | None:
    """From its address into our cache, complete or not at all; a failure is added to ``tried``."""
    if file.url is None:
        return None
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{file.name}.{os.getpid()}.part"
    try:
        download(file.url, partial)
        found = checked(partial, file, origin=file.url)
        partial.replace(folder / file.name)
    except OSError as problem:
        tried.append(f"{file.url} gave {_first_line(problem)}")
        return None
    finally:
        partial.unlink(missing_ok=True)
    return Found(folder / file.name, found.sha256, found.origin)


def download(url: str, path: Path) -> None:
    """Write what lies at an address to a file.

    Raises:
        OSError: if it cannot be reached, or the connection breaks before the end.
    """
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, path.open("wb") as file:
        length = answer.headers.get("Content-Length")
        LOG.warning("Fetching %s (%s MB).", url, "?" if length is None else round(int(length) / 1e6))
        shutil.copyfileobj(answer, file, 1 << 20)
    if length is not None and path.stat().st_size != int(length):
        raise OSError(f"only {path.stat().st_size} of {length} bytes")


def _hash_in_name(name: str) -> str | None:
    """The beginning of the hash that PyTorch's file names carry, ``name-0a1b2c3d.pth``."""
    match = re.search(r"-([0-9a-f]{8})\.[^-]+$", name)
    return match.group(1) if match else None


def _hash_in_cache(path: Path) -> str | None:
    """Large files lie in Hugging Face's cache under their hash."""
    name = path.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else None


def _not_to_be_had(file: PublishedFile, tried: list[str], flag: str) -> str:
    sources = [f"https://huggingface.co/{file.repo}/resolve/main/{file.name}"] if file.repo else []
    sources += [file.url] if file.url else []
    source = " or ".join(sources) or file.where
    because = f" ({'; '.join(tried)})" if tried else ""
    return (
        f"{file.name} is not on this machine and could not be fetched{because}. Get it from {source}, and put it into "
        f"{cache_folder()} or name it with {flag}."
    )


def _first_line(problem: Exception) -> str:
    text = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {text[0]}" if text else type(problem).__name__
