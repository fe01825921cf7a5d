"""Who plays: this process, or several spawned ones with one thread each.

A batch of tasks goes in, finished episodes come out as soon as they are done, in any order.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from jepawm_bench.agent import AgentRequest
from jepawm_bench.errors import AgentFailed, BenchError
from jepawm_bench.player import Conditions, Player
from jepawm_bench.registry import make_agent
from jepawm_bench.results import Finished
from jepawm_bench.tasks import Task
from jepawm_bench.threads import environment_of_workers

Batch = Sequence[Task]


class Crew(Protocol):
    """Players that share the work."""

    def provenance(self) -> Mapping[str, Any]:
        """What the agent says about itself; waits until it is made."""
        ...

    def play(self, batches: Sequence[Batch]) -> Iterator[list[Finished]]:
        """Play all batches, giving each one's episodes when it is finished."""
        ...


class InProcess:
    """One player in this process."""

    def __init__(self, player: Player):
        self._player = player

    def provenance(self) -> Mapping[str, Any]:
        """See :class:`Crew`."""
        return self._player.provenance

    def play(self, batches: Sequence[Batch]) -> Iterator[list[Finished]]:
        """Play one batch after the other."""
        for batch in batches:
            yield self._player.play(batch)


class Processes:
    """Spawned processes, each with its own agent and environments; made by :func:`hire`."""

    def __init__(self, members: Sequence[tuple[BaseProcess, Connection]]):
        self._members = list(members)
        self._provenance: Mapping[str, Any] | None = None

    def provenance(self) -> Mapping[str, Any]:
        """See :class:`Crew`; waits for every worker."""
        for _, connection in self._members:
            if self._provenance is None:
                self._provenance = self._receive(connection)
            else:
                self._receive(connection)
        return self._provenance or {}

    def play(self, batches: Sequence[Batch]) -> Iterator[list[Finished]]:
        """Give each idle worker the next batch."""
        if self._provenance is None:
            self.provenance()
        waiting = list(batches)[::-1]
        idle, busy = [connection for _, connection in self._members], set[Connection]()
        while waiting or busy:
            while waiting and idle:
                connection = idle.pop()
                connection.send(waiting.pop())
                busy.add(connection)
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                finished = self._receive(ready)
                busy.remove(ready)
                idle.append(ready)
                yield finished

    def dismiss(self) -> None:
        """End the processes."""
        for process, connection in self._members:
            connection.close()
            process.terminate()
        for process, _ in self._members:
            process.join()

    def _receive(self, connection: Connection) -> Any:
        try:
            answer = connection.recv()
        except (EOFError, OSError):
            raise AgentFailed(
                "A worker process died (out of memory, or a crash in compiled code). What was finished is kept; "
                "try again with --resume and fewer --workers."
            ) from None
        if isinstance(answer, BenchError):
            raise answer
        return answer


@contextmanager
def hire(request: AgentRequest, conditions: Conditions, workers: int) -> Iterator[Crew]:
    """Players for an agent of the catalogue: this process when ``workers`` is 1, else that many processes."""
    if workers <= 1:
        yield InProcess(Player(make_agent(request), conditions))
        return
    context = multiprocessing.get_context("spawn")
    members: list[tuple[BaseProcess, Connection]] = []
    with environment_of_workers():
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, request, conditions), daemon=True)
            process.start()
            theirs.close()
            members.append((process, ours))
    crew = Processes(members)
    try:
        yield crew
    finally:
        crew.dismiss()


def _work(connection: Connection, request: AgentRequest, conditions: Conditions) -> None:
    """Body of a worker: make the agent, then play what comes until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    try:
        player = Player(make_agent(request), conditions)
        connection.send(player.provenance)
        while True:
            connection.send(player.play(connection.recv()))
    except BenchError as error:
        connection.send(error)
    except (EOFError, OSError):  # the parent is gone
        return
    except Exception as error:
        connection.send(AgentFailed(f"A worker failed: {type(error).__name__}: {error}.", traceback.format_exc()))
