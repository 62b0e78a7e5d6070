"""What README and docs name exists: commands, options, links; none of the commands is left out.

test_pages_as_read.py runs their blocks.
"""

import re
import shlex
from pathlib import Path

import click
import pytest
from support.markdown import Block, blocks_of, python_blocks
from support.processes import REPOSITORY

from Agent.cli.main import cli

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("**/*.md")])
SHELL_LANGUAGES = {"bash", "sh", "shell", "console", "text", ""}
COMMAND = re.compile(r"(?:^|[\s/`(])agent-trace((?:[ \t]+[^\s`|&;#)]+)*)")


def page_id(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def command_names() -> list[str]:
    """Their names alone: a command whose module does not import fails its own tests, not all of them."""
    return sorted(cli.list_commands(click.Context(cli)))


def command_lines(block: Block) -> list[list[str]]:
    """The words after `agent-trace` of each call of it in a block; continued lines are one."""
    if block.language not in SHELL_LANGUAGES:
        return []
    found = []
    # what stands in $(...) is a call of its own, whose pipes are not this one's
    source = re.sub(r"\$\(([^)]*)\)", "VALUE", block.source.replace("\\\n", " "))
    for line in source.splitlines():
        for part in re.split(r"&&|\|\||[|;]", line.partition(" #")[0]):
            # what a program prints stands in such blocks, too, and may hold half a pair of quotes
            words = shlex.split(part.strip().removeprefix("$ ")) if "agent-trace" in part else []
            if words and words[0].rpartition("/")[2] == "agent-trace":
                found.append(words[1:])
    return found


def calls_of(path: Path) -> list[list[str]]:
    return [words for block in blocks_of(path.read_text(encoding="utf-8")) for words in command_lines(block)]


CALLS = [
    pytest.param(words, id=f"{page_id(page)}: agent-trace {' '.join(words)}")
    for page in PAGES
    for words in calls_of(page)
]


def test_the_readme_shows_python():
    assert python_blocks((REPOSITORY / "README.md").read_text())


def problems_with(words: list[str]) -> list[str]:
    """What a call in a page has that the command line has not."""
    command: click.Command = cli
    problems = []
    context = click.Context(cli)
    for word in words:
        flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        flags |= {"-h", "--help"}
        if word.startswith("-") and word != "-" and not re.fullmatch(r"-\d+(\.\d+)?", word):
            if word.partition("=")[0] not in flags:
                problems.append(f"{command.name} has no option {word}")
        elif isinstance(command, click.Group):
            following = command.get_command(context, word)
            if following is None:
                return [*problems, f"there is no command {word}"]
            command = following
    return problems


def test_the_commands_in_the_pages_exist_with_their_options():
    problems = {call.id: problems_with(call.values[0]) for call in CALLS}
    assert problems and {call: found for call, found in problems.items() if found} == {}


def test_a_wrong_command_or_option_would_be_noticed():
    assert problems_with(["no-such-command"]) == ["there is no command no-such-command"]
    assert problems_with(["sessions", "--no-such-option"]) == ["sessions has no option --no-such-option"]
    assert problems_with(["sessions", "--json"]) == []


def test_every_command_is_told_of_in_the_pages():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = {words.split()[0] for words in COMMAND.findall(text) if words.split()}
    missing = [name for name in command_names() if name not in named]
    assert not missing, f"no page has a call of {missing}; docs/EXPLAIN.md lists those that explain a session"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_navigation_of_the_site():
    navigation = (REPOSITORY / "zensical.toml").read_text(encoding="utf-8")
    pages = [page_id(page) for page in PAGES]
    assert [page for page in pages if f'= "{page}"' not in navigation] == []


def test_an_answer_of_the_how_to_page_has_ten_lines_at_most():
    _, *answers = (REPOSITORY / "docs" / "HOWTO.md").read_text(encoding="utf-8").split("\n## ")
    sizes = {answer.partition("\n")[0]: len(answer.split("\n\n", 1)[1].split("\n")) for answer in answers}
    assert {question: lines for question, lines in sizes.items() if lines > 11} == {}
