"""What ``serve`` and ``connect`` return: something that is not open before it is awaited, or entered."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

__all__ = ["Opening"]

T = TypeVar("T", bound="AbstractAsyncContextManager[Any, Any]")


class Opening(Generic[T]):
    """``await`` it, or enter it with ``async with``, which closes it at the end. Forgotten, it warns."""

    _used = False

    def __init__(self, call: str, open: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._call = call
        self._open = open
        self._opened: list[T] = []

    def __await__(self) -> Generator[Any, Any, T]:
        self._used = True
        return self._open().__await__()

    async def __aenter__(self) -> T:
        self._used = True
        opened = await self._open()
        self._opened.append(opened)
        return opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.pop().__aexit__(kind, error, traceback)

    def __del__(self) -> None:
        if not self._used:
            warnings.warn(f"{self._call} was never awaited nor entered", RuntimeWarning, stacklevel=2)

    if not TYPE_CHECKING:  # checkers know what there is

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(f"no {name} yet: write await {self._call}, or async with {self._call} as ...")
