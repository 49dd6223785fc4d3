"""When to retry a failed call: exponential back-off with jitter, within the caller's deadline. Never sleeps itself."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

from munjang.client.grpc_errors import is_retryable
from munjang.errors import ConfigurationError, InvalidOption, VersionNotFound, VersionNotReady

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.errors import MunjangError


ENDLESS_SECONDS: Final = 1e9
"""About 30 years. A longer time counts as no limit: grpc and the system take no larger numbers."""


def seconds(value: Any, name: str = "timeout") -> float:
    """A number of seconds as the caller gave it; infinity from `ENDLESS_SECONDS` on.

    Raises:
        InvalidOption: it is not a number.
    """
    number = math.nan
    if not isinstance(value, bool) and isinstance(value, Real):
        number = float(min(value, ENDLESS_SECONDS))  # type: ignore[arg-type]  # a real number is one of the two
    if math.isnan(number):
        msg = f"{name} is {value!r}; it must be a number of seconds"
        raise InvalidOption(msg, field=name)
    return math.inf if number >= ENDLESS_SECONDS else number


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how fast a call is tried again after UNAVAILABLE, or RESOURCE_EXHAUSTED with RetryInfo.

    So is a call pinned to a version that a server has answered with and another one does not know (yet).

    Attributes:
        attempts: the most tries of one call, the first included; 1 turns retries off.
        initial: seconds of the first back-off, before jitter.
        multiplier: of the back-off from one try to the next.
        maximum: seconds that no back-off exceeds; a longer wait that the server asks for is kept. May be infinite.
    """

    attempts: int = 5
    initial: float = 0.1
    multiplier: float = 2.0
    maximum: float = 5.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigurationError: a number that cannot work.
        """
        possible = self.attempts >= 1 and 0 <= self.initial <= self.maximum and 1 <= self.multiplier < math.inf
        if not possible or math.isinf(self.initial):
            msg = f"the retry policy is not possible: {self}"
            raise ConfigurationError(msg, field="retry")


class Attempts:
    """The tries of one call: how long is left, and how long to wait before the next."""

    def __init__(
        self,
        policy: RetryPolicy,
        deadline: float,
        jitter: Callable[[float, float], float] = random.uniform,
        *,
        answered: bool = False,
    ) -> None:
        """Start with the first try; `deadline` is on the monotonic clock.

        With `answered`, a server has answered with the version that the call is pinned to: one that does not know it
        (yet) lags behind, so another try, which may come to another server, is worth it.
        """
        self._answered = answered
        self._policy = policy
        self._deadline = deadline
        self._jitter = jitter
        self._failed = 0
        self._step = policy.initial

    def remaining(self) -> float | None:
        """Seconds until the deadline, never below zero; None where there is none."""
        return None if self._deadline == math.inf else max(0.0, self._deadline - time.monotonic())

    def wait_after(self, error: MunjangError) -> float | None:
        """Seconds to wait before the next try; None if no try is left, none would help, or it would come too late."""
        self._failed += 1
        if self._failed >= self._policy.attempts or not (is_retryable(error) or self._lags(error)):
            return None
        wait = self._backoff(error.retry_after)
        return wait if time.monotonic() + wait < self._deadline else None

    def _lags(self, error: MunjangError) -> bool:
        return self._answered and isinstance(error, VersionNotFound | VersionNotReady)

    def _backoff(self, retry_after: float | None) -> float:
        """The server's own figure and up to a fifth more, or half to all of the exponential step."""
        if retry_after is not None:
            return retry_after * self._jitter(1.0, 1.2)
        step, self._step = self._step, min(self._policy.maximum, self._step * self._policy.multiplier)
        return step * self._jitter(0.5, 1.0)
