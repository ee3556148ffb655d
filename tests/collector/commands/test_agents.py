import json
from pathlib import Path

import pytest

from collector.commands import agents
from collector.issuer.administer import list_agents
from collector.issuer.agents import State
from collector.issuer.desk import Desk
from collector.issuer.messages import ListAgents
from tests.collector.issuer.builders import Host, House, an_enrolled_host
from tests.collector.shell import Sealing, Shell, lived


def an_agent(shell: Shell) -> Host:
    """Enrol a host while nothing serves."""
    tenant = shell.init()
    with Desk(shell.settings.issuer, shell.clock) as desk:
        house = House(shell.settings.issuer, shell.root(), shell.clock, desk, tenant)
        return an_enrolled_host(house)


def standing(shell: Shell, host: Host) -> tuple[State, str]:
    with Desk(shell.settings.issuer, shell.clock) as desk:
        (agent,) = list_agents(desk, ListAgents(tenant=host.peer.tenant), 0).agents
        return agent.state, agent.reason


def test_an_agent_is_revoked_with_the_reason_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    host = an_agent(shell)

    with shell.issuing():
        code = shell.run("agents", "revoke", str(host.peer.agent), "--reason", "stolen")

    out, err = capsys.readouterr()
    assert (code, out) == (0, "")
    assert f"{host.peer.agent} is revoked" in err
    assert standing(shell, host) == (State.REVOKED, "stolen")


def test_an_agent_that_is_not_there_cannot_be_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    host = an_agent(shell)
    stranger = Host(host.peer.tenant, shell.clock).peer.agent

    with shell.issuing():
        code = shell.run("agents", "revoke", str(stranger))

    assert code == 6
    assert capsys.readouterr().out == ""
    assert standing(shell, host)[0] is State.ACTIVE


def test_no_other_tenants_agent_is_revoked_by_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    host = an_agent(shell)
    shell.add_tenant("globex")

    with shell.issuing():
        code = shell.run("agents", "revoke", str(host.peer.agent), "--tenant", "globex")

    assert code == 6
    assert standing(shell, host)[0] is State.ACTIVE
    assert capsys.readouterr().out == ""


def test_whom_to_revoke_has_to_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(tmp_path)
    agent = "01234567-89ab-8def-8123-456789abcdef"

    assert shell.run("agents", "revoke") == 2
    assert shell.run("agents", "revoke", agent, "--reason", "") == 2
    with pytest.raises(SystemExit) as caught:
        shell.run("agents", "revoke", "web-1")

    assert caught.value.code == 2
    assert "name the agent to revoke" in capsys.readouterr().err
    assert agents.__doc__


def test_without_an_issuer_nobody_is_revoked_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    host = an_agent(shell)

    code = shell.run("agents", "revoke", str(host.peer.agent))

    assert code == 5
    assert "vedette-collector run" in capsys.readouterr().err
    assert standing(shell, host)[0] is State.ACTIVE


def test_hosts_that_have_sent_something_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, tenant = lived(tmp_path)

    codes = shell.run("agents", "ls", "--json"), shell.run("agents", "ls")

    out, err = capsys.readouterr()
    first, *table = out.splitlines()
    row = json.loads(first)
    assert (codes, err) == ((0, 0), "")
    assert (row["host"], row["seq"], row["trusted"]) == ("web-1", 3, True)
    assert row["agent"] != str(Sealing(tenant).id)
    assert table[0].split()[:3] == ["HOST", "AGENT", "LAST_SEEN"]
    assert len(table) == 2
