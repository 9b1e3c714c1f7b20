"""Loads survive the command line, bodies know their answers, and the message of the rpcx suite is the one it has."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import messages
from benchmarks.loads import PATTERNS
from benchmarks.opponents.base import ROOT
from benchmarks.workload import BODIES, SIZES, Load, Person, Result, Setup, older

quiet = settings(deadline=None)  # a busy machine is no failure

# Options.

bodies = st.sampled_from(sorted(BODIES))
counts = st.integers(0, 1 << 40)
seconds = st.floats(0, allow_nan=False)
setups = st.builds(Setup, body=bodies, delay=seconds)
loads = st.builds(
    Load,
    pattern=st.sampled_from(sorted(PATTERNS)),
    body=bodies,
    size=counts,
    callers=counts,
    connections=counts,
    seconds=seconds,
    warmup=seconds,
    delay=seconds,
    rate=seconds,
    background=seconds,
)


@quiet
@given(setups)
def test_a_setup_survives_the_command_line(setup: Setup) -> None:
    assert Setup.parse(setup.arguments()) == setup


@quiet
@given(loads, st.sampled_from(["tcp://127.0.0.1:1", "http://[::1]:80", "a b"]))
def test_a_load_survives_the_command_line(load: Load, address: str) -> None:
    assert Load.parse(["--address", address, *load.arguments()]) == (address, load)


def test_what_is_not_given_is_as_it_is_without() -> None:
    assert Setup.parse([]) == Setup()
    assert Load.parse(["--address", "x"]) == ("x", Load())


@pytest.mark.parametrize("argv", [[], ["--address", "x", "--novel", "1"], ["--address", "x", "--callers", "many"]])
def test_a_wrong_command_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        Load.parse(argv)
    assert "error:" in capsys.readouterr().err


@quiet
@given(loads)
def test_the_server_of_a_load(load: Load) -> None:
    assert load.setup == Setup(load.body, load.delay)


def test_the_figures_of_a_result() -> None:
    result = Result(calls=50, total=200, errors=0, seconds=0.5, cpu=0.0)
    assert result.rate == 100
    assert result.cpu_per_million(0.1) == pytest.approx(500)
    assert Result(0, 0, 3, 0.5, 0.1).cpu_per_million(0.1) == 0


# Bodies.

ANSWERS: dict[str, Any] = {"bytes": bytes, "json": older, "say": lambda body: messages.say(copied(body))}
"""What a server makes of each body."""
callers = st.integers(0, 99_999_999)


def copied(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())


@quiet
@given(bodies, st.integers(8, 2000), callers)
def test_the_right_answer(body: str, size: int, caller: int) -> None:
    sent, right = BODIES[body](size, caller)
    assert right(ANSWERS[body](sent))


@quiet
@given(st.sampled_from(["bytes", "json"]), st.integers(8, 2000), callers, callers)
def test_the_answer_to_somebody_else_is_wrong(body: str, size: int, caller: int, other: int) -> None:
    _, right = BODIES[body](size, caller)
    theirs, _ = BODIES[body](size, other)
    assert bool(right(ANSWERS[body](theirs))) == (caller == other)


def test_wrong_bytes() -> None:
    sent, right = BODIES["bytes"](SIZES["bytes"], 7)
    assert isinstance(sent, bytes)
    assert len(sent) == 581
    assert not any(map(right, [b"", sent[:-1], sent + b"x", sent[:-1] + b"8", sent.decode("latin-1"), None]))


def test_wrong_persons() -> None:
    sent, right = BODIES["json"](SIZES["json"], 7)
    assert isinstance(sent, Person)
    assert len(sent.note) == 480
    name, age, tags, note = sent.name, sent.age + 1, sent.tags, sent.note
    assert right(Person(name, age, tags, note))
    wrong = [
        sent,  # not decoded, only echoed
        Person("", age, tags, note),
        Person(name, age + 1, tags, note),
        Person(name, age, tags[:-1], note),
        Person(name, age, tags, note[1:]),
        {"name": name, "age": age, "tags": tags, "note": note},
        None,
    ]
    assert not any(map(right, wrong))


@pytest.mark.parametrize("changed", [{"field1": "ok"}, {"field2": 99}, {"field1": "", "field2": 0}])
def test_wrong_messages(changed: dict[str, object]) -> None:
    sent, right = BODIES["say"](SIZES["say"], 7)
    assert not right(sent)
    answer = messages.say(copied(sent))
    assert right(answer)
    for name, value in changed.items():
        setattr(answer, name, value)
    assert not right(answer)


# BenchmarkMessage: as the rpcx suite has it, numbers of fields by their types.

TYPES = {
    "string": {1, 4, 7, 9, 18, 102, 103, 129},
    "fixed64": {5},
    "int64": {22},
    "int32": {2, 3, 6, 16, 23, 25, 29, 60, 67, 68, 100, 101, 104, 128, 130, 131, 150, 271, 272, 280},
    "bool": {12, 13, 14, 17, 24, 30, 59, 78, 80, 81},
}
LABELS = {number: "optional" for numbers in TYPES.values() for number in numbers} | {5: "repeated"}
LABELS |= dict.fromkeys((1, 2, 3), "required")
EXPECTED = {(f"field{number}", number, kind, LABELS[number]) for kind, numbers in TYPES.items() for number in numbers}


def test_the_fields_in_python() -> None:
    from google.protobuf import descriptor_pb2

    described = descriptor_pb2.DescriptorProto()
    messages.message_class().DESCRIPTOR.CopyToProto(described)
    proto = descriptor_pb2.FieldDescriptorProto
    assert described.name == "BenchmarkMessage"
    assert {
        (
            field.name,
            field.number,
            proto.Type.Name(field.type).removeprefix("TYPE_").lower(),
            proto.Label.Name(field.label).removeprefix("LABEL_").lower(),
        )
        for field in described.field
    } == EXPECTED


def test_the_fields_in_go() -> None:
    text = (ROOT / "benchmarks" / "go" / "hello" / "hello.proto").read_text()
    found = re.findall(r"(optional|required|repeated) (\w+) (field\d+) = (\d+)", text)
    assert 'syntax = "proto2"' in text
    assert {(name, int(number), kind, label) for label, kind, name, number in found} == EXPECTED


def test_the_message() -> None:
    message = messages.request()
    assert len(message.SerializeToString()) == 581
    values = {field.number: value for field, value in message.ListFields()}
    texts = {values.pop(number) for number in TYPES["string"]}
    assert {(len(text), len(text.encode())) for text in texts} == {(18, 54)}
    assert len(texts) == 1
    assert {values.pop(number) for number in TYPES["bool"]} == {True}
    assert set(values.values()) == {100_000}
    assert set(values) == TYPES["int32"] | TYPES["int64"]
    assert copied(message) == message


def test_the_required_fields() -> None:
    message = messages.request()
    message.ClearField("field3")
    assert not message.IsInitialized()
    message.ClearField("field4")
    message.field3 = 1
    assert message.IsInitialized()
