"""README, quick start and "Build a search" run as they stand, but for the addresses; in Korean they say the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from munjang.client import Client
from munjang.publishing import publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
BEFORE = """
set -e
munjang() { "$PYTHON" -c "from munjang.cli.main import run; run()" "$@"; }
buf() { "$(dirname "$PYTHON")/buf" "$@"; }
make() { command make --directory "$ROOT" --dry-run "$@"; } # whether there is such a target
"""


def blocks(page):
    """The shell and Python programs of a page, in their order."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(r"^```(sh|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def call(munjang, home, tmp_path):
    """Run a program in the folder of its page, against a `munjang up` on free ports; returns what it says."""
    registry = Registry(str(home / "registry"))  # with two versions, as the starter's
    registry.promote("stable", publish_model(registry, tiny_model(tmp_path / "second", seed=3)).version, "tests")
    web = free_port()
    up = munjang("up", "--home", home, "--port", "0", "--http-port", web)
    up.wait_for("munjang is ready")
    with Client(up.target) as client:
        client.wait_ready(60)
    tiny_model(tmp_path / "my-model", seed=2)
    environment = os.environ | {"MUNJANG_TARGET": up.target, "MUNJANG_HOME": str(home), "ROOT": str(ROOT)}
    environment |= {"PYTHON": sys.executable, "MUNJANG_REGISTRY": str(home / "registry")}

    def run(page, language, block):
        folder = tmp_path / Path(page).stem
        if not folder.exists():
            (folder / ".venv" / "bin").mkdir(parents=True)
            (folder / ".venv" / "bin" / "activate").touch()
            shutil.copytree(tmp_path / "my-model", folder / "my-model")
        program = block.replace("127.0.0.1:50051", up.target).replace("127.0.0.1:8080", f"127.0.0.1:{web}")
        command = ["bash", "-c", BEFORE + program] if language == "sh" else [sys.executable, "-c", program]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


EXPECTED = {
    "README.md": (r"\(3, 32\) made by version 2", r"32 numbers, by version 2", r'"embedding"', "succeeded"),
    "docs/index.md": (r"\[\[",),
    "docs/quickstart.md": (r"\(2, 32\) float32 made by version 2", r"munjang\.v1\.EmbeddingService/Encode"),
    "docs/build-a-search.md": (r"reused +3\b", r"embedded +1\b", r"deleted +1\b", r"\(version 2\)"),
}


def test_every_command_of_the_pages_runs(call):
    assert shutil.which("curl")
    for page, patterns in EXPECTED.items():
        said = "".join(call(page, language, block) for language, block in blocks(page))
        for pattern in patterns:
            assert re.search(pattern, said), said


@pytest.mark.parametrize("page", EXPECTED)
def test_the_page_in_korean_has_the_same_commands(page):
    def bare(found):
        return [re.sub(r" +#.*$", "", block, flags=re.MULTILINE) for _, block in found]

    assert bare(blocks(page.replace(".md", ".ko.md"))) == bare(blocks(page))
