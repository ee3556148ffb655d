"""Observations as people keep them: JSON with the names and words of the model."""

from typing import Any, ClassVar, Final

import msgspec

from proto.model import Observation
from runtime.errors import Fault, VedetteError

_BYTES_FIELDS: Final = frozenset({"boot_id", "sha256", "script_sha256", "finding_key"})


class NoObservation(VedetteError):
    """What was given as an observation is none."""

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 2


def recorded_observation(text: str | bytes) -> Observation:
    """Return the observation that JSON holds, bytes in hexadecimal.

    Args:
        text: untrusted.

    Raises:
        NoObservation: it holds none.
    """
    try:
        tree = _with_bytes(msgspec.json.decode(text))
        return msgspec.convert(tree, Observation, builtin_types=(bytes,))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NoObservation(
            f"not an observation: {error}", hint="see the fields of Observation in proto/model.py"
        ) from error


def _with_bytes(value: Any) -> Any:  # noqa: ANN401  (whatever JSON holds)
    if isinstance(value, dict):
        return {
            name: bytes.fromhex(item)
            if name in _BYTES_FIELDS and isinstance(item, str)
            else _with_bytes(item)
            for name, item in value.items()
        }
    return [_with_bytes(item) for item in value] if isinstance(value, list) else value
