"""Rules that the source itself keeps and Ruff does not know: sizes, words, and where Python may stand."""

import ast
import re
import runpy
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from support.processes import REPOSITORY

PACKAGE = REPOSITORY / "Agent"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_MODULE_LINES = 800
MAX_TOOL_LINES = 20
MAX_FOLDER_MODULES = 15
SMALL_MODULE_LINES = 80
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "core", "base", "common", "misc"}
TEXT_SUFFIXES = {".py", ".md", ".toml", ".cfg", ".ini", ".yml", ".yaml", ".txt", ".sh", ""}

# In pieces, so that this file does not hold what it looks for.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.~}\])])/(work|root|home/\w+|tmp|Users/\w+)/")
FOREIGN_WORD = re.compile(r"\b(" + "|".join(["C" + "EO", "work" + "place"]) + r")\b", re.IGNORECASE)


def project_files() -> list[Path]:
    """What belongs to the project: what git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout, so nothing says which files are the project's")
    names = [name for name in done.stdout.decode().split("\0") if name]
    return [path for name in names if (path := REPOSITORY / name).is_file()]


def matches(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    """Each line of a text file that holds the pattern, with its place."""
    found = []
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace") if path.suffix in TEXT_SUFFIXES else ""
        for match in pattern.finditer(text):  # over the whole text: line by line takes six times as long
            line = text.count("\n", 0, match.start())
            found.append(
                f"{path.relative_to(REPOSITORY)}:{line + 1}: {text.splitlines()[line].strip()[:100]}"
            )
    return found


def test_no_module_is_longer_than_the_limit():
    sizes = {str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: size for name, size in sizes.items() if size > MAX_MODULE_LINES} == {}


def test_no_folder_has_more_modules_than_the_limit():
    sizes = Counter(str(path.parent.relative_to(REPOSITORY)) for path in MODULES)
    assert {name: count for name, count in sizes.items() if count > MAX_FOLDER_MODULES} == {}


@cache
def classes_and_imports(path: Path) -> list[ast.AST]:
    """The nodes of a module that define classes or import, also within functions."""
    wanted = ast.ClassDef, ast.Import, ast.ImportFrom
    blocks = ast.stmt, ast.excepthandler, ast.match_case  # expressions, most of the nodes, hold none
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, blocks):
                waiting.append(node)
                if isinstance(node, wanted):
                    found.append(node)
    return found


def test_no_two_public_classes_have_one_name():
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in classes_and_imports(path):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    shared = {name: places for name, places in homes.items() if len(places) > 1}
    assert shared == {}


def imported_modules(path: Path, names: dict[str, Path]) -> set[Path]:
    """The modules of the package that a module imports, also within functions."""
    found = set()
    for node in classes_and_imports(path):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return {names[name] for name in found if name in names}


def test_a_small_module_that_one_sibling_imports_is_part_of_that_sibling():
    names = {".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path for path in MODULES}
    importers: dict[Path, list[Path]] = {}
    for path in MODULES:
        for imported in imported_modules(path, names):
            importers.setdefault(imported, []).append(path)
    small = {
        str(path.relative_to(REPOSITORY))
        for path, users in importers.items()
        if len(users) == 1
        and users[0].parent == path.parent
        and "__init__.py" not in {path.name, users[0].name}
        and len(path.read_text().splitlines()) < SMALL_MODULE_LINES
    }
    assert small == set()


def test_no_two_files_of_tests_have_one_name():
    # Pytest imports them by their name alone, and would refuse the second where both are asked for at once.
    names = Counter(path.name for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_has_a_name_that_says_nothing():
    # `Agent/utils` is promised to users and holds names only.
    names = {str(path.relative_to(PACKAGE)) for path in MODULES if path.stem in VAGUE_NAMES}
    assert names == set()


def test_data_and_preset_directories_hold_no_python():
    # A trace/__init__.py or trace.py would shadow the standard library's module of that name.
    assert list((REPOSITORY / "trace").rglob("*.py")) == []
    assert list((REPOSITORY / "config").rglob("*.py")) == []
    assert not (REPOSITORY / "trace.py").exists()


def test_the_tools_are_a_few_lines_that_call_the_command_line():
    tools = sorted((REPOSITORY / "tools").glob("*.py"))
    assert {path.name for path in tools} == {"analyzer.py", "replay.py", "tail.py"}
    for path in tools:
        source = path.read_text()
        assert len(source.splitlines()) <= MAX_TOOL_LINES, path.name
        assert "Agent.cli" in source, path.name


@pytest.mark.process
def test_nothing_in_the_project_is_marked_as_unfinished():
    assert matches(UNFINISHED, project_files()) == []


@pytest.mark.process
def test_no_file_names_a_path_of_one_machine():
    # Tests may use such a path as a value; the two of the machines that build the project stay out of them too.
    strict = [path for path in project_files() if path.parts[len(REPOSITORY.parts)] != "tests"]
    lenient = [path for path in project_files() if path.parts[len(REPOSITORY.parts)] == "tests"]
    own = re.compile(r"(?<![\w.~}\])])/(work|root)/")
    lenient = [path for path in lenient if path.name != Path(__file__).name]
    assert matches(MACHINE_PATH, strict) + matches(own, lenient) == []


@pytest.mark.process
def test_the_project_speaks_of_itself_alone():
    assert matches(FOREIGN_WORD, project_files()) == []


def test_nothing_in_the_package_prints_unpickles_evaluates_or_has_a_bare_except():
    # Ruff has rules for this, too, but a comment turns them off.
    modules, calls = {"pickle", "marshal", "shelve"}, {"print", "eval", "exec"}
    suspicious = re.compile(rf"\b({'|'.join(modules)})\b|\b({'|'.join(calls)})\s*\(|\bexcept\s*:")
    found = []
    texts = [(path, path.read_text()) for path in MODULES]
    for path, text in texts:
        for node in ast.walk(ast.parse(text)) if suspicious.search(text) else ():
            what = ""
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                what = "bare except"
            elif isinstance(node, ast.Import):
                what = ", ".join(name.name for name in node.names if name.name.partition(".")[0] in modules)
            elif isinstance(node, ast.ImportFrom):
                names = {str(node.module).partition(".")[0], *(name.name for name in node.names)}
                what = ", ".join(sorted(names & modules))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in calls:
                what = node.func.id
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                what = owner.id if isinstance(owner, ast.Name) and owner.id in modules else ""
            if what:
                found.append(f"{path.relative_to(REPOSITORY)}:{node.lineno} {what}")
    assert found == []


READING = ("tree", "analysis", "archive", "flight", "export")
WAITS_FOR_PIPES = re.compile(r"\.read_bytes\(|\.read_text\(|\.open\(|(?<![\w.])open\(")
NOT_OF_THE_TREE = {
    "Agent/analysis/debug/root_causes/measures.py",  # its own files
    "Agent/analysis/query/spark.py",  # an object store
    "Agent/analysis/query/tables.py",  # a new file
    "Agent/archive/encrypted.py",  # a tar within a file that was opened so
    "Agent/archive/erase/target.py",  # gzip of a file that was looked at
    "Agent/archive/log_import.py",  # the file that somebody names
    "Agent/archive/run_export.py",  # its own package
    "Agent/archive/run_import.py",  # the package that somebody names
    "Agent/flight/checkpoints/recording.py",  # whatever the program's agents have open
    "Agent/tree/files/session.py",  # /proc
}


LISTS = re.compile(r"\.(glob|rglob|iterdir|scandir|listdir)\(|os\.walk\(")
LISTS_WHAT_IS_NOT_OF_THE_TREE = {
    "Agent/analysis/query/trees.py",  # an object store, which has neither; the pattern that somebody names
    "Agent/archive/erase/files.py",  # whether a directory is empty
    "Agent/archive/erase/target.py",  # the proof searches everything, also what is none of the tree's
    "Agent/archive/prune.py",  # what a session takes on the disk
    "Agent/archive/run_import.py",  # what it has unpacked itself
    "Agent/flight/checkpoints/files.py",  # /dev/fd
    "Agent/tree/layout.py",
    "Agent/tree/links.py",  # a link leads out whatever its name
}


def test_directories_of_the_tree_are_listed_where_foreign_names_and_loops_are_passed_over():
    """By `scan` of `layout.py` and what is made of it."""
    reading = (*READING, "archive", "flight", "replay/diff", "replay/golden")
    found = matches(LISTS, sorted({path for name in reading for path in (PACKAGE / name).rglob("*.py")}))
    assert {line.partition(":")[0] for line in found} == LISTS_WHAT_IS_NOT_OF_THE_TREE


def test_files_of_the_tree_are_opened_where_a_pipe_in_their_place_is_not_waited_for():
    """By `open_file` and `read_file` of `layout.py`."""
    found = matches(WAITS_FOR_PIPES, [path for name in READING for path in (PACKAGE / name).rglob("*.py")])
    elsewhere = {line.partition(":")[0] for line in found if "os.open(" not in line and "_open(" not in line}
    assert elsewhere == NOT_OF_THE_TREE


def test_each_extra_that_users_install_is_tried_alone():
    packages = runpy.run_path(str(REPOSITORY / ".ci" / "packages.py"))
    assert sorted(packages["extras_of_users"]()) == sorted(packages["TRIES"].keys() - {""})


def test_recording_reads_no_clock_that_a_program_can_replace():
    found = []
    for package in ("event", "tree", "record", "flight", "config"):
        for path in sorted((PACKAGE / package).rglob("*.py")):
            name = str(path.relative_to(PACKAGE))
            if name in ("event/system_clock.py", "record/sources/patches.py", "record/sources/sources.py"):
                continue  # the clock itself, and the clocks of the program
            imports = [node for node in classes_and_imports(path) if isinstance(node, ast.Import)]
            found += [name for node in imports for alias in node.names if alias.name == "time"]
    assert found == []
