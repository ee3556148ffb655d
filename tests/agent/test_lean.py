import importlib
import subprocess
import sys

import pytest

from agent.lean import settle, without
from proto import codec, model


def loaded(command: str) -> set[str]:
    """Return the modules of a fresh process that has loaded one daemon."""
    code = (
        "import sys; from agent import cli; cli._load(sys.argv[1]);"
        "print(*(name for name, module in sys.modules.items() if module))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, command],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    return set(done.stdout.split())


def test_a_module_left_out_cannot_be_imported_until_the_block_ends() -> None:
    sys.modules.pop("this_is_not_loaded", None)

    with without(["colorsys"]), pytest.raises(ImportError):
        importlib.import_module("colorsys")

    assert importlib.import_module("colorsys").__name__ == "colorsys"


def test_a_module_loaded_already_stays() -> None:
    with without(["subprocess"]):
        assert __import__("subprocess") is subprocess


def test_the_block_leaves_nothing_behind_when_it_fails() -> None:
    with pytest.raises(ZeroDivisionError), without(["colorsys2"]):
        _ = 1 / 0

    assert "colorsys2" not in sys.modules


def test_the_privileged_half_never_loads_network_libraries() -> None:
    modules = loaded("sense")

    absent = {"grpc", "asyncio", "ssl", "http", "email", "tuf", "cryptography.x509", "argparse"}
    absent |= {"_hashlib"}
    assert modules & absent == set()
    assert "typing_extensions" not in modules
    assert "agent.sense.app" in modules


def test_the_networked_half_idles_without_keys_tls_and_sensors() -> None:
    modules = loaded("ship")

    absent = {"cryptography", "ssl", "_hashlib", "http", "email", "prometheus_client", "argparse"}
    assert modules & absent == set()
    assert not any(name.startswith("agent.sense") for name in modules)
    assert "agent.ship.app" in modules


def test_messages_are_the_same_without_the_slower_library() -> None:
    code = (
        "import sys; from agent import cli; cli._load('sense');"
        "from proto.codec import encode_body, decode_body; from proto.model import Body;"
        "body = Body(seed=bytes(32), records=(b'one', b'two'));"
        "assert decode_body(encode_body(body)) == body;"
        "print(encode_body(body).hex());"
        "assert 'google.protobuf.internal.python_message' not in sys.modules"
    )

    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, check=True, text=True, timeout=30
    )

    body = model.Body(seed=bytes(32), records=(b"one", b"two"))
    assert bytes.fromhex(done.stdout) == codec.encode_body(body)


def test_settling_is_harmless() -> None:
    settle()
