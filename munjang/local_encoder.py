"""`munjang.Encoder`: a version of a registry in this process, for programs that embed where their data is.

    from munjang import Encoder

    with Encoder("s3://bucket/registry", version="stable") as encoder:
        print(encoder.encode(["오늘 날씨가 참 좋다."], role="document").vectors)

It is small until it is used, and can be pickled: each executor of Spark or actor of Ray opens its own, all of the same
version. It encodes as `munjang.client.Client.encode` does, so `munjang.search.Index` and `munjang.index` take it too.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from munjang.encoder.encode import forward_all
from munjang.encoder.postprocess import OutputOptions, packed
from munjang.encoder.prompting import prompting
from munjang.engine.version_loader import VersionLoader
from munjang.errors import EmptyText, InvalidOption, InvalidText, MunjangError, TextTooLong, VersionNotReady
from munjang.kinds import Role
from munjang.registry import Registry
from munjang.settings import EngineSettings
from munjang.vectors import Precision, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder as LoadedEncoder
    from munjang.registry.layout import Manifest


@dataclass(frozen=True)
class Encoded:
    """The vectors of some texts; the same fields as `munjang.client.Embeddings`, which has more.

    Attributes:
        vectors: one row per text, in the precision that was asked for.
        version: the number of the version that made them.
        space_id: its space.
        dimensions: components of a vector.
        token_counts: uint32 [n], the tokens that the model read of each text.
        truncated: the indices of the texts that were cut at the model's limit.
        errors: with `partial_results`, why texts have a row of zeros; each has its `index`.
    """

    vectors: NDArray[Any]
    version: int
    space_id: str
    dimensions: int
    token_counts: NDArray[np.uint32]
    truncated: tuple[int, ...] = ()
    errors: tuple[MunjangError, ...] = ()


class Encoder:
    """One version of a registry, loaded at its first use. May be used by several threads, one at a time works."""

    def __init__(self, registry: str, version: str | int = "", *, device: str = "auto") -> None:
        """Resolve the version, once; nothing is loaded yet.

        Args:
            registry: a folder or an fsspec URL.
            version: a number, alias or space id; "" is "stable". An alias that moves later does not move it.
            device: cpu, cuda, cuda:1, mps, or auto.

        Raises:
            VersionNotFound: no version, alias or space of that name.
            RegistryUnavailable: the registry cannot be read.
        """
        self.registry = registry
        self.device = device
        opened = Registry(registry)
        self.version = opened.resolve(str(version))
        self._manifest: Manifest = opened.manifest(self.version)
        self._prepare()

    def _prepare(self) -> None:
        self._lock = threading.Lock()
        self._encoder: LoadedEncoder | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the loaded model."""
        return {name: value for name, value in self.__dict__.items() if name not in {"_lock", "_encoder"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def space_id(self) -> str:
        """The version's space."""
        return self._manifest.space_id

    @property
    def dimensions(self) -> int:
        """Components of a full vector."""
        return self._manifest.dimensions

    def close(self) -> None:
        """Give the model's memory back; the next use loads it again."""
        with self._lock:
            if self._encoder is not None:
                self._encoder.close()
            self._encoder = None

    def encode(
        self,
        texts: Sequence[str] | str,
        *,
        version: str | int = "",
        role: str = "",
        prompt_name: str = "",
        prompt: str | None = None,
        normalize: bool = True,
        dimensions: int = 0,
        precision: str = "float32",
        truncation: str = "end",
        partial_results: bool = False,
    ) -> Encoded:
        """The vectors of texts; the arguments are those of `munjang.client.Client.encode`.

        `version` may only name this one, by number or space id.

        Raises:
            VersionNotReady: `version` names another one.
            InvalidRequest: an option or a text cannot be used; `index` says which text.
            RegistryError, ModelError, ConfigurationError: the version cannot be loaded.
        """
        if str(version) not in {"", str(self.version), self.space_id}:
            msg = f"this encoder has version {self.version} of space {self.space_id}, and not {version!r}"
            raise VersionNotReady(msg, field="version")
        given = [texts] if isinstance(texts, str) else list(texts)
        with self._lock:
            return self._encode(
                self._loaded(),
                given,
                how=prompting(self._manifest, prompt_name=prompt_name, prompt=prompt, role=_role(role)),
                output=OutputOptions(dimensions, normalize, Precision(precision)),
                cut=truncation == "end",
                partial=partial_results,
            )

    def _encode(
        self, encoder: LoadedEncoder, texts: list[str], *, how: Any, output: OutputOptions, cut: bool, partial: bool
    ) -> Encoded:
        output.check(encoder.info)
        errors: dict[int, MunjangError] = {
            index: error for index, text in enumerate(texts) if (error := _bad(text, index))
        }
        good = [index for index in range(len(texts)) if index not in errors]
        tokens = dict(zip(good, encoder.tokenize([texts[index] for index in good], how), strict=True))
        if not cut:
            for index in [index for index, one in tokens.items() if one.truncated]:
                msg = f"the text has more than the model's {encoder.info.max_tokens} tokens"
                errors[index] = TextTooLong(msg, field="texts", index=index)
                del tokens[index]
        if errors and not partial:
            raise errors[min(errors)]
        raw = np.zeros((len(texts), encoder.info.dimensions), np.float32)
        if tokens:
            raw[list(tokens)] = forward_all(encoder, list(tokens.values()))
        count = output.dimensions or encoder.info.dimensions
        return Encoded(
            vectors=unpack(packed(raw, output, encoder.info), len(texts), count, output.precision),
            version=self.version,
            space_id=self.space_id,
            dimensions=count,
            token_counts=np.array([len(tokens.get(index, ())) for index in range(len(texts))], np.uint32),
            truncated=tuple(index for index, one in tokens.items() if one.truncated),
            errors=tuple(errors[index] for index in sorted(errors)),
        )

    def _loaded(self) -> LoadedEncoder:
        """The model, loaded, verified and tried as a server does."""
        if self._encoder is None:
            settings = EngineSettings().model_copy(update={"device": self.device})
            _, self._encoder = VersionLoader(Registry(self.registry), settings)(self.version)
        return self._encoder


def _role(role: str) -> Role | None:
    try:
        return Role(role) if role else None
    except ValueError as error:
        msg = f"{role!r} is no role: query or document"
        raise InvalidOption(msg, field="role") from error


def _bad(text: str, index: int) -> MunjangError | None:
    """Why a text cannot be encoded."""
    if not isinstance(text, str) or not text.strip():
        return EmptyText("the text is empty or only white space", field="texts", index=index)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return InvalidText(f"the text is not valid Unicode: {error.reason}", field="texts", index=index)
    return None
