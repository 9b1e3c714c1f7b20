"""How many retries a service can bear."""

from __future__ import annotations

from math import isfinite

__all__ = ["RetryBudget"]


class RetryBudget:
    """Stops retries where most calls fail, so that they do not keep down a service that is down (as gRPC does it).

    It holds up to ``tokens`` (1 or more). Each attempt that fails, and might be tried again, takes one; each call that
    succeeds puts back ``ratio`` (above 0, at most 1): 0.1 allows one retry for ten calls in the long run. Retries are
    made only while more than half of the tokens are there. Several :class:`Retry` may share a budget.
    """

    __slots__ = ("_left", "_ratio", "_tokens")

    def __init__(self, tokens: float = 100.0, ratio: float = 0.1) -> None:
        if not (isfinite(tokens) and tokens >= 1):
            raise ValueError(f"tokens is a number of 1 or more, not {tokens!r}")
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio is above 0 and at most 1, not {ratio!r}")
        self._tokens = float(tokens)
        self._ratio = ratio
        self._left = self._tokens

    @property
    def left(self) -> float:
        """Tokens that are there now."""
        return self._left

    @property
    def spent(self) -> bool:
        """No retry may be made now."""
        return self._left <= self._tokens / 2

    def failed(self) -> None:
        """An attempt has failed."""
        self._left = max(self._left - 1, 0.0)

    def succeeded(self) -> None:
        """A call has been answered."""
        if self._left < self._tokens:
            self._left = min(self._left + self._ratio, self._tokens)

    def __repr__(self) -> str:
        return f"<RetryBudget {self._left:g} of {self._tokens:g}{', spent' if self.spent else ''}>"
