"""Failed and accepted logins as findings: a small table, and nothing but it. Pure.

One login is a signal: sealed, indexed and counted by correlation, which is what makes an alert of
many. The key names who tried what from where, so that repeats are one thing found again.

Source: MITRE ATT&CK Enterprise v18.1, techniques T1110 and T1078.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import UNSET, Struct

from proto.model import (
    Activity,
    Attack,
    Disposition,
    Finding,
    FindingKind,
    Login,
    Observation,
    ObservationKind,
    Rule,
    Severity,
    User,
)
from proto.uids import finding_key

ATTACK_VERSION: Final = "18.1"


class LoginRule(Struct, frozen=True):
    """What one kind of login means."""

    rule: Rule
    title: str
    severity: Severity
    confidence: int
    attack: Attack


FAILED_LOGIN: Final = LoginRule(
    rule=Rule("login.failed", "Failed login", "1"),
    title="Failed login",
    severity=Severity.LOW,
    confidence=30,
    attack=Attack(ATTACK_VERSION, "T1110", "credential-access"),
)
REMOTE_LOGIN: Final = LoginRule(
    rule=Rule("login.accepted.remote", "Accepted remote login", "1"),
    title="Accepted remote login",
    severity=Severity.INFORMATIONAL,
    confidence=10,
    attack=Attack(ATTACK_VERSION, "T1078", "initial-access"),
)

# By outcome, and whether the login came from another host; what is not here is no finding.
LOGIN_RULES: Final[Mapping[tuple[str, bool], LoginRule]] = {
    ("failed", False): FAILED_LOGIN,
    ("failed", True): FAILED_LOGIN,
    ("accepted", True): REMOTE_LOGIN,
}


def judge(observation: Observation, tenant: bytes, host: bytes) -> tuple[Finding, ...]:
    """Return what a login means: one finding, or none.

    Args:
        observation: of any kind; only `ObservationKind.LOGIN` is judged.
        tenant: the tenant's 16 bytes.
        host: the agent's 16 bytes.
    """
    login = observation.subject.value
    if observation.kind is not ObservationKind.LOGIN or not isinstance(login, Login):
        return ()
    is_remote = _is_remote(login)
    rule = LOGIN_RULES.get((_text(login.outcome), is_remote))
    if rule is None:
        return ()
    return (
        Finding(
            kind=FindingKind.DETECTION,
            activity=Activity.CREATE,
            disposition=Disposition.SIGNAL,
            severity=rule.severity,
            confidence=rule.confidence,
            title=rule.title,
            key=finding_key(tenant, host, FindingKind.DETECTION, rule.rule.id, _subject(login)),
            rule=rule.rule,
            source=observation.source,
            event_time=observation.event_time,
            event_precision=observation.event_precision,
            observed_at=observation.observed_at,
            attack=(rule.attack,),
            entities=(observation.subject,),
            process=observation.process,
            ancestry=observation.ancestry,
            login=login,
        ),
    )


def _is_remote(login: Login) -> bool:
    """Tell whether a remote side is named, even where its address could not be read."""
    return login.remote_address is not None and (
        login.remote_address is not UNSET or login.service == "sshd"
    )


def _subject(login: Login) -> str:
    """Return service, address and user, each with its length: no name can pass for another part."""
    user = login.user.name if isinstance(login.user, User) else None
    parts = (_text(login.service), _text(login.remote_address), _text(user))
    return "".join(f"{len(part)}:{part}" for part in parts)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
