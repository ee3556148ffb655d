from collector.gateway.policy import POLICY, Access, Listener, Shape
from proto.vedette.v1 import service_pb2


def test_every_method_of_the_schema_stands_in_the_table_once() -> None:
    declared = [
        f"/{service.full_name}/{method.name}"
        for service in service_pb2.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]

    listed = [name for _, name in POLICY if name.startswith("/vedette.")]

    assert sorted(listed) == sorted(declared)


def test_only_joining_and_health_ask_for_no_certificate() -> None:
    open_to_all = {
        (listener, name)
        for (listener, name), rule in POLICY.items()
        if rule.access is Access.ANYONE
    }

    assert {listener for listener, _ in open_to_all} == {Listener.ENROLLMENT}
    assert {name.split("/")[1] for _, name in open_to_all} == {
        "vedette.v1.Enrollment",
        "grpc.health.v1.Health",
    }


def test_the_shape_of_each_call_is_that_of_the_schema() -> None:
    for service in service_pb2.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            name = f"/{service.full_name}/{method.name}"
            (rule,) = (rule for (_, of), rule in POLICY.items() if of == name)
            many_in, many_out = method.client_streaming, method.server_streaming
            shape = {
                (False, False): Shape.ONE_TO_ONE,
                (False, True): Shape.ONE_TO_MANY,
                (True, True): Shape.MANY_TO_MANY,
            }[many_in, many_out]
            assert rule.shape is shape
