"""The middlewares of arpc; users import them from ``arpc.middleware``. Each is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .logger import Logger
    from .metrics import Metrics
    from .recover import Recover
    from .timeout import Timeout
    from .tracing import Tracing

__all__ = [
    "Logger",
    "Metrics",
    "Recover",
    "Timeout",
    "Tracing",
]

_MODULES = {
    "Logger": "logger",
    "Metrics": "metrics",
    "Recover": "recover",
    "Timeout": "timeout",
    "Tracing": "tracing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value  # the next look-up doesn't come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
