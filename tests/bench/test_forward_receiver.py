import json

import aiohttp

from bench import forward, forward_receiver


async def test_the_receiver_takes_what_it_is_sent_and_ends_with_its_input() -> None:
    with forward.receiver() as url:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{url}/services/collector/event",
                data=b"not gzip",
                headers={"Content-Encoding": "gzip"},
            ) as response,
        ):
            answer = await response.json()

    assert response.status == 200
    assert answer == json.loads(forward_receiver.ANSWER)
