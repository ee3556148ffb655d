"""TLS towards receivers is verified, whatever the settings say."""

import ssl
from pathlib import Path

import pytest

from collector.forward.errors import SinkMisconfigured
from collector.forward.tls import client_context
from tests.collector.forward.certificates import a_certificate, an_authority


def test_names_and_authorities_are_always_checked(tmp_path: Path) -> None:
    authority = an_authority(tmp_path / "authority")

    for ca_file in ("", str(authority.ca_file)):
        context = client_context(ca_file)

        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_an_authority_of_ones_own_is_the_only_one(tmp_path: Path) -> None:
    authority = an_authority(tmp_path / "authority")

    assert len(client_context(str(authority.ca_file)).get_ca_certs()) == 1


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_an_unusable_authority_is_a_mistake_of_ours(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SinkMisconfigured, match=r"ca\.pem"):
        client_context(str(path))


def test_a_key_of_another_certificate_is_a_mistake_of_ours(tmp_path: Path) -> None:
    authority = an_authority(tmp_path / "authority")
    one, two = a_certificate(authority, "one.example"), a_certificate(authority, "two.example")

    client_context(str(authority.ca_file), str(one.cert), str(one.key))
    with pytest.raises(SinkMisconfigured, match="one"):
        client_context(str(authority.ca_file), str(one.cert), str(two.key))
