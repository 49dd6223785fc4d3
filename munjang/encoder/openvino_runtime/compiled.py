"""An exported graph compiled by OpenVINO for this processor, and the two ways to run its forwards.

`InteractiveForward` is for servers: a forward has all threads, or one stream while others run at the same time.
`ListForward` is for whole lists: the pieces of a batch run on all streams. `model_inputs` makes the inputs.

If all threads work on one frame, each operation takes as long as its slowest thread. Streams do not wait for each
other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import openvino.properties as props
import openvino.properties.hint as hints

from munjang.encoder.contract import Cancellation, ForwardCancelled, Tokens
from munjang.encoder.model_inputs import arrays, in_frames, in_order
from munjang.encoder.sequence_packing import Frame, computed, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from munjang.encoder.model_rules import Rules
    from munjang.encoder.openvino_runtime.export import Export, MappedWeights

FORMATS = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16, "float16": openvino.Type.f16}
CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}

PIECE_TOKENS = 1024
"""Tokens of a piece of a list's frame: larger pieces are limited by memory, smaller ones by the cost of each step."""

RESET_SIZES = (2, 3, 5)
"""Frames that run after a cancelled one: each has this many texts of as many tokens, so no two shapes are equal."""

CANCEL_SECONDS = 0.01
"""A request that is about to begin misses a cancel, so the cancel is repeated at this interval until it has ended."""

Inputs = Mapping[str, "NDArray[np.int64]"]
"""Inputs by name."""


def compile_graph(
    graph: openvino.Model, *, compute_type: str, threads: int, streams: bool = False
) -> openvino.CompiledModel:
    """Compile a graph for a number format and a number of threads; 0 leaves that to OpenVINO.

    Args:
        graph: the graph.
        compute_type: the number format to compute in.
        threads: of a forward, or of all streams together.
        streams: share the threads among streams, so that as many forwards run at the same time.
    """
    mode = hints.PerformanceMode.THROUGHPUT if streams else hints.PerformanceMode.LATENCY
    config = {
        hints.inference_precision(): FORMATS[_format_between_products(compute_type)],
        hints.performance_mode(): mode,
        hints.enable_cpu_pinning(): False,
    }
    if threads:
        config[props.inference_num_threads()] = threads
    return openvino.Core().compile_model(graph, "CPU", config)


def supported(compute_type: str) -> bool:
    """Whether this processor computes in that format by itself."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return CAPABILITIES[compute_type] in capabilities


def _format_between_products(compute_type: str) -> str:
    """The format of what is not in int8 where the graph's products are."""
    if compute_type != "int8":
        return compute_type
    return "bfloat16" if supported("bfloat16") else "float32"


class CompiledRequest:
    """Runs a compiled graph on those of the given inputs that it takes. One thread at a time.

    Args:
        graph: the compiled graph.
        file: where its weights were read from, if that is a file, which must outlive it.
    """

    def __init__(self, graph: openvino.CompiledModel, file: MappedWeights | None) -> None:
        self._request = graph.create_infer_request()
        self._names = set[str]().union(*(place.get_names() for place in graph.inputs))
        self._file = file
        self._shapes: set[tuple[int, ...]] = set()
        self._inputs: Inputs = {}  # held while it runs, because its memory is read in place

    def run(self, inputs: Inputs, cancellation: Cancellation | None = None) -> NDArray[np.float32]:
        """Its first output, in memory of its own.

        Args:
            inputs: by name.
            cancellation: ends it midway; see `InteractiveForward` for where that is safe.

        Raises:
            MemoryError: there is not enough memory for it.
            ForwardCancelled: it was cancelled.
        """
        try:
            with _memory_errors():
                if cancellation is None:
                    self._request.infer(self._own(inputs), share_inputs=True)
                else:
                    with self._ended_by(cancellation):
                        self._request.infer(self._own(inputs), share_inputs=True)
        except RuntimeError as error:
            if cancellation is not None and cancellation.cancelled:
                raise ForwardCancelled from error
            raise
        return self._output()

    def start(self, inputs: Inputs) -> None:
        """Run it at the same time as others; `wait` must be called before anything else."""
        with _memory_errors():
            self._request.start_async(self._own(inputs), share_inputs=True)

    def wait(self) -> NDArray[np.float32]:
        """Wait for what was started, and return what `run` returns.

        Raises:
            MemoryError: there is not enough memory for it.
        """
        with _memory_errors():
            self._request.wait()
        return self._output()

    @contextmanager
    def _ended_by(self, cancellation: Cancellation) -> Iterator[None]:
        """Cancel what runs inside when the cancellation says so."""
        ended = threading.Event()

        def cancel() -> None:
            while not ended.is_set():
                self._request.cancel()
                ended.wait(CANCEL_SECONDS)

        canceller = threading.Thread(target=cancel, daemon=True)
        try:
            with cancellation.stopping(canceller.start):
                yield
        finally:
            ended.set()
            if canceller.ident is not None:  # it was started
                canceller.join()

    def _own(self, inputs: Inputs) -> dict[str, NDArray[Any]]:
        self._inputs = inputs
        return {name: array for name, array in inputs.items() if name in self._names}

    def _output(self) -> NDArray[np.float32]:
        shape = self._inputs["input_ids"].shape
        if shape not in self._shapes:
            self._shapes.add(shape)
            if self._file is not None:
                self._file.let_go()
        return np.array(self._request.get_output_tensor(0).data, np.float32)


class InteractiveForward:
    """Runs batches for callers who wait, from any thread: one with all threads, and one on each stream.

    A forward with all threads computes on the thread that calls it, and a cancelled one ends at its next operation. A
    forward on a stream computes on a thread of OpenVINO's, and a cancelled one ends at its next frame, because which
    stream would have to be reset (see `_reset`) is unknown.

    Args:
        export: the model.
        compute_type: the number format to compute in.
        threads: of a forward, or of all streams together; 0 leaves it to OpenVINO.
    """

    def __init__(self, export: Export, *, compute_type: str, threads: int) -> None:
        self._rules = export.rules
        self._export = export
        self._compile = partial(compile_graph, export.graph, compute_type=compute_type, threads=threads)
        request = CompiledRequest(self._compile(), export.file)
        self._small = [_small(size, export.rules) for size in RESET_SIZES]
        self._expected = request.run(self._small[-1])
        self._whole = SimpleQueue[CompiledRequest]()
        self._whole.put(request)
        shared, self.streams = _in_streams(export, compute_type, threads)
        self._shared = SimpleQueue[CompiledRequest]()
        if self.streams > 1:
            for _ in range(self.streams):
                self._shared.put(CompiledRequest(shared, export.file))

    @property
    def packs(self) -> bool:
        """See `Encoder.packs`."""
        return self._rules.packs

    def __call__(
        self, batch: Sequence[Tokens], *, share: bool, cancellation: Cancellation | None
    ) -> NDArray[np.float32]:
        """See `Encoder.forward`."""
        on_stream = share and self.streams > 1
        free = self._shared if on_stream else self._whole
        request = free.get()

        def run(inputs: Inputs) -> NDArray[np.float32]:
            if cancellation is not None:
                cancellation.check()
            return request.run(inputs, None if on_stream else cancellation)

        try:
            return in_frames(batch, self._rules, run)
        except (ForwardCancelled, MemoryError, RuntimeError):
            if not on_stream:
                request = self._reset(request)
            raise
        finally:
            free.put(request)

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return computed(lengths, packs=self._rules.packs)

    def _reset(self, request: CompiledRequest) -> CompiledRequest:
        """Make a request that ended midway usable again; if that fails, compile another.

        OpenVINO infers the output shape of an operation again only if its input shape differs from its last run. An
        operation that the forward did not reach already has an output shape that belongs to no run: without
        a reset, the next forward can fail or give wrong vectors. After two forwards without a shape in common, each
        operation has inferred its shape again.
        """
        for inputs in self._small[:-1]:
            with suppress(MemoryError, RuntimeError):
                request.run(inputs)
        with suppress(MemoryError, RuntimeError):
            if np.allclose(request.run(self._small[-1]), self._expected, rtol=1e-2, atol=1e-3, equal_nan=True):
                return request
        return CompiledRequest(self._compile(), self._export.file)


class ListForward:
    """Runs batches of whole lists, one batch at a time, its pieces on all streams at once.

    A cancelled forward ends when the pieces that run have ended.

    Args:
        export: the model.
        compute_type: the number format to compute in.
        threads: of all streams together; 0 leaves it to OpenVINO.
    """

    streams = 1

    def __init__(self, export: Export, *, compute_type: str, threads: int) -> None:
        self._rules = export.rules
        graph, self._parallel = _in_streams(export, compute_type, threads)
        # Half of the requests wait for a free stream, so no stream waits for the next piece.
        self._requests = [CompiledRequest(graph, export.file) for _ in range(2 * self._parallel)]
        self._turn = threading.Lock()

    @property
    def packs(self) -> bool:
        """See `Encoder.packs`."""
        return self._rules.packs

    def __call__(
        self,
        batch: Sequence[Tokens],
        *,
        share: bool = False,  # noqa: ARG002 - a forward has all streams
        cancellation: Cancellation | None = None,
    ) -> NDArray[np.float32]:
        """See `Encoder.forward`."""
        frames = lay_out([len(tokens) for tokens in batch], packs=self._rules.packs)
        pieces = [piece for frame in frames for piece in frame.split(self._pieces_of(frame.tokens))]
        inputs = (arrays(piece, batch, self._rules) for piece in pieces)
        with self._turn:
            return in_order(pieces, self._run(inputs, cancellation))

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return computed(lengths, packs=self._rules.packs)

    def _pieces_of(self, tokens: int) -> int:
        """How many pieces to cut a frame into: the same number for each stream."""
        return self._parallel * -(-tokens // (self._parallel * PIECE_TOKENS))

    def _run(self, pieces: Iterable[Inputs], cancellation: Cancellation | None) -> list[NDArray[np.float32]]:
        """The vectors of each piece, in their order."""
        found = []
        running: deque[CompiledRequest] = deque()
        try:
            for number, piece in enumerate(pieces):
                if len(running) == len(self._requests):
                    found.append(running.popleft().wait())
                if cancellation is not None:
                    cancellation.check()
                request = self._requests[number % len(self._requests)]
                request.start(piece)
                running.append(request)
            while running:
                found.append(running.popleft().wait())
        finally:
            for request in running:  # one failed: no other may still read the inputs
                with suppress(MemoryError, RuntimeError):
                    request.wait()
        return found


def _small(size: int, rules: Rules) -> Inputs:
    """The inputs of `size` texts of `size` tokens, one text per row."""
    frame = Frame(size, tuple((text,) for text in range(size)))
    return arrays(frame, [Tokens((5,) * size)] * size, rules)


def _in_streams(export: Export, compute_type: str, threads: int) -> tuple[openvino.CompiledModel, int]:
    """The graph compiled in streams, and how many there are."""
    graph = compile_graph(export.graph, compute_type=compute_type, threads=threads, streams=True)
    return graph, int(graph.get_property(props.optimal_number_of_infer_requests()))


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn OpenVINO's errors about memory into MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if "bad_alloc" in str(error) or "allocate" in str(error):
            raise MemoryError(*error.args) from error
        raise
