import hashlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import IdentityReason, IdentityRefused
from certs.identity import (
    AgentId,
    PeerIdentity,
    TenantId,
    agent_id_of,
    parse_domain,
    parse_spiffe,
    spiffe_uri,
    tenant_host,
)

DOMAIN = "vedette.example"
T = "11111111-1111-4111-8111-111111111111"
A = "0a4b1c2d-3e4f-8a5b-9c6d-7e8f9a0b1c2d"
GOOD = f"spiffe://{T}.{DOMAIN}/agent/{A}"

MALFORMED = {
    "nothing": "",
    "space": " ",
    "scheme only": "spiffe://",
    "no scheme": f"{T}.{DOMAIN}/agent/{A}",
    "http": f"https://{T}.{DOMAIN}/agent/{A}",
    "upper scheme": f"SPIFFE://{T}.{DOMAIN}/agent/{A}",
    "one slash": f"spiffe:/{T}.{DOMAIN}/agent/{A}",
    "no slashes": f"spiffe:{T}.{DOMAIN}/agent/{A}",
    "three slashes": f"spiffe:///{T}.{DOMAIN}/agent/{A}",
    "user": f"spiffe://user@{T}.{DOMAIN}/agent/{A}",
    "user and password": f"spiffe://user:pass@{T}.{DOMAIN}/agent/{A}",
    "empty user": f"spiffe://@{T}.{DOMAIN}/agent/{A}",
    "port": f"spiffe://{T}.{DOMAIN}:443/agent/{A}",
    "empty port": f"spiffe://{T}.{DOMAIN}:/agent/{A}",
    "query": f"{GOOD}?x=1",
    "empty query": f"{GOOD}?",
    "fragment": f"{GOOD}#x",
    "empty fragment": f"{GOOD}#",
    "parameter": f"{GOOD};x=1",
    "trailing slash": f"{GOOD}/",
    "two trailing slashes": f"{GOOD}//",
    "more path": f"{GOOD}/admin",
    "no path": f"spiffe://{T}.{DOMAIN}",
    "root path": f"spiffe://{T}.{DOMAIN}/",
    "no agent": f"spiffe://{T}.{DOMAIN}/agent",
    "empty agent": f"spiffe://{T}.{DOMAIN}/agent/",
    "double slash": f"spiffe://{T}.{DOMAIN}//agent/{A}",
    "double slash inside": f"spiffe://{T}.{DOMAIN}/agent//{A}",
    "dot segment": f"spiffe://{T}.{DOMAIN}/./agent/{A}",
    "dot-dot segment": f"spiffe://{T}.{DOMAIN}/x/../agent/{A}",
    "dot-dot at the end": f"{GOOD}/..",
    "escaped dots": f"spiffe://{T}.{DOMAIN}/x/%2e%2e/agent/{A}",
    "escaped slash": f"spiffe://{T}.{DOMAIN}/agent%2f{A}",
    "escaped letter": f"spiffe://{T}.{DOMAIN}/%61gent/{A}",
    "escaped host": f"spiffe://{T}%2e{DOMAIN}/agent/{A}",
    "escaped nul": f"{GOOD}%00",
    "nul": f"{GOOD}\0",
    "newline": f"{GOOD}\n",
    "newline before": f"\n{GOOD}",
    "carriage return": f"{GOOD}\r",
    "tab": f"{GOOD}\t",
    "space before": f" {GOOD}",
    "space after": f"{GOOD} ",
    "backslash": f"spiffe:\\\\{T}.{DOMAIN}\\agent\\{A}",
    "upper path": f"spiffe://{T}.{DOMAIN}/Agent/{A}",
    "other path": f"spiffe://{T}.{DOMAIN}/node/{A}",
    "plural path": f"spiffe://{T}.{DOMAIN}/agents/{A}",
    "collector": f"spiffe://{T}.{DOMAIN}/collector",
    "upper agent": f"spiffe://{T}.{DOMAIN}/agent/{A.upper()}",
    "braces": f"spiffe://{T}.{DOMAIN}/agent/{{{A}}}",
    "urn": f"spiffe://{T}.{DOMAIN}/agent/urn:uuid:{A}",
    "no dashes": f"spiffe://{T}.{DOMAIN}/agent/{A.replace('-', '')}",
    "short agent": f"spiffe://{T}.{DOMAIN}/agent/{A[:-1]}",
    "long agent": f"spiffe://{T}.{DOMAIN}/agent/{A}0",
    "letter in agent": f"spiffe://{T}.{DOMAIN}/agent/{A[:-1]}g",
    "full-width digit": f"spiffe://{T}.{DOMAIN}/agent/{A[:-1]}\uff11",
    "two agents": f"spiffe://{T}.{DOMAIN}/agent/{A},{A}",
    "two ids": f"{GOOD},{GOOD}",
    "no tenant": f"spiffe://{DOMAIN}/agent/{A}",
    "empty tenant": f"spiffe://.{DOMAIN}/agent/{A}",
    "wildcard tenant": f"spiffe://*.{DOMAIN}/agent/{A}",
    "upper tenant": f"spiffe://{'abcdef12-' + T[9:]}.{DOMAIN}/agent/{A}".replace(
        "abcdef", "ABCDEF"
    ),
    "label before": f"spiffe://x.{T}.{DOMAIN}/agent/{A}",
    "letter before": f"spiffe://x{T}.{DOMAIN}/agent/{A}",
    "two tenants": f"spiffe://{T}.{T}.{DOMAIN}/agent/{A}",
    "short tenant": f"spiffe://{T[:-1]}.{DOMAIN}/agent/{A}",
    "domain missing": f"spiffe://{T}./agent/{A}",
    "no domain": f"spiffe://{T}/agent/{A}",
    "other domain": f"spiffe://{T}.vedette.test/agent/{A}",
    "domain prefix": f"spiffe://{T}.{DOMAIN}.evil/agent/{A}",
    "domain suffix": f"spiffe://{T}.evil.{DOMAIN}/agent/{A}",
    "upper domain": f"spiffe://{T}.{DOMAIN.upper()}/agent/{A}",
    "trailing dot": f"spiffe://{T}.{DOMAIN}./agent/{A}",
    "two dots": f"spiffe://{T}..{DOMAIN}/agent/{A}",
    "address": "spiffe://127.0.0.1/agent/" + A,
    "address in brackets": f"spiffe://[::1]/agent/{A}",
    "letters that look alike": f"spiffe://{T}.vedett\u0435.example/agent/{A}",
    "too long": f"spiffe://{T}.{DOMAIN}/agent/{A}" + "/a" * 300,
    "agent id not made from a key": f"spiffe://{T}.{DOMAIN}/agent/{T}",
    "agent id of another variant": f"spiffe://{T}.{DOMAIN}/agent/{A[:19]}c{A[20:]}",
}


@pytest.mark.parametrize("uri", MALFORMED.values(), ids=MALFORMED.keys())
def test_an_identity_in_any_other_spelling_is_refused(uri: str) -> None:
    with pytest.raises(IdentityRefused):
        parse_spiffe(uri, DOMAIN)


def test_the_one_spelling_is_read() -> None:
    peer = parse_spiffe(GOOD, DOMAIN)

    assert (str(peer.tenant), str(peer.agent)) == (T, A)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))
def test_every_identity_survives_its_own_spelling(tenant: bytes, key: bytes) -> None:
    identity = PeerIdentity(TenantId(tenant), agent_id_of(key))

    assert parse_spiffe(spiffe_uri(identity, DOMAIN), DOMAIN) == identity


@given(st.text(max_size=200))
def test_any_text_is_an_identity_in_its_one_spelling_or_is_refused(text: str) -> None:
    try:
        peer = parse_spiffe(text, DOMAIN)
    except IdentityRefused:
        return

    assert spiffe_uri(peer, DOMAIN) == text


@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_changing_one_character_never_names_the_same_peer(position: int, character: str) -> None:
    changed = GOOD[:position] + character + GOOD[position + 1 :]

    try:
        peer = parse_spiffe(changed, DOMAIN)
    except IdentityRefused:
        return

    assert (peer == parse_spiffe(GOOD, DOMAIN)) == (changed == GOOD)


def test_an_agents_id_is_a_uuid_of_version_8_made_from_its_key() -> None:
    key = bytes(range(32))

    agent = agent_id_of(key)

    digest = hashlib.sha256(b"vedette.agent-id.v1\0" + key).digest()
    shown = uuid.UUID(str(agent))
    assert (shown.version, shown.variant) == (8, uuid.RFC_4122)
    assert agent.is_derived
    assert str(agent) == "a28499dd-0b3c-87fb-91de-dfad4fc0a20b"
    assert (agent.bytes[:6], agent.bytes[9:]) == (digest[:6], digest[9:16])
    assert agent != agent_id_of(bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_an_agents_id_is_made_from_a_whole_key_only(size: int) -> None:
    with pytest.raises(IdentityRefused):
        agent_id_of(bytes(size))


@pytest.mark.parametrize("size", [0, 1, 15, 17, 32])
def test_an_id_has_sixteen_bytes(size: int) -> None:
    with pytest.raises(IdentityRefused) as caught:
        AgentId.from_bytes(bytes(size))

    assert caught.value.reason is IdentityReason.ID


@pytest.mark.parametrize(
    "text",
    ["", T.upper().replace("1", "A"), f"{{{T}}}", T.replace("-", ""), f" {T}", f"{T}\n", T[:-1]],
)
def test_an_id_is_read_in_its_canonical_form_only(text: str) -> None:
    with pytest.raises(IdentityRefused):
        TenantId.parse(text)


@given(st.binary(min_size=16, max_size=16))
def test_an_id_survives_its_own_text(raw: bytes) -> None:
    tenant = TenantId.from_bytes(raw)

    assert TenantId.parse(str(tenant)) == tenant
    assert hash(TenantId.parse(str(tenant))) == hash(tenant)


def test_a_tenant_and_an_agent_with_the_same_bytes_are_two_things() -> None:
    both: set[object] = {TenantId(bytes(16)), AgentId(bytes(16))}

    assert len(both) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "-",
        "Example.org",
        "example.org.",
        ".example.org",
        "a..b",
        "-a.org",
        "a-.org",
        "a_b.org",
        "a b.org",
        "*.org",
        "ex\u00e4mple.org",
        "example.org\n",
        "a" * 64 + ".org",
        ".".join(["a" * 60] * 4),
        "a:1",
        "1",
        "10.0.0.1",
        "10.0.0.256",
        "[::1]",
    ],
)
def test_a_trust_domain_is_a_lower_case_dns_name(text: str) -> None:
    with pytest.raises(IdentityRefused) as caught:
        parse_domain(text)

    assert caught.value.reason is IdentityReason.DOMAIN


@pytest.mark.parametrize(
    "text", ["a", "vedette.example", "x1.y-2.z", "1.a1", "9a", "a" * 63 + ".org"]
)
def test_a_good_trust_domain_is_returned_as_it_is(text: str) -> None:
    assert parse_domain(text) == text


def test_a_tenants_host_is_its_id_under_the_domain() -> None:
    assert tenant_host(TenantId.parse(T), DOMAIN) == f"{T}.{DOMAIN}"
