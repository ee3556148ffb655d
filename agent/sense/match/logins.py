"""Logins as findings: a small table, and nothing but it. Pure.

One login is a signal: sealed, indexed and counted by correlation, which is what makes an alert of
many. The host's own count of many is an alert, and a success among them a grave one; a first time
is worth a look. The key names who tried what from where, so that repeats are one thing found again.

Source: MITRE ATT&CK Enterprise v18.1, techniques T1078, T1098.004, T1110 and T1548.003.
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
    attack: tuple[Attack, ...]
    disposition: Disposition = Disposition.SIGNAL


def _attack(technique: str, tactic: str) -> Attack:
    return Attack(ATTACK_VERSION, technique, tactic)


FAILED_LOGIN: Final = LoginRule(
    rule=Rule("login.failed", "Failed login", "1"),
    title="Failed login",
    severity=Severity.LOW,
    confidence=30,
    attack=(_attack("T1110", "credential-access"),),
)
REMOTE_LOGIN: Final = LoginRule(
    rule=Rule("login.accepted.remote", "Accepted remote login", "1"),
    title="Accepted remote login",
    severity=Severity.INFORMATIONAL,
    confidence=10,
    attack=(_attack("T1078", "initial-access"),),
)
GUESSING: Final = LoginRule(
    rule=Rule("login.burst.guessing", "Password guessing", "1"),
    title="Many failed logins to one or few accounts",
    severity=Severity.MEDIUM,
    confidence=70,
    attack=(_attack("T1110.001", "credential-access"),),
    disposition=Disposition.ALERT,
)
SPRAYING: Final = LoginRule(
    rule=Rule("login.burst.spraying", "Password spraying", "1"),
    title="Failed logins to many accounts",
    severity=Severity.MEDIUM,
    confidence=70,
    attack=(_attack("T1110.003", "credential-access"),),
    disposition=Disposition.ALERT,
)
BROKEN_IN: Final = LoginRule(
    rule=Rule("login.burst.accepted", "Login after many failed ones", "1"),
    title="Accepted login after many failed ones",
    severity=Severity.HIGH,
    confidence=70,
    attack=(_attack("T1110", "credential-access"), _attack("T1078", "initial-access")),
    disposition=Disposition.ALERT,
)
NEW_KEY: Final = LoginRule(
    rule=Rule("login.key.new", "Login by a key not seen before", "1"),
    title="Login by a key not seen before for this user",
    severity=Severity.LOW,
    confidence=30,
    attack=(_attack("T1098.004", "persistence"), _attack("T1078", "initial-access")),
    disposition=Disposition.ALERT,
)
NEW_SUDOER: Final = LoginRule(
    rule=Rule("login.sudoer.new", "First use of sudo by a user", "1"),
    title="First use of sudo by this user",
    severity=Severity.LOW,
    confidence=30,
    attack=(_attack("T1548.003", "privilege-escalation"),),
    disposition=Disposition.ALERT,
)

# By outcome, and whether the login came from another host; what is not here is no finding.
LOGIN_RULES: Final[Mapping[tuple[str, bool], LoginRule]] = {
    ("failed", False): FAILED_LOGIN,
    ("failed", True): FAILED_LOGIN,
    ("accepted", True): REMOTE_LOGIN,
}
FIRST_RULES: Final[Mapping[ObservationKind, LoginRule]] = {
    ObservationKind.LOGIN_NEW_KEY: NEW_KEY,
    ObservationKind.LOGIN_NEW_SUDOER: NEW_SUDOER,
}
RULES: Final = (
    FAILED_LOGIN,
    REMOTE_LOGIN,
    GUESSING,
    SPRAYING,
    BROKEN_IN,
    NEW_KEY,
    NEW_SUDOER,
)

# From so many accounts on, with so few attempts at each, one password is tried on all of them.
SPRAYED_ACCOUNTS_MIN: Final = 5
SPRAYED_ATTEMPTS_MAX: Final = 3
# The sensor counts no further.
_ACCOUNTS_COUNTED: Final = 32


def judge(observation: Observation, tenant: bytes, host: bytes) -> tuple[Finding, ...]:
    """Return what a login, or many, or a first one means: one finding, or none.

    Args:
        observation: of any kind; those that tell of logins are judged.
        tenant: the tenant's 16 bytes.
        host: the agent's 16 bytes.
    """
    login = observation.subject.value
    if not isinstance(login, Login):
        return ()
    rule = _rule(observation.kind, login)
    if rule is None:
        return ()
    subject = _subject(login, is_first=observation.kind in FIRST_RULES)
    return (
        Finding(
            kind=FindingKind.DETECTION,
            activity=Activity.CREATE,
            disposition=rule.disposition,
            severity=rule.severity,
            confidence=rule.confidence,
            title=rule.title,
            key=finding_key(tenant, host, FindingKind.DETECTION, rule.rule.id, subject),
            rule=rule.rule,
            source=observation.source,
            event_time=observation.event_time,
            event_precision=observation.event_precision,
            observed_at=observation.observed_at,
            attack=rule.attack,
            entities=(observation.subject,),
            process=observation.process,
            ancestry=observation.ancestry,
            login=login,
            count=max(1, _number(login.attempts)),
        ),
    )


def _rule(kind: ObservationKind, login: Login) -> LoginRule | None:
    if kind is ObservationKind.LOGIN:
        return LOGIN_RULES.get((_text(login.outcome), _is_remote(login)))
    if kind is ObservationKind.LOGIN_BURST:
        return _burst_rule(login)
    return FIRST_RULES.get(kind)


def _burst_rule(login: Login) -> LoginRule:
    """Tell guessing, which tries many passwords, from spraying, which tries many accounts."""
    if _text(login.outcome) == "accepted":
        return BROKEN_IN
    attempts, accounts = _number(login.attempts), _number(login.accounts)
    is_wide = accounts >= SPRAYED_ACCOUNTS_MIN
    is_thin = accounts > _ACCOUNTS_COUNTED or attempts <= SPRAYED_ATTEMPTS_MAX * accounts
    return SPRAYING if is_wide and is_thin else GUESSING


def _is_remote(login: Login) -> bool:
    """Tell whether a remote side is named, even where its address could not be read."""
    return login.remote_address is not None and (
        login.remote_address is not UNSET or login.service == "sshd"
    )


def _subject(login: Login, *, is_first: bool) -> str:
    """Return service, address and user, each with its length: no name can pass for another part.

    A key that was shown is a part of its own; where it came from is then of no matter.
    """
    user = login.user.name if isinstance(login.user, User) else None
    parts: tuple[str, ...] = (_text(login.service), _text(login.remote_address), _text(user))
    if is_first:
        parts = (_text(login.service), _text(user), _text(login.fingerprint))
    return "".join(f"{len(part)}:{part}" for part in parts)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
