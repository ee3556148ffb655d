"""What other recorders call fields and sources, and what rules call them: tables. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from agent.sense.match.sigmaevent import FieldValue

LINUX_FAMILIES: Final = frozenset(
    {"linux", "debian", "ubuntu", "redhat", "rhel", "centos", "fedora", "suse", "alpine", "arch"}
)

# Source: the Elastic Common Schema's field reference.
ECS: Final[Mapping[str, str]] = {
    "Image": "process.executable",
    "CommandLine": "process.command_line",
    "CurrentDirectory": "process.working_directory",
    "ProcessId": "process.pid",
    "ParentImage": "process.parent.executable",
    "ParentCommandLine": "process.parent.command_line",
    "ParentProcessId": "process.parent.pid",
    "ParentUser": "process.parent.user.name",
    "User": "user.name",
    "OriginalFileName": "process.pe.original_file_name",
    "Product": "process.pe.product",
    "Description": "process.pe.description",
    "Company": "process.pe.company",
    "IntegrityLevel": "winlog.event_data.IntegrityLevel",
    "md5": "process.hash.md5",
    "sha1": "process.hash.sha1",
    "sha256": "process.hash.sha256",
    "TargetFilename": "file.path",
    "ImageLoaded": "dll.path",
    "DestinationIp": "destination.ip",
    "DestinationPort": "destination.port",
    "DestinationHostname": "destination.domain",
    "SourceIp": "source.ip",
    "SourcePort": "source.port",
    "SourceHostname": "source.domain",
    "Protocol": "network.transport",
    "QueryName": "dns.question.name",
    "query": "dns.question.name",
    "record_type": "dns.question.type",
    "QueryResults": "dns.resolved_ip",
    "TargetObject": "registry.path",
    "Details": "registry.data.strings",
    "EventID": "event.code",
    "Channel": "winlog.channel",
    "Provider_Name": "winlog.provider_name",
    "c-uri": "url.original",
    "c-uri-query": "url.query",
    "cs-host": "url.domain",
    "cs-method": "http.request.method",
    "c-useragent": "user_agent.original",
    "cs-user-agent": "user_agent.original",
    "sc-status": "http.response.status_code",
}

_ECS_CATEGORIES: Final[Mapping[str, tuple[str, ...]]] = {
    "process": ("process_creation",),
    "network": ("network_connection",),
    "dns": ("dns_query", "dns"),
    "library": ("image_load",),
    "driver": ("driver_load",),
    "web": ("webserver", "proxy"),
}


def ecs_categories(category: str, types: Sequence[str]) -> tuple[str, ...]:
    """Return what rules call a category of ECS, given the types of the event."""
    if category == "file":
        return ("file_delete",) if "deletion" in types else ("file_event",)
    if category == "registry":
        kinds = {
            "creation": "registry_add",
            "deletion": "registry_delete",
            "change": "registry_set",
        }
        return ("registry_event", *(kinds[one] for one in types if one in kinds))
    if category == "process" and types and not {"start", "creation", "info"} & set(types):
        return ("process_termination",) if "end" in types else ()
    return _ECS_CATEGORIES.get(category, ())


def number(value: FieldValue) -> int:
    """Return the number of an event, 0 where it has none."""
    if isinstance(value, int):
        return int(value)
    is_number = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8
    return int(value) if is_number and isinstance(value, str) else 0


# Source: the event ids of Sysmon for Windows and for Linux, as its manual lists them.
SYSMON: Final[Mapping[int, tuple[str, ...]]] = {
    1: ("process_creation",),
    2: ("file_change",),
    3: ("network_connection",),
    4: ("sysmon_status",),
    5: ("process_termination",),
    6: ("driver_load",),
    7: ("image_load",),
    8: ("create_remote_thread",),
    9: ("raw_access_thread",),
    10: ("process_access",),
    11: ("file_event",),
    12: ("registry_event", "registry_add", "registry_delete"),
    13: ("registry_event", "registry_set"),
    14: ("registry_event", "registry_rename"),
    15: ("create_stream_hash",),
    16: ("sysmon_status",),
    17: ("pipe_created",),
    18: ("pipe_created",),
    19: ("wmi_event",),
    20: ("wmi_event",),
    21: ("wmi_event",),
    22: ("dns_query",),
    23: ("file_delete",),
    24: ("clipboard_capture",),
    25: ("process_tampering",),
    26: ("file_delete", "file_delete_detected"),
    27: ("file_block_executable", "file_block"),
    28: ("file_block_shredding", "file_block"),
    29: ("file_executable_detected",),
    255: ("sysmon_error",),
}

# Events of other channels that rules have categories for.
WINDOWS: Final[Mapping[tuple[str, int], tuple[str, ...]]] = {
    ("security", 4688): ("process_creation",),
    ("security", 4657): ("registry_event", "registry_set"),
    ("powershell", 4104): ("ps_script",),
    ("powershell", 4103): ("ps_module",),
    ("powershell-classic", 400): ("ps_classic_start",),
    ("powershell-classic", 600): ("ps_classic_provider_start",),
    ("powershell-classic", 800): ("ps_classic_script",),
}

SECURITY: Final[Mapping[int, Mapping[str, str]]] = {
    4688: {
        "Image": "NewProcessName",
        "CommandLine": "ProcessCommandLine",
        "ParentImage": "ParentProcessName",
        "User": "SubjectUserName",
        "LogonId": "SubjectLogonId",
        "IntegrityLevel": "MandatoryLabel",
        "ProcessId": "NewProcessId",
    },
    4657: {"TargetObject": "ObjectName", "Details": "NewValue", "Image": "ProcessName"},
}

# Names of channels in lower case; rules call them services.
SERVICES: Final[Mapping[str, str]] = {
    "security": "security",
    "system": "system",
    "application": "application",
    "windows powershell": "powershell-classic",
    "dns server": "dns-server",
    "msexchange management": "msexchange-management",
    "microsoft-windows-powershell/operational": "powershell",
    "powershellcore/operational": "powershell",
    "microsoft-windows-taskscheduler/operational": "taskscheduler",
    "microsoft-windows-windows defender/operational": "windefend",
    "microsoft-windows-wmi-activity/operational": "wmi",
    "microsoft-windows-bits-client/operational": "bits-client",
    "microsoft-windows-dns-client/operational": "dns-client",
    "microsoft-windows-ntlm/operational": "ntlm",
    "microsoft-windows-codeintegrity/operational": "codeintegrity-operational",
    "microsoft-windows-appxdeploymentserver/operational": "appxdeployment-server",
    "microsoft-windows-appxpackaging/operational": "appxpackaging-om",
    "microsoft-windows-appmodel-runtime/admin": "appmodel-runtime",
    "microsoft-windows-windows firewall with advanced security/firewall": "firewall-as",
    "microsoft-windows-driverframeworks-usermode/operational": "driver-framework",
    "microsoft-windows-smbclient/security": "smbclient-security",
    "microsoft-windows-smbclient/connectivity": "smbclient-connectivity",
    "microsoft-windows-smbserver/connectivity": "smbserver-connectivity",
    "microsoft-windows-ldap-client/debug": "ldap",
    "microsoft-windows-lsa-server/operational": "lsa-server",
    "microsoft-windows-security-mitigations/kernel mode": "security-mitigations",
    "microsoft-windows-security-mitigations/user mode": "security-mitigations",
    "microsoft-windows-printservice/admin": "printservice-admin",
    "microsoft-windows-printservice/operational": "printservice-operational",
    "microsoft-windows-terminalservices-localsessionmanager/operational": (
        "terminalservices-localsessionmanager"
    ),
    "microsoft-windows-vhdmp/operational": "vhdmp",
    "microsoft-windows-shell-core/operational": "shell-core",
    "microsoft-windows-diagnosis-scripted/operational": "diagnosis-scripted",
    "microsoft-windows-capi2/operational": "capi2",
    "microsoft-windows-certificateservicesclient-lifecycle-system/operational": (
        "certificateservicesclient-lifecycle-system"
    ),
    "microsoft-iis-configuration/operational": "iis-configuration",
    "openssh/operational": "openssh",
}
