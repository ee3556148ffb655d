"""The whole configuration file, as ``config check``, ``run`` and `sense` read it."""

from pathlib import Path

from msgspec import Struct

from agent.sense.settings import SenseSettings
from agent.settings import ENVIRONMENT_PREFIX, SharedSettings
from runtime.settings import load


class AgentSettings(SharedSettings, Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every section of ``/etc/vedette/agent.toml``."""

    sense: SenseSettings = SenseSettings()


def read_settings(path: Path, env: dict[str, str], *, missing_ok: bool) -> AgentSettings:
    """Return the effective settings.

    Raises:
        BadSettings: a key or value is not allowed; names file, key and rule (exit 4).
    """
    return load(AgentSettings, path, env, prefix=ENVIRONMENT_PREFIX, missing_ok=missing_ok)
