"""Gathers README, docs and a reference made from code in build/pages, and makes a site of them in build/site.

python .ci/site.py: ends with 1 if a link leads nowhere, or if a page would load something from another host.
The pages keep their places in the repository, so their links hold there and here. Needs the extra `docs`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PAGES, SITE = ROOT / "build" / "pages", ROOT / "build" / "site"
FACADES = [
    "Agent",
    *(f"Agent.{name}" for name in ("flight", "replay", "bridges", "client", "testing", "errors")),
]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
FENCE = re.compile(r"^(```\w+) (?:file=(\S+)|[a-z ]+)$", re.MULTILINE)  # the marks that tests/docs reads
LOADED = re.compile(
    r"""<(?:script|link|img|iframe|source|video)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^"'>\s]+"""
)
NOT_LOADED = re.compile(r'rel="?(?:canonical|alternate|next|prev)')


def gathered() -> None:
    """Copy the pages, and what they link to in the repository, to where they are in it."""
    waiting = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        target = PAGES / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(path, target)
        else:
            text = path.read_text(encoding="utf-8")
            target.write_text(FENCE.sub(_fence, text), encoding="utf-8")
            linked = (path.parent / name for name in LINK.findall(text) if "://" not in name)
            new = {each.resolve() for each in linked if each.is_file()} - seen
            seen |= new
            waiting += new


def _fence(found: re.Match[str]) -> str:
    return f'{found[1]} title="{found[2]}"' if found[2] else found[1]


def reference() -> None:
    """Write a page for each facade, which mkdocstrings fills from its `__all__`, and one of the commands."""
    folder = PAGES / "reference"
    folder.mkdir()
    for name in FACADES:
        (folder / f"{name}.md").write_text(f"# {name}\n\n::: {name}\n", encoding="utf-8")
    (folder / "commands.md").write_text(commands(), encoding="utf-8")


def commands() -> str:
    """Return what `--help` says of every command."""
    from Agent.cli.main import cli

    texts = ["# Commands\n"]

    def tell(command: click.Command, context: click.Context) -> None:
        texts.append(f"## {context.command_path}\n\n```text\n{command.get_help(context).strip()}\n```\n")
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                if (child := command.get_command(context, name)) is not None:
                    tell(child, click.Context(child, info_name=name, parent=context, max_content_width=88))

    tell(cli, click.Context(cli, info_name="agent-trace", max_content_width=88))
    return "\n".join(texts)


def loaded_from_elsewhere() -> list[str]:
    """Return what the pages would load from other hosts."""
    found: list[str] = []
    for page in sorted(SITE.rglob("*.html")):
        tags: list[Any] = LOADED.findall(page.read_text(encoding="utf-8"))
        found += [f"{page.relative_to(SITE)}: {tag}" for tag in tags if not NOT_LOADED.search(tag)]
    return found


def main() -> int:
    """Gather, build strictly, look at what was built; return 0 if all is well."""
    for folder in (PAGES, SITE):
        shutil.rmtree(folder, ignore_errors=True)
    gathered()
    reference()
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    print(told)
    if done.returncode or "griffe: " in told:  # of docstrings it only warns
        return 1
    foreign = loaded_from_elsewhere()
    print(*foreign, sep="\n")
    print(f"{sum(1 for _ in SITE.rglob('*.html'))} pages in {SITE.relative_to(ROOT)}")
    return 1 if foreign else 0


if __name__ == "__main__":
    sys.exit(main())
