import msgspec
import pytest

from collector.gateway.settings import GatewaySettings, ServerSettings, StreamSettings
from proto.model import MESSAGE_BYTES_MAX, RAW_BYTES_MAX


def test_the_defaults_let_every_honest_agent_through() -> None:
    settings = GatewaySettings()

    assert settings.server.message_bytes_max == MESSAGE_BYTES_MAX
    assert settings.stream.agent_bytes_burst_max > 16 * RAW_BYTES_MAX
    assert settings.server.ping_wait_s_min <= 30
    assert settings.trust.watch_wait_s < settings.trust.stale_s_max


def test_a_limit_of_nothing_and_an_unknown_name_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"connection_streams_max": 0}, ServerSettings)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"streams": 1}, StreamSettings)
