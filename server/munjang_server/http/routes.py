"""Which path leads where. What is at no path gets an error in OpenAI's form, which most clients read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from munjang_server.http import openai
from munjang_server.http.endpoint import SPACE_HEADER, VERSION_HEADER, Endpoint, error_response
from munjang_server.http.errors import MethodNotAllowed, NoSuchPath
from munjang_server.http.model_names import ModelNames
from munjang_server.http.operations import Operations
from munjang_server.rpc.errors import REQUEST_ID_KEY
from munjang_server.rpc.services import METRICS, RPCS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from munjang.settings import ServerSettings
    from munjang_server.http.endpoint import ErrorBody, Handler
    from munjang_server.rpc.calls import Rpc
    from munjang_server.rpc.services import Services

EXPOSED = (REQUEST_ID_KEY, VERSION_HEADER, SPACE_HEADER, "retry-after", "retry-after-ms")
"""The headers that a web page of another origin may read."""


def application(settings: ServerSettings, services: Services) -> Starlette:
    """The ASGI application of the whole door.

    Raises:
        ConfigurationError: a setting is not valid.
    """
    routes = Routes(settings, services)
    routes.openai(ModelNames(settings.model_names, services.engine))
    routes.operations()
    return Starlette(
        routes=routes.made,
        middleware=_middleware(settings.http_origins),
        exception_handlers={404: _no_such_path, 405: _method_not_allowed},
    )


class Routes:
    """Makes the routes.

    Attributes:
        made: those that were made.
    """

    def __init__(self, settings: ServerSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self.made: list[Route] = []

    def openai(self, names: ModelNames) -> None:
        """OpenAI's."""
        services = self._services
        embeddings, models = openai.Embeddings(services.encode, names), openai.Models(services.models, names)
        self._post("/v1/embeddings", RPCS["Encode"], embeddings, openai.error_body)
        self._get("/v1/models", RPCS["ListVersions"], models.list, openai.error_body)
        self._get("/v1/models/{model}", RPCS["GetVersion"], models.get, openai.error_body)

    def operations(self) -> None:
        """For those who operate the server."""
        found = Operations(self._services.health, self._services.registry)
        self.made += [Route("/livez", found.live), Route("/readyz", found.ready)]
        self._get("/metrics", METRICS, found.metrics, openai.error_body)

    def _post(self, path: str, rpc: Rpc, handler: Handler, error_body: ErrorBody) -> None:
        endpoint = Endpoint(self._services.calls, self._settings, rpc, handler, error_body=error_body)
        self.made.append(Route(path, endpoint, methods=["POST"]))

    def _get(self, path: str, rpc: Rpc, handler: Handler, error_body: ErrorBody) -> None:
        endpoint = Endpoint(self._services.calls, self._settings, rpc, handler, error_body=error_body, kinds=())
        self.made.append(Route(path, endpoint, methods=["GET"]))


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
    return error_response(NoSuchPath(msg), openai.error_body)


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    msg = f"{request.url.path[:64]!r} is not served by the method {request.method[:16]}"
    response = error_response(MethodNotAllowed(msg), openai.error_body)
    response.headers.update(getattr(error, "headers", None) or {})
    return response
