"""What decides over logins: PAM's services, the unusual rules in them, its modules.

Source: pam.conf(5), pam.d(5). A rule is told by itself where its module runs a program, lies in a
directory of its own, or is none that a distribution's packages of PAM bring.
"""

import re
from collections.abc import Iterator
from typing import Final

from agent.sense.mechanisms import PAM_MODULE, PAM_RULE, PAM_SERVICE
from agent.sense.sensors.persist.items import Entry, Found, line, whole
from agent.sense.sensors.persist.look import Content, Look

SERVICES: Final = "/etc/pam.d"
SINGLE: Final = "/etc/pam.conf"
MODULE_DIRECTORIES: Final = (
    "/lib/security",
    "/lib64/security",
    "/usr/lib/security",
    "/usr/lib64/security",
)
LIBRARIES: Final = "/usr/lib"
MODULE_BYTES_MAX: Final = 4 << 20
LINE_BYTES_MAX: Final = 4096

_TRIPLE: Final = re.compile(r"[a-z0-9_]+-linux-[a-z0-9_]+")
_RULE: Final = re.compile(
    rb"-?(?:auth|account|password|session)\s+(\[[^\]]*\]|\w+)\s+(\S+)(?:\s.*)?", re.IGNORECASE
)
_USUAL: Final = frozenset(
    b"access cap cap_ng cracklib debug deny echo env faildelay faillock faildelay filter ftp "
    b"fprintd gdm gnome_keyring group issue kwallet5 keyinit krb5 lastlog lastlog2 limits listfile "
    b"localuser loginuid mail mkhomedir motd namespace nologin oddjob_mkhomedir passwdqc permit "
    b"pkcs11 postgresok pwhistory pwquality rhosts rootok securetty selinux sepermit setquota "
    b"shells sss stress succeed_if systemd systemd_home systemd_loadkey tally tally2 time "
    b"timestamp tty_audit unix usertype userdb warn wheel winbind wtmpdb xauth ldap u2f".split()
)


def read(look: Look) -> Iterator[Found | None]:
    """Yield services, unusual rules and modules."""
    single = look.file(SINGLE)
    if single is not None:
        yield from _service(single, "pam.conf", fields=1)
    for name in look.names(SERVICES):
        yield None
        content = look.file(f"{SERVICES}/{name}")
        if content is not None:
            yield from _service(content, name, fields=0)
    for directory in _module_directories(look):
        for name in look.names(directory):
            yield None
            content = (
                look.file(f"{directory}/{name}", MODULE_BYTES_MAX) if _is_module(name) else None
            )
            if content is not None:
                yield whole(content, Entry(PAM_MODULE, name))


def unusual_rules(content: Content, fields: int) -> Iterator[bytes]:
    """Yield the rules of one file that load what is not usual.

    Args:
        content: untrusted.
        fields: words in front of a rule; one, the service, in pam.conf.
    """
    for text in _logical_lines(content):
        words = text.split(None, fields)
        found = _RULE.fullmatch(words[-1]) if len(words) > fields else None
        if found is None or found[1].lower() in {b"include", b"substack"}:
            continue
        directory, _, name = found[2].rpartition(b"/")
        stem = name.removeprefix(b"pam_").removesuffix(b".so")
        if directory or not name.startswith(b"pam_") or stem not in _USUAL:
            yield b" ".join(text.split())


def _service(content: Content, name: str, fields: int) -> Iterator[Found]:
    yield whole(content, Entry(PAM_SERVICE, name))
    for rule in unusual_rules(content, fields):
        yield line(content, Entry(PAM_RULE, name, rule))


def _logical_lines(content: Content) -> Iterator[bytes]:
    waiting = b""
    for raw in content.lines():
        text = waiting + raw.partition(b"#")[0].strip()
        if text.endswith(b"\\") and len(text) < LINE_BYTES_MAX:
            waiting = text[:-1] + b" "
            continue
        waiting = b""
        if text:
            yield text[:LINE_BYTES_MAX]
    if waiting:
        yield waiting[:LINE_BYTES_MAX]


def _module_directories(look: Look) -> Iterator[str]:
    """Yield where modules lie, each directory once although two paths may lead to it."""
    triples = [name for name in look.names(LIBRARIES) if _TRIPLE.fullmatch(name)]
    seen: set[tuple[int, int]] = set()
    for directory in (*MODULE_DIRECTORIES, *(f"{LIBRARIES}/{name}/security" for name in triples)):
        there = look.stat(directory)
        if there is not None and (there.st_dev, there.st_ino) not in seen:
            seen.add((there.st_dev, there.st_ino))
            yield directory


def _is_module(name: str) -> bool:
    return name.endswith(".so") or ".so." in name
