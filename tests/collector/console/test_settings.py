"""The console listens on loopback and nowhere else."""

from pathlib import Path

import msgspec
import pytest

from collector.console.settings import ConsoleSettings
from runtime.settings import BadSettings, load


class Whole(msgspec.Struct, frozen=True):
    console: ConsoleSettings = ConsoleSettings()


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:6612", ("127.0.0.1", 6612)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_an_address_is_a_loopback_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert ConsoleSettings(address=address).split() == parts


@pytest.mark.parametrize(
    "address", ["0.0.0.0:6612", "[::]:6612", "10.0.0.1:6612", "host:1", "127.0.0.1", ":1", "x:y"]
)
def test_any_other_address_is_refused_with_its_key(tmp_path: Path, address: str) -> None:
    file = tmp_path / "collector.toml"
    file.write_text(f'[console]\naddress = "{address}"\n')

    with pytest.raises(BadSettings) as raised:
        load(Whole, file, {})

    assert raised.value.key == "console"
    assert "address" in raised.value.rule
