"""The ways to be run, trusted or privileged again: names that sensing and judging share.

They are the ``mechanism`` of a `Persistence` on the wire, so a name is never given to another
thing.
"""

from typing import Final

USER: Final = "user"
GROUP: Final = "group"
GROUP_MEMBER: Final = "group_member"
SUDOERS_RULE: Final = "sudoers_rule"
SUDOERS_SETTING: Final = "sudoers_setting"
AUTHORIZED_KEY: Final = "authorized_key"
AUTHORIZED_KEYS_COMMAND: Final = "authorized_keys_command"
CRON_JOB: Final = "cron_job"
CRON_SCRIPT: Final = "cron_script"
AT_JOB: Final = "at_job"
SYSTEMD_UNIT: Final = "systemd_unit"
SYSTEMD_TIMER: Final = "systemd_timer"
PAM_SERVICE: Final = "pam_service"
PAM_RULE: Final = "pam_rule"
PAM_MODULE: Final = "pam_module"
LD_PRELOAD: Final = "ld_preload"
LD_PATH: Final = "ld_path"
SHELL_START: Final = "shell_start"
DESKTOP_START: Final = "desktop_start"
BOOT_SCRIPT: Final = "boot_script"
EVENT_SCRIPT: Final = "event_script"
KERNEL_MODULE: Final = "kernel_module"
MODULE_LOAD: Final = "module_load"
MODULE_COMMAND: Final = "module_command"
SUID_FILE: Final = "suid_file"
FILE_CAPABILITY: Final = "file_capability"
WRITABLE: Final = "world_writable"

# Told with the kinds of observation that are named for accounts.
ACCOUNTS: Final = frozenset({USER, GROUP, GROUP_MEMBER})
# What packages bring: while dpkg works, whose an entry is cannot be said.
BROUGHT: Final = frozenset(
    {
        CRON_JOB,
        CRON_SCRIPT,
        SYSTEMD_UNIT,
        SYSTEMD_TIMER,
        PAM_SERVICE,
        PAM_RULE,
        PAM_MODULE,
        LD_PATH,
        SHELL_START,
        DESKTOP_START,
        BOOT_SCRIPT,
        EVENT_SCRIPT,
        MODULE_LOAD,
        MODULE_COMMAND,
    }
)
# Files that lend rights to whoever runs them.
RIGHTS: Final = frozenset({SUID_FILE, FILE_CAPABILITY})

# Caveats that say how an entry compares with its package.
MODIFIED: Final = "modified since packaged"
UNVERIFIED: Final = "not comparable with its package"
LATER: Final = "changed after its package was installed"
# Of a unit that starts by itself.
ENABLED: Final = "enabled"
# Of a line that could not be read to its end.
CUT: Final = "longer than is read"
