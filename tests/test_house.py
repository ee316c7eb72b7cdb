"""The import rules between the folders."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "stats": {"stats"},
    "backbones": {"backbones"},
    "finetune": {"finetune", "backbones", "stats"},
    "xai": {"xai", "backbones"},
    "benchmark": {"benchmark", "finetune", "xai", "backbones", "stats"},
}
# The wings of benchmark/; each may import those before it. Files next to the wings may import no wing, except for the
# two entry points: the package itself and the command line.
DOORS = ("__init__.py", "command.py")
WINGS = (
    "synthetic", "study", "storage", "trial", "analysis", "report", "reuse", "scheduling", "stages", "preflight",
    "experiments",
)  # fmt: skip


def imported(file: Path) -> set[str]:
    """The top-level names of all modules that a file imports, at any level of nesting."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    for file in (ROOT / package).rglob("*.py"):
        foreign = imported(file) & set(MAY_IMPORT) - MAY_IMPORT[package]
        assert not foreign, f"{file.relative_to(ROOT)} imports {foreign}"


def wings_of(file: Path) -> set[str]:
    """The wings of benchmark/ from which a file imports, at any level of nesting."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [f"{node.module}.{each.name}" for each in node.names] if isinstance(node, ast.ImportFrom) else []
        modules += [each.name for each in node.names] if isinstance(node, ast.Import) else []
        found |= {parts[1] for module in modules if len(parts := module.split(".")) > 1 and parts[0] == "benchmark"}
    return found & set(WINGS)


def test_every_wing_is_listed():
    assert {path.parent.name for path in (ROOT / "benchmark").glob("*/__init__.py")} == set(WINGS)


def outside() -> list[Path]:
    """The files next to the wings that are not entry points."""
    return [file for file in (ROOT / "benchmark").glob("*.py") if file.name not in DOORS]


@pytest.mark.parametrize("wing", ["", *WINGS])
def test_a_wing_imports_those_before_it(wing):
    """The scheduling wing imports no other: it runs the functions that it is given."""
    files = list((ROOT / "benchmark" / wing).rglob("*.py")) if wing else outside()
    known = set(WINGS[: WINGS.index(wing) + 1]) if wing else set()
    known = {wing} if wing == "scheduling" else known
    for file in files:
        foreign = wings_of(file) - known
        assert not foreign, f"{file.relative_to(ROOT)} imports {foreign}"


def test_ray_is_imported_in_the_scheduling_wing_and_nowhere_else():
    with_ray = {
        str(file.relative_to(ROOT).parent) for package in MAY_IMPORT for file in (ROOT / package).rglob("*.py")
        if "ray" in imported(file)
    }  # fmt: skip
    assert with_ray == {"benchmark/scheduling"}


@pytest.mark.parametrize(("folders", "extras"), [(tuple(MAY_IMPORT), ()), (("tests",), ("dev",))])
def test_what_is_imported_is_declared(folders, extras):
    """Imports must not rely on what another package happens to install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["dependencies"] + [each for extra in extras for each in project["optional-dependencies"][extra]]
    declared = {canonicalize_name(Requirement(each).name) for each in declared}
    distributions = packages_distributions()
    names = set().union(*(imported(file) for folder in folders for file in (ROOT / folder).rglob("*.py")))
    own = {*MAY_IMPORT, "run_benchmark", "tests", "pydantic_core"}  # half of pydantic, which pins it
    foreign = {name for name in names - own if name in distributions}
    missing = {name for name in foreign if declared.isdisjoint(map(canonicalize_name, distributions[name]))}
    assert len(foreign) > 10
    assert not missing


def test_importable_without_ray_polars_pydantic_and_matplotlib():
    """As on a GPU machine with only torch, timm, peft, numpy, scipy and scikit-learn; light packages first."""
    modules = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in ("stats", "xai", "backbones", "finetune")
        for file in (ROOT / package).rglob("*.py")
    ]
    absent = ["ray", "polars", "pydantic", "open_clip", "pytorch_grad_cam", "matplotlib"]
    script = f"""
import sys, importlib
for name in {absent}: sys.modules[name] = None
for name in {modules}: importlib.import_module(name)
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("call", "only"),
    [
        (r"pl\.(read|scan)_\w+\(|\.(write|sink)_csv\(", {"benchmark/tables.py", "benchmark/study/manifest.py"}),
        (r"Image\.open\(", {"xai/decoding.py"}),
    ],
    ids=["tables", "pictures"],
)
def test_files_of_a_kind_are_opened_in_one_place(call, only):
    """There, paths are never patterns, texts are never formulas, and decoder errors are all of one kind."""
    calling = {
        str(file.relative_to(ROOT))
        for package in MAY_IMPORT
        for file in (ROOT / package).rglob("*.py")
        if re.search(call, file.read_text(encoding="utf-8"))
    }
    assert calling <= only
