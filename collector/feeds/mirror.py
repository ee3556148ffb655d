"""Where a content file lies that a host asks for by name."""

from pathlib import Path

from collector.feeds.errors import NoSuchContent
from proto.content.errors import shown
from proto.content.names import check_name


def open_content(directory: Path, name: str) -> Path:
    """Return the path of a published file.

    Args:
        directory: the published directory (`collector.feeds.publish.content_dir`).
        name: a peer's text.

    Raises:
        BadName: not a name of content; nothing was looked for.
        NoSuchContent: no such file is published.
    """
    path = directory / check_name(name)
    if path.is_symlink() or not path.is_file():
        raise NoSuchContent(f"{shown(name)} is not published")
    return path
