"""The compose file: reachable from this machine alone, no secret in it, and a command that exists."""

import re

import click
from support.processes import REPOSITORY

from Agent.cli.main import cli

COMPOSE = (REPOSITORY / "compose.yaml").read_text(encoding="utf-8")
IMAGE = (REPOSITORY / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def test_ports_are_those_of_this_machine_alone():
    ports = re.findall(r'^ +- "([0-9.:]+)"$', COMPOSE, re.MULTILINE)
    assert ports == ["127.0.0.1:8000:8000", "127.0.0.1:8001:8001"]


def test_passwords_come_from_the_environment_and_must_be_given():
    secrets = re.findall(r"^ +(\w*PASSWORD\w*): (.+)$", COMPOSE, re.MULTILINE)
    assert [name for name, _ in secrets] == ["POSTGRES_PASSWORD", "PGPASSWORD"]
    assert {value for _, value in secrets} == {"${AGENT_TRACE_DB_PASSWORD:?set AGENT_TRACE_DB_PASSWORD}"}
    assert not re.search(r"://[^/\s]*:[^/\s]*@", COMPOSE + IMAGE)


def test_the_command_of_the_service_and_of_its_image_exists_with_its_options():
    for text, opening in ((COMPOSE, "command: ["), (IMAGE, "CMD [")):
        words = re.findall(r'"([^"]+)"', text.partition(opening)[2].partition("]")[0])
        assert words[0] == "agent-trace"
        command = cli.get_command(click.Context(cli), words[1])
        command.make_context("agent-trace serve", words[2:])


def test_the_service_runs_as_nobody_special_and_writes_nowhere_but_to_its_database():
    assert "USER agent" in IMAGE
    for line in ("read_only: true", "cap_drop: [ALL]", "no-new-privileges:true"):
        assert line in COMPOSE
