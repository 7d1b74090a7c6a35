# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs cells in worker processes: a crash or a hang costs its cell and a new process. Cells in, (cell, result) out."""

import multiprocessing
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tests.sweeps.cells import Cell, Outcome, Result

_START_SECONDS = 300.0  # for a process to import torch and build the databases
_READY = "ready"
_CELLS_PER_PROCESS = 250  # after that many a process is replaced: memory that leaks does not add up

Run = Callable[[Cell], Result]
"""Importable by its name: the processes start anew."""

_SPAWN = multiprocessing.get_context("spawn")


def run_cells(
    cells: Iterable[Cell], *, workers: int, seconds: float, run: Run | None = None
) -> Iterator[tuple[Cell, Result]]:
    """The results in the order in which they come. `seconds`: per cell. `run`: what a process does with a cell."""
    pending = deque(cells)
    team: list[_Worker] = []
    try:
        while pending or team:
            while pending and len(team) < workers:
                team.append(_Worker(pending.popleft(), seconds, run))
            wait([w.connection for w in team], timeout=1.0)
            for worker in list(team):
                result = worker.result()
                if result is None:
                    continue
                yield worker.cell, result
                if pending and worker.can_go_on():
                    worker.start(pending.popleft())
                else:
                    worker.stop()
                    team.remove(worker)
    finally:
        for worker in team:
            worker.stop()


class _Worker:
    """A process, and the cell that it is at."""

    def __init__(self, cell: Cell, cell_seconds: float, run: Run | None):
        self.cell_seconds = cell_seconds
        self.count = 0
        self.alive = True
        self.errors = Path(tempfile.mkstemp(prefix="flambeau-sweep-", suffix=".txt")[1])
        self.connection, other = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(other, str(self.errors), run), daemon=True)
        self.process.start()
        other.close()
        self.start(cell)
        self.deadline = time.monotonic() + _START_SECONDS

    def start(self, cell: Cell) -> None:
        self.cell = cell
        self.count += 1
        self.deadline = time.monotonic() + self.cell_seconds
        self.connection.send(cell)

    def result(self) -> Result | None:
        """The result of its cell, if there is one by now."""
        try:
            if self.connection.poll():
                found = self.connection.recv()
                if isinstance(found, Result):
                    return found
                assert found == _READY
                self.deadline = time.monotonic() + self.cell_seconds
        except (EOFError, ConnectionResetError):
            self.alive = False
            self.process.join()
            return Result(Outcome.CRASH, Outcome.CRASH, self.last_words())
        if time.monotonic() > self.deadline:
            self.alive = False
            return Result(Outcome.HANG, Outcome.HANG, f"no result after {self.cell_seconds:.0f} s")
        return None

    def last_words(self) -> str:
        code = self.process.exitcode or 0
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        lines = self.errors.read_text(errors="replace").strip().splitlines()
        return " | ".join([name, *lines[-3:]])[:600]

    def can_go_on(self) -> bool:
        return self.alive and self.count < _CELLS_PER_PROCESS

    def stop(self) -> None:
        self.connection.close()
        if self.process.pid is not None and self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.errors.unlink(missing_ok=True)


def _serve(connection: Connection, errors: str, run: Run | None) -> None:
    """A worker's life."""
    handle = os.open(errors, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if run is None:
        import torch

        from tests.sweeps.judge import run_cell

        torch.set_num_threads(1)
        run = run_cell
    connection.send(_READY)
    while True:
        try:
            cell = connection.recv()
        except EOFError:
            return
        connection.send(run(cell))
