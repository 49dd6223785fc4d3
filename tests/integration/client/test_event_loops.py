import asyncio

import pytest

from munjang.client import AsyncClient, ConfigurationError


async def first(batches):
    return await anext(batches)


USES = {
    "encode": lambda client: client.encode(["글"]),
    "stream": lambda client: first(client.encode_stream(["글"])),
    "versions": lambda client: client.versions(),
    "wait_ready": lambda client: client.wait_ready(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_client_in_a_second_event_loop_says_what_to_do(server, use):
    client = AsyncClient(server.target)

    async def once():
        await use(client)

    with asyncio.Runner() as runner:
        runner.run(once())
        with pytest.raises(ConfigurationError, match="make one AsyncClient in each loop"):
            asyncio.run(once())
        runner.run(once())
        runner.run(client.close())


def test_closing_a_client_in_a_second_loop_hides_no_error(server):
    client = AsyncClient(server.target)

    async def once():
        async with client:
            await client.encode(["글"])

    async def used():
        await client.encode(["글"])

    asyncio.run(used())
    with pytest.raises(ConfigurationError, match="another event loop that has ended"):
        asyncio.run(once())
