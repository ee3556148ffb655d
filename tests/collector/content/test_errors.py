from collector.content.errors import CompileError, CompilerStopped, RuleRefused, RulesUnreadable
from collector.errors import CollectorError
from runtime.errors import Fault


def test_what_cannot_be_compiled_is_for_its_author_to_change() -> None:
    for kind in (RuleRefused, RulesUnreadable, CompilerStopped):
        error = kind("a rule", hint="change it")
        assert isinstance(error, CompileError)
        assert isinstance(error, CollectorError)
        assert error.fault is Fault.OPERATOR
        assert not error.retryable
