"""A process whose image is no file that anyone could look at is a row."""

from pathlib import Path

import pytest

from agent.sense.tables import images
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.agent.sense.tables.views import looking_at, shown


@pytest.mark.parametrize(
    ("exe", "kind"),
    [
        ("/tmp/x (deleted)", "deleted"),
        ("/memfd:payload (deleted)", "memfd"),
        ("/memfd:payload", "memfd"),
        ("/usr/bin/bash", None),
        (None, None),
    ],
)
def test_an_image_is_of_a_kind(exe: object, kind: str | None) -> None:
    assert images.kind_of(exe) == kind


def test_only_such_processes_are_rows(tmp_path: Path) -> None:
    looking = looking_at(a_golden_host("debian12", tmp_path))

    (row,) = shown(images.TABLE, looking)

    assert (row["pid"], row["kind"], row["exe"]) == (902, "deleted", "/tmp/odd\nname (deleted)")
    assert "may not be looked at" in looking.problems[0]
