"""Settings: what they are by default, and what is refused."""

from __future__ import annotations

import inspect
import ssl
from dataclasses import FrozenInstanceError, fields
from typing import Any, get_type_hints

import pytest

import arpc
from arpc.options import Event, OptionKeywords, Options, make_options

NAMES = [field.name for field in fields(Options)]
SECONDS = [
    "timeout",
    "connect_timeout",
    "hello_timeout",
    "stream_idle_timeout",
    "stall_timeout",
    "send_timeout",
    "notify_grace",
]
FLAGS = ["extensions", "metadata_appender", "reuse_port"]
CHOICES = ["capabilities", "overflow", "ssl", "on_event"]
COUNTS = [name for name in NAMES if name not in [*SECONDS, *FLAGS, *CHOICES]]


def make(**options: Any) -> Options:
    return Options(**options)


def test_keywords_and_fields_are_the_same() -> None:
    assert list(OptionKeywords.__annotations__) == NAMES
    unseen = {"SSLContext": ssl.SSLContext}  # options.py imports it for checkers only
    assert get_type_hints(OptionKeywords, localns=unseen) == get_type_hints(Options, localns=unseen)


def test_every_setting_is_documented() -> None:
    source = inspect.getsource(Options)
    for name in NAMES:
        lines = source.partition(f"\n    {name}: ")[2].splitlines()
        assert lines[1].strip().startswith('"""'), name


def test_the_defaults_that_are_promised() -> None:
    options = Options()
    assert options.timeout == 30.0
    assert options.hello_timeout == 1.0
    assert options.extensions is True
    assert options.max_body == 64 * 1024 * 1024 - 16
    assert options.max_inflight == 1024
    assert options.capabilities == sum(arpc.Capability) == 31
    assert options.overflow == "pause"
    assert options.metadata_appender is False
    assert options.stream_idle_timeout is None
    assert options.stream_window == 256 * 1024
    assert options == make_options({})


def test_it_is_frozen() -> None:
    options: Any = Options()
    with pytest.raises(FrozenInstanceError):
        options.timeout = 5
    assert hash(options) == hash(Options())


@pytest.mark.parametrize("name", [*SECONDS, *COUNTS])
def test_a_number_is_a_number(name: str) -> None:
    no_numbers: list[Any] = ["5", [], True, b"1", 1j]
    for wrong in no_numbers:
        with pytest.raises(ValueError, match=rf"^{name} is a number, not "):
            make(**{name: wrong})
    for number in (-1, -0.5, float("nan"), float("-inf")):
        with pytest.raises(ValueError, match=f"^{name} must be "):
            make(**{name: number})
    assert getattr(make(**{name: 7}), name) == 7


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_a_whole_number(name: str) -> None:
    for wrong in (1.5, 2.0):
        with pytest.raises(ValueError, match=rf"^{name} is a whole number, not {wrong}"):
            make(**{name: wrong})


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_may_have_fractions(name: str) -> None:
    assert getattr(make(**{name: 0.25}), name) == 0.25


@pytest.mark.parametrize("name", NAMES)
def test_none_and_zero_only_where_they_mean_something(name: str) -> None:
    if name in ("timeout", "connect_timeout", "stream_idle_timeout", "ssl", "on_event"):
        assert getattr(make(**{name: None}), name) is None
    else:
        with pytest.raises(ValueError, match=f"^{name} is "):
            make(**{name: None})
    if name in ("notify_grace", "stream_window", "max_streams"):
        assert getattr(make(**{name: 0}), name) == 0
    else:
        with pytest.raises(ValueError, match=f"^{name} "):
            make(**{name: 0})


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_is_true_or_false(name: str) -> None:
    for wrong in (1, 0, "yes", None):
        with pytest.raises(ValueError, match=f"^{name} is True or False, not "):
            make(**{name: wrong})


@pytest.mark.parametrize("name", ["max_body", "max_streams"])
def test_what_travels_as_32_bits(name: str) -> None:
    assert getattr(make(**{name: 2**32 - 1}), name) == 2**32 - 1
    with pytest.raises(ValueError, match=f"^{name} travels as 32 bits and cannot be {2**32}"):
        make(**{name: 2**32})


def test_a_window_is_at_most_what_credit_may_be() -> None:
    assert make(stream_window=2**31).stream_window == 2**31
    with pytest.raises(ValueError, match=f"^stream_window is at most {2**31}, not {2**31 + 1}"):
        make(stream_window=2**31 + 1)


def test_an_item_may_be_larger_than_32_bits_can_tell() -> None:
    """It is this side's own limit, which does not travel."""
    assert make(max_item=2**32).max_item == 2**32


def test_capabilities_are_capabilities() -> None:
    for flags in (arpc.Capability(0), arpc.Capability.META, arpc.Capability.CANCEL | arpc.Capability.CREDIT):
        assert make(capabilities=flags).capabilities is flags
    no_capabilities: list[Any] = [0, 31, "META", True, [arpc.Capability.META]]
    for wrong in no_capabilities:
        with pytest.raises(
            ValueError, match=r"^capabilities is made of arpc\.Capability, such as Capability\.META, not "
        ):
            make(capabilities=wrong)


def test_overflow_is_one_of_two() -> None:
    for value in ("pause", "reset"):
        assert make(overflow=value).overflow == value
    for wrong in ("", "Pause", "drop", 1, True):
        with pytest.raises(ValueError, match=r'^overflow is "pause" or "reset", not '):
            make(overflow=wrong)


def test_on_event_is_called() -> None:
    assert make(on_event=print).on_event is print
    with pytest.raises(ValueError, match="on_event is called with each event, and cannot be 5"):
        make(on_event=5)

    async def later(event: Event) -> None: ...

    with pytest.raises(ValueError, match="on_event is called, not awaited: make it a plain def"):
        make(on_event=later)


@pytest.mark.parametrize("value", [True, "server.pem", ssl.SSLContext])
def test_ssl_is_a_context(value: object) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert make(ssl=context).ssl is context
    with pytest.raises(ValueError, match=r"ssl is an ssl\.SSLContext, such as ssl\.create_default_context\(\) makes"):
        make(ssl=value)


def test_an_unknown_option_is_named() -> None:
    unknown: Any = {"max_inflght": 1}
    with pytest.raises(TypeError, match=r"no such option: max_inflght; there are .*max_inflight"):
        make_options(unknown)


async def test_serve_and_connect_refuse_them_too() -> None:
    wrong: Any = {"max_body": 0}
    unknown: Any = {"compression": True}
    for options, error in ((wrong, ValueError), (unknown, TypeError)):
        with pytest.raises(error):
            await arpc.serve("mem://0", arpc.Router(), **options)
        with pytest.raises(error):
            await arpc.connect("mem://0", **options)


def test_an_event_says_what_happened() -> None:
    event = Event("open", None)
    assert (event.name, event.peer, event.detail) == ("open", None, "")
    assert arpc.Event is Event


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("seconds", [float("inf"), 10**400])
def test_a_time_that_no_clock_can_hold_is_refused(name: str, seconds: float) -> None:
    keywords: Any = {name: seconds}
    with pytest.raises(ValueError, match=rf"^{name} is at most 1e\+09 seconds, not "):
        Options(**keywords)
