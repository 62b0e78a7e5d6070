"""What stands once in code stands in the documents too: kinds of events, errors, dependencies."""

import inspect
import re
import tomllib

from support.processes import REPOSITORY

from Agent import errors
from Agent.event.payloads import KINDS

_BRANCH = re.compile(r"^(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)\s+(?:exit code )?(?P<code>\d+)")


def test_every_kind_of_event_is_in_the_format_document():
    text = (REPOSITORY / "docs" / "FORMAT.md").read_text()
    assert [name for name in KINDS if f"`{name}`" not in text] == []


def test_every_field_of_every_kind_is_in_the_format_document():
    text = (REPOSITORY / "docs" / "FORMAT.md").read_text()
    missing = [
        f"{kind.name}.{field.name}"
        for kind in KINDS.values()
        for field in kind.fields
        if not re.search(rf"\b{re.escape(field.name)}\b", text)
    ]
    assert missing == []


def drawn_tree() -> dict[str, tuple[str | None, int]]:
    """{name: (parent, exit code)} as the docstring of errors.py draws it."""
    tree: dict[str, tuple[str | None, int]] = {}
    above: list[tuple[int, str]] = []
    for line in inspect.getdoc(errors).splitlines():
        match = _BRANCH.match(line)
        if match is None:
            continue
        depth = len(match["indent"])
        above = [(level, name) for level, name in above if level < depth]
        tree[match["name"]] = (above[-1][1] if above else None, int(match["code"]))
        above.append((depth, match["name"]))
    return tree


def test_the_exception_tree_is_drawn_as_it_is():
    real = {}
    for name in errors.__all__:
        cls = getattr(errors, name)
        parent = cls.__bases__[0].__name__
        real[name] = (None if parent == "Exception" else parent, cls.exit_code)
    assert drawn_tree() == real


def test_every_exception_of_the_module_is_public():
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__)


def test_every_dependency_says_in_one_line_what_it_is_for():
    text = (REPOSITORY / "pyproject.toml").read_text()
    names = tomllib.loads(text)["project"]["dependencies"]
    unexplained = [name for name in names if not re.search(re.escape(f'"{name}"') + r",?\s+# \S+", text)]
    assert unexplained == []
