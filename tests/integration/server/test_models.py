"""ModelService: versions, their states, and aliases, as the answering server sees them."""

from __future__ import annotations

import grpc
import pytest

from munjang.v1 import model_service_pb2 as pb2
from munjang.v1 import resources_pb2

SPACE = "5a" * 16
"""Of every version here, see `conftest.manifest`."""


def get(name):
    return pb2.GetVersionRequest(version=name)


async def test_versions_come_newest_first_with_their_states_and_aliases(server):
    server.models.hold(2)
    server.models.publish(2)
    server.models.promote(2)
    server.models.publish(3)
    await server.until(lambda: len(server.engine.versions()) == 3 and server.engine.versions()[1].state == "loading")
    reply = await server.listing.ListVersions(pb2.ListVersionsRequest())
    assert [(each.version, each.state, list(each.aliases)) for each in reply.versions] == [
        (3, resources_pb2.VERSION_STATE_PUBLISHED, []),
        (2, resources_pb2.VERSION_STATE_LOADING, ["stable"]),
        (1, resources_pb2.VERSION_STATE_AVAILABLE, []),
    ]
    [alias] = reply.aliases
    assert (alias.name, alias.version, alias.previous, alias.serving) == ("stable", 2, 1, 1)


async def test_versions_share_a_space_whose_newest_available_one_is_described(server):
    server.models.publish(2)
    await server.until(lambda: len(server.engine.versions()) == 2)
    reply = await server.listing.ListVersions(pb2.ListVersionsRequest())
    assert {each.space_id for each in reply.versions} == {SPACE}
    assert {each.kind for each in reply.versions} == {resources_pb2.MODEL_KIND_DENSE}
    assert reply.registry_id == "1d" * 16
    found = (await server.listing.GetVersion(get(SPACE))).version
    assert (found.version, found.space_id) == (1, SPACE)


@pytest.mark.parametrize("name", ["", "stable", "1"])
async def test_a_version_is_described_by_number_and_by_alias(server, name):
    found = (await server.listing.GetVersion(get(name))).version
    assert (found.version, found.dimensions, found.max_tokens) == (1, 8, 128)
    assert found.similarity_function == resources_pb2.SIMILARITY_FUNCTION_COSINE
    assert dict(found.prompts) == {"query": "질문: ", "passage": "문서: "}
    assert found.base_model == "가짜/모델"
    assert found.metrics["korsts-dev.spearman"] == 0.85
    assert found.created_at.ToJsonString() == "2026-01-02T00:00:00Z"
    assert found.int8_scale == pytest.approx(1 / 127)


@pytest.mark.parametrize("name", ["2", "없음", "01", "-1", "ab" * 16])
async def test_an_unknown_version_is_not_found(server, failure, name):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.listing.GetVersion(get(name))
    seen = failure(caught.value)
    assert (seen.code, seen.reason, seen.field) == ("NOT_FOUND", "VERSION_NOT_FOUND", "version")
