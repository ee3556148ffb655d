"""Every entry is a row of plain values, and what was not read is said beside them."""

import json
import os
from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.persist.rows import entry_rows
from tests.agent.sense.sensors.persist.looking import NOW, put


def test_entries_are_rows_and_what_was_not_read_is_said(tmp_path: Path) -> None:
    put(tmp_path, "/etc/passwd", "alice:x:1000:1000::/home/alice:/bin/sh\n")
    put(tmp_path, "/etc/rc.local", "")
    os.mkfifo(tmp_path / "etc/crontab")
    unread: dict[str, str] = {}

    rows = list(entry_rows(HostRoot(tmp_path), NOW, unread))

    assert json.loads(json.dumps(rows)) == [
        {
            "mechanism": "user",
            "name": "alice",
            "path": "/etc/passwd",
            "value": "uid=1000 gid=1000 home=/home/alice shell=/bin/sh password=unknown",
            "uid": 1000,
            "user": "alice",
            "caveats": [],
        },
        {
            "mechanism": "boot_script",
            "name": "rc.local",
            "path": "/etc/rc.local",
            "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "caveats": [],
        },
    ]
    assert list(unread) == ["/etc/crontab"]
