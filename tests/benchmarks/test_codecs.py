"""The measurement of codecs: every codec answers rightly, is measured at each step that it has, and reported."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from arpc_codecs import JsonCodec
from benchmarks import __main__, codecs
from benchmarks.codec_bodies import bodies

TYPED = ["encode typed", "decode typed"]


def measured(path: Path) -> tuple[dict[str, Any], str]:
    output = path / "new" / "codecs.json"
    assert __main__.main(["codecs", "--repeat", "1", "--slice", "0", "--output", str(output)]) == 0
    return json.loads(output.read_text()), output.with_suffix(".md").read_text()


def test_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, report = measured(tmp_path)
    assert report in capsys.readouterr().out
    assert [record["body"] for record in data["bodies"]] == ["message", "rows", "floats"]
    for record in data["bodies"]:
        every = record["codecs"]
        assert [name for name in every if name in codecs.PLAIN] == list(codecs.PLAIN)
        for name, one in every.items():
            steps = codecs.STEPS if name in codecs.PLAIN else TYPED
            expected = ["encode plain", "decode plain"] if name == codecs.BARE else list(steps)
            assert [step for step in codecs.STEPS if step in one] == expected
            assert all(one[step] > 0 for step in expected)
    message, _, floats = (record["codecs"] for record in data["bodies"])
    assert message["protobuf"]["bytes"] == 581
    assert floats["raw, numpy"]["bytes"] == 100_000
    assert "raw, numpy" not in message


def test_the_report() -> None:
    codec = {"bytes": 1000, **dict.fromkeys(codecs.STEPS, 2e-6)}
    data = {
        "made": "today",
        "command": "it",
        "machine": {"cores": 2, "processor": "P", "system": "S", "python": "Y"},
        "versions": {"msgspec": "1.2"},
        "rounds": 3,
        "elsewhere": 1.26,
        "bodies": [{"title": "a body", "codecs": {"json": codec, "odd": {"bytes": 5, "decode typed": 5e-6}}}],
    }
    report = codecs.markdown(data)
    assert "on 2 cores, P, S, Y; msgspec 1.2. Medians of 3" in report
    assert "**Other programs used 1.3 cores meanwhile: do not trust these figures.**" in report
    assert "## A body\n" in report
    assert "| json | 1,000 | 2.00 (1.00) | 2.00 (1.00) | 2.00 (1.00) | 2.00 (1.00) |" in report
    assert "| odd | 5 | - | - | - | 5.00 (2.50) |" in report
    assert "do not trust" not in codecs.markdown(data | {"elsewhere": 0.0})


def test_a_wrong_answer_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    message = bodies()[0]
    with monkeypatch.context() as wrong:
        wrong.setattr(JsonCodec, "decode", lambda self, data: {})
        with pytest.raises(ValueError, match="json does not give message back"):
            codecs.works(message)
    monkeypatch.setattr(JsonCodec, "decoder", lambda self, type: lambda data: [])
    with pytest.raises(ValueError, match=r"json does not give a .*Record.* back"):
        codecs.works(message)


def test_a_codec_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    real = builtins.__import__

    def importing(name: str, *rest: Any) -> Any:
        if name == "cbor2":
            raise ImportError("no cbor2")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)
    output = tmp_path / "codecs.json"
    assert codecs.main(["--repeat", "1", "--slice", "0", "--output", str(output)]) == 1
    assert "pip install -e '.[bench]'" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("argv", [["--repeat", "0"], ["--repeat", "x"], ["--slice", "-1"], ["--output", "x.txt"]])
def test_mistakes_in_the_options(argv: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        codecs.main(argv)
