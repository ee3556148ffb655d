"""Which machine of which cloud this is, from what lies on the host alone.

The metadata service is never asked: this process has no network, and whoever may ask it may also
get credentials from it.

Source: the kernel's sysfs-firmware-dmi; cloud-init "Instance metadata"; Amazon EC2 "Detect whether
a host is an EC2 instance"; Azure "chassis asset tag".
"""

from collections.abc import Iterator
from typing import Final

from agent.sense.tables.table import Looking, Row, Table

_DMI: Final = "/sys/class/dmi/id"
_HYPERVISOR_UUID: Final = "/sys/hypervisor/uuid"
_AZURE_TAG: Final = "7783-7084-3265-9085-8269-3286-77"
_FACTS: Final = (
    ("product_uuid", f"{_DMI}/product_uuid"),
    ("product_name", f"{_DMI}/product_name"),
    ("product_serial", f"{_DMI}/product_serial"),
    ("sys_vendor", f"{_DMI}/sys_vendor"),
    ("board_asset_tag", f"{_DMI}/board_asset_tag"),
    ("chassis_asset_tag", f"{_DMI}/chassis_asset_tag"),
    ("hypervisor_uuid", _HYPERVISOR_UUID),
    ("instance_id", "/var/lib/cloud/data/instance-id"),
    ("previous_instance_id", "/var/lib/cloud/data/previous-instance-id"),
    ("cloud_id", "/run/cloud-init/cloud-id"),
    ("data_source", "/var/lib/cloud/instance/datasource"),
)


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a fact, the provider first."""
    known: dict[str, str] = {}
    found: list[Row] = []
    for name, path in _FACTS:
        data = looking.maybe(path)
        text = looking.text(path) if data is not None else None
        if text:
            known[name] = text
            found.append({"name": name, "value": text, "origin": path})
    provider, origin = provider_of(known)
    yield {"name": "provider", "value": provider, "origin": origin}
    if instance := instance_of(provider, known):
        yield {"name": "instance", "value": instance, "origin": "board_asset_tag, product_uuid"}
    yield from found


def provider_of(known: dict[str, str]) -> tuple[str | None, str]:
    """Return the cloud that the facts speak of, and which fact does; None for none."""
    if known.get("chassis_asset_tag") == _AZURE_TAG:
        return "azure", "chassis_asset_tag"
    uuids = (known.get("hypervisor_uuid", ""), known.get("product_uuid", ""))
    if known.get("sys_vendor", "").lower().startswith("amazon ec2"):
        return "aws", "sys_vendor"
    if any(uuid.lower().startswith("ec2") for uuid in uuids):
        return "aws", "product_uuid"
    for sign, provider in (
        ("google", "gcp"),
        ("digitalocean", "digitalocean"),
        ("hetzner", "hetzner"),
        ("alibaba cloud", "alibaba"),
        ("oraclecloud", "oracle"),
        ("openstack", "openstack"),
        ("scaleway", "scaleway"),
        ("vultr", "vultr"),
        ("linode", "linode"),
    ):
        for name in ("sys_vendor", "product_name", "chassis_asset_tag"):
            if sign in known.get(name, "").lower():
                return provider, name
    return known.get("cloud_id"), "cloud_id"


def instance_of(provider: str | None, known: dict[str, str]) -> str | None:
    """Return the instance's id as its provider writes it, where the hardware carries it."""
    if provider == "aws" and known.get("board_asset_tag", "").startswith("i-"):
        return known["board_asset_tag"]
    if provider == "azure":
        return known.get("product_uuid")
    if provider in {"digitalocean", "hetzner"}:
        return known.get("product_serial")
    return known.get("instance_id")


TABLE: Final = Table(
    text="which machine of which cloud this is, from local sources alone",
    columns={
        "name": "which fact",
        "value": "its value; null where nothing speaks of a cloud",
        "origin": "where it was read, or which fact says so",
    },
    rows=rows,
)
