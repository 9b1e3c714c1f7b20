"""Which methods a middleware is meant for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import cast

__all__ = ["matching"]


def matching(methods: Iterable[str], option: str) -> Callable[[str], bool]:
    """Whether a method is one of ``methods``: names, or patterns such as ``"/get*"``.

    TypeError names the option for what is no list of texts.
    """
    patterns = () if isinstance(methods, (str, bytes)) else tuple(methods)
    if isinstance(methods, (str, bytes)) or not all(isinstance(cast(object, one), str) and one for one in patterns):
        raise TypeError(f'{option} is a list of methods, or of patterns such as "/get*", not {methods!r}')
    return lambda method: any(fnmatchcase(method, pattern) for pattern in patterns)
