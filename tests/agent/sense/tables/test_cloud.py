"""A cloud is told by what lies on the host, and by nothing else."""

from pathlib import Path

import pytest

from agent.sense.tables import cloud
from tests.agent.sense.tables.views import looking_at, shown, write

DMI = "sys/class/dmi/id"


def values_of(root: Path, files: dict[str, str | bytes]) -> dict[object, object]:
    return {r["name"]: r["value"] for r in shown(cloud.TABLE, looking_at(write(root, files)))}


@pytest.mark.parametrize(
    ("files", "provider", "instance"),
    [
        (
            {f"{DMI}/sys_vendor": "Amazon EC2\n", f"{DMI}/board_asset_tag": "i-0abc\n"},
            "aws",
            "i-0abc",
        ),
        ({"sys/hypervisor/uuid": "ec2f58af\n"}, "aws", None),
        (
            {
                f"{DMI}/chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77\n",
                f"{DMI}/product_uuid": "u-1\n",
            },
            "azure",
            "u-1",
        ),
        (
            {
                f"{DMI}/product_name": "Google Compute Engine\n",
                "var/lib/cloud/data/instance-id": "123\n",
            },
            "gcp",
            "123",
        ),
        ({f"{DMI}/sys_vendor": "Hetzner\n", f"{DMI}/product_serial": "77\n"}, "hetzner", "77"),
        ({"run/cloud-init/cloud-id": "nocloud\n"}, "nocloud", None),
        ({f"{DMI}/sys_vendor": "Dell Inc.\n"}, None, None),
    ],
)
def test_the_provider_and_instance_are_what_the_host_says(
    files: dict[str, str | bytes], provider: str | None, instance: str | None, tmp_path: Path
) -> None:
    values = values_of(tmp_path, files)

    assert (values["provider"], values.get("instance")) == (provider, instance)


def test_what_was_read_is_shown_with_where(tmp_path: Path) -> None:
    write(tmp_path, {"var/lib/cloud/data/instance-id": "i-1\n"})

    *_, row = shown(cloud.TABLE, looking_at(tmp_path))

    assert row == {
        "name": "instance_id",
        "value": "i-1",
        "origin": "/var/lib/cloud/data/instance-id",
    }
