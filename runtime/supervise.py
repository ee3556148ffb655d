"""Keep programs and tasks running, stop them in order, and tell who asks how they are.

``Supervisor`` starts programs, restarts one that crashes, gives up on one that says trying again
is useless, and stops all of them within a deadline. A program tells its state with ``Notifier``,
in the words of systemd's notification protocol, whether its parent is systemd or a Supervisor.
``spawn`` is for long-lived asyncio tasks what a Supervisor is for programs.
"""

import contextlib
import ctypes
import enum
import errno
import functools
import math
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import (
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self

import msgspec

from runtime.backoff import Backoff
from runtime.clock import NS_PER_S, Clock
from runtime.errors import Fault, VedetteError
from runtime.logs import logger

if TYPE_CHECKING:
    import asyncio  # a supervisor process stays resident and never runs a loop

PERMANENT_EXITS: Final = frozenset({2, 4, 7})  # usage, configuration, locked
NOTIFY_FD: Final = "VEDETTE_NOTIFY_FD"

_MESSAGE_BYTES_MAX: Final = 4096
_MESSAGES_PER_TURN_MAX: Final = 64
_PR_SET_PDEATHSIG: Final = 1
_TEMPORARY: Final = frozenset(  # the last one: the program is being replaced
    {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY}
)

_prctl = ctypes.CDLL(None, use_errno=True).prctl


class CannotStart(VedetteError):
    """A program to supervise does not exist or may not be run."""

    fault: ClassVar[Fault] = Fault.OPERATOR


class TaskReturned(VedetteError):
    """A task that should never end returned."""


class Notifier:
    """Tells the parent how this process is; silent where nobody listens.

    Args:
        listener: a datagram socket connected to the parent, or None.
        watchdog_s: the parent kills this process when ``beat`` stays away this long; 0 for never.

    Source: sd_notify(3), sd_watchdog_enabled(3).
    """

    def __init__(self, listener: socket.socket | None = None, *, watchdog_s: float = 0) -> None:
        self._listener = listener
        self.watchdog_s = watchdog_s

    @classmethod
    def from_env(cls, env: MutableMapping[str, str]) -> "Notifier":
        """Take the channel out of the environment, so that no child of ours speaks for us."""
        number, path = env.pop(NOTIFY_FD, ""), env.pop("NOTIFY_SOCKET", "")
        wanted, pid = env.pop("WATCHDOG_USEC", "0"), env.pop("WATCHDOG_PID", "")
        ours = pid in {"", str(os.getpid())} and wanted.isdigit()
        watchdog_s = int(wanted) / 1_000_000 if ours else 0
        with contextlib.suppress(OSError):
            return cls(_listener(number, path), watchdog_s=watchdog_s)
        return cls(watchdog_s=watchdog_s)

    def ready(self) -> None:
        """Say that start-up is complete."""
        self.send("READY=1")

    def status(self, text: str) -> None:
        """Say in a few words what this process is doing."""
        self.send(f"STATUS={text.splitlines()[0] if text else ''}")

    def beat(self) -> None:
        """Say that this process is alive."""
        self.send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that an orderly stop has begun."""
        self.send("STOPPING=1")

    def send(self, message: str, fds: Sequence[int] = ()) -> None:
        """Send any other message of the protocol; one that cannot be delivered is dropped.

        Args:
            message: ``KEY=value`` lines.
            fds: descriptors to hand over, for ``FDSTORE=1``.
        """
        if self._listener is not None:
            with contextlib.suppress(OSError):
                socket.send_fds(self._listener, [message.encode()], list(fds), socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Let go of the channel."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def _listener(number: str, path: str) -> socket.socket | None:
    if number.isdigit():
        inherited = socket.socket(fileno=int(number))
        inherited.set_inheritable(False)
        return inherited
    if not path:
        return None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        listener.connect(f"\0{path[1:]}" if path.startswith("@") else path)
    except OSError:
        listener.close()
        raise
    return listener


def spawn(
    group: "asyncio.TaskGroup", work: Coroutine[Any, Any, object], name: str
) -> "asyncio.Task[None]":
    """Start a long-lived task whose end, other than by cancelling, stops the whole group."""
    return group.create_task(_endless(work, name), name=name)


async def _endless(work: Coroutine[Any, Any, object], name: str) -> NoReturn:
    try:
        await work
    except Exception as error:
        error.add_note(f"in task {name}")
        raise
    raise TaskReturned(f"task {name} returned, which it never should")


def cause(error: BaseException) -> BaseException:
    """Return the first error inside an exception group, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A program to keep running.

    Args:
        name: what logs and states call it.
        argv: the program and its arguments.
        user: the user id to run as; needs root. None for our own.
        group: the group id to run as. None for our own.
        extra_groups: supplementary group ids, when ``user`` is given.
        notifies: it says itself when it is ready; otherwise it is when it has started.
        watchdog_s: it is killed and restarted when it does not ``beat`` for so long; 0 for never.
        stop_wait_s: how long it may take to stop.
    """

    name: str
    argv: tuple[str, ...]
    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] = ()
    notifies: bool = False
    watchdog_s: float = 0
    stop_wait_s: float = 10


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When to restart and how long to wait.

    Args:
        wait_s_first: bound of the wait before the first restart.
        wait_s_max: bound of any wait before a restart.
        stable_s: a program up this long has recovered; its next restart is quick again.
        stop_deadline_s: bound of stopping everything.
    """

    wait_s_first: float = 0.1
    wait_s_max: float = 10
    stable_s: float = 2
    stop_deadline_s: float = 30


class Phase(enum.Enum):
    """Where a program is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    STOPPED = "stopped"


class ChildState(msgspec.Struct, frozen=True):
    """How one program is.

    Args:
        name: the child's name.
        phase: where it is in its life.
        pid: its process id; 0 where it does not run.
        starts: how often it was started.
        last_exit: its last exit code, minus the signal where one ended it; None before.
    """

    name: str
    phase: Phase
    pid: int
    starts: int
    last_exit: int | None


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the parent ends, at once where it already has.

    The kernel forgets this when the process changes its user: call it after.

    Args:
        parent: the process id that ``os.getppid`` should return.

    Source: PR_SET_PDEATHSIG(2const).
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class Supervisor:
    """Runs programs until a signal, or until one of them gives up.

    SIGTERM, SIGINT and SIGHUP stop the programs in order; a second one, a second later, kills them.
    Each program has a process group of its own, so that a key on the terminal reaches only the
    supervisor, and dies with the supervisor, however that ends. The process has one thread.

    Args:
        children: the programs, in the order they start.
        clock: the source of time.
        random: floats in [0, 1), to spread restarts.
        env: the environment of every program.
        policy: when to restart and how long to wait.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        clock: Clock,
        random: Callable[[], float],
        env: MutableMapping[str, str],
        policy: Policy | None = None,
    ) -> None:
        self._notifier = Notifier.from_env(env)
        self._policy = policy or Policy()
        self._programs = [_Program(child, self._policy, random, env) for child in children]
        self._clock = clock
        self._told: tuple[ChildState, ...] = ()
        self._beat_ns = 0
        self._log = logger(__name__)

    def states(self) -> tuple[ChildState, ...]:
        """Return how each program is, in the order of their start."""
        return tuple(program.state() for program in self._programs)

    def run(self, stop_order: Sequence[str] = ()) -> int:
        """Run until stopped and return the exit code.

        Args:
            stop_order: names of programs to stop before the others; the others follow in the
                reverse order of their start.

        Returns:
            0 after an orderly stop, 1 where a program had to be killed, or the exit code of the
            program that gave up.

        Raises:
            CannotStart: a program does not exist or may not be run; the others were stopped.
            RuntimeError: this process has more than one thread, or this is not its main one.
        """
        if threading.active_count() > 1:
            raise RuntimeError("a supervisor needs a process of one thread")
        with _Signals(self._clock) as signals:
            try:
                code = self._watch(signals)
            finally:
                self._notifier.stopping()
                orderly = self._stop(self._in_order(stop_order), signals)
            return code if orderly else code or 1

    def _watch(self, signals: "_Signals") -> int:
        """Keep everything running until a signal or a program that gives up."""
        while not signals.stops:
            now_ns = self._clock.monotonic_ns()
            for program in self._programs:
                program.turn(now_ns)
                if program.gave_up:
                    self._log.error("program gave up", name=program.child.name)
                    return program.last_exit or 0
            self._tell(now_ns)
            due_ns = [due for program in self._programs for due in program.due_ns()]
            if self._notifier.watchdog_s:
                due_ns.append(self._beat_ns)
            channels = [program.channel for program in self._programs if program.channel]
            wait_s = (min(due_ns) - self._clock.monotonic_ns()) / NS_PER_S if due_ns else None
            signals.wait(channels, wait_s)
        return 0

    def _tell(self, now_ns: int) -> None:
        """Pass on what changed, and that we are alive."""
        states = self.states()
        if states != self._told:
            was_ready = bool(self._told) and _all_ready(self._told)
            self._notifier.status(", ".join(f"{one.name} {one.phase.value}" for one in states))
            if _all_ready(states) and not was_ready:
                self._notifier.ready()
            self._told = states
        if self._notifier.watchdog_s and now_ns >= self._beat_ns:
            self._notifier.beat()
            self._beat_ns = now_ns + int(self._notifier.watchdog_s * NS_PER_S / 2)

    def _in_order(self, first: Sequence[str]) -> "list[_Program]":
        named = {program.child.name: program for program in reversed(self._programs)}
        return [named.pop(name) for name in first] + list(named.values())

    def _stop(self, programs: "Sequence[_Program]", signals: "_Signals") -> bool:
        """Stop one program after the other; return whether none had to be killed."""
        end_ns = self._clock.monotonic_ns() + int(self._policy.stop_deadline_s * NS_PER_S)
        orderly = True
        for program in programs:
            program.ask_to_stop()
            wait_ns = int(program.child.stop_wait_s * NS_PER_S)
            limit_ns = min(end_ns, self._clock.monotonic_ns() + wait_ns)
            while program.running:
                now_ns = self._clock.monotonic_ns()
                if now_ns >= limit_ns or signals.stops > 1:
                    orderly = False
                    program.kill()
                program.reap(now_ns)  # first: the signal of its end may have come before
                if program.running:
                    signals.wait([], (limit_ns - now_ns) / NS_PER_S)
            program.phase = Phase.STOPPED
        return orderly


def _all_ready(states: Sequence[ChildState]) -> bool:
    return all(state.phase is Phase.READY for state in states)


class _Program:
    """One child: its process, its channel and its restarts."""

    def __init__(
        self,
        child: Child,
        policy: Policy,
        random: Callable[[], float],
        env: Mapping[str, str],
    ) -> None:
        self.child = child
        self.phase = Phase.WAITING
        self.last_exit: int | None = None
        self.channel: socket.socket | None = None
        self._env = env
        self._stable_ns = int(policy.stable_s * NS_PER_S)
        self._backoff = Backoff(
            wait_s_first=policy.wait_s_first, wait_s_max=policy.wait_s_max, random=random
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._is_asked = False
        self._start_ns = 0  # of the running process, or of the next one
        self._beat_ns = 0
        self._log = logger(__name__).bind(name=child.name)

    @property
    def running(self) -> bool:
        """Whether there is a process that has not been reaped."""
        return self._process is not None

    @property
    def gave_up(self) -> bool:
        """Whether it ended in a way that starting it again would repeat."""
        return self.phase is Phase.WAITING and self.last_exit in PERMANENT_EXITS

    def state(self) -> ChildState:
        """Return what the outside may know."""
        return ChildState(
            self.child.name,
            self.phase,
            self._process.pid if self._process else 0,
            self._starts,
            self.last_exit,
        )

    def due_ns(self) -> Iterator[int]:
        """Yield the moments at which there will be something to do."""
        if self.phase is Phase.WAITING:
            yield self._start_ns
        elif self.child.watchdog_s:
            yield self._late_ns()

    def turn(self, now_ns: int) -> None:
        """Do what is due."""
        self._hear(now_ns)
        self.reap(now_ns)
        if self.running and self.child.watchdog_s and now_ns >= self._late_ns():
            self._log.error("program is silent and is killed", watchdog_s=self.child.watchdog_s)
            self.kill()
            self.reap(now_ns)
        if self.phase is Phase.WAITING and not self.gave_up and now_ns >= self._start_ns:
            self._start(now_ns)

    def _late_ns(self) -> int:
        return self._beat_ns + int(self.child.watchdog_s * NS_PER_S)

    def _start(self, now_ns: int) -> None:
        try:
            self._process, self.channel = self._spawned()
        except OSError as error:
            if error.errno not in _TEMPORARY:
                what = f"cannot start {self.child.argv[0]}: {error.strerror}"
                raise CannotStart(what) from error
            self._log.warning("program cannot start yet", error=error)
            self._retry(now_ns)
            return
        self.phase = Phase.STARTING if self.child.notifies else Phase.READY
        self._starts += 1
        self._is_asked = False
        self._start_ns = self._beat_ns = now_ns
        self._log.info("program started", pid=self._process.pid, starts=self._starts)

    def _spawned(self) -> "tuple[subprocess.Popen[bytes], socket.socket]":
        """Start the process and return it with our end of its channel."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        env = {**self._env, NOTIFY_FD: str(theirs.fileno())}
        if self.child.watchdog_s:
            env["WATCHDOG_USEC"] = str(int(self.child.watchdog_s * 1_000_000))
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            process = subprocess.Popen(
                self.child.argv,
                env=env,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
                user=self.child.user,
                group=self.child.group,
                extra_groups=None if self.child.user is None else self.child.extra_groups,
                preexec_fn=functools.partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - one thread
            )
            undo.pop_all()
        ours.settimeout(0)
        return process, ours

    def _hear(self, now_ns: int) -> None:
        """Read what the program says of itself, which need not be true."""
        if self.channel is None:
            return
        for _ in range(_MESSAGES_PER_TURN_MAX):
            try:
                message = self.channel.recv(_MESSAGE_BYTES_MAX)
            except OSError:
                return
            said = message.split(b"\n")
            if b"READY=1" in said:
                self.phase = Phase.READY
            if b"WATCHDOG=1" in said:
                self._beat_ns = now_ns

    def reap(self, now_ns: int) -> None:
        """Notice the end of the process, and end what it left behind in its group."""
        process = self._process
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if process is None or os.waitid(os.P_PID, process.pid, flags) is None:
            return
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        self.last_exit = process.wait()
        self._process = None
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if now_ns - self._start_ns >= self._stable_ns:
            self._backoff.reset()
        was_asked = self._is_asked and self.last_exit == 0
        self._retry(now_ns)
        tell = self._log.info if was_asked else self._log.warning
        tell("program ended", exit=self.last_exit, starts=self._starts)

    def _retry(self, now_ns: int) -> None:
        self.phase = Phase.WAITING
        self._start_ns = now_ns + int(self._backoff.next_s() * NS_PER_S)

    def ask_to_stop(self) -> None:
        """Send SIGTERM, once."""
        self._is_asked = True
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGTERM)  # Popen's own way would reap

    def kill(self) -> None:
        """Send SIGKILL to the whole group and wait until the kernel has done it."""
        if self._process is not None:
            self._log.warning("program is killed")
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)


class _Signals:
    """Counts the calls to stop, and wakes a wait.

    A terminal and a parent often signal together: calls within a second are one.
    """

    NUMBERS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

    def __init__(self, clock: Clock) -> None:
        self.stops = 0
        self._clock = clock
        self._stop_ns = 0
        self._inlet, self._outlet = socket.socketpair()

    def __enter__(self) -> Self:
        self._inlet.settimeout(0)
        self._outlet.settimeout(0)
        self._old = {number: signal.signal(number, self._note) for number in self.NUMBERS}
        self._old_fd = signal.set_wakeup_fd(self._inlet.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._inlet.close()
        self._outlet.close()

    def _note(self, number: int, _frame: object) -> None:
        now_ns = self._clock.monotonic_ns()
        if number != signal.SIGCHLD and (not self.stops or now_ns - self._stop_ns > NS_PER_S):
            self.stops += 1
            self._stop_ns = now_ns

    def wait(self, channels: Sequence[socket.socket], wait_s: float | None) -> None:
        """Sleep until a signal, a message or the time."""
        sources = select.poll()
        for source in (self._outlet, *channels):
            sources.register(source, select.POLLIN)
        sources.poll(None if wait_s is None else max(0, math.ceil(wait_s * 1000)))
        with contextlib.suppress(BlockingIOError):
            self._outlet.recv(_MESSAGE_BYTES_MAX)
