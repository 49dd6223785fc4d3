"""The page "Build a search" runs as it stands, on `munjang up`, but for the server's address."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from munjang.client import Client

PAGE = Path(__file__).resolve().parents[3] / "docs" / "build-a-search.md"
COMMAND = 'munjang() { "$PYTHON" -c "from munjang.cli.main import run; run()" "$@"; }\nset -e\n'


def test_every_command_of_the_page_runs(munjang, home, tmp_path):
    up = munjang("up", "--home", home, "--port", "0")
    up.wait_for("munjang is ready")
    with Client(up.target) as client:
        client.wait_ready(60)
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    environment = os.environ | {"MUNJANG_TARGET": up.target, "MUNJANG_HOME": str(home), "PYTHON": sys.executable}
    said = ""
    for language, block in blocks:
        program = block.replace("127.0.0.1:50051", up.target)
        command = ["bash", "-c", COMMAND + program] if language == "sh" else [sys.executable, "-c", program]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        said += done.stdout
    assert re.search(r"reused +3\b", said), said
    assert re.search(r"embedded +1\b", said)
    assert re.search(r"deleted +1\b", said)
    assert "(version 1)" in said
