"""New ways to be run, trusted or privileged as findings. Pure.

What stood when the sensor first looked is inventory and no finding, unless it is bad by itself (a
second user id 0, a preloaded library, what everyone may write to): that opens a finding once, and
its removal closes it. What a package brought and nobody touched is told, and no more.
"""

from collections.abc import Mapping
from typing import Final

from agent.sense import mechanisms as ways
from agent.sense.match.persistencerules import NewRule, rule_of
from proto.model import (
    Activity,
    Disposition,
    Finding,
    FindingKind,
    Observation,
    ObservationKind,
    Persistence,
    Severity,
    User,
)
from proto.uids import finding_key

_SEEN: Final = frozenset({ObservationKind.ACCOUNT_SEEN, ObservationKind.PERSISTENCE_SEEN})
_CAME: Final = frozenset({ObservationKind.ACCOUNT_ADDED, ObservationKind.PERSISTENCE_ADDED})
_CHANGED: Final = frozenset({ObservationKind.ACCOUNT_CHANGED, ObservationKind.PERSISTENCE_CHANGED})
_GONE: Final = frozenset({ObservationKind.ACCOUNT_REMOVED, ObservationKind.PERSISTENCE_REMOVED})

_ACTIVITIES: Final[Mapping[ObservationKind, Activity]] = {
    **dict.fromkeys(_SEEN | _CAME | _CHANGED, Activity.CREATE),
    **dict.fromkeys(_GONE, Activity.CLOSE),
}
# Known by all that they say; of other lines a value may hold a secret, and a key is for ever.
_BY_VALUE: Final = frozenset(
    {
        ways.SUDOERS_RULE,
        ways.SUDOERS_SETTING,
        ways.GROUP_MEMBER,
        ways.LD_PRELOAD,
        ways.LD_PATH,
        ways.MODULE_LOAD,
    }
)
_BY_PROGRAM: Final = frozenset(
    {ways.CRON_JOB, ways.MODULE_COMMAND, ways.PAM_RULE, ways.AUTHORIZED_KEYS_COMMAND}
)
# Its own installation explains these, however high they stand.
_EXPLAINED_BY_PACKAGE: Final = frozenset({ways.MODIFIED, ways.UNVERIFIED, ways.LATER})


def judge(observation: Observation, tenant: bytes, host: bytes) -> tuple[Finding, ...]:
    """Return what an entry means: one finding, or none.

    Args:
        observation: of any kind; those of accounts and persistence are judged.
        tenant: the tenant's 16 bytes.
        host: the agent's 16 bytes.
    """
    item = observation.subject.value
    activity = _ACTIVITIES.get(observation.kind)
    if activity is None or not isinstance(item, Persistence):
        return ()
    rule = rule_of(item)
    severity = _severity(rule, item, observation.kind) if rule is not None else None
    if rule is None or severity is None:
        return ()
    is_loud = severity.rank >= Severity.MEDIUM.rank
    kind = FindingKind.DETECTION
    return (
        Finding(
            kind=kind,
            activity=activity,
            disposition=Disposition.ALERT if is_loud else Disposition.SIGNAL,
            severity=severity,
            confidence=rule.confidence,
            title=rule.title,
            key=finding_key(tenant, host, kind, rule.rule.id, subject_of(item)),
            rule=rule.rule,
            source=observation.source,
            event_time=observation.event_time,
            event_precision=observation.event_precision,
            observed_at=observation.observed_at,
            attack=(rule.attack,),
            entities=(observation.subject,),
            process=observation.process,
            ancestry=observation.ancestry,
        ),
    )


def subject_of(item: Persistence) -> str:
    """Return what names an entry, each part with its length: none can pass for another."""
    value = item.value if isinstance(item.value, str) else ""
    if item.mechanism in _BY_PROGRAM:
        value = next((word for word in value.split() if "=" not in word), "")
    elif item.mechanism not in _BY_VALUE:
        value = ""
    user = item.user if isinstance(item.user, User) else User()
    uid = user.uid if isinstance(user.uid, int) else ""
    who = f"{uid} {user.name if isinstance(user.name, str) else ''}"
    parts = (item.mechanism, item.path, item.name, who, value)
    return "".join(f"{len(part)}:{part}" for part in parts)


def _severity(rule: NewRule, item: Persistence, kind: ObservationKind) -> Severity | None:
    """Return how bad it is that the entry came, or stands; None where that is nothing."""
    if kind in _SEEN or kind in _GONE:
        return rule.standing
    if item.mechanism == ways.USER and kind in _CHANGED and rule.standing is None:
        return Severity.LOW  # a password, a shell, a home
    if not isinstance(item.package, str):
        return rule.severity
    touched = _EXPLAINED_BY_PACKAGE & set(item.caveats)
    if not touched:
        return Severity.INFORMATIONAL
    if touched == {ways.UNVERIFIED}:
        return min(rule.severity, Severity.LOW, key=lambda one: one.rank)
    return rule.severity
