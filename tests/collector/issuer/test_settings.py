from pathlib import Path

import msgspec
import pytest

from collector.issuer.settings import IssuerSettings

NEEDED = {
    "home": "/var/lib/vedette-collector/issuer",
    "socket": "/run/vedette-collector/issuer.sock",
    "domain": "vedette.example",
    "server_names": ["collector.example"],
}


def test_what_is_not_set_has_a_limit_all_the_same() -> None:
    settings = msgspec.convert(NEEDED, IssuerSettings, dec_hook=lambda kind, value: kind(value))

    assert settings.home == Path("/var/lib/vedette-collector/issuer")
    assert (settings.nonce_life_s, settings.recoveries_max) == (60, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce_life_s": 0},
        {"connections_max": 0},
        {"pending_max": -1},
        {"recoveries_max": -1},
        {"requests_per_s_max": 10**9},
        {"unknown": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_limit_that_is_none_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(NEEDED | change, IssuerSettings, dec_hook=lambda kind, value: kind(value))
