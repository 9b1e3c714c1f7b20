"""Services: a class whose methods are marked ``@arpc.rpc`` is interface, implementation and typed client at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, get_type_hints

from .context import Context
from .errors import RegistrationError

__all__ = ["rpc"]

F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])
T = TypeVar("T")

_MARK = "__arpc_rpc__"
_PROXY = "__arpc_proxy__"


def rpc(function: F) -> F:
    """Marks an ``async def`` method as callable by peers; see :meth:`Router.register` and :meth:`Peer.service`.

    The method takes its body as parameters: none, one (the body itself), or several (the named fields of one object).
    """
    if not inspect.iscoroutinefunction(function):
        raise RegistrationError(f"@arpc.rpc marks an async def, and {function!r} is none")
    setattr(function, _MARK, True)
    return function


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


class Caller(Protocol):
    """How a proxy reaches the other side: a peer's ``call`` or ``notify`` with its options bound."""

    def __call__(self, method: str, body: Any, returns: Any) -> Coroutine[Any, Any, Any]: ...


def proxy(service: Callable[..., T], caller: Caller, of: str, name: str | None, scope: dict[str, Any]) -> T:
    """An object of ``service`` whose marked methods go through ``caller``, to the peer ``of``.

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
    result.__dict__.update(_arpc_caller=caller, _arpc_of=of, _arpc_name=name)
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


def _proxy_method(
    service: type, owner: str, attribute: str, scope: dict[str, Any]
) -> Callable[..., Coroutine[Any, Any, Any]]:
    function = getattr(service, attribute)
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1:]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise RegistrationError(f"{owner}.{attribute} takes *{parameter.name}: name its parameters one by one")
    try:
        hints = get_type_hints(function, localns=scope, include_extras=True)
    except Exception as error:
        raise RegistrationError(f"{owner}.{attribute} has annotations that cannot be evaluated: {error}") from None
    if Context in hints.values():
        raise RegistrationError(f"{owner}.{attribute} takes a Context: in a service arpc.current() is the context")
    returns = hints.get("return", Any)
    names = [parameter.name for parameter in parameters]
    by_keyword = any(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    positional = -1 if by_keyword else len(names)
    bare = signature.replace(parameters=parameters)

    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) == positional and not kwargs:
            values: Any = args
        else:
            bound = bare.bind(*args, **kwargs)
            bound.apply_defaults()
            values = [bound.arguments[name] for name in names]
        body = None if not names else values[0] if len(names) == 1 else dict(zip(names, values, strict=True))
        return await self._arpc_caller(f"{self._arpc_name or owner}.{attribute}", body, returns)

    call.__name__ = attribute
    call.__qualname__ = f"{owner}.{attribute}"
    call.__doc__ = function.__doc__
    return call
