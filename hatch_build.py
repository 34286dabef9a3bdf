"""The build's hook: with TUNFLOW_COMPILE=1 the files of the hot path are compiled by mypyc, from the same source.

Without it the wheel is pure Python and needs no compiler. pyproject.toml lists what is compiled, and what of the same
folders is not, with the reason. The `.py` files stay in the wheel: tracebacks and `inspect` show them.
TUNFLOW_OPT_LEVEL is the C compiler's (3; the tests compile with 0, which is quicker, and leaves out line numbers too).
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "TUNFLOW_COMPILE"
GROUP = "tunflow"
"""All compiled modules share one library, `tunflow__mypyc`: calls between them are C calls."""
TOOLS = ["mypy[mypyc]>=2.4.1", "setuptools>=75"]


class CompileHook(BuildHookInterface[Any]):
    """Compiles the files that pyproject.toml lists, when TUNFLOW_COMPILE asks for it."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs: the compiler and, for their types, the libraries; nothing for a pure build."""
        if not _is_asked():
            return []
        return [*TOOLS, *self.metadata.core.dependencies]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into a directory of its own, and put the results beside their sources in the wheel."""
        if self.target_name != "wheel" or not _is_asked():
            return
        if version == "editable":
            raise SystemExit(f"{SWITCH}=1 makes no editable installation: compiled code does not follow its source")
        source = Path(self.root, "src")
        self.made = Path(tempfile.mkdtemp(prefix="tunflow-compiled-"))
        for library in _compile(source, compiled_files(source, self.config), self.made):
            build_data["force_include"][str(library)] = str(library.relative_to(self.made / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what was made on the way."""
        if self.target_name == "wheel" and _is_asked():
            shutil.rmtree(self.made)


def compiled_files(source: Path, config: dict[str, Any]) -> list[str]:
    """Return the files to compile, relative to `source`: those of `compiled` without those of `interpreted`."""
    package = source / "tunflow"
    found = {path for pattern in config["compiled"] for path in package.glob(pattern) if path.name != "__init__.py"}
    kept = found - {package / path for path in config["interpreted"]}
    return sorted(str(path.relative_to(source)) for path in kept)


def _is_asked() -> bool:
    value = os.environ.get(SWITCH, "")
    if value not in {"", "0", "1"}:
        raise SystemExit(f"{SWITCH}={value!r}: 1 compiles, 0 or nothing builds pure Python")
    return value == "1"


def _compile(source: Path, files: list[str], made: Path) -> list[Path]:
    """Compile `files` of `source`; return the libraries, which lie below `made`/lib as they shall in site-packages."""
    from mypyc.build import mypycify  # noqa: PLC0415
    from setuptools import Distribution  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    work = made / "source"
    shutil.copytree(source, work, ignore=shutil.ignore_patterns("__pycache__"))
    before = Path.cwd()
    os.chdir(work)  # mypy names modules after where it stands
    try:
        # Types are needed, strictness is for ./test: here are other versions and fewer stubs, and files that are not
        # compiled are nobody's concern.
        options = ["--ignore-missing-imports", "--follow-imports=silent", "--config-file="]
        options.append(f"--cache-dir={made / 'cache'}")
        level = os.environ.get("TUNFLOW_OPT_LEVEL", "3")
        extensions = mypycify(
            [*options, *files],
            opt_level=level,
            debug_level="0" if level == "0" else "1",
            multi_file=True,
            group_name=GROUP,
        )
        command = build_ext(Distribution({"ext_modules": extensions}))
        command.build_lib, command.build_temp = str(made / "lib"), str(made / "objects")
        command.parallel = os.cpu_count()
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    libraries = sorted(made.joinpath("lib").rglob("*.so" if sys.platform != "win32" else "*.pyd"))
    if len(libraries) != len(files) + 1:
        raise SystemExit(
            f"mypyc made {len(libraries)} libraries of {len(files)} files: one each and one for all awaited"
        )
    return libraries
