"""`munjang demo --rollover`: publish a version, re-embed a corpus with it, compare, promote, retire the old version.

    version 1 serves ──────────────────────────────▶ promoted: version 2 serves ───────────▶ version 1 is retired
    index of version 1      index of version 2        callers who pin version 1 still get it
                            both searched, compared

Every step checks what is promised; the first promise that does not hold ends the drill with an error.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from munjang.bulk.job import JobSpec, JobState
from munjang.cli.callers import Callers
from munjang.cli.rollover_search import compare, read_corpus, read_index
from munjang.cli.whitening import add_whitening
from munjang.errors import JobError, MunjangError, VersionInUse, VersionNotFound, VersionNotReady
from munjang.registry import DEFAULT, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from munjang.cli.rollover_search import Index
    from munjang.cli.stack.stack import Stack
    from munjang.client import Client, Embeddings
    from munjang.client.jobs import JobQueue

CANDIDATE = "next"
"""The alias that makes servers load the new version; callers get it only on request."""

SECONDS = 180.0
"""How long any one step may take."""

REPLIES = 20
"""Replies of a version to wait for before the next step."""

TEXTS = 3
"""Texts of each call: enough to have calls all the time, few enough to leave room for the rest."""

BY = "munjang demo --rollover"


class Drill:
    """One run of the drill on a stack whose server serves `stable` and `next`, and whose worker waits for jobs."""

    def __init__(
        self, out: Console, stack: Stack, client: Client, queue: JobQueue, tell: Callable[[str], None]
    ) -> None:
        self._tell = tell
        self._out = out
        self._stack = stack
        self._client = client
        self._queue = queue
        self._registry = Registry(stack.plan.registry)
        self._folder = stack.plan.home.folder
        self._corpus = read_corpus()
        self._old = self._registry.resolve(DEFAULT)

    def run(self) -> None:
        """All steps.

        Raises:
            MunjangError: a promise does not hold.
            Interrupted: a signal asked to end.
        """
        self._corpus.write(self._folder / "corpus.jsonl")
        self._say(f"1. An index of {len(self._corpus.passages)} passages by version {self._old}, which serves")
        first = self._embed(self._old)
        with self._calling() as callers, callers.shown(self._tell), self._calling(self._old) as pinned:
            new = self._prepare(callers, first)
            self._promote(callers, pinned, new)
            pinned.stop()
            self._say(f"6. Version {self._old} is retired, now that nobody pins it")
            self._retire(self._old)
            self._until_answered(callers, new)
        self._report(callers, pinned)

    def _prepare(self, callers: Callers, first: Index) -> int:
        """Publish and load the new version, embed the corpus with it and compare, while the old one answers."""
        self._say("2. A new version is published and loaded beside it; nobody gets it unasked")
        new = self._publish(first)
        self._load(new)
        self._say(f"3. A worker re-embeds the corpus with version {new}, while version {self._old} answers")
        before = callers.answered[self._old]
        second = self._embed(new)
        _check(callers.answered[self._old] > before, "nobody was answered while the corpus was embedded")
        _check(set(callers.answered) == {self._old}, f"somebody got version {new} before it was promoted")
        self._say("4. Both indexes are searched")
        compare(self._out, (first, self._ask(first.version)), (second, self._ask(second.version)))
        return new

    def _promote(self, callers: Callers, pinned: Callers, new: int) -> None:
        """Give everybody the new version, except callers who pin the old one."""
        self._say(f"5. Promoted: index and alias move together to version {new}")
        self._registry.promote(DEFAULT, new, BY)
        self._until_answered(callers, new)
        before = callers.answered[self._old]
        self._until_answered(callers, new)
        _check(callers.answered[self._old] == before, f"version {self._old} still answers who asked for {DEFAULT}")
        self._until_answered(pinned, self._old)
        _check(set(pinned.answered) == {self._old}, f"a pinned caller got another version than {self._old}")
        self._out.print(f"callers who pin version {self._old} are still answered by it, and by no other")

    def _embed(self, version: int) -> Index:
        """Have a worker embed the corpus with a version."""
        folder = self._folder / f"index-{version}"
        spec = JobSpec(
            input=str(self._folder / "corpus.jsonl"),
            output=str(folder),
            version=str(version),
            prompt_name=self._prompt("passage"),
            format="npy",
        )
        job, _ = self._queue.submit(spec)
        self._stack.wait("the job", SECONDS, lambda: self._queue.get(job.id).state.ended)
        job = self._queue.get(job.id)
        if job.state is not JobState.SUCCEEDED:
            msg = f"the job {job.state}: {job.message}"
            raise JobError(msg)
        index = read_index(folder)
        _check(index.version == version, f"the index was asked of version {version} and is of {index.version}")
        _check(len(index.vectors) == len(self._corpus.passages), "the index does not hold every passage once")
        self._out.print(f"{len(index.vectors)} vectors in {folder.name}, every row by version {index.version}")
        return index

    def _publish(self, index: Index) -> int:
        """Publish the second model, made of the first one and the index of the corpus."""
        from munjang.publishing import Lineage, publish_model  # noqa: PLC0415 - torch, which takes seconds

        source = self._registry.local_folder(self._old)
        assert source is not None  # noqa: S101 - the demonstration's registry is a folder
        lineage = Lineage(
            base_model=self._registry.manifest(self._old).base_model,
            recipe=f"version {self._old}, whitened on the corpus (Su et al., 2021)",
        )
        with tempfile.TemporaryDirectory(prefix="munjang-rollover-") as temporary:
            folder = Path(temporary) / "model"
            add_whitening(source, folder, index.vectors)
            manifest = publish_model(self._registry, folder, lineage)
        self._out.print(f"published version {manifest.version}: {lineage.recipe}")
        return manifest.version

    def _load(self, version: int) -> None:
        self._registry.promote(CANDIDATE, version, BY)
        self._stack.wait("the new version", SECONDS, lambda: self._serves(CANDIDATE, version))
        self._out.print(f"{CANDIDATE} names version {version}, {DEFAULT} still version {self._old}")

    def _serves(self, alias: str, version: int) -> bool:
        found = self._client.aliases().get(alias)
        return found is not None and found.serving == version

    def _ask(self, version: int) -> Embeddings:
        return self._client.encode(self._corpus.questions, version=version, prompt_name=self._prompt("query"))

    def _prompt(self, name: str) -> str:
        """The prompt of that name, if the model has one."""
        return name if name in self._registry.manifest(self._old).prompts else ""

    def _retire(self, version: int) -> None:
        """Remove a version, which is refused as long as an alias could roll back to it, and check that it is gone."""
        try:
            self._registry.remove(version)
        except VersionInUse as error:
            self._out.print(f"refused at first: {error}")
        else:
            msg = f"version {version} was removed though {DEFAULT} could be rolled back to it"
            raise MunjangError(msg)
        self._registry.remove(version, force=True)
        self._stack.wait("the end of the old version", SECONDS, lambda: not self._answers(version))
        self._out.print(f"version {version} is removed and unloaded; who still pins it is refused, and gets no other")

    def _answers(self, version: int) -> bool:
        try:
            found = self._client.encode(self._corpus.questions[:1], version=version).version
        except (VersionNotFound, VersionNotReady):
            return False
        _check(found == version, f"a call that pins version {version} was answered by {found}")
        return True

    @contextmanager
    def _calling(self, version: int | str = "") -> Iterator[Callers]:
        with Callers(self._client, self._corpus.questions[:TEXTS], count=1, version=version) as callers:
            self._until_answered(callers, self._old)
            yield callers

    def _until_answered(self, callers: Callers, version: int) -> None:
        enough = callers.answered[version] + REPLIES
        self._stack.wait(f"version {version}", SECONDS, lambda: callers.answered[version] >= enough)

    def _report(self, callers: Callers, pinned: Callers) -> None:
        failed = callers.failures.total() + pinned.failures.total()
        self._say("All of it held")
        self._out.print(
            f"{callers.summary()}\n{pinned.calls} calls that pin version {self._old}, {pinned.failures.total()} failed"
        )
        _check(not failed, f"calls failed: {dict(callers.failures + pinned.failures)}")

    def _say(self, title: str) -> None:
        self._out.print()
        self._out.print(title, style="bold green", markup=False)


def _check(holds: bool, problem: str) -> None:
    """Raise MunjangError unless something holds."""
    if not holds:
        raise MunjangError(problem)
