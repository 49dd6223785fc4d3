"""`munjang similarity`: every text compared with every other."""

from typing import Annotated

import typer

from munjang.cli import console, options
from munjang.cli.connection import connect
from munjang.cli.heatmap import heat_map
from munjang.cli.texts import gather


def similarity(
    texts: Annotated[list[str] | None, typer.Argument(help="The texts to compare.", show_default=False)] = None,
    *,
    file: options.File = "",
    prompt: Annotated[str, typer.Option(help="One of the model's prompts, such as query.")] = "",
    version: options.Version = "",
    dimensions: options.Dimensions = 0,
    as_json: options.Json = False,
    target: options.Target = "",
    token: options.Token = "",
    timeout: options.Timeout = 0,
    tls: options.Tls = False,
    ca: options.Ca = None,
    cert: options.Cert = None,
    key: options.Key = None,
) -> None:
    """Compare every text with every other by the model's own similarity function.

    Prints a heat map; with --json an object whose `scores` are the rows of the matrix.

    Examples:
      munjang similarity "남자가 드럼을 쳤다." "남자가 음악을 연주하고 있다." "비가 온다."

      munjang similarity --file questions.txt --prompt query --json
    """
    given = gather(texts, file)
    with (
        connect(target=target, token=token, timeout=timeout, tls=tls, ca=ca, cert=cert, key=key) as client,
        given.named_errors(),
    ):
        found = client.similarity(given.items, version=version, query_prompt_name=prompt, dimensions=dimensions)
    if as_json:
        console.print_json(
            {
                "version": found.version,
                "function": found.function,
                "scores": found.scores.tolist(),
                "token_counts": found.query_token_counts.tolist(),
                "truncated": list(found.truncated_queries),
            }
        )
        return
    title = f"{found.function} similarity · version {found.version}"
    console.stdout().print(heat_map(given.items, found.scores, title))
