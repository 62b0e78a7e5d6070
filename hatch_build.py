"""Builds the native parts beside their sources: hatch for a wheel, `python hatch_build.py` in a checkout.

The package works without it, so a machine without a compiler gets a wheel of Python alone and is told so.
The wheel links to the repository at AGENT_TRACE_REPOSITORY_URL, if that is set.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

SOURCES = (
    Path("Agent/record/encode/_native.c"),
    Path("Agent/tree/files/_heads.c"),
    Path("Agent/analysis/query/_columns.c"),
    Path("Agent/view/index/_rows.c"),
)
OPTIONS = ["-std=c11", "-O2", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra",
           "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-cast-function-type"]  # fmt: skip

ADDRESS = "AGENT_TRACE_REPOSITORY_URL"


def build(root: Path) -> list[Path]:
    """Compile the sources; the extension modules' paths. OSError or CalledProcessError where that fails."""
    return [_built(root, source) for source in SOURCES]


def _built(root: Path, source: Path) -> Path:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    target = root / source.with_name(f"{source.stem}{suffix}")
    aside = target.with_name(f"{target.name}.{os.getpid()}")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    include = f"-I{sysconfig.get_paths()['include']}"
    command = [*compiler, *OPTIONS, *shared, include, str(root / source), "-o", str(aside), "-lm"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the user's own compiler
        # In one step, since a process may have the old one open.
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return target


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
    from hatchling.metadata.plugin.interface import MetadataHookInterface
except ImportError:  # run by hand
    pass
else:

    class NativeBuildHook(BuildHookInterface[Any]):
        """Adds the extension module to a wheel where one can be built."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
            """Called by hatch before it collects files."""
            if self.target_name != "wheel" or os.environ.get("AGENT_TRACE_NATIVE") == "0":
                return
            root = Path(self.root)
            try:
                built = build(root)
            except (OSError, subprocess.CalledProcessError) as error:
                reason = getattr(error, "stderr", None) or error
                self.app.display_warning(f"the native parts were not built, Python does its work: {reason}")
                return
            build_data["artifacts"] += [str(path.relative_to(root)) for path in built]
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    class AddressHook(MetadataHookInterface):
        """Adds a link to the repository, whose address whoever publishes the wheel states."""

        def update(self, metadata: dict[str, Any]) -> None:
            """Called by hatch for the fields that pyproject.toml calls dynamic."""
            address = os.environ.get(ADDRESS)
            metadata["urls"] = {"Repository": address} if address else {}


if __name__ == "__main__":
    try:
        print(*build(Path(__file__).resolve().parent), sep="\n")  # noqa: T201 - its answer
    except subprocess.CalledProcessError as refused:
        sys.exit(refused.stderr)
