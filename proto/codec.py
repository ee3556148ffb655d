"""Between exact bytes and the values of `proto.model`: typed, bounded, and nothing else.

The converters are built once, when this module is imported, by walking each struct beside its
protobuf descriptor. A field that one has and the other lacks stops the import, so the two cannot
drift. Limits stand on the model's fields; a value over its limit is refused in both directions.

Any bytes give a value or one of `proto.errors`. What a newer agent says that we do not know (an
unknown field, a new enum value, a new record kind) is kept by whoever keeps the bytes; the decoder
reports it as ``newer`` so that it can be decoded again after an upgrade.
"""

# ruff: noqa: ANN401  (messages and their fields have no common static type)

import enum
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message
from msgspec import UNSET, inspect

from proto import model
from proto.errors import Malformed, TooLarge
from proto.vedette.v1 import envelope_pb2, record_pb2, statement_pb2

M = TypeVar("M", bound=Message)

_Decode = Callable[[Any, list[bool]], Any]
_Encode = Callable[[Any], Any]

_MESSAGES: Mapping[type, type[Message]] = {
    **{
        getattr(model, name): getattr(module, name)
        for module in (record_pb2, envelope_pb2, statement_pb2)
        for name in module.DESCRIPTOR.message_types_by_name
        if hasattr(model, name) and isinstance(getattr(model, name), type)
    },
}

# The member of each oneof that carries a struct, by struct.
_ENTITY_MEMBERS: Mapping[type, str] = {
    model.Process: "process",
    model.File: "file",
    model.Endpoint: "endpoint",
    model.User: "user",
    model.Package: "package",
    model.Login: "login",
    model.LogLine: "log",
    model.Setting: "setting",
    model.DnsMessage: "dns",
    model.Persistence: "persistence",
    model.Container: "container",
}
_RECORD_MEMBERS: Mapping[type, str] = {
    model.Finding: "finding",
    model.Observation: "observation",
    model.InventoryItem: "inventory",
    model.Observable: "observable",
    model.Evidence: "evidence",
    model.Health: "health",
    model.Drop: "drop",
    model.Incident: "incident",
    model.Score: "score",
    model.Audit: "audit",
}


class _Scalar:
    """Checks one string, number or byte string against its field's limits."""

    def __init__(self, name: str, kind: inspect.Type) -> None:
        self._name = name
        self._min: int = getattr(kind, "min_length", None) or 0
        self._max: int | None = getattr(kind, "max_length", None)

    def check(self, value: Any) -> Any:
        if self._max is not None and not self._min <= len(value) <= self._max:
            if len(value) > self._max:
                raise TooLarge(f"{self._name} has {len(value)} units, at most {self._max} allowed")
            raise Malformed(f"{self._name} has {len(value)} units, at least {self._min} needed")
        return value

    def decode(self, value: Any, _newer: list[bool]) -> Any:
        return self.check(value)


class _Enum:
    """Maps enum members to numbers by name: ``HIGH`` is ``SEVERITY_HIGH``."""

    def __init__(self, kind: type[enum.Enum], field: FieldDescriptor) -> None:
        if field.enum_type is None:
            raise AssertionError(f"{field.full_name} is not an enum")
        values = field.enum_type.values_by_name
        prefix = next(iter(values)).removesuffix("UNSPECIFIED")
        if {prefix + member.name for member in kind} != set(values):
            raise AssertionError(f"{kind.__name__} differs from its schema")
        self._number = {member: values[prefix + member.name].number for member in kind}
        self._member = {number: member for member, number in self._number.items()}
        self._unspecified = self._member[0]

    def decode(self, value: int, newer: list[bool]) -> enum.Enum:
        member = self._member.get(value)
        if member is None:
            newer[0] = True
            return self._unspecified
        return member

    def encode(self, member: enum.Enum) -> int:
        return self._number[member]


class _Field:
    """One field of a struct beside the field of its message."""

    def __init__(
        self, field: inspect.Field, descriptor: FieldDescriptor, *, can_be_unset: bool
    ) -> None:
        self.name = field.name
        self.number = descriptor.number
        self.is_message = descriptor.type == FieldDescriptor.TYPE_MESSAGE
        kind = field.type
        self.can_be_unset = can_be_unset
        self.can_be_none = False
        if isinstance(kind, inspect.UnionType):
            self.can_be_none = any(isinstance(t, inspect.NoneType) for t in kind.types)
            (kind,) = (t for t in kind.types if not isinstance(t, inspect.NoneType))
        self.repeated: inspect.VarTupleType | None = None
        self._length = _Scalar(descriptor.full_name, kind)
        if isinstance(kind, inspect.VarTupleType):
            self.repeated = kind
            kind = kind.item_type
        self.decode_one, self.encode_one = _converters(kind, descriptor)

    def decode(self, message: Message, nulls: frozenset[int], newer: list[bool]) -> Any:
        value = getattr(message, self.name)
        if self.repeated is not None:
            self._length.check(value)
            return tuple(self.decode_one(item, newer) for item in value)
        optional = self.can_be_none or self.is_message
        if optional and not message.HasField(self.name):
            return self._absent(nulls)
        return self.decode_one(value, newer)

    def _absent(self, nulls: frozenset[int]) -> Any:
        if self.can_be_unset:
            return None if self.number in nulls else UNSET
        if self.can_be_none:
            return None
        raise Malformed(f"{self.name} is missing")

    def encode(self, value: Any, message: Any) -> None:
        if self.repeated is not None:
            self._length.check(value)
            getattr(message, self.name).extend([self.encode_one(item) for item in value])
        elif value is None:
            if self.can_be_unset:
                message.null_fields.append(self.number)
        elif value is UNSET:
            pass
        elif self.is_message:
            getattr(message, self.name).CopyFrom(self.encode_one(value))
        else:
            setattr(message, self.name, self.encode_one(value))


class _StructCodec:
    """Converts one struct; built on first need, so that structs may name each other."""

    def __init__(self, struct: type[msgspec.Struct], message: type[Message]) -> None:
        self.struct = struct
        self.message = message
        info = cast("inspect.StructType", inspect.type_info(struct))
        descriptor = message.DESCRIPTOR
        known = set(descriptor.fields_by_name) - {"null_fields"}
        if struct is model.Entity:
            known = {"role", "value"}
        names = {field.name for field in info.fields}
        if names != known:
            raise AssertionError(f"{struct.__name__} differs from its schema: {names ^ known}")
        self.has_nulls = "null_fields" in descriptor.fields_by_name
        defaults = {field.name: field.default for field in msgspec.structs.fields(struct)}
        self.fields = [
            _Field(
                field,
                cast("FieldDescriptor", descriptor.fields_by_name[field.name]),
                can_be_unset=defaults[field.name] is UNSET,
            )
            for field in info.fields
            if field.name in descriptor.fields_by_name
        ]

    def decode(self, message: Any, newer: list[bool]) -> Any:
        nulls = frozenset(message.null_fields) if self.has_nulls else frozenset()
        return self.struct(**{f.name: f.decode(message, nulls, newer) for f in self.fields})

    def encode(self, value: Any) -> Any:
        message = self.message()
        for field in self.fields:
            field.encode(getattr(value, field.name), message)
        return message


class _EntityCodec(_StructCodec):
    """An entity: a role and exactly one thing."""

    def decode(self, message: Any, newer: list[bool]) -> Any:
        member = message.WhichOneof("value")
        if member is None:
            raise Malformed("entity without a value")
        value = _CODECS[_ENTITY_STRUCTS[member]].decode(getattr(message, member), newer)
        role = self.fields[0].decode(message, frozenset(), newer)
        return model.Entity(role=role, value=value)

    def encode(self, value: model.Entity) -> Any:
        message = cast("Any", self.message())
        self.fields[0].encode(value.role, message)
        thing = _CODECS[type(value.value)].encode(value.value)
        getattr(message, _ENTITY_MEMBERS[type(value.value)]).CopyFrom(thing)
        return message


def _converters(kind: inspect.Type, field: FieldDescriptor) -> tuple[_Decode, _Encode]:
    if isinstance(kind, inspect.EnumType):
        converter = _Enum(kind.cls, field)
        return converter.decode, converter.encode
    if isinstance(kind, inspect.StructType):
        codec = _codec(kind.cls)
        return codec.decode, codec.encode
    scalar = _Scalar(field.full_name, kind)
    return scalar.decode, scalar.check


_CODECS: dict[type, _StructCodec] = {}
_ENTITY_STRUCTS = {member: struct for struct, member in _ENTITY_MEMBERS.items()}
_RECORD_STRUCTS = {member: struct for struct, member in _RECORD_MEMBERS.items()}


def _codec(struct: type[msgspec.Struct]) -> _StructCodec:
    if struct not in _CODECS:
        build = _EntityCodec if struct is model.Entity else _StructCodec
        _CODECS[struct] = build(struct, _MESSAGES[struct])
    return _CODECS[struct]


for _struct in (*_ENTITY_MEMBERS, *_RECORD_MEMBERS):
    _codec(_struct)
_HEADER = _codec(model.Header)
_RECEIPT = _codec(model.Receipt)
_STATEMENT = _codec(model.Statement)


def _parse(message: Message, data: bytes, size_bytes_max: int) -> bool:
    """Parse into ``message``; return whether it holds fields that this version does not know.

    Raises:
        TooLarge: more than ``size_bytes_max``.
        Malformed: not a message of this kind.
    """
    if len(data) > size_bytes_max:
        raise TooLarge(f"{len(data)} bytes, at most {size_bytes_max} allowed")
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise Malformed("not a protobuf message of the expected kind") from error
    whole = message.ByteSize()
    message.DiscardUnknownFields()  # type: ignore[no-untyped-call,unused-ignore]
    return message.ByteSize() != whole


def _serialise(codec: _StructCodec, value: Any, size_bytes_max: int) -> bytes:
    data = _to_bytes(codec, value).SerializeToString()
    if len(data) > size_bytes_max:
        raise TooLarge(f"{len(data)} bytes, at most {size_bytes_max} allowed")
    return cast("bytes", data)


def _to_bytes(codec: _StructCodec, value: Any) -> Any:
    try:
        return codec.encode(value)
    except (ValueError, TypeError, EncodeError) as error:
        raise Malformed(f"{codec.struct.__name__} holds a value the wire cannot carry") from error


def encode_record(record: model.Record) -> bytes:
    """Return the exact bytes of a record, of which its Merkle leaf is made.

    Raises:
        TooLarge: a field or the record is over its limit.
        Malformed: a value does not fit its wire type.
    """
    outer = record_pb2.Record()
    inner = _to_bytes(_CODECS[type(record)], record)
    getattr(outer, _RECORD_MEMBERS[type(record)]).CopyFrom(inner)
    data = outer.SerializeToString()
    if len(data) > model.RECORD_BYTES_MAX:
        raise TooLarge(f"record of {len(data)} bytes, at most {model.RECORD_BYTES_MAX} allowed")
    return data


def decode_record(data: bytes) -> tuple[model.Record | None, bool]:
    """Decode a record.

    Args:
        data: untrusted bytes.

    Returns:
        The record, or None where its kind is newer than this version; and whether it holds
        anything this version does not know.

    Raises:
        TooLarge: over a limit.
        Malformed: not a record.
    """
    outer = record_pb2.Record()
    newer = [_parse(outer, data, model.RECORD_BYTES_MAX)]
    member = outer.WhichOneof("kind")
    if member is None:
        if not newer[0]:
            raise Malformed("record of no kind")
        return None, True
    record = _CODECS[_RECORD_STRUCTS[member]].decode(getattr(outer, member), newer)
    return record, newer[0]


def encode_envelope(header: bytes, signature: bytes, body: bytes) -> bytes:
    """Return the bytes of an envelope, as it is stored and sent; nothing in it is touched."""
    message = envelope_pb2.Envelope(header=header, signature=signature, body=body)
    return message.SerializeToString()


def decode_envelope(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return header, signature and body of an envelope, nothing in them verified.

    Raises:
        TooLarge: over the limit of a message.
        Malformed: not an envelope.
    """
    message = envelope_pb2.Envelope()
    _parse(message, data, model.MESSAGE_BYTES_MAX)
    return message.header, message.signature, message.body


def encode_header(header: model.Header) -> bytes:
    """Return the header's bytes, to be signed and kept as they are.

    Raises:
        TooLarge: over a limit.
        Malformed: a value does not fit its wire type.
    """
    return _serialise(_HEADER, header, model.HEADER_BYTES_MAX)


def decode_header(data: bytes) -> model.Header:
    """Decode a header from untrusted bytes.

    Raises:
        TooLarge: over a limit.
        Malformed: not a header.
    """
    message = envelope_pb2.Header()
    _parse(message, data, model.HEADER_BYTES_MAX)
    return cast("model.Header", _HEADER.decode(message, [False]))


def encode_body(body: model.Body) -> bytes:
    """Return a body's bytes, before compression.

    Raises:
        TooLarge: more than `proto.model.RECORDS_MAX` records, or over the raw limit.
    """
    if len(body.records) > model.RECORDS_MAX:
        raise TooLarge(f"{len(body.records)} records, at most {model.RECORDS_MAX} allowed")
    data = record_pb2.Body(seed=body.seed, records=body.records).SerializeToString()
    if len(data) > model.RAW_BYTES_MAX:
        raise TooLarge(f"body of {len(data)} bytes, at most {model.RAW_BYTES_MAX} allowed")
    return data


def decode_body(data: bytes) -> model.Body:
    """Decode a body from untrusted bytes, its records still encoded.

    Raises:
        TooLarge: over a limit.
        Malformed: not a body, or a seed of the wrong size.
    """
    message = record_pb2.Body()
    _parse(message, data, model.RAW_BYTES_MAX)
    if len(message.seed) != 32:
        raise Malformed("body without a 32-byte seed")
    if len(message.records) > model.RECORDS_MAX:
        raise TooLarge(f"{len(message.records)} records, at most {model.RECORDS_MAX} allowed")
    return model.Body(seed=message.seed, records=tuple(message.records))


def encode_receipt(receipt: model.Receipt) -> bytes:
    """Return a receipt's bytes, to be signed.

    Raises:
        TooLarge: over a limit.
        Malformed: a value does not fit its wire type.
    """
    return _serialise(_RECEIPT, receipt, model.HEADER_BYTES_MAX)


def decode_receipt(data: bytes) -> model.Receipt:
    """Decode a receipt from untrusted bytes.

    Raises:
        TooLarge: over a limit.
        Malformed: not a receipt.
    """
    message = envelope_pb2.Receipt()
    _parse(message, data, model.HEADER_BYTES_MAX)
    return cast("model.Receipt", _RECEIPT.decode(message, [False]))


def encode_statement(statement: model.Statement) -> bytes:
    """Return a statement's bytes, to be signed.

    Raises:
        TooLarge: over a limit.
        Malformed: a value does not fit its wire type.
    """
    return _serialise(_STATEMENT, statement, model.HEADER_BYTES_MAX)


def decode_statement(data: bytes) -> model.Statement:
    """Decode a statement from untrusted bytes.

    Raises:
        TooLarge: over a limit.
        Malformed: not a statement.
    """
    message = statement_pb2.Statement()
    _parse(message, data, model.HEADER_BYTES_MAX)
    return cast("model.Statement", _STATEMENT.decode(message, [False]))


def parse_message(kind: type[M], data: bytes, size_bytes_max: int) -> M:
    """Decode a message of a service, which has no struct in the model, from untrusted bytes.

    Raises:
        TooLarge: over the limit.
        Malformed: not a message of this kind.
    """
    if len(data) > size_bytes_max:
        raise TooLarge(f"{len(data)} bytes, at most {size_bytes_max} allowed")
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise Malformed("not a protobuf message of the expected kind") from error
    return message
