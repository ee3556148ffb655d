"""The console listens where it is told, under the port it got, and stops."""

import aiohttp
import pytest

from collector.console.app import Sources
from collector.console.server import listening
from collector.console.settings import ConsoleSettings
from tests.collector.console.builders import Everything


def sources() -> Sources:
    everything = Everything()
    return Sources("0.1.0", everything, everything, everything, None)


async def test_it_listens_while_the_context_lasts() -> None:
    settings = ConsoleSettings(address="127.0.0.1:0")

    async with (
        listening(sources(), settings) as port,
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/livez") as answer,
    ):
        status = answer.status

    assert status == 200
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(f"http://127.0.0.1:{port}/livez")


async def test_a_port_that_is_taken_is_said() -> None:
    async with listening(sources(), ConsoleSettings(address="127.0.0.1:0")) as port:
        with pytest.raises(OSError, match="in use"):
            async with listening(sources(), ConsoleSettings(address=f"127.0.0.1:{port}")):
                pass
