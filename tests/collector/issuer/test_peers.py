import os
import socket
from pathlib import Path

from collector.issuer.operations import Role
from collector.issuer.peers import caller_of, roles_of
from tests.collector.issuer.builders import some_settings

GATEWAY, ADMIN, STRANGER = 60_001, 60_002, 60_003


def test_the_kernel_says_who_is_at_the_other_end(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()

    with ours, theirs:
        caller = caller_of(ours, some_settings(tmp_path))

    assert caller.uid == os.geteuid()
    assert caller.roles == frozenset(Role)


def test_a_user_may_ask_what_the_settings_say_and_a_stranger_nothing(tmp_path: Path) -> None:
    settings = some_settings(tmp_path, gateway_uids=(GATEWAY,), admin_uids=(ADMIN,))

    assert roles_of(GATEWAY, settings) == {Role.GATEWAY}
    assert roles_of(ADMIN, settings) == {Role.GATEWAY, Role.ADMIN}
    assert roles_of(STRANGER, settings) == set()
    assert roles_of(0, settings) == roles_of(os.geteuid(), settings) == set(Role)
