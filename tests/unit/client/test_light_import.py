import json
import subprocess
import sys

HEAVY = [
    "torch", "transformers", "sentence_transformers", "pydantic", "typer", "rich", "redis", "rq", "opentelemetry",
    "munjang.engine", "munjang.encoder", "munjang.registry", "munjang.settings", "grpc_status",
]  # fmt: skip


def test_importing_the_client_loads_nothing_that_it_does_not_need():
    code = "import json, sys; import munjang.client; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    loaded = set(json.loads(output))
    assert "munjang.client.sync_client" in loaded
    assert not loaded.intersection(HEAVY)
