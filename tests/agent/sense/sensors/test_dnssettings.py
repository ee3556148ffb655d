import subprocess
import sys

import msgspec
import pytest

from agent.sense.sensors.dnssettings import DnsSettings


def test_the_same_is_told_once_a_minute_unless_other_settings_are_given() -> None:
    assert DnsSettings().repeat_s == 60
    assert msgspec.convert({"repeat_s": 5}, DnsSettings).repeat_s == 5


@pytest.mark.parametrize("own", [{"repeat_s": -1}, {"names_max": 1}, {"surprise": 1}])
def test_settings_have_bounds(own: dict[str, int]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(own, DnsSettings)


def test_whoever_reads_them_need_not_carry_the_sensor() -> None:
    script = "import sys, agent.config; print('agent.sense.sensors.dns' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
