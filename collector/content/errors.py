"""What can go wrong where content is compiled.

CollectorError                (collector.errors)
└── CompileError
    ├── RuleRefused           operator; one rule that cannot be compiled; the others are
    ├── RulesUnreadable       operator; a directory of rules that cannot be read at all
    └── CompilerStopped       operator; the compiler passed a limit of time or memory, or crashed
"""

from typing import ClassVar

from collector.errors import CollectorError
from runtime.errors import Fault


class CompileError(CollectorError):
    """Anything this room raises."""

    fault: ClassVar[Fault] = Fault.OPERATOR


class RuleRefused(CompileError):
    """A rule has something that hosts cannot judge by, or passes a limit."""


class RulesUnreadable(CompileError):
    """There are no rules where they were looked for, or too many."""


class CompilerStopped(CompileError):
    """The process that compiles ended without a result."""
