"""Which container an overlay belongs to: its device number outlives the processes in it.

A container's root is a file system of its own, so a file that was executed from it tells the
container even when the process has ended. It is learned from processes that could still be read,
or from the mount point where that holds a container's number. An overlay that two containers are
said to have is nobody's, and so is one whose files were run outside of any before.
"""

import re
from collections.abc import Iterable
from typing import Final

_NUMBER: Final = re.compile(rb"(?:^|/)([0-9a-f]{64})/rootfs(?:/|$)")


class Overlays:
    """Containers by the device number of their root."""

    def __init__(self) -> None:
        self._owners: dict[int, str] = {}
        self._devices: frozenset[int] = frozenset()

    def renew(self, mounted: Iterable[tuple[int, bytes]]) -> None:
        """Take note of what is mounted now and forget the rest.

        Args:
            mounted: device number and mount point of every overlay.
        """
        places = list(mounted)
        # What lies on the host's own root tells of no container, whoever runs it.
        roots = {dev for dev, path in places if path == b"/"}
        points = {dev: path for dev, path in places if dev not in roots}
        self._devices = frozenset(points)
        self._owners = {dev: name for dev, name in self._owners.items() if dev in points}
        for dev, path in points.items():
            if found := _NUMBER.search(path):
                self._owners.setdefault(dev, found[1].decode())

    def learn(self, device: int, container: object) -> None:
        """Take note that a process of a container ran a file of this device.

        Args:
            device: of the file; one that is no overlay teaches nothing.
            container: its number, None for one that is in none; anything else teaches nothing.
        """
        if device not in self._devices:
            return
        if container is None:
            self._owners.setdefault(device, "")
        if not isinstance(container, str):
            return
        if self._owners.setdefault(device, container) != container:
            self._owners[device] = ""

    def owner(self, device: int) -> str | None:
        """Return the container whose root a device is; None if that is not known."""
        return self._owners.get(device) or None
