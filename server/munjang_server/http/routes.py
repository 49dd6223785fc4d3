"""Which path leads where. What is at no path gets an error in OpenAI's form, which most clients read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from munjang_server.http import body, connect, openai, rerank, tei
from munjang_server.http.endpoint import SPACE_HEADER, VERSION_HEADER, Endpoint, error_response, json_response
from munjang_server.http.errors import MethodNotAllowed, NoSuchPath
from munjang_server.http.model_names import ModelNames
from munjang_server.http.openapi import Operation, document
from munjang_server.http.operations import Operations
from munjang_server.rpc.errors import REQUEST_ID_KEY
from munjang_server.rpc.services import METRICS, RPCS, SERVICES, TOKENIZE

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor
    from starlette.requests import Request
    from starlette.responses import Response

    from munjang.settings import ServerSettings
    from munjang_server.http.endpoint import ErrorWriter, Handler
    from munjang_server.rpc.calls import Rpc
    from munjang_server.rpc.services import Services

EXPOSED = (REQUEST_ID_KEY, VERSION_HEADER, SPACE_HEADER, "retry-after", "retry-after-ms")
"""The headers that a web page of another origin may read."""

TEI_STATUSES: Final = {"422": "A text is not valid Unicode.", "424": "The model cannot do this."}
NOT_READY: Final = {"503": "Not now."}
TEXTS: Final = ["밀짚모자를 쓴 남자가 드럼을 쳤다.", "남자가 바이올린을 켠다."]
EXAMPLES: Final[dict[str, Any]] = {
    "Encode": {"texts": TEXTS, "options": {"role": "ROLE_QUERY"}},
    "Similarity": {"queries": TEXTS[:1], "candidates": TEXTS},
    "Rerank": {"query": "서울의 날씨는?", "documents": ["오늘 서울에는 비가 온다.", *TEXTS], "topN": 2},
    "GetVersion": {"version": "stable"},
    "PromoteVersion": {"alias": "stable", "version": 2},
    "SubmitJob": {"spec": {"input": "/자료/문장.jsonl", "output": "/자료/벡터"}},
}
"""Requests of our contract, by method."""


def application(settings: ServerSettings, services: Services) -> Starlette:
    """The ASGI application of the whole door.

    Raises:
        ConfigurationError: a setting is not valid.
    """
    routes = Routes(settings, services)
    names = ModelNames(settings.model_names, services.engine)
    routes.openai(names)
    routes.rerank(names)
    routes.tei()
    routes.connect()
    routes.operations()
    routes.document()
    return Starlette(
        routes=routes.made,
        middleware=_middleware(settings.http_origins),
        exception_handlers={404: _no_such_path, 405: _method_not_allowed},
    )


class Routes:
    """Makes the routes, and the document of them.

    Attributes:
        made: those that were made.
    """

    def __init__(self, settings: ServerSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._operations: list[Operation] = []
        self._methods: list[MethodDescriptor] = []
        self.made: list[Route] = []

    def openai(self, names: ModelNames) -> None:
        """OpenAI's."""
        services = self._services
        embeddings, models = openai.Embeddings(services.encode, names), openai.Models(services.models, names)
        self._add(
            Operation(
                *("/v1/embeddings", "post", "OpenAI", "Vectors of texts."),
                request=openai.EmbeddingsRequest,
                reply=openai.EmbeddingsReply,
                error=openai.ErrorReply,
            ),
            RPCS["Encode"],
            embeddings,
            openai.write_error,
        )
        listed = Operation(
            "/v1/models", "get", "OpenAI", "The names that answer.", reply=openai.ModelList, error=openai.ErrorReply
        )
        self._add(listed, RPCS["ListVersions"], models.list, openai.write_error)
        shown = Operation(
            "/v1/models/{model}", "get", "OpenAI", "One of them.", reply=openai.Model, error=openai.ErrorReply
        )
        self._add(shown, RPCS["GetVersion"], models.get, openai.write_error)

    def rerank(self, names: ModelNames) -> None:
        """Cohere's and Jina's."""
        operation = Operation(
            *("/v1/rerank", "post", "Rerank", "Documents in the order in which they answer a query."),
            request=rerank.RerankRequest,
            reply=rerank.RerankReply,
            error=rerank.RerankErrorReply,
        )
        self._add(operation, RPCS["Rerank"], rerank.Reranking(self._services.rerank, names), rerank.write_error)

    def tei(self) -> None:
        """text-embeddings-inference's; POST / does what /embed does, as there."""
        found = tei.Tei(self._settings, self._services)
        for path, verb, summary, rpc, handler, request, reply in (
            ("/embed", "post", "Vectors of texts.", "Encode", found.embed, tei.EmbedRequest, list[list[float]]),
            ("/", "post", "What /embed does.", "Encode", found.embed, tei.EmbedRequest, list[list[float]]),
            (
                *("/similarity", "post", "Scores of a sentence with others.", "Similarity"),
                *(found.similarity, tei.SimilarityRequest, list[float]),
            ),
            ("/rerank", "post", "The order of texts.", "Rerank", found.rerank, tei.TeiRerankRequest, list[tei.Rank]),
            ("/info", "get", "The model and the limits.", "GetVersion", found.info, None, tei.Info),
        ):
            operation = Operation(path, verb, "TEI", summary, reply, request, tei.TeiErrorReply, TEI_STATUSES)
            self._add(operation, RPCS[rpc], handler, tei.write_error)
        tokenize = Operation(
            *("/tokenize", "post", "TEI", "Tokens of texts.", list[list[tei.Token]], tei.TokenizeRequest),
            *(tei.TeiErrorReply, TEI_STATUSES),
        )
        self._add(tokenize, TOKENIZE, found.tokenize, tei.write_error)
        self._operations.append(Operation("/health", "get", "TEI", "Whether it can answer.", more=NOT_READY))
        self.made.append(Route("/health", found.health, methods=["GET"]))

    def connect(self) -> None:
        """Our own contract's."""
        for service in SERVICES:
            for method in service.methods:
                rpc = RPCS[method.name]
                handler: Handler = connect.refuse
                kinds: tuple[str, ...] = ()
                if rpc in self._services.unary:
                    handler, kinds = connect.Unary(method, self._services.unary[rpc]), connect.KINDS
                    self._methods.append(method)
                self._route(f"/{rpc.path}", "post", rpc, handler, write_error=connect.write_error, kinds=kinds)

    def operations(self) -> None:
        """For those who operate the server."""
        found = Operations(self._services.health, self._services.registry)
        self.made += [Route("/livez", found.live), Route("/readyz", found.ready)]
        self._operations += [
            Operation("/livez", "get", "Operations", "Whether a restart would help: 503 if so.", more=NOT_READY),
            Operation("/readyz", "get", "Operations", "Whether it can answer.", more=NOT_READY),
        ]
        metrics = Operation("/metrics", "get", "Operations", "Prometheus metrics.", error=openai.ErrorReply)
        self._add(metrics, METRICS, found.metrics, openai.write_error)

    def document(self) -> None:
        """The document of all of them; made when the server starts, as it does not change."""
        made = orjson.dumps(document(self._operations, self._methods, EXAMPLES))

        async def openapi(request: Request) -> Response:  # noqa: ARG001 - of the framework
            return json_response(made)

        self.made.append(Route("/openapi.json", openapi, methods=["GET"]))

    def _add(self, operation: Operation, rpc: Rpc, handler: Handler, write_error: ErrorWriter) -> None:
        self._operations.append(operation)
        kinds = (body.JSON,) if operation.request is not None else ()
        self._route(operation.path, operation.verb, rpc, handler, write_error=write_error, kinds=kinds)

    def _route(
        self, path: str, verb: str, rpc: Rpc, handler: Handler, *, write_error: ErrorWriter, kinds: tuple[str, ...]
    ) -> None:
        endpoint = Endpoint(self._services.calls, self._settings, rpc, handler, write_error=write_error, kinds=kinds)
        self.made.append(Route(path, endpoint, methods=[verb.upper()]))


def _middleware(origins: str) -> list[Middleware]:
    named = [origin for part in origins.split(",") if (origin := part.strip().rstrip("/"))]
    if not named:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=named,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    ]


async def _no_such_path(request: Request, error: Exception) -> Response:  # noqa: ARG001 - of the framework
    msg = f"nothing is served at {request.url.path[:64]!r}; /openapi.json lists what is"
    return error_response(NoSuchPath(msg), openai.write_error)


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    msg = f"{request.url.path[:64]!r} is not served by the method {request.method[:16]}"
    response = error_response(MethodNotAllowed(msg), openai.write_error)
    response.headers.update(getattr(error, "headers", None) or {})
    return response
