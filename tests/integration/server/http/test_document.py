"""The OpenAPI document: valid, and true of the server."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from openapi_spec_validator import validate


@pytest.fixture
async def document(doors):
    _, http = doors
    return (await http.get("/openapi.json")).json()


async def test_the_document_is_valid_openapi(document):
    validate(document)


async def test_the_document_names_every_path_that_is_served(document, doors):
    server, _ = doors
    served = server.doors[1].paths - {"/openapi.json"}
    streams = {f"/{rpc.path}" for rpc in server.services.streams}
    admin = {f"/munjang.v1.ModelService/{name}" for name in ("PromoteVersion", "RollbackAlias")}
    assert set(document["paths"]) == served - streams - admin


async def test_every_body_has_an_example_that_the_server_takes(document, doors):
    _, http = doors
    for path, verbs in document["paths"].items():
        for operation in verbs.values():
            example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            if example is not None:
                reply = await http.post(path, json=example)
                reasons = ("MALFORMED_MESSAGE", "malformed_message", "invalid_option", "validation")
                assert not any(reason in reply.text for reason in reasons), (path, reply.text)


@pytest.mark.timeout(600)
async def test_no_request_that_the_document_describes_or_forbids_breaks_the_server(doors):
    server, http = doors
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"),
        *(f"{http.base_url}/openapi.json", "--checks", checks, "--exclude-path-regex", "JobService"),  # needs a queue
        *("--max-examples", "15", "--seed", "1", "--phases", "examples,coverage,fuzzing", "--no-color"),
        *("--header", "x-request-timeout: 30"),  # a short one is refused with 504, as it should be
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert server.metric("munjang_server_errors_total", rpc="Encode", door="http", reason="INTERNAL") == 0
