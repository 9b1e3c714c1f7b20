"""One line in the log for each message."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from random import random
from time import perf_counter
from typing import Any, cast

from arpc.context import Context
from arpc.middleware import FALLBACK, Layer, Next, Target
from arpc.options import is_time

__all__ = ["Logger"]


class Logger(Layer):
    """Logs each message at its end: ``call /greet from tcp://10.0.0.7:4242 ok in 1.23 ms, 12 -> 34 bytes``.

    ``logger``: a logger of the standard library, or the name of one. What ended well is logged at ``level``, anything
    else at ``error_level``, always. ``sample``: the share, from 0 to 1, of what ended well that is logged, chosen by
    chance; what took ``slow`` seconds or longer is logged in any case.

    The same is in ``record.arpc``, a dict for formatters that write JSON: ``side`` (``"server"`` for what comes in,
    ``"client"`` for what goes out), ``kind`` (``"call"``, ``"notify"``, ``"stream"``), ``method``, ``peer`` (its
    address), ``identity`` (its name, or None), ``code`` (``"ok"``, or of :class:`~arpc.Code`), ``seconds``,
    ``request_bytes``, ``response_bytes`` (0 for streams), ``error`` (the name of the exception's class, or None).
    Neither bodies nor the texts of errors, which may quote them, are ever logged.
    """

    def __init__(
        self,
        logger: logging.Logger | str = "arpc.messages",
        *,
        level: int = logging.INFO,
        error_level: int = logging.WARNING,
        sample: float = 1.0,
        slow: float | None = None,
    ) -> None:
        given = cast(object, logger)
        if not isinstance(given, (logging.Logger, str)):
            raise TypeError(f"logger is a logging.Logger or the name of one, not {logger!r}")
        for name, value in ("level", level), ("error_level", error_level):
            if type(cast(object, value)) is not int or value < 0:
                raise ValueError(f"{name} is a number of logging, such as logging.INFO, not {value!r}")
        number = cast(object, sample)
        if not isinstance(number, (int, float)) or not 0 <= number <= 1:
            raise ValueError(f"sample is a share from 0 to 1, not {sample!r}")
        if slow is not None and not is_time(slow):
            raise ValueError(f"slow is seconds above 0, or None, not {slow!r}")
        self._logger = logging.getLogger(given) if isinstance(given, str) else given
        self._level = level
        self._error_level = error_level
        self._sample = sample
        self._slow = slow

    def wrap(self, call_next: Next, target: Target) -> Next:
        enabled, highest = self._logger.isEnabledFor, max(self._level, self._error_level)
        end, clock = self._end, perf_counter
        method = None if target.method == FALLBACK else shown(target.method)

        def logged(ctx: Context) -> Coroutine[Any, Any, Any]:
            if enabled(highest):
                ctx.on_end(end, method, clock())
            return call_next(ctx)

        return logged

    def _end(self, ctx: Context, error: BaseException | None, size: int, method: str | None, started: float) -> None:
        level = self._level if error is None else self._error_level
        if not self._logger.isEnabledFor(level):
            return
        seconds = perf_counter() - started
        if error is None and random() >= self._sample and (self._slow is None or seconds < self._slow):
            return
        self._log(level, ctx, error, size, method or shown(ctx.method), seconds)

    def _log(
        self, level: int, ctx: Context, error: BaseException | None, size: int, method: str, seconds: float
    ) -> None:
        kind, peer = ctx.kind, ctx.peer
        received = 0 if kind == "stream" else len(ctx.body)
        code = "ok" if error is None else ctx.code_of(error)
        name = None if error is None else type(error).__name__
        fields = {
            "side": "client" if ctx.outgoing else "server",
            "kind": kind,
            "method": ctx.method,
            "peer": peer.address,
            "identity": None if peer.identity is None else peer.identity.name,
            "code": str(code),
            "seconds": seconds,
            "request_bytes": received,
            "response_bytes": size,
            "error": name,
        }
        outcome = shown(code) if name is None else f"{shown(code)} ({name})"
        text, sizes = "%s %s %s %s %s in %.2f ms, %d -> %d bytes", [received, size]
        if kind == "stream":
            text, sizes = "%s %s %s %s %s in %.2f ms", []
        way = "to" if ctx.outgoing else "from"
        self._logger.log(
            level, text, kind, method, way, shown(peer.address), outcome, seconds * 1000, *sizes, extra={"arpc": fields}
        )


def shown(text: str) -> str:
    """A name that the other side may have chosen, as it is put into a line: quoted and escaped unless it is plain."""
    return text if text.isprintable() and not any(one in text for one in " '\"\\") and text else ascii(text)
