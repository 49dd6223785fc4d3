"""Section `wire`: 256 vectors of 768 float32 to bytes and back, as munjang sends them and as `repeated float`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from munjang.v1 import embedding_service_pb2, resources_pb2
from munjang.vectors import Precision, pack, unpack
from tests.bench.speed.stats import interleave, ratio, summary, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tests.bench.speed.context import Context

SHAPE = (256, 768)
TIMES = 20


def measure(context: Context) -> dict[str, Any]:
    """Milliseconds of both, how much faster ours is, and whether both give the same bits."""
    rows = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    lists = _repeated_messages()
    ways: dict[str, Callable[[], NDArray[np.generic]]] = {
        "packed bytes": lambda: _packed(rows),
        "repeated float": lambda: _repeated(rows, *lists),
    }
    exact = {name: bool(np.array_equal(way(), rows)) for name, way in ways.items()}

    def milliseconds(way: Callable[[], object]) -> Callable[[], float]:
        return lambda: min(1000 * timed(way) for _ in range(TIMES))

    values = interleave({name: milliseconds(way) for name, way in ways.items()}, 2 if context.quick else 7, 30)
    return {
        "shape": list(SHAPE),
        "milliseconds": {name: summary(found) for name, found in values.items()},
        "times_faster": ratio(values["repeated float"], values["packed bytes"]),
        "bit_exact": exact,
    }


def _packed(rows: NDArray[np.float32]) -> NDArray[np.generic]:
    vectors = resources_pb2.Vectors(
        count=SHAPE[0],
        dimensions=SHAPE[1],
        precision=resources_pb2.PRECISION_FLOAT32,
        data=pack(rows, Precision.FLOAT32),
    )
    data = embedding_service_pb2.EncodeResponse(version=1, vectors=vectors).SerializeToString()
    read = embedding_service_pb2.EncodeResponse.FromString(data).vectors
    return unpack(read.data, read.count, read.dimensions, Precision.FLOAT32)


def _repeated(rows: NDArray[np.float32], row_type: Any, reply_type: Any) -> NDArray[np.generic]:
    data = reply_type(rows=[row_type(values=row) for row in rows.tolist()]).SerializeToString()
    return np.array([row.values for row in reply_type.FromString(data).rows], np.float32)


def _repeated_messages() -> tuple[Any, Any]:
    """The messages that others send: Row { repeated float values } and Reply { repeated Row rows }."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    row = file.message_type.add(name="Row")
    row.field.add(name="values", number=1, type=kinds.TYPE_FLOAT, label=kinds.LABEL_REPEATED)
    reply = file.message_type.add(name="Reply")
    reply.field.add(name="rows", number=1, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_REPEATED, type_name=".bench.Row")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    row_type, reply_type = (pool.FindMessageTypeByName(f"bench.{name}") for name in ("Row", "Reply"))
    return message_factory.GetMessageClass(row_type), message_factory.GetMessageClass(reply_type)
