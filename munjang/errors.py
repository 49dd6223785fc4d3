"""Every error that munjang raises on purpose: one tree, one root, and a reason that programs can match on.

The reasons are those of `protos/munjang/v1/error_reason.proto`, where an error can reach a caller; the server maps them
to status codes in one table, and the client raises the same classes again. This module knows no transport.

    MunjangError
    ├── InvalidRequest        the caller must change the request
    │   ├── MalformedMessage · MessageTooLarge · InvalidOption · WrongKind
    │   ├── NoTexts · TooManyTexts · EmptyText · InvalidText · TextTooLong
    │   └── UnknownPrompt · UnsupportedPrecision · UnsupportedDimensions
    ├── AccessDenied          the caller may not
    │   └── Unauthenticated · PermissionDenied
    ├── TryLater              the same request may succeed later, here or on another replica
    │   ├── RateLimited · Overloaded · DeadlineUnreachable
    │   ├── ShuttingDown · EngineUnavailable · VersionLoading
    │   └── ServerUnreachable    raised by the client alone
    ├── VersionNotFound · VersionNotReady
    ├── DeadlineExceeded
    ├── EncodeFailed          the model failed on one text
    ├── RegistryError         a published version or an alias is not as it should be
    │   ├── InvalidManifest · UnsupportedManifest · IncompleteVersion
    │   ├── ForbiddenFile · HashMismatch · PathEscape · PublishConflict · VersionInUse
    │   └── RegistryUnavailable
    ├── ModelError            a version's files are right, but it cannot serve
    │   └── ModelLoadFailed · ProbeMismatch · UnsupportedModel
    ├── JobError
    │   └── JobNotFound · InvalidJob · JobConflict · QueueUnavailable
    ├── SearchIndexError      a search index in a vector store
    │   └── IndexNotFound · SpaceMismatch · StoreUnavailable
    ├── ConfigurationError    a setting, or what the machine lacks
    └── InternalError
"""

from __future__ import annotations

from typing import ClassVar


class MunjangError(Exception):
    """The root. `str(error)` is fit for a caller: it names the cause and what to change, never internals.

    Attributes:
        reason: the machine-readable cause, an `ErrorReason` name without its prefix.
        field: the request field at fault, as a path (`options.dimensions`), or empty.
        index: the position in that field's list, or None.
        retry_after: seconds after which the same request may succeed, or None.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self, message: str, *, field: str = "", index: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.index = index
        self.retry_after = retry_after

    @property
    def path(self) -> str:
        """The field with its index, as google.rpc.BadRequest writes it: `texts[3]`."""
        return self.field if self.index is None else f"{self.field}[{self.index}]"


class InvalidRequest(MunjangError):
    """The caller must change the request."""

    reason = "INVALID_OPTION"


class MalformedMessage(InvalidRequest):
    """The bytes are not a message of this method."""

    reason = "MALFORMED_MESSAGE"


class MessageTooLarge(InvalidRequest):
    """The message is larger than the server accepts."""

    reason = "MESSAGE_TOO_LARGE"


class InvalidOption(InvalidRequest):
    """An option is out of range or contradicts another."""

    reason = "INVALID_OPTION"


class WrongKind(InvalidRequest):
    """The version's model makes something else than the call asks for: vectors, or scores of pairs."""

    reason = "WRONG_KIND"


class NoTexts(InvalidRequest):
    """A list that needs at least one text is empty."""

    reason = "NO_TEXTS"


class TooManyTexts(InvalidRequest):
    """More texts than one call may carry."""

    reason = "TOO_MANY_TEXTS"


class EmptyText(InvalidRequest):
    """A text is empty or only white space."""

    reason = "EMPTY_TEXT"


class InvalidText(InvalidRequest):
    """A text is not valid Unicode."""

    reason = "INVALID_TEXT"


class TextTooLong(InvalidRequest):
    """More characters than accepted, or more tokens than the model reads where cutting was ruled out."""

    reason = "TEXT_TOO_LONG"


class UnknownPrompt(InvalidRequest):
    """The model version has no prompt of that name."""

    reason = "UNKNOWN_PROMPT"


class UnsupportedPrecision(InvalidRequest):
    """The precision is unknown, or this version cannot give it."""

    reason = "UNSUPPORTED_PRECISION"


class UnsupportedDimensions(InvalidRequest):
    """More dimensions than the model has."""

    reason = "UNSUPPORTED_DIMENSIONS"


class AccessDenied(MunjangError):
    """The caller may not do this."""

    reason = "PERMISSION_DENIED"


class Unauthenticated(AccessDenied):
    """No token, or an unknown one."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(AccessDenied):
    """A known token without the right to this method."""

    reason = "PERMISSION_DENIED"


class TryLater(MunjangError):
    """The same request may succeed later, here or on another replica."""

    reason = "OVERLOADED"


class RateLimited(TryLater):
    """This caller has used up its rate limit."""

    reason = "RATE_LIMITED"


class Overloaded(TryLater):
    """The queue is full."""

    reason = "OVERLOADED"


class DeadlineUnreachable(TryLater):
    """At the measured speed the answer would come after the caller's deadline."""

    reason = "DEADLINE_UNREACHABLE"


class ShuttingDown(TryLater):
    """The server drains and takes no new work."""

    reason = "SHUTTING_DOWN"


class EngineUnavailable(TryLater):
    """The engine is stuck or failing."""

    reason = "ENGINE_UNAVAILABLE"


class ServerUnreachable(TryLater):
    """No server answers at this address, or the connection broke; no server sends this."""

    reason = "ENGINE_UNAVAILABLE"


class VersionNotFound(MunjangError):
    """No version or alias of that name."""

    reason = "VERSION_NOT_FOUND"


class VersionNotReady(MunjangError):
    """The version is known but is not being served."""

    reason = "VERSION_NOT_READY"


class VersionLoading(TryLater):
    """The version is known and will be served soon."""

    reason = "VERSION_NOT_READY"


class DeadlineExceeded(MunjangError):
    """The deadline passed while the work was queued or running."""

    reason = "DEADLINE_EXCEEDED"


class EncodeFailed(MunjangError):
    """The model failed on one text, even when it ran alone."""

    reason = "ENCODE_FAILED"


class RegistryError(MunjangError):
    """A published version or an alias is not as it should be."""

    reason = "INTERNAL"


class InvalidManifest(RegistryError):
    """A manifest or alias file is not valid."""


class UnsupportedManifest(RegistryError):
    """A manifest of a newer format than this program reads."""


class IncompleteVersion(RegistryError):
    """A version without its manifest, or a file that the manifest names is missing."""


class ForbiddenFile(RegistryError):
    """A file that a model folder may not hold: pickles, code, links, anything not on the allow-list."""


class HashMismatch(RegistryError):
    """A file differs from what the manifest says: other size or other sha256."""


class PathEscape(RegistryError):
    """A path that leaves the version's own folder."""


class PublishConflict(RegistryError):
    """The version number was taken by another publisher, or exists already."""


class VersionInUse(RegistryError):
    """A version that an alias names cannot be removed."""


class RegistryUnavailable(RegistryError):
    """The registry's storage cannot be read or written now."""


class ModelError(MunjangError):
    """A version's files are as published, but it cannot serve."""


class ModelLoadFailed(ModelError):
    """The files cannot be loaded as a model."""


class UnsupportedModel(ModelError):
    """A kind of model that the encoder does not run."""


class ProbeMismatch(ModelError):
    """The model does not reproduce the vectors that its manifest records."""


class JobError(MunjangError):
    """An error of bulk jobs."""


class JobNotFound(JobError):
    """No job with that id."""

    reason = "JOB_NOT_FOUND"


class InvalidJob(JobError):
    """The job's description is wrong."""

    reason = "INVALID_JOB"


class JobConflict(JobError):
    """The output belongs to other work."""

    reason = "JOB_CONFLICT"


class QueueUnavailable(JobError):
    """The job queue cannot be reached."""

    reason = "QUEUE_UNAVAILABLE"


class SearchIndexError(MunjangError):
    """A search index in a vector store is not as it should be."""


class IndexNotFound(SearchIndexError):
    """The store has no such index, or none for the space of a query."""


class SpaceMismatch(SearchIndexError):
    """Rows of one space, or of one way to make vectors, were to be put among those of another."""


class StoreUnavailable(SearchIndexError):
    """The vector store does not answer."""


class ConfigurationError(MunjangError):
    """A setting is wrong, or something that it needs is not installed."""


class InternalError(MunjangError):
    """Something that should not happen did."""
