import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commands.recorded import NoObservation, recorded_observation
from proto.rows import plain
from tests.proto.builders import a_process, an_observation


def test_an_observation_is_read_as_it_was_printed() -> None:
    observation = an_observation(a_process(sha256=bytes(range(32))))

    assert recorded_observation(json.dumps(plain(observation))) == observation


@given(st.binary(max_size=100))
def test_any_bytes_are_an_observation_or_an_error_of_ours(data: bytes) -> None:
    with pytest.raises(NoObservation):
        recorded_observation(data)
