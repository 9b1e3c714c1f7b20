"""A middleware around what goes out that fails as a test says, in place of a connection that would."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import arpc
from arpc.middleware import Layer, Next, Target


class Script(Layer):
    """Each message gets the next of these errors; None, or no more of them, lets it through.

    An error stands there as a function that makes one, or as itself where it is raised once.
    """

    def __init__(self, errors: Iterable[BaseException | Callable[[], BaseException] | None] = ()) -> None:
        self._errors = iter(errors)
        self.seen: list[dict[str, Any]] = []
        """The metadata of each message that came here."""

    def wrap(self, call_next: Next, target: Target) -> Next:
        async def scripted(ctx: arpc.Context) -> Any:
            self.seen.append(dict(ctx.metadata))
            error = next(self._errors, None)
            if error is not None:
                raise error if isinstance(error, BaseException) else error()
            return await call_next(ctx)

        return scripted


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
