"""Slow questions are bounded, and those that were given up still count until they end."""

import asyncio
import threading

import pytest

from collector.console.desk import Desk
from collector.console.errors import TooBusy


async def test_a_question_is_answered_in_another_thread() -> None:
    desk = Desk(2, 2)

    answer = await desk.ask(threading.get_ident)
    desk.close()

    assert answer != threading.get_ident()


async def test_no_more_questions_are_open_than_allowed() -> None:
    desk = Desk(1, 1)
    go = threading.Event()

    first = asyncio.get_running_loop().create_task(desk.ask(go.wait))
    second = asyncio.get_running_loop().create_task(desk.ask(go.wait))
    await asyncio.sleep(0)
    with pytest.raises(TooBusy):
        await desk.ask(lambda: 1)
    go.set()
    await asyncio.wait([first, second])

    assert await desk.ask(lambda: 1) == 1
    desk.close()


async def test_a_question_that_was_given_up_counts_until_it_ends() -> None:
    desk = Desk(1, 0)
    go, ended = threading.Event(), threading.Event()

    def slow() -> None:
        go.wait()
        ended.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await desk.ask(slow)
    with pytest.raises(TooBusy):
        await desk.ask(lambda: 1)
    go.set()
    await asyncio.get_running_loop().run_in_executor(None, ended.wait)
    await asyncio.sleep(0.05)

    assert await desk.ask(lambda: 1) == 1
    desk.close()


async def test_a_question_that_fails_says_so_and_is_over() -> None:
    desk = Desk(1, 0)

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await desk.ask(lambda: 1 // 0)
    desk.close()
