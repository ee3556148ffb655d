import hashlib

import pytest
from msgspec import json

from agent.hostroot import HostFileDenied
from agent.sense.posture import probing
from agent.sense.posture.probes import accounts, mounts
from agent.sense.posture.probing import PROBES, ask, questions
from agent.sense.posture.reader import HostReader
from proto.content.checks import Request, builtin_pack, canonical
from proto.model import TEXT_BYTES_MAX, Evidence
from tests.agent.sense.posture.builders import PASSWD, SECRET, a_good_host
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles

CHECKS = builtin_pack().checks


def a_request(probe: str = "file", **parameters: object) -> Request:
    return Request(probe, canonical(parameters or {"path": "/etc/passwd"}).decode())


def asked(request: Request, host: FakeHostFiles | None = None) -> Evidence:
    clock = FakeClock()
    return ask(request, HostReader(host or a_good_host(), clock), clock)[0]


def test_twenty_checks_ask_six_probes() -> None:
    assert len(CHECKS) == 20
    assert {check.probe for check in CHECKS} == set(PROBES)
    assert len(PROBES) == 6


def test_a_question_is_put_once_however_many_checks_ask_it() -> None:
    asked_by_checks = [
        request for check in CHECKS for request in (check.request, check.predicate) if request
    ]

    asked_of_host = questions(CHECKS)

    assert set(asked_of_host) == set(asked_by_checks)
    assert len(asked_of_host) == len(set(asked_of_host)) < len(asked_by_checks)


def test_evidence_is_canonical_facts_under_a_digest_that_time_does_not_change() -> None:
    clock = FakeClock()
    reader = HostReader(a_good_host(), clock)
    first, reading = ask(a_request(), reader, clock)
    clock.forward(60)
    second, _ = ask(a_request(), reader, clock)

    assert first.facts == canonical(json.decode(first.facts))
    assert first.digest == second.digest == reading.digest
    assert second.collected_at - first.collected_at == 60_000_000_000
    assert reading.facts == json.decode(first.facts)


def test_the_digest_is_a_hash_of_every_part_with_its_length() -> None:
    evidence = asked(a_request())
    whole = b"vedette/evidence/1"
    for part in (b"file", b"1", b'{"path":"/etc/passwd"}', b"", evidence.facts):
        whole += len(part).to_bytes(4, "big") + part

    assert evidence.digest == hashlib.sha256(whole).digest()


def test_not_being_able_to_look_is_evidence_too() -> None:
    host = a_good_host().refuse_all(HostFileDenied)

    evidence = asked(a_request(), host)

    assert (evidence.unknown, evidence.facts) == ("denied", b"")
    assert len(evidence.digest) == 32


def test_a_probe_or_a_parameter_of_a_newer_pack_is_unknown() -> None:
    assert asked(a_request("telepathy")).unknown == "probe_missing"
    assert asked(a_request("file", path="/etc/passwd", deep=True)).unknown == "probe_missing"
    assert asked(a_request("file", path=7)).unknown == "probe_missing"
    assert asked(a_request("accounts", view="everything")).unknown == "probe_missing"


def test_the_facts_of_a_crowded_host_stay_few() -> None:
    many = "".join(f"x{number}:x:0:0::/:/bin/sh\n" for number in range(20_000))
    host = a_good_host().add("/etc/passwd", PASSWD + many)

    evidence = asked(a_request("accounts", view="accounts"), host)

    assert evidence.unknown == ""
    assert len(evidence.facts) < TEXT_BYTES_MAX // 8


def test_facts_over_the_size_of_a_record_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sense.posture.probing.TEXT_BYTES_MAX", 16)

    evidence = asked(a_request())

    assert (evidence.unknown, evidence.facts) == ("oversize", b"")


def test_no_probe_gives_raw_text_or_a_secret_away() -> None:
    host = a_good_host()
    host.add("/etc/fstab", "//s/x /tmp cifs nosuid,password=hunter2 0 0\n")
    host.add("/etc/ssh/sshd_config", "# token=hunter2\nPermitRootLogin no\nBanner hunter2\n")

    facts = b"".join(asked(request, host).facts for request in questions(CHECKS))

    assert b"hunter2" not in facts
    assert SECRET[:6].encode() not in facts
    assert b"Ann" not in facts


def test_the_table_names_each_probe_by_its_own_module() -> None:
    assert PROBES["accounts"].run is accounts.read
    assert PROBES["mounts"].facts is mounts.Facts
    assert list(PROBES) == sorted(PROBES)
    assert probing.PROBES is PROBES
