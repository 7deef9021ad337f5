"""A worker process of a pool: it carries out the runs that the driver sends it."""

import os
import queue
import threading
from multiprocessing.connection import Connection

import torch

from dropbench.engine.device import prepare_process
from dropbench.engine.turns import Turns, side_by_side
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult
from dropbench.runners.base import DeviceLostError, Extras, turns_of_run
from dropbench.runners.messages import saying
from dropbench.runners.signals import leave_to_driver


class _Orders:
    """The runs that the driver sends a worker, each with its place, until it asks for the end or is gone.

    A thread waits for them: so the end is known at once, and looking for it takes a run no time.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: queue.SimpleQueue[tuple[int, RunConfig] | None] = queue.SimpleQueue()
        self._ended = False
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while (order := self._connection.recv()) is not None:
                self._waiting.put(order)
        except (EOFError, OSError):  # the driver is gone
            pass
        finally:
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._waiting.put(None)

    def ended(self) -> bool:
        """Whether the worker is to stop after its step."""
        return self._ended

    def take(self, may_wait: bool) -> tuple[int, RunConfig] | None:
        """Return the next run, or None: at the end, or if there is none now and it may not wait for one."""
        try:
            return self._waiting.get(may_wait)
        except queue.Empty:
            return None

    def answer(self, message: tuple[int, object]) -> None:
        """Send the driver an epoch, a result or an error, of the run at a place; the end if it is gone."""
        try:
            self._connection.send(message)
        except OSError:
            self._end()


def carry_out_orders(
    connection: Connection,
    device: torch.device,
    threads: int,
    extras: Extras,
    abreast: int,
    environment: dict[str, str],
) -> None:
    """Run a worker: receive configs, send their epochs and their results, until the driver wants no more.

    Each config comes with its place among the runs in progress, and so does what is sent of it.
    """
    leave_to_driver()
    os.environ.clear()  # a fork has the server's, as it was when that started
    os.environ.update(environment)
    prepare_process(threads, device)
    orders = _Orders(connection)

    def work(place: int, config: RunConfig) -> Turns[tuple[int, RunResult]]:
        def on_epoch(record: EpochRecord) -> None:
            orders.answer((place, record))

        try:
            return place, (yield from turns_of_run(config, device, extras, on_epoch))
        except DeviceLostError as error:
            orders.answer((place, error))
            os._exit(1)  # without cleaning up, which would call the lost device

    def take(may_wait: bool) -> Turns[tuple[int, RunResult]] | None:
        order = orders.take(may_wait)
        return None if order is None else work(*order)

    with saying(lambda said: orders.answer((0, said))):
        for result in side_by_side(take, abreast, orders.ended):
            orders.answer(result)
    os._exit(0)  # nothing that is left in memory is of use to anybody
