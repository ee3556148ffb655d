"""Values that tests of any room build on."""

from hypothesis import strategies as st
from msgspec import UNSET, inspect, structs

from proto import model


def a_process(**changes: object) -> model.Process:
    values: dict[str, object] = {
        "boot_id": bytes(16),
        "pid": 4242,
        "start": 9_000_000_000,
        "exe": "/usr/bin/true",
        "argv": ("true",),
        "user": model.User(uid=0, name="root"),
    }
    return model.Process(**(values | changes))  # type: ignore[arg-type]


def a_finding(**changes: object) -> model.Finding:
    values: dict[str, object] = {
        "kind": model.FindingKind.DETECTION,
        "activity": model.Activity.CREATE,
        "disposition": model.Disposition.ALERT,
        "severity": model.Severity.HIGH,
        "confidence": 90,
        "title": "Known bad file",
        "key": b"k" * 16,
        "rule": model.Rule(id="indicator.sha256"),
        "source": model.Source(sensor="files", rung="inotify", coverage="configured trees"),
        "event_time": 1_790_000_000_000_000_000,
        "event_precision": model.Precision.EXACT,
        "observed_at": 1_790_000_000_100_000_000,
    }
    return model.Finding(**(values | changes))  # type: ignore[arg-type]


def an_observation(subject: model.Thing | None = None, **changes: object) -> model.Observation:
    values: dict[str, object] = {
        "kind": model.ObservationKind.PROCESS_EXEC,
        "source": model.Source(sensor="processes", rung="poll", coverage="misses short-lived"),
        "event_time": 1_790_000_000_000_000_000,
        "event_precision": model.Precision.EXACT,
        "observed_at": 1_790_000_000_100_000_000,
        "subject": model.Entity(role=model.Role.ACTOR, value=subject or a_process()),
    }
    return model.Observation(**(values | changes))  # type: ignore[arg-type]


def values_of(struct: type) -> st.SearchStrategy[object]:
    """Any value of a model struct that its own limits allow."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    unset = {field.name for field in structs.fields(struct) if field.default is UNSET}
    required: dict[str, st.SearchStrategy[object]] = {}
    for field in info.fields:
        strategy = _of(field.type, field.name)
        if field.name in unset:
            strategy = strategy | st.just(UNSET)
        required[field.name] = strategy
    return st.builds(struct, **required)


def _of(kind: inspect.Type, name: str) -> st.SearchStrategy[object]:
    if isinstance(kind, inspect.UnionType):
        return st.one_of([_of(member, name) for member in kind.types])
    if isinstance(kind, inspect.VarTupleType):
        return st.lists(_of(kind.item_type, name), max_size=2).map(tuple)
    if isinstance(kind, inspect.StructType):
        return st.deferred(lambda: values_of(kind.cls))
    if isinstance(kind, inspect.EnumType):
        return st.sampled_from(list(kind.cls))
    if isinstance(kind, inspect.BytesType):
        return st.binary(min_size=kind.min_length or 0, max_size=min(kind.max_length or 40, 40))
    return {
        inspect.StrType: st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        inspect.IntType: st.integers(0, 2**31 - 1),
        inspect.FloatType: st.floats(0, 1),
        inspect.BoolType: st.booleans(),
        inspect.NoneType: st.none(),
    }[type(kind)]
