"""The GitHub action bench-check and the workflow in the documentation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sample_cells import BASELINE, write_seeds

from benchmark.records.export import export
from benchmark.records.record_files import read_records

ROOT = Path(__file__).parents[1]
ACTION = ROOT / ".github" / "actions" / "bench-check" / "action.yml"
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/how-to/ci-gate.md")
BENCH = f'#!/bin/sh\nexec {sys.executable} -m benchmark "$@"\n'


def test_action_passes_every_input_through_the_environment() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; bench does not need it")
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    assert action["runs"]["using"] == "composite"
    assert list(action["inputs"]) == ["run", "baseline", "margin", "junit", "install"]
    passed = set()
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"], "an input in the shell's text would be run as such"
        for name, value in step.get("env", {}).items():
            assert f"${name}" in step["run"], f"{name} is not used"
            passed.add(value.removeprefix("${{ inputs.").removesuffix(" }}"))
    assert passed == set(action["inputs"])
    assert all(each.get("description") for each in action["inputs"].values())


@pytest.mark.parametrize(("value", "code"), [(0.80, 0), (0.75, 1)])
def test_action_shell_passes_the_exit_code_on(bench: Any, tmp_path: Path, launch: Any, value: float, code: int) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; bench does not need it")
    steps = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]
    script = next(step["run"] for step in steps if "bench check" in step["run"])
    write_seeds(tmp_path / "earlier", "aet", 0.80)
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    write_seeds(tmp_path / "runs", "aet", value, range(3, 6))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bench").write_text(BENCH)
    (tmp_path / "bin" / "bench").chmod(0o755)
    settings = {"RUN": "runs", "BASELINE": BASELINE, "MARGIN": "0.005", "JUNIT": "a $(touch evil).xml"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**_environment(tmp_path / "bin"), **settings, "GITHUB_STEP_SUMMARY": str(tmp_path / "page.md")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert (tmp_path / "page.md").read_text().startswith("## ")
    ElementTree.parse(tmp_path / "a $(touch evil).xml")
    assert not (tmp_path / "evil").exists()


def _environment(first: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{first}:{os.environ['PATH']}"}


def test_documentation_shows_a_workflow_with_the_action() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    blocks = [block for text in texts for block in text.split("```yaml\n")[1:] if "bench-check" in block]
    assert len(blocks) == 1
    block = blocks[0].partition("```")[0]
    assert len(block.splitlines()) <= 14
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; bench does not need it")
    workflow = yaml.safe_load(block)
    (job,) = workflow["jobs"].values()
    (step,) = [step for step in job["steps"] if "bench-check" in step.get("uses", "")]
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    assert set(step["with"]) <= set(action["inputs"])
    assert (ROOT / step["uses"] / "action.yml").is_file()
    assert {name for name, each in action["inputs"].items() if each.get("required")} <= set(step["with"])
