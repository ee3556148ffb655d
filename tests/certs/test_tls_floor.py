import subprocess
import sys
from pathlib import Path

import pytest

from certs.tls_floor import IN_TIME, require_tls_13

NEED = "from certs.tls_floor import require_tls_13; require_tls_13()"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_in_these_tests_the_floor_was_set_in_time() -> None:
    require_tls_13()

    assert IN_TIME


def test_credentials_are_refused_where_grpc_was_loaded_first() -> None:
    done = run(f"import grpc; {NEED}")

    assert done.returncode != 0
    assert "import certs before grpc" in done.stderr


@pytest.mark.parametrize("package", ["certs", "proto", "agent.ship", "collector", "tests"])
def test_every_package_sets_the_floor_before_it_loads_grpc(package: str) -> None:
    done = run(f"import {package}, sys; assert 'grpc' not in sys.modules; import grpc; {NEED}")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_floor_inherited_from_the_environment_is_in_time() -> None:
    done = run(f"import grpc; {NEED}", GRPC_SSL_CIPHER_SUITES="ECDHE-RSA-AES256-GCM-SHA384")

    assert (done.returncode, done.stderr) == (0, "")


def test_another_value_in_the_environment_is_replaced() -> None:
    code = "import certs, os; print(os.environ['GRPC_SSL_CIPHER_SUITES'])"

    done = run(code, GRPC_SSL_CIPHER_SUITES="ECDHE-ECDSA-AES128-GCM-SHA256")

    assert done.stdout == "ECDHE-RSA-AES256-GCM-SHA384\n"


def test_strangers_who_fail_a_handshake_fill_no_log_unless_an_operator_asks() -> None:
    code = "import certs, os; print(os.environ['GRPC_VERBOSITY'])"

    assert run(code).stdout == "ERROR\n"
    assert run(code, GRPC_VERBOSITY="DEBUG").stdout == "DEBUG\n"
