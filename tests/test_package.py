import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import astrolearn

ROOT = Path(__file__).parents[1]

HEAVY = ("torch", "skorch", "sklearn", "healpy", "photutils", "matplotlib", "astroquery", "dask", "gammapy")


def test_import_is_light():
    code = f"import sys, astrolearn; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_names_load_on_first_use():
    assert dir(astrolearn) == sorted(astrolearn.__all__)
    for name in astrolearn.__all__:
        assert getattr(astrolearn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'SourceFinder'"):
        astrolearn.SourceFinder


def quick_start_commands():
    section = (ROOT / "README.md").read_text().split("\n## Quick start\n")[1].split("\n## ")[0]
    return re.findall(r"^```bash\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)


def test_quick_start_is_two_commands_of_one_line():
    demo, tests = quick_start_commands()
    for command in (demo, tests):
        assert command.count("\n") == 1
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -c constraints.txt ")
    assert "astrolearn demo" in demo
    assert "pytest" in tests


def test_continuous_integration_runs_the_second_command():
    script = (ROOT / ".ci" / "run").read_text()
    extract = re.search(r"^command=\$\((awk .*)\)$", script, flags=re.MULTILINE).group(1)
    done = subprocess.run(["bash", "-c", extract], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == quick_start_commands()[1]


def test_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^(\d+\.\d+\.\d+)", (ROOT / "CHANGES.rst").read_text(), flags=re.MULTILINE).group(1) == version


def test_constraints_pin_every_core_dependency_within_its_bounds():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = project["dependencies"] + [need for extra in ("plot", "test", "docs", "bench") for need in extras[extra]]
    for requirement in map(Requirement, needed):
        if requirement.name != "astrolearn":
            assert requirement.specifier.contains(pins[requirement.name]), requirement
