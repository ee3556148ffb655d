"""Answers questions in threads of their own, a bounded number at once."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from collector.console.errors import TooBusy

T = TypeVar("T")


class Desk:
    """Runs blocking questions.

    A request that is given up does not stop its question: the thread ends it, and until then it
    counts. So slow questions make the console say that it is busy, and never fill the process.

    Args:
        at_once_max: questions answered at once.
        waiting_max: questions that may wait for their turn.
    """

    def __init__(self, at_once_max: int, waiting_max: int) -> None:
        self._pool = ThreadPoolExecutor(at_once_max, thread_name_prefix="console")
        self._open_max = at_once_max + waiting_max
        self._open = 0
        self._lock = threading.Lock()

    async def ask(self, question: Callable[[], T]) -> T:
        """Return the answer to a question.

        Raises:
            TooBusy: too many are open.
        """
        with self._lock:
            if self._open >= self._open_max:
                raise TooBusy("too many questions at once", hint="ask again in a moment")
            self._open += 1
        future = self._pool.submit(question)
        future.add_done_callback(self._done)
        return await asyncio.shield(asyncio.wrap_future(future))

    def close(self) -> None:
        """Take no more questions; those under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self, _: object) -> None:
        with self._lock:
            self._open -= 1
