import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certs import profiles
from certs.p256 import P256Key
from runtime.clock import NS_PER_S
from tests.certs.builders import NOW_NS

KEY = P256Key.generate()
HOST = "11111111-1111-4111-8111-111111111111.vedette.example"


@given(st.integers(10**18, 4 * 10**18), st.integers(1, 10**9))
def test_a_period_starts_a_minute_ago_and_is_whole_seconds(now_ns: int, lifetime_s: int) -> None:
    period = profiles.period_from(now_ns, lifetime_s)

    assert 60 * NS_PER_S <= now_ns - period.not_before_ns < 61 * NS_PER_S
    assert 0 <= now_ns + lifetime_s * NS_PER_S - period.not_after_ns < NS_PER_S
    assert period.not_before_ns % NS_PER_S == period.not_after_ns % NS_PER_S == 0


def test_a_period_never_outlives_the_issuer() -> None:
    period = profiles.period_from(NOW_NS, 100)

    assert period.within(NOW_NS + NS_PER_S).not_after_ns == NOW_NS + NS_PER_S
    assert period.within(NOW_NS + 1000 * NS_PER_S) == period


@pytest.mark.parametrize(
    ("template", "is_authority"),
    [
        (profiles.root_template("vedette.example", KEY.public), True),
        (profiles.tenant_template(HOST, KEY.public), True),
        (profiles.collector_template("vedette.example", KEY.public), True),
        (profiles.agent_template(f"spiffe://{HOST}/agent/x", KEY.public), False),
        (profiles.server_template((x509.DNSName("localhost"),), KEY.public), False),
    ],
    ids=["root", "tenant", "collector", "agent", "server"],
)
def test_a_certificate_says_exactly_what_its_template_says(
    template: profiles.Template, is_authority: bool
) -> None:
    period = profiles.period_from(NOW_NS, 100)

    made = profiles.sign(template, period, template.subject, KEY)

    found = {(extension.value, extension.critical) for extension in made.extensions}
    assert found == {*template.extensions, (profiles.issuer_key(KEY.public), False)}
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is is_authority
    assert (len(made.subject.rdns) > 0) is is_authority
    assert (profiles.not_before_ns(made), profiles.not_after_ns(made)) == (
        period.not_before_ns,
        period.not_after_ns,
    )


def test_serial_numbers_are_random_positive_and_fit_twenty_bytes() -> None:
    template = profiles.root_template("vedette.example", KEY.public)
    period = profiles.period_from(NOW_NS, 100)

    serials = {
        profiles.sign(template, period, template.subject, KEY).serial_number for _ in range(16)
    }

    assert len(serials) == 16
    assert all(0 < serial < 2**159 for serial in serials)
    assert max(serials) > 2**100


def test_a_long_trust_domain_still_gives_a_legal_subject() -> None:
    template = profiles.root_template("a" * 63 + "." + "b" * 63, KEY.public)

    period = profiles.period_from(NOW_NS, 100)
    made = profiles.sign(template, period, template.subject, KEY)

    (name,) = made.subject
    assert len(str(name.value)) == 64


def test_a_pem_is_one_block() -> None:
    template = profiles.root_template("vedette.example", KEY.public)
    period = profiles.period_from(NOW_NS, 100)

    pem = profiles.to_pem(profiles.sign(template, period, template.subject, KEY))

    assert pem.startswith(b"-----BEGIN CERTIFICATE-----\n")
    assert pem.count(b"BEGIN") == 1
