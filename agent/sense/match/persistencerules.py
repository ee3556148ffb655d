"""What each way to persist means when it is new: one table, and what makes an entry worse. Pure.

Source: MITRE ATT&CK Enterprise v18.1.
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from agent.sense import mechanisms as ways
from proto.model import Attack, Persistence, Rule, Severity, User

ATTACK_VERSION: Final = "18.1"

LOW: Final = Severity.LOW
MEDIUM: Final = Severity.MEDIUM
HIGH: Final = Severity.HIGH


class NewRule(Struct, frozen=True):
    """What a new or changed entry means; ``standing`` if it is bad although it was there before."""

    rule: Rule
    title: str
    severity: Severity
    confidence: int
    attack: Attack
    standing: Severity | None = None


def _rule(name: str, title: str, severity: Severity, attack: str) -> NewRule:
    technique, _, tactic = attack.partition(" ")
    confidence = 60 if severity is HIGH else 40
    rule = Rule(f"persistence.{name}", title, "1")
    return NewRule(rule, title, severity, confidence, Attack(ATTACK_VERSION, technique, tactic))


def _standing(rule: NewRule, severity: Severity) -> NewRule:
    return NewRule(rule.rule, rule.title, rule.severity, rule.confidence, rule.attack, severity)


UID_ZERO: Final = _standing(
    _rule("uid_zero", "Second account with user id 0", HIGH, "T1136.001 persistence"), MEDIUM
)
PRIVILEGED_MEMBER: Final = _rule(
    "group_member", "New member of a privileged group", MEDIUM, "T1098.007 persistence"
)
OPEN_SUDO: Final = _rule(
    "sudoers_open",
    "New sudo rule for all commands without password",
    HIGH,
    "T1548.003 privilege-escalation",
)
USER_START: Final = _rule(
    "shell_start_user", "Shell start file of a user changed", LOW, "T1546.004 persistence"
)
ALIEN_MODULE: Final = _rule(
    "kernel_module_alien",
    "Kernel module from outside the kernel's build",
    MEDIUM,
    "T1547.006 persistence",
)
ROOT_SUID: Final = _rule(
    "suid_root", "New file that runs as root for everyone", HIGH, "T1548.001 privilege-escalation"
)
STRONG_CAPABILITY: Final = _rule(
    "file_capability_strong",
    "New file with capabilities that amount to root",
    HIGH,
    "T1548.001 privilege-escalation",
)

# What is not here is no finding.
NEW_RULES: Final[Mapping[str, NewRule]] = {
    ways.USER: _rule("account", "Account added or changed", MEDIUM, "T1136.001 persistence"),
    ways.SUDOERS_RULE: _rule(
        "sudoers_rule", "New sudo rule", MEDIUM, "T1548.003 privilege-escalation"
    ),
    ways.SUDOERS_SETTING: _rule(
        "sudoers_setting", "New sudo setting", LOW, "T1548.003 privilege-escalation"
    ),
    ways.AUTHORIZED_KEY: _rule(
        "authorized_key", "New authorized key", MEDIUM, "T1098.004 persistence"
    ),
    ways.AUTHORIZED_KEYS_COMMAND: _rule(
        "authorized_keys_command",
        "New command that names authorized keys",
        MEDIUM,
        "T1098.004 persistence",
    ),
    ways.CRON_JOB: _rule("cron_job", "New cron job", MEDIUM, "T1053.003 persistence"),
    ways.CRON_SCRIPT: _rule(
        "cron_script", "Script of cron added or changed", MEDIUM, "T1053.003 persistence"
    ),
    ways.AT_JOB: _rule("at_job", "New job of at", LOW, "T1053.002 persistence"),
    ways.SYSTEMD_UNIT: _rule(
        "systemd_unit", "Unit of systemd added or changed", MEDIUM, "T1543.002 persistence"
    ),
    ways.SYSTEMD_TIMER: _rule(
        "systemd_timer", "Timer of systemd added or changed", MEDIUM, "T1053.006 persistence"
    ),
    ways.PAM_SERVICE: _rule(
        "pam_service",
        "Login rules of PAM added or changed",
        MEDIUM,
        "T1556.003 credential-access",
    ),
    ways.PAM_RULE: _rule(
        "pam_rule",
        "New login rule that runs or loads the unusual",
        HIGH,
        "T1556.003 credential-access",
    ),
    ways.PAM_MODULE: _rule(
        "pam_module", "Module of PAM added or changed", HIGH, "T1556.003 credential-access"
    ),
    ways.LD_PRELOAD: _standing(
        _rule("ld_preload", "Library preloaded into every program", HIGH, "T1574.006 persistence"),
        MEDIUM,
    ),
    ways.LD_PATH: _rule(
        "ld_path",
        "New directory that programs load libraries from",
        MEDIUM,
        "T1574.006 persistence",
    ),
    ways.SHELL_START: _rule(
        "shell_start",
        "Shell start file of all users added or changed",
        MEDIUM,
        "T1546.004 persistence",
    ),
    ways.DESKTOP_START: _rule(
        "desktop_start",
        "Program that starts with the desktop added or changed",
        LOW,
        "T1547.013 persistence",
    ),
    ways.BOOT_SCRIPT: _rule(
        "boot_script", "Boot script added or changed", MEDIUM, "T1037.004 persistence"
    ),
    ways.EVENT_SCRIPT: _rule(
        "event_script",
        "Script or rule that events run added or changed",
        MEDIUM,
        "T1546 persistence",
    ),
    ways.KERNEL_MODULE: _rule(
        "kernel_module", "Kernel module loaded", Severity.INFORMATIONAL, "T1547.006 persistence"
    ),
    ways.MODULE_LOAD: _rule(
        "module_load", "New kernel module to load at boot", MEDIUM, "T1547.006 persistence"
    ),
    ways.MODULE_COMMAND: _rule(
        "module_command",
        "New command run in place of loading a module",
        MEDIUM,
        "T1547.006 persistence",
    ),
    ways.SUID_FILE: _rule(
        "suid_file",
        "New file that runs with its owner's rights",
        MEDIUM,
        "T1548.001 privilege-escalation",
    ),
    ways.FILE_CAPABILITY: _rule(
        "file_capability", "New file with capabilities", MEDIUM, "T1548.001 privilege-escalation"
    ),
    ways.WRITABLE: _standing(
        _rule(
            "world_writable",
            "Everyone may write to what is run or trusted",
            MEDIUM,
            "T1222.002 defense-evasion",
        ),
        LOW,
    ),
}

PRIVILEGED_GROUPS: Final = frozenset(
    [
        "root",
        "sudo",
        "wheel",
        "admin",
        "adm",
        "shadow",
        "disk",
        "docker",
        "lxd",
        "libvirt",
        "kmem",
        "sudoers",
        "systemd-journal",
    ]
)
_STRONG: Final = re.compile(
    r"\bcap_(?:setuid|setgid|setpcap|setfcap|dac_override|dac_read_search|chown|fowner|sys_admin"
    r"|sys_ptrace|sys_module|sys_rawio|mknod|bpf|mac_admin|mac_override)\b"
)
_ALL_COMMANDS: Final = re.compile(r"NOPASSWD:(?:[^:]*[\s,:])?ALL\s*(?:,|$)")
_NO_PASSWORD: Final = re.compile(r"!\s*authenticate\b")
_ROOT_OWNED: Final = re.compile(r"mode=[4-7]\d{3} uid=0 ")


def rule_of(item: Persistence) -> NewRule | None:
    """Return the rule that a new entry falls under; None where it means nothing."""
    value = item.value if isinstance(item.value, str) else ""
    special = _SPECIAL.get(item.mechanism)
    if special is not None and special[0](item, value):
        return special[1]
    return NEW_RULES.get(item.mechanism)


def _is_second_root(item: Persistence, _value: str) -> bool:
    return isinstance(item.user, User) and item.user.uid == 0 and item.name != "root"


def _is_open_sudo(_item: Persistence, value: str) -> bool:
    return _ALL_COMMANDS.search(value) is not None


def _lifts_password(_item: Persistence, value: str) -> bool:
    return _NO_PASSWORD.search(value) is not None


def _is_of_user(item: Persistence, _value: str) -> bool:
    return isinstance(item.user, User) and item.user.uid != 0


def _is_privileged_group(item: Persistence, _value: str) -> bool:
    return item.name in PRIVILEGED_GROUPS


def _is_alien(_item: Persistence, value: str) -> bool:
    taints = value.removeprefix("taints=")
    return "O" in taints or "E" in taints


def _runs_as_root(_item: Persistence, value: str) -> bool:
    return _ROOT_OWNED.match(value) is not None


def _is_strong(_item: Persistence, value: str) -> bool:
    return _STRONG.search(value) is not None


_SPECIAL: Final = {
    ways.USER: (_is_second_root, UID_ZERO),
    ways.GROUP_MEMBER: (_is_privileged_group, PRIVILEGED_MEMBER),
    ways.SUDOERS_RULE: (_is_open_sudo, OPEN_SUDO),
    ways.SUDOERS_SETTING: (_lifts_password, OPEN_SUDO),
    ways.SHELL_START: (_is_of_user, USER_START),
    ways.KERNEL_MODULE: (_is_alien, ALIEN_MODULE),
    ways.SUID_FILE: (_runs_as_root, ROOT_SUID),
    ways.FILE_CAPABILITY: (_is_strong, STRONG_CAPABILITY),
}

# What an entry is judged by where it says something special; for the reference.
SPECIAL_RULES: Final[Mapping[str, NewRule]] = {
    mechanism: special[1] for mechanism, special in _SPECIAL.items()
}
