"""The configured trees say what is watched and what is not."""

import msgspec
import pytest

from agent.sense.sensors.filetrees import FileSettings, Place, Scope, Tree, upward


def a_scope(*trees: Tree) -> Scope:
    return Scope(trees)


@pytest.mark.parametrize("path", ["/", "/etc", "/home/*/.ssh", "/a/..b/c..", "/…"])
def test_an_absolute_path_is_a_tree(path: str) -> None:
    assert msgspec.convert({"trees": [{"path": path}]}, FileSettings).trees == (Tree(path),)


@pytest.mark.parametrize("path", ["", "etc", "//etc", "/etc/", "/a/../b", "/a/.", "/a\0b", "/a//b"])
def test_any_other_path_is_refused(path: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"trees": [{"path": path}]}, FileSettings)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"trees": [{"path": "/etc", "recurse": True}]}, FileSettings)


def test_the_defaults_are_valid_settings() -> None:
    plain = msgspec.to_builtins(FileSettings())

    assert msgspec.convert(plain, FileSettings) == FileSettings()


def test_a_tree_ends_at_its_depth() -> None:
    scope = a_scope(Tree("/a", depth_max=1), Tree("/b", recursive=False))

    inner = scope.below(scope.root(0, b"/a"), b"x")

    assert inner == Place(b"/a/x", 0, 1)
    assert scope.below(inner, b"y") is None
    assert scope.below(scope.root(1, b"/b"), b"x") is None


def test_an_inner_tree_is_its_own() -> None:
    scope = a_scope(Tree("/a"), Tree("/a/x", recursive=False))

    assert scope.below(scope.root(0, b"/a"), b"x") is None
    assert scope.below(scope.root(0, b"/a"), b"y") == Place(b"/a/y", 0, 1)


@pytest.mark.parametrize(
    ("point", "concerns"),
    [(b"/", True), (b"/usr", True), (b"/usr/bin/x", False), (b"/etc/cron.d", True), (b"/x", False)],
)
def test_a_mount_in_a_tree_or_over_one_concerns_it(point: bytes, *, concerns: bool) -> None:
    scope = a_scope(Tree("/etc"), Tree("/usr/bin", recursive=False))

    assert scope.concerns(point) is concerns


@pytest.mark.parametrize(
    ("directory", "may"),
    [
        (b"/etc", True),
        (b"/etc/deep/down", True),
        (b"/etcetera", False),
        (b"/usr/bin", True),
        (b"/usr/bin/deep", False),
        (b"/home/a/.ssh", True),
        (b"/var/www", True),  # a tree may be one file
        (b"/var", False),
        (b"", True),
    ],
)
def test_what_no_tree_can_hold_is_known_without_a_look(directory: bytes, *, may: bool) -> None:
    scope = a_scope(
        Tree("/etc"), Tree("/usr/bin", recursive=False), Tree("/home/*/.ssh"), Tree("/var/www/x")
    )

    assert scope.may_hold(directory) is may


def test_the_root_directory_is_a_tree_like_any_other() -> None:
    scope = a_scope(Tree("/"))

    assert scope.root(0, b"/") == Place(b"", 0)
    assert scope.below(scope.root(0, b"/"), b"etc") == Place(b"/etc", 0, 1)
    assert scope.may_hold(b"/anywhere")


@pytest.mark.parametrize(
    ("pattern", "name", "is_out"),
    [
        ("*.swp", b"a.swp", True),
        ("*.swp", b"a.swp.x", False),
        ("/etc/cache/*", b"x", False),
        ("/etc/ssh/*.pub", b"key.pub", True),
        ("/*.pub", b"key.pub", True),
        ("[!a]", b"b", True),
        ("*", b"\xff", True),
    ],
)
def test_excludes_match_the_name_or_with_a_slash_the_path(
    pattern: str, name: bytes, is_out: bool
) -> None:
    scope = a_scope(Tree("/etc/ssh", exclude=(pattern, "never")))

    assert scope.excludes(Place(b"/etc/ssh", 0), name) is is_out


def test_nothing_is_excluded_without_patterns() -> None:
    assert not a_scope(Tree("/etc")).excludes(Place(b"/etc", 0), b"x")


def test_upward_ends_at_the_root() -> None:
    assert list(upward(b"/a/b")) == [b"/a/b", b"/a", b""]
