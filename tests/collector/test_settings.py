from pathlib import Path

import pytest

from collector.settings import DEFAULT_PATH, CollectorSettings, read_settings
from runtime.settings import BadSettings, show

A_FILE = '[[forward]]\ntype = "jsonl"\nname = "a"\npath = "/x"\n'
A_FEED = '[[feeds.sources]]\nname = "a"\npath = "x"\nkind = "sha256"\n'


def read(folder: Path, text: str, **env: str) -> CollectorSettings:
    path = folder / "collector.toml"
    path.write_text(text, "utf-8")
    return read_settings(path, env, missing_ok=False)


@pytest.mark.parametrize(
    ("text", "key", "rule"),
    [
        ('[paths]\nstat = "/x"', "paths.stat", "unknown key"),
        ('[paths]\nstate = ""', "paths", "`state` must be an absolute path"),
        ('[paths]\nstate = "state"', "paths", "`state` must be an absolute path"),
        ('[trust]\ndomain = "Acme Inc"', "trust", "`domain` has lower-case DNS names"),
        ('[trust]\nserver_names = ["*.x.org"]', "trust", "`server_names` has lower-case DNS names"),
        ("[trust]\nserver_names = []", "trust.server_names", "length >= 1"),
        ('[gateway]\nintake_address = "6610"', "gateway", "`intake_address` needs the form"),
        ('[gateway]\nenrollment_address = "h:"', "gateway", "`enrollment_address` needs the form"),
        ('[console]\naddress = "0.0.0.0:80"', "console", "`address` must be loopback"),
        ('[gateway]\nintake_address = "::1:80"', "gateway", "`intake_address` needs the form"),
        ('[console]\naddress = "1.2.3.4:65536"', "console", "`address` needs the form"),
        ("[commit]\nwait = 1", "commit.wait", "unknown key"),
        ("[feeds]\ninterval_s = 1", "feeds.interval_s", "Expected `int` >= 10"),
        ('[log]\nlevel = "loud"', "log.level", "Invalid enum value 'loud'"),
        ("[unheard_of]", "unheard_of", "unknown key"),
        ("forward = 3", "forward", "Expected `array`"),
        (f'{A_FILE}paht = "/y"', "forward.[0].paht", "unknown key"),
        ('[[forward]]\nname = "a"', "forward.[0].type", "is required"),
        ('[[forward]]\ntype = "kafka"\nname = "a"', "forward.[0].type", "Invalid value 'kafka'"),
        ('[[forward]]\ntype = "jsonl"\nname = "a"', "forward.[0].path", "is required"),
        (f"{A_FILE}[forward.filter]\nsignal = true", "forward.[0].filter.signal", "unknown key"),
        (A_FILE + A_FILE, "forward.[1].name", "names a second destination"),
        (f'{A_FEED}formt = "csv"', "feeds.sources.[0].formt", "unknown key"),
        ('[[feeds.sources]]\nname = "a"', "feeds.sources.[0].path", "is required"),
        (
            '[[feeds.sources]]\nname = "a"\npath = "../x"\nkind = "sha256"',
            "feeds.sources.[0]",
            "below the directory of lists",
        ),
        (A_FEED + A_FEED, "feeds", "two `sources` have the same name"),
    ],
)
def test_a_bad_key_is_refused_with_file_key_and_rule(
    tmp_path: Path, text: str, key: str, rule: str
) -> None:
    with pytest.raises(BadSettings) as caught:
        read(tmp_path, text)

    assert caught.value.exit_code == 4
    assert caught.value.key == key
    assert rule in caught.value.rule
    assert str(tmp_path / "collector.toml") in caught.value.message


def test_a_bad_override_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="VEDETTE__FEEDS__INTERVAL_S") as caught:
        read(tmp_path, "", VEDETTE__FEEDS__INTERVAL_S="1")

    assert (caught.value.exit_code, caught.value.key) == (4, "feeds.interval_s")


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    settings = read(tmp_path, '[paths]\nstate = "/a"', VEDETTE__PATHS__STATE="/b")

    assert settings.paths.state == "/b"


def test_without_a_file_there_are_defaults_that_hold(tmp_path: Path) -> None:
    settings = read_settings(tmp_path / "none.toml", {}, missing_ok=True)

    assert settings == CollectorSettings()
    assert settings.console.address == "127.0.0.1:6612"
    assert settings.gateway.intake_address.endswith(":6610")
    assert settings.gateway.enrollment_address.endswith(":6611")
    assert DEFAULT_PATH == "/etc/vedette/collector.toml"
    assert settings.paths.root == Path("/var/lib/vedette-collector")


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="no such file"):
        read_settings(tmp_path / "none.toml", {}, missing_ok=False)


@pytest.mark.parametrize("address", ["0.0.0.0:6610", "[::]:6610", "[::1]:0", "host-1.x:6610"])
def test_a_listener_may_have_any_address_of_either_family(tmp_path: Path, address: str) -> None:
    settings = read(tmp_path, f'[gateway]\nintake_address = "{address}"')

    assert settings.gateway.intake_address == address


def test_the_server_may_be_called_by_name_and_by_address(tmp_path: Path) -> None:
    names = '["collector.example.org", "192.0.2.1", "2001:db8::1"]'

    settings = read(tmp_path, f"[trust]\nserver_names = {names}")

    assert settings.issuer.server_names == ("collector.example.org", "192.0.2.1", "2001:db8::1")


def test_no_two_rooms_share_a_directory_for_keys() -> None:
    paths = CollectorSettings().paths

    homes = {paths.issuer, paths.receipt_key.parent, paths.own_key.parent, paths.feeds}

    assert len(homes) == 4
    assert all(home.parent == paths.root for home in homes)
    assert paths.own_key != paths.log_key


def test_the_feeds_job_is_told_what_the_section_says(tmp_path: Path) -> None:
    text = f'[paths]\nstate = "/s"\n[feeds]\nwarninglists = "/w"\n{A_FEED}'

    plain, moved = read(tmp_path, text), read(tmp_path, f'[feeds]\nlists = "/l"\n{A_FEED}')

    assert plain.publishing.lists == "/s/feeds/lists"
    assert (plain.publishing.state, plain.publishing.warninglists) == ("/s/feeds", "/w")
    assert plain.publishing.sources == plain.feeds.sources
    assert moved.publishing.lists == "/l"


def test_what_is_shown_is_read_back_as_it_was(tmp_path: Path) -> None:
    settings = read(tmp_path, f'[trust]\ndomain = "a.example"\n{A_FILE}{A_FEED}')

    assert read(tmp_path, show(settings)) == settings
