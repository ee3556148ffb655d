"""A container is known by the device of its root."""

from msgspec import UNSET

from agent.sense.sensors.overlays import Overlays

NUMBER = "4f" * 32


def test_what_one_process_showed_is_known_for_the_next() -> None:
    overlays = Overlays()
    overlays.renew([(7, b"/var/lib/layers/x/merged")])

    overlays.learn(7, NUMBER)

    assert overlays.owner(7) == NUMBER


def test_a_mount_point_with_a_containers_number_tells_it() -> None:
    overlays = Overlays()

    overlays.renew([(7, f"/run/tasks/ns/{NUMBER}/rootfs".encode())])

    assert overlays.owner(7) == NUMBER


def test_other_file_systems_and_unread_processes_teach_nothing() -> None:
    overlays = Overlays()
    overlays.renew([(7, b"/m")])

    overlays.learn(8, NUMBER)
    overlays.learn(7, UNSET)

    assert overlays.owner(7) is None
    assert overlays.owner(8) is None


def test_an_overlay_of_two_containers_is_nobodys() -> None:
    overlays = Overlays()
    overlays.renew([(7, b"/m")])

    overlays.learn(7, NUMBER)
    overlays.learn(7, "another")
    overlays.learn(7, NUMBER)

    assert overlays.owner(7) is None


def test_what_was_unmounted_is_forgotten() -> None:
    overlays = Overlays()
    overlays.renew([(7, b"/m")])
    overlays.learn(7, NUMBER)

    overlays.renew([])
    overlays.renew([(7, b"/m")])

    assert overlays.owner(7) is None


def test_what_the_host_ran_before_is_no_containers() -> None:
    overlays = Overlays()
    overlays.renew([(7, b"/m")])

    overlays.learn(7, None)
    overlays.learn(7, NUMBER)

    assert overlays.owner(7) is None


def test_a_container_that_runs_a_file_of_the_hosts_root_does_not_own_that() -> None:
    overlays = Overlays()
    overlays.renew([(7, b"/"), (7, b"/var/lib"), (8, b"/m")])

    overlays.learn(7, NUMBER)

    assert overlays.owner(7) is None
