"""The laws of serving content by name."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.feeds.errors import NoSuchContent
from collector.feeds.mirror import open_content
from proto.content.errors import BadName


@pytest.fixture
def published(tmp_path: Path) -> Path:
    (tmp_path / "content" / "metadata").mkdir(parents=True)
    (tmp_path / "content" / "metadata" / "timestamp.json").write_text("{}")
    (tmp_path / "content" / "metadata" / "folder").mkdir()
    (tmp_path / "content" / "metadata" / "link.json").symlink_to("/etc/passwd")
    (tmp_path / "keys.pem").write_text("secret")
    return tmp_path / "content"


def test_a_published_file_is_found(published: Path) -> None:
    path = open_content(published, "metadata/timestamp.json")

    assert path.read_text() == "{}"


@pytest.mark.parametrize("name", ["metadata/2.root.json", "metadata/folder", "metadata/link.json"])
def test_what_is_not_a_published_file_is_not_served(published: Path, name: str) -> None:
    with pytest.raises(NoSuchContent):
        open_content(published, name)


@pytest.mark.parametrize(
    "name", ["../keys.pem", "metadata/../../keys.pem", "/etc/passwd", "metadata/.hidden", ""]
)
def test_no_name_leads_out_of_the_folder(published: Path, name: str) -> None:
    with pytest.raises(BadName):
        open_content(published, name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text() | st.text(alphabet="metad/.-ks"))
def test_any_name_is_a_file_inside_or_an_error_of_ours(published: Path, name: str) -> None:
    try:
        path = open_content(published, name)
    except (BadName, NoSuchContent):
        return

    assert published in path.resolve().parents
