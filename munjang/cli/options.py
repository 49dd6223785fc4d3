"""The options that several commands share, each defined once, and the settings and clients that they result in."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from pydantic import ValidationError

from munjang.client import AsyncClient, Client, RetryPolicy
from munjang.errors import ConfigurationError
from munjang.kinds import Role
from munjang.settings import ClientSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = "Server"

_Settings = TypeVar("_Settings", bound=Settings)

Target = Annotated[
    str,
    typer.Option(
        help="The server, HOST:PORT, or several separated by commas. Default: MUNJANG_TARGET, else 127.0.0.1:50051.",
        metavar="HOST:PORT",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]
Token = Annotated[
    str,
    typer.Option(
        help="The bearer token; better in MUNJANG_TOKEN, where no process list shows it.",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(help="Seconds until a call is given up. Default: 30.", show_default=False, rich_help_panel=SERVER),
]
Tls = Annotated[bool, typer.Option("--tls", help="Encrypt, trusting the system's authorities.", rich_help_panel=SERVER)]
Ca = Annotated[
    Path | None,
    typer.Option(help="Encrypt, trusting the authorities in this PEM file.", dir_okay=False, rich_help_panel=SERVER),
]
Cert = Annotated[
    Path | None,
    typer.Option(help="The client's own certificate (PEM), for mutual TLS.", dir_okay=False, rich_help_panel=SERVER),
]
Key = Annotated[
    Path | None, typer.Option(help="The private key of --cert (PEM).", dir_okay=False, rich_help_panel=SERVER)
]

File = Annotated[str, typer.Option("--file", "-f", help="Read one text per line; - is standard input.", metavar="FILE")]
Encoding = Annotated[str, typer.Option(help="The encoding of --file, such as cp949.")]
Version = Annotated[
    str,
    typer.Option(
        "--version", "-v", help="A version number, a space id or an alias. Default: stable.", show_default=False
    ),
]
PromptRole = Annotated[
    Role | None,
    typer.Option("--role", help="What the texts are for; takes the model's own prompt and route of that role."),
]
PromptName = Annotated[
    str,
    typer.Option("--prompt", help="One of the model's prompts by its name, such as query.", metavar="NAME"),
]
PromptText = Annotated[
    str | None,
    typer.Option(
        "--prompt-text", help="The text of a prompt (an instruction) to put before each text.", metavar="TEXT"
    ),
]
NoPrompt = Annotated[
    bool, typer.Option("--no-prompt", help="No prompt, even where the model has a default one or one of the role.")
]
Dimensions = Annotated[int, typer.Option(help="Keep the first N components only (Matryoshka); 0 for all.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RegistryUrl = Annotated[
    str,
    typer.Option(
        "--registry",
        help="A folder or an fsspec URL. Default: MUNJANG_REGISTRY, else registry under MUNJANG_HOME.",
        metavar="URL",
        show_default=False,
    ),
]
RedisUrl = Annotated[
    str,
    typer.Option(
        "--redis",
        help="The queue's redis:// URL. Default: MUNJANG_REDIS_URL, else through the server.",
        metavar="URL",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]


def prompt_choice(role: Role | None, name: str, text: str | None, *, none: bool) -> dict[str, Any]:
    """The options about prompts as the arguments `role`, `prompt_name` and `prompt` of a call.

    Raises:
        typer.BadParameter: more than one of them chooses the prompt.
    """
    choices = {"--prompt": bool(name), "--prompt-text": text is not None, "--no-prompt": none}
    given = [option for option, is_given in choices.items() if is_given]
    if len(given) > 1:
        msg = f"choose one of {' and '.join(given)}"
        raise typer.BadParameter(msg)
    return {"role": role or "", "prompt_name": name, "prompt": "" if none else text}


@dataclass(frozen=True)
class Server:
    """The server that the options name; empty, 0 or None for options that are not given, which the settings decide."""

    target: Target = ""
    token: Token = ""
    timeout: Timeout = 0
    tls: Tls = False
    ca: Ca = None
    cert: Cert = None
    key: Key = None

    def connect(self) -> Client:
        """A client of the server.

        Raises:
            ConfigurationError: an option or setting that cannot work.
        """
        return Client(**self.client_options())

    def connect_async(self, retry: RetryPolicy, batch_size: int) -> AsyncClient:
        """The same for an event loop, with its own retries and batch size."""
        return AsyncClient(retry=retry, batch_size=batch_size, **self.client_options())

    def client_options(self) -> dict[str, Any]:
        """The arguments of a client: the options first, then the settings."""
        settings = read_settings(ClientSettings)
        given = {name: value or getattr(settings, name) or None for name, value in asdict(self).items()}
        target = given.pop("target")
        return {"targets": target, "server_name": settings.server_name} | {
            name: value for name, value in given.items() if value is not None
        }


def calls_server(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Server`, which it takes as one argument, `server`.

    An option that the command defines itself is its own; `Server` gets its value too.
    """
    hints = get_type_hints(command, include_extras=True)
    own = [parameter for name, parameter in inspect.signature(command).parameters.items() if name != "server"]
    shared = get_type_hints(Server, include_extras=True)

    def run(**given: Any) -> None:
        server = Server(**{name: given[name] for name in shared})
        command(**{parameter.name: given[parameter.name] for parameter in own}, server=server)

    added = [
        inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default)
        for option in fields(Server)
        if option.name not in hints
    ]
    annotations = shared | {name: hint for name, hint in hints.items() if name != "server"}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # functions may have one
        [parameter.replace(annotation=annotations[parameter.name]) for parameter in (*own, *added)]
    )
    run.__annotations__ = annotations
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def read_settings(kind: type[_Settings]) -> _Settings:
    """The settings of a program.

    Raises:
        ConfigurationError: a variable has an invalid value.
    """
    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        name = "MUNJANG_" + "_".join(map(str, first["loc"])).upper()
        msg = f"{name} is {first['input']!r}: {first['msg']}"
        raise ConfigurationError(msg, field=name) from error
