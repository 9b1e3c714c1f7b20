"""Services: a class whose methods are marked ``@arpc.rpc`` is interface, implementation and typed client at once."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, get_args, get_origin, get_type_hints, overload

from .bodies import NO_BODY
from .context import Context
from .errors import RegistrationError, StreamEnded, StreamReset, remote_error
from .middleware import Middleware, checked
from .registered import ITERATORS, is_stream

__all__ = ["rpc"]

F = TypeVar("F", bound=Callable[..., "Coroutine[Any, Any, Any] | AsyncIterator[Any]"])
T = TypeVar("T")

_MARK = "__arpc_rpc__"
_AROUND = "__arpc_middleware__"
_PROXY = "__arpc_proxy__"


@overload
def rpc(function: F) -> F: ...


@overload
def rpc(*, middleware: Iterable[Middleware]) -> Callable[[F], F]: ...


def rpc(function: F | None = None, *, middleware: Iterable[Middleware] = ()) -> F | Callable[[F], F]:
    """Marks a method as callable by peers; see :meth:`Router.register` and :meth:`Peer.service`.

    It is an ``async def``, or an async generator, which serves a stream of answers (in an abstract interface a plain
    ``def`` that returns an ``AsyncIterator``). It takes its body as parameters: none, one (the body itself), or several
    (the named fields of one object); one more, an ``AsyncIterator``, brings a stream of items.

    ``@arpc.rpc(middleware=[...])`` puts middleware around this one where it is served.
    """
    if function is None:
        around = checked(middleware)

        def mark(function: F) -> F:
            setattr(function, _AROUND, around)
            return rpc(function)

        return mark
    if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function) or _says_iterator(function)):
        raise RegistrationError(f"@arpc.rpc marks an async def, and {function!r} is none")
    if inspect.iscoroutinefunction(function) and _says_iterator(function):
        raise RegistrationError(
            f"{function!r} is to yield items, and has no yield: add one, or write def, not async def"
        )
    setattr(function, _MARK, True)
    return function


def _says_iterator(function: Any) -> bool:
    """Whether a plain function is annotated to return an async iterator, as an abstract generator is."""
    returns = getattr(function, "__annotations__", {}).get("return")
    if isinstance(returns, str):
        return returns.strip("'\"").partition("[")[0].rpartition(".")[2] in {kind.__name__ for kind in ITERATORS}
    return (get_origin(returns) or returns) in ITERATORS


def middleware_of(service: type, attribute: str) -> tuple[Middleware, ...]:
    """What ``@arpc.rpc(middleware=...)`` put around a method: that of the class that is nearest."""
    for owner in service.__mro__:
        function = vars(owner).get(attribute)
        if hasattr(function, _AROUND):
            around: tuple[Middleware, ...] = getattr(function, _AROUND)
            return around
    return ()


def methods_of(service: type) -> dict[str, str]:
    """The marked methods of a class: attribute to the name of the class that marked it first."""
    found: dict[str, str] = {}
    for owner in reversed(service.__mro__):
        for attribute, value in vars(owner).items():
            if getattr(value, _MARK, False):
                found.setdefault(attribute, owner.__name__)
    return found


def callers_names() -> dict[str, Any]:
    """The local names where a method that asks for this was called: annotations may speak of them."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    return dict(frame.f_locals) if frame is not None else {}


class Remote(Protocol):
    """How a proxy reaches the other side, with what ``Peer.service`` was given."""

    def call(self, method: str, body: Any, returns: Any) -> Coroutine[Any, Any, Any]: ...

    def stream(self, method: str, body: Any, items: Any, returns: Any) -> AbstractAsyncContextManager[Any]: ...


def proxy(service: Callable[..., T], remote: Remote, of: str, name: str | None, scope: dict[str, Any]) -> T:
    """An object of ``service`` whose marked methods go through ``remote``, to the peer ``of``.

    ``scope`` helps to resolve annotations.
    """
    if not isinstance(service, type):
        raise RegistrationError(f"a service is a class with methods marked @arpc.rpc, not {service!r}")
    # Kept by the class itself: a table here would keep classes alive that nobody else knows any more.
    made: Any = vars(service).get(_PROXY)
    if made is None:
        made = _proxy_class(service, scope)
        setattr(service, _PROXY, made)
    result: T = object.__new__(made)
    result.__dict__.update(_arpc_remote=remote, _arpc_of=of, _arpc_name=name)
    return result


def _proxy_class(service: type, scope: dict[str, Any]) -> type:
    found = methods_of(service)
    if not found:
        raise RegistrationError(f"{service.__name__} has no method that is marked @arpc.rpc")
    namespace: dict[str, Any] = {
        attribute: _proxy_method(service, owner, attribute, scope) for attribute, owner in found.items()
    }
    namespace["__module__"] = service.__module__
    namespace["__repr__"] = _represent
    made = type(service.__name__, (service,), namespace)
    missing = sorted(getattr(made, "__abstractmethods__", ()))
    if missing:
        raise RegistrationError(f"{service.__name__} has abstract methods without @arpc.rpc: {', '.join(missing)}")
    return made


def _represent(self: Any) -> str:
    return f"<{type(self).__name__} of {self._arpc_of}>"


def _proxy_method(service: type, owner: str, attribute: str, scope: dict[str, Any]) -> Callable[..., Any]:
    function = getattr(service, attribute)
    try:
        hints = get_type_hints(function, localns=scope, include_extras=True)
    except Exception as error:
        raise RegistrationError(f"{owner}.{attribute} has annotations that cannot be evaluated: {error}") from None
    if Context in hints.values():
        raise RegistrationError(f"{owner}.{attribute} takes a Context: in a service arpc.current() is the context")
    if any(map(is_stream, hints.values())):
        raise RegistrationError(
            f"{owner}.{attribute} takes a Stream, which has no typed client: take an AsyncIterator, and yield; or use"
            " router.stream and peer.open_stream"
        )
    read = _Arguments(function, hints, f"{owner}.{attribute}")
    returns = hints.get("return", Any)
    generates = not inspect.iscoroutinefunction(function)
    if generates:
        returns = (get_args(returns) or (Any,))[0]

    def name_of(self: Any) -> str:
        return f"{self._arpc_name or owner}.{attribute}"

    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        body, _ = read(args, kwargs)
        return await self._arpc_remote.call(name_of(self), None if body is NO_BODY else body, returns)

    async def give(self: Any, *args: Any, **kwargs: Any) -> Any:
        body, items = read(args, kwargs)
        async with self._arpc_remote.stream(name_of(self), body, items, returns) as stream:
            try:
                return await stream.recv()
            except StreamEnded:
                return None  # as an empty answer of a call is
            except StreamReset as error:  # it looks like a call, and fails like one
                raise remote_error(error.message or str(error)) from error

    def generate(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        return _items(self._arpc_remote, name_of(self), *read(args, kwargs), returns)

    made: Any = generate if generates else give if read.items is not None else call
    made.__name__ = attribute
    made.__qualname__ = f"{owner}.{attribute}"
    made.__doc__ = function.__doc__
    result: Callable[..., Any] = made
    return result


async def _items(remote: Remote, method: str, body: Any, items: Any, returns: Any) -> AsyncIterator[Any]:
    async with remote.stream(method, body, items, returns) as stream:
        async for item in stream:
            yield item


class _Arguments:
    """From the arguments of a method to its body and the iterator of its items."""

    __slots__ = ("_bare", "_names", "_positional", "items")

    def __init__(self, function: Any, hints: dict[str, Any], name: str) -> None:
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise RegistrationError(f"{name} takes *{parameter.name}: name its parameters one by one")
        iterators = [p.name for p in parameters if (get_origin(hints.get(p.name)) or hints.get(p.name)) in ITERATORS]
        if len(iterators) > 1:
            raise RegistrationError(f"{name} takes {len(iterators)} iterators: one stream brings one")
        self.items = iterators[0] if iterators else None
        self._names = [parameter.name for parameter in parameters if parameter.name != self.items]
        by_keyword = any(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
        self._positional = -1 if by_keyword or self.items else len(self._names)
        self._bare = signature.replace(parameters=parameters)

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        names = self._names
        items = None
        if len(args) == self._positional and not kwargs:
            values: Any = args
        else:
            bound = self._bare.bind(*args, **kwargs)
            bound.apply_defaults()
            values = [bound.arguments[name] for name in names]
            items = bound.arguments[self.items] if self.items is not None else None
        if not names:
            return NO_BODY, items
        return values[0] if len(names) == 1 else dict(zip(names, values, strict=True)), items
