"""Who works on the cells: processes of this machine, a SLURM cluster, or Ray.

A cell is a command; its words go to a subprocess, and what that prints to a file. On clusters the folder of the
sweep must be one that all machines see.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from jepawm_bench.errors import MissingExtra, UsageError
from jepawm_bench.threads import ONE_THREAD, available_cores


@dataclass(frozen=True)
class Job:
    """One cell to work on."""

    name: str
    command: tuple[str, ...]
    log: Path
    """What it prints is appended here."""


Settings = Mapping[str, Any]
Finished = tuple[Job, int]
"""A job and its exit code."""
LOST = 1
"""Exit code of a job that its cluster lost: a machine that failed, a limit of time or memory."""
POLL_SECONDS = 1.0
"""Between looks at submitted jobs; submitit itself asks SLURM less often."""


def run_here(jobs: Sequence[Job], begun: Callable[[Job], None], settings: Settings) -> Generator[Finished, None, None]:
    """Work on this machine.

    Args:
        jobs: in this order.
        begun: told when one begins.
        settings: ``jobs``, how many at a time (1). Cores are divided among them.

    Raises:
        UsageError: for other settings.
        KeyboardInterrupt: with every job interrupted, and ended as it ends on Ctrl-C.
    """
    at_once = _only(settings, "jobs").get("jobs", 1)
    if not isinstance(at_once, int) or at_once < 1:
        raise UsageError(f"--backend-set jobs={at_once} is not possible; it is a number of processes.")
    here = _Processes(max(1, available_cores() // at_once) if at_once > 1 else None)
    with ThreadPoolExecutor(at_once) as pool:
        try:
            running = {pool.submit(here.run, job, begun): job for job in jobs}
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException:  # interrupted, or the caller has stopped: what runs is told, what waits is left
            pool.shutdown(wait=False, cancel_futures=True)
            here.interrupt()
            raise


def run_on_slurm(
    jobs: Sequence[Job], begun: Callable[[Job], None], settings: Settings
) -> Generator[Finished, None, None]:
    """Work on a SLURM cluster, a job a cell, by submitit.

    Args:
        jobs: to submit.
        begun: told about every one when it is submitted.
        settings: ``cluster`` (``slurm``; ``local`` and ``debug`` are submitit's own), and those of
            ``submitit.AutoExecutor``: ``timeout_min``, ``cpus_per_task``, ``slurm_partition``, ...

    A job that is lost ends with exit code :data:`LOST`, and its log says why; the others go on. When the sweep is
    interrupted, what was submitted is cancelled.

    Raises:
        MissingExtra: if submitit is not installed.
    """
    submitit = _need("submitit", "slurm")
    options = dict(settings)
    folder = jobs[0].log.parent / "slurm"
    executor = submitit.AutoExecutor(folder=folder, cluster=options.pop("cluster", "slurm"))
    executor.update_parameters(**options)
    waiting: dict[str, tuple[Any, Job]] = {}
    try:
        for job in jobs:
            handle = executor.submit(run_command, job.command, job.log)
            waiting[handle.job_id] = handle, job
            begun(job)
        handles = [handle for handle, _ in waiting.values()]
        for handle in submitit.helpers.as_completed(handles, poll_frequency=POLL_SECONDS):
            _, job = waiting.pop(handle.job_id)
            yield job, _code(job, handle.result)
    except BaseException:  # interrupted, or the caller has stopped
        for handle, job in waiting.values():
            _cancel(job, lambda handle=handle: handle.cancel(check=False))
        raise


def run_on_ray(
    jobs: Sequence[Job], begun: Callable[[Job], None], settings: Settings
) -> Generator[Finished, None, None]:
    """Work on a Ray cluster, or on this machine by Ray.

    Args:
        jobs: to submit.
        begun: told about every one when it is submitted.
        settings: ``address`` of the cluster (this machine when missing), ``num_cpus`` (1) and ``num_gpus`` (0) a cell.

    A job that is lost ends with exit code :data:`LOST`, and its log says why; the others go on. When the sweep is
    interrupted, what was submitted is cancelled.

    Raises:
        MissingExtra: if Ray is not installed.
        UsageError: for other settings.
    """
    ray = _need("ray", "ray")
    options = dict(_only(settings, "address", "num_cpus", "num_gpus"))
    ray.init(address=options.pop("address", None), ignore_reinit_error=True)
    task = ray.remote(run_command).options(**{"num_cpus": 1, "max_retries": 0, **options})
    waiting: dict[Any, Job] = {}
    try:
        for job in jobs:
            waiting[task.remote(job.command, job.log)] = job
            begun(job)
        while waiting:
            (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(ready)
            yield job, _code(job, lambda ready=ready: ray.get(ready))
    except BaseException:  # interrupted, or the caller has stopped
        for reference, job in waiting.items():
            _cancel(job, lambda reference=reference: ray.cancel(reference))  # by force, its command would live on
        raise


BACKENDS: dict[str, Callable[[Sequence[Job], Callable[[Job], None], Settings], Generator[Finished, None, None]]] = {
    "local": run_here,
    "slurm": run_on_slurm,
    "ray": run_on_ray,
}


def run_command(command: Sequence[str], log: Path) -> int:
    """Run a command to its end; its exit code."""
    with log.open("ab") as file:
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode


def _code(job: Job, result: Callable[[], int]) -> int:
    """A job's exit code, :data:`LOST` where the cluster has none."""
    try:
        return result()
    except Exception as error:  # each cluster has its own
        _note(job.log, f"The job was lost and ends as failed: {type(error).__name__}: {error}")
        return LOST


def _cancel(job: Job, cancel: Callable[[], Any]) -> None:
    """Cancel a job; one that cannot be cancelled must not keep the others."""
    try:
        cancel()
    except Exception as error:
        _note(job.log, f"The job could not be cancelled and may still run: {type(error).__name__}: {error}")


def _note(log: Path, sentence: str) -> None:
    with log.open("a") as file:
        file.write(f"{sentence}\n")


class _Processes:
    """Commands that run on this machine.

    Args:
        threads: of each; None leaves it to them.
    """

    def __init__(self, threads: int | None):
        self._env = None if threads is None else {**dict.fromkeys(ONE_THREAD, str(threads)), **os.environ}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock, self._stopped = threading.Lock(), False

    def run(self, job: Job, begun: Callable[[Job], None]) -> int:
        """Run a job to its end; its exit code, 130 if it was never started."""
        with job.log.open("ab") as file:
            with self._lock:
                if self._stopped:
                    return 130
                begun(job)
                # A session of its own: Ctrl-C reaches it once, from here, and not from the terminal too.
                process = subprocess.Popen(
                    job.command, stdout=file, stderr=subprocess.STDOUT, env=self._env, start_new_session=True
                )
                self._running.add(process)
            code = process.wait()
        with self._lock:
            self._running.discard(process)
        return code

    def interrupt(self) -> None:
        """Tell every job as Ctrl-C would, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.send_signal(signal.SIGINT)


def _need(package: str, backend: str) -> Any:
    try:
        return import_module(package)
    except ModuleNotFoundError:
        raise MissingExtra.needed_by(f"Backend {backend!r}", "cluster", package) from None


def _only(settings: Settings, *known: str) -> Settings:
    for key in settings:
        if key not in known:
            raise UsageError(f"--backend-set {key} is unknown here; there is {', '.join(known)}.")
    return settings
