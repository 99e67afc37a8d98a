"""`west microtvm` in a workspace that has a Zephyr tree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microtvm.project.zephyr_tree import find_tree
from tests.conftest import ROOT
from tests.test_west import west
from tests.zephyr.conftest import Builders
from tests.zephyr.fake import write
from tests.zephyr.test_run import SMALL

MANIFEST = """\
manifest:
  projects:
    - name: microtvm
      url: https://example.com/microtvm
      path: tools/microtvm
      west-commands: west-commands.yml
    - name: zephyr
      url: https://example.com/zephyr
      west-commands: scripts/west-commands.yml
    - name: cmsis
      url: https://example.com/cmsis
      path: modules/hal/cmsis
    - name: cmsis_6
      url: https://example.com/cmsis_6
      path: modules/hal/cmsis_6
  self:
    path: manifest
"""


@pytest.mark.qemu
def test_project_is_built_run_and_profiled(
    builders: Builders, zephyr_base: Path, tmp_path: Path
) -> None:
    tree = find_tree(zephyr_base)
    if tree.workspace is None:
        pytest.skip("the tree of ZEPHYR_BASE is in no west workspace")
    write(tmp_path / "manifest" / "west.yml", MANIFEST)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "microtvm").symlink_to(ROOT)
    (tmp_path / "zephyr").symlink_to(tree.folder)
    (tmp_path / "modules").symlink_to(tree.workspace / "modules")
    assert west(tmp_path, "init", "-l", "manifest").returncode == 0
    project = builders("qemu-mps2-an385").build(SMALL).project.folder
    for command in ("run", "profile"):
        done = west(tmp_path, "microtvm", command, project, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["model"] == SMALL
        assert found["board"] == "qemu-mps2-an385"
