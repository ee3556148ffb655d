"""What the lines of any log tell of logins: each attempt, bursts of them, and first times.

The sensors that read an auth log, an audit log and the journal share it. A login is told as it was;
brute force, a key that never logged in as this user and a user who never used sudo come beside it.
All of it follows from the lines and from `state`, which travels in the sensor's cursor: after a
restart nothing is told again and nothing is forgotten.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct

from agent.hosttext import host_text
from agent.sense.ports import SensorSpec
from agent.sense.sensors.loginbursts import Attempt, Burst, Bursts, BurstSettings
from agent.sense.sensors.loginbursts import Sealed as SealedBursts
from agent.sense.sensors.loginknown import Known, KnownState
from agent.sense.sensors.logintext import (
    ACCEPTED,
    FAILED,
    REPEATS_MAX,
    LoginText,
    login_of,
    sudoer_of,
)
from agent.sense.sensors.syslogline import Stamped
from proto import model
from proto.model import Observation, ObservationKind, Precision
from runtime.clock import NS_PER_S, Clock

# One line is at most so many attempts, with a burst for each, and a first time.
PER_LINE_MAX: Final = 2 * REPEATS_MAX + 1
ENDED_MAX: Final = 16

_LABEL_CHARS_MAX: Final = 256
_FAILED_MAX: Final = 1024
_NS_PER_HOUR: Final = 3600 * NS_PER_S


class LoginSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is worth telling beside the logins themselves."""

    bursts: BurstSettings = BurstSettings()
    # Keys and users of sudo that are met in this time of looking are taken for usual, silently.
    baseline_s: Annotated[int, Meta(ge=0, le=31_536_000)] = 86_400


class _State(Struct, frozen=True, array_like=True):
    bursts: SealedBursts = ()
    known: KnownState = KnownState()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_State)


class LoginWatch:
    """Turns what lines say into observations.

    Args:
        settings: what is worth telling.
        spec: of the sensor that reads the lines.
        clock: stamps, and measures the baseline.
    """

    def __init__(self, settings: LoginSettings, spec: SensorSpec, clock: Clock) -> None:
        self._settings = settings
        self._spec = spec
        self._clock = clock
        self._failed: dict[tuple[str, int], None] = {}
        self.rung = ""
        self.restore(b"")

    def state(self) -> bytes:
        """Return what a restart has to know."""
        return _encoder.encode(_State(self._bursts.state(), self._known.state()))

    def restore(self, state: bytes) -> None:
        """Begin where `state` was taken; anything else begins to learn."""
        self._bursts = Bursts(self._settings.bursts)
        self._known = Known(self._settings.baseline_s * NS_PER_S)
        self._known.tick(self._clock.boot_ns())
        if not state:
            return
        try:
            kept: _State = _decoder.decode(state)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        self._bursts.restore(kept.bursts, self._clock.boot_ns())
        self._known.restore(kept.known)

    def caveat(self) -> str:
        """Return what is not told now, and why; empty for nothing."""
        said = []
        if self._known.learning_ns:
            hours = -(-self._known.learning_ns // _NS_PER_HOUR)
            said.append(f"learning which keys and users of sudo are usual for {hours} h more")
        if self._known.crowded:
            said.append(f"users whose keys are too many to compare: {self._known.crowded}")
        if self._known.forgotten:
            said.append(
                f"keys and users of sudo forgotten for want of room: {self._known.forgotten}"
            )
        if self._bursts.forgotten:
            said.append(f"origins of failed logins forgotten: {self._bursts.forgotten}")
        return "; ".join(said)

    def tick(self) -> Iterator[Observation]:
        """Let time pass; yield what ended, at most `ENDED_MAX` at once."""
        self._known.tick(self._clock.boot_ns())
        for burst in islice(self._bursts.tick(self._clock.boot_ns()), ENDED_MAX):
            yield self._told(ObservationKind.LOGIN_BURST, _of_burst(burst), _at(burst))

    def read(self, program: str, message: str, stamped: Stamped | None) -> Iterator[Observation]:
        """Yield what a message tells.

        Args:
            program: who wrote it, as the log names it.
            message: untrusted text.
            stamped: when; None where the log does not say.
        """
        login = login_of(program, message)
        if login is not None:
            yield from self.login(login, stamped)
        elif sudoer := sudoer_of(program, message):
            yield from self.sudoer(sudoer, stamped)

    def login(self, login: LoginText, stamped: Stamped | None) -> Iterator[Observation]:
        """Yield a login, and what it means after those before it."""
        if self._is_told(login):
            return
        entity = entity_of(login)
        attempt = Attempt(
            address=login.address or "",
            user=login.user or "",
            service=login.service,
            at=stamped.at if stamped else self._clock.wall_ns(),
            is_accepted=login.outcome == ACCEPTED,
        )
        for _ in range(login.count):
            yield self._told(ObservationKind.LOGIN, entity, stamped)
            for burst in self._bursts.note(attempt, self._clock.boot_ns()):
                yield self._told(ObservationKind.LOGIN_BURST, _of_burst(burst), stamped)
        if (
            login.fingerprint
            and login.outcome == ACCEPTED
            and self._known.is_new_key(login.user or "", login.fingerprint)
        ):
            yield self._told(ObservationKind.LOGIN_NEW_KEY, entity, stamped)

    def sudoer(self, login: LoginText, stamped: Stamped | None) -> Iterator[Observation]:
        """Yield a user of sudo who was none before."""
        if self._known.is_new_sudoer(login.user or str(login.uid)):
            yield self._told(ObservationKind.LOGIN_NEW_SUDOER, entity_of(login), stamped)

    def _is_told(self, login: LoginText) -> bool:
        """Tell whether this is the end of a connection whose failures were told one by one."""
        if login.outcome != FAILED or not login.address or login.port is None:
            return False
        connection = (login.address, login.port)
        if login.is_end and connection in self._failed:
            return True
        self._failed[connection] = None
        if len(self._failed) > _FAILED_MAX:
            del self._failed[next(iter(self._failed))]
        return False

    def _told(
        self, kind: ObservationKind, login: model.Login, stamped: Stamped | None
    ) -> Observation:
        now = self._clock.wall_ns()
        return Observation(
            kind=kind,
            source=model.Source(self._spec.name, self.rung, self._spec.coverage),
            event_time=stamped.at if stamped else now,
            event_precision=stamped.precision if stamped else Precision.UNKNOWN,
            observed_at=now,
            subject=model.Entity(model.Role.ACTOR, login),
        )


def entity_of(login: LoginText) -> model.Login:
    """Return a login as the model states it: an address that did not parse was not collected."""
    user = model.User(
        uid=UNSET if login.uid is None else login.uid,
        name=None if login.user is None else host_text(login.user, _LABEL_CHARS_MAX),
    )
    return model.Login(
        tty=None if login.tty is None else host_text(login.tty, _LABEL_CHARS_MAX),
        remote_address=UNSET if login.address == "" else login.address,
        remote_port=UNSET if login.address == "" else login.port,
        method=login.method,
        outcome=login.outcome,
        user=user,
        service=login.service,
        fingerprint=UNSET if login.fingerprint is None else login.fingerprint,
    )


def _of_burst(burst: Burst) -> model.Login:
    """Return a burst as the model states it; what differs between its attempts is left out."""
    return model.Login(
        remote_address=burst.address or UNSET,
        outcome=ACCEPTED if burst.is_accepted else FAILED,
        user=model.User(name=host_text(burst.user, _LABEL_CHARS_MAX)) if burst.user else UNSET,
        service=burst.service or UNSET,
        attempts=burst.attempts,
        accounts=burst.accounts,
    )


def _at(burst: Burst) -> Stamped:
    return Stamped(burst.at, Precision.SECOND)
