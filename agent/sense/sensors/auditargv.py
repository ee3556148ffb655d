"""The arguments of an exec, put together from the audit records they are spread over.

A record of type EXECVE holds ``argc=N a0="ls" a1=2D6C``. What does not fit goes on in another; an
argument longer than a record comes as ``a1_len=LENGTH a1[0]=... a1[1]=...``. Records may be lost:
what is not whole is said, never guessed.

Source: audit_log_execve_info in the kernel's kernel/auditsc.c.
"""

import re
from typing import Final

from msgspec import Struct

from agent.hosttext import CUT, host_text
from agent.sense.sensors.auditfields import AuditError, fields_of, plain
from agent.sense.sensors.procfs import ARGUMENTS_MAX, within

PIECES_MAX: Final = 1024

_NAME: Final = re.compile(rb"a(\d{1,9})(?:\[(\d{1,9})\])?")
_LENGTH: Final = re.compile(rb"a(\d{1,9})_len")


class _Argument(Struct):
    """One argument: its pieces by number, and how long they are together as written."""

    pieces: dict[int, bytes]
    written: int = 0
    announced: int = 0

    def is_whole(self) -> bool:
        numbers_fit = max(self.pieces, default=-1) == len(self.pieces) - 1
        return numbers_fit and bool(self.pieces) and self.written >= self.announced

    def known(self) -> bytes:
        """Return it up to the first piece that is missing."""
        kept = bytearray()
        for at in range(len(self.pieces)):
            if at not in self.pieces:
                break
            kept += self.pieces[at]
        return bytes(kept)


class Arguments:
    """The arguments of one exec.

    Args:
        bytes_max: how much of them is kept.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._left = bytes_max
        self._count: int | None = None
        self._found: dict[int, _Argument] = {}
        self._is_torn = False

    @property
    def size_bytes(self) -> int:
        """How much is kept now."""
        return self._bytes_max - self._left

    def add(self, text: bytes) -> None:
        """Take one EXECVE record; what is not readable in it counts as missing."""
        for name, value in fields_of(text).items():
            if name == b"argc":
                self._count = int(value) if value.isdigit() and len(value) < 10 else self._count
            elif part := _NAME.fullmatch(name):
                self._keep(int(part[1]), int(part[2] or 0), value)
            elif part := _LENGTH.fullmatch(name):
                self._announce(int(part[1]), value)

    def whole(self) -> tuple[str, ...]:
        """Return the arguments in order, ending in `CUT` where there was more than is known."""
        known: list[str] = []
        is_cut = self._count is None or self._is_torn
        for at in range(min(self._count or len(self._found), ARGUMENTS_MAX)):
            argument = self._found.get(at)
            if argument is None:
                is_cut = True
                break
            known.append(host_text(argument.known(), self._bytes_max))
            if not argument.is_whole():
                is_cut = True
                break
        is_cut = is_cut or len(known) < (self._count or 0)
        kept = within(known[: ARGUMENTS_MAX - is_cut], self._bytes_max)
        if is_cut and kept[-1:] != [CUT]:
            kept.append(CUT)
        return tuple(kept)

    def _argument(self, at: int) -> _Argument | None:
        """Return the argument of that number; None for one beyond what is kept."""
        if at >= ARGUMENTS_MAX:
            self._is_torn = True
            return None
        return self._found.setdefault(at, _Argument({}))

    def _announce(self, at: int, value: bytes) -> None:
        if value.isdigit() and len(value) < 10 and (argument := self._argument(at)) is not None:
            argument.announced = int(value)

    def _keep(self, at: int, piece: int, value: bytes) -> None:
        argument = self._argument(at)
        if argument is None or piece >= PIECES_MAX or piece in argument.pieces:
            return
        try:
            data = plain(value)
        except AuditError:
            data = None
        if data is None or len(data) > self._left:
            data = (data or b"")[: self._left]
            self._is_torn = True
        self._left -= len(data)
        argument.pieces[piece] = data
        # The length is announced as the kernel writes it, without quotes.
        argument.written += len(value) - 2 if value[:1] == b'"' else len(value)


def of_title(title: bytes | None, bytes_max: int) -> tuple[str, ...]:
    """Return what a PROCTITLE record knows: the first 128 bytes at most, so always `CUT`."""
    try:
        data = plain(title) or b""
    except AuditError:
        data = b""
    words = data[:bytes_max].rstrip(b"\0").split(b"\0")[: ARGUMENTS_MAX - 1] if data else []
    kept = within([host_text(word, bytes_max) for word in words], bytes_max)
    return tuple(kept) if kept[-1:] == [CUT] else (*kept, CUT)
