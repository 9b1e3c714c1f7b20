"""`python -m benchmarks` as a user runs it: what is written, what is said, what the exit code says, what is left."""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import options
from benchmarks.__main__ import main
from benchmarks.opponents import registry
from benchmarks.opponents.base import ROOT
from benchmarks.report.schema import Run, read, run_of
from benchmarks.results import FOLDER
from tests.benchmarks.programs import start
from tests.tools import eventually, require_package

PATIENCE = 50
BENCHMARKS = [sys.executable, "-m", "benchmarks"]
BARE = ["--opponents", "bare", "--cases", "bytes", "--duration", "0.05", "--warmup", "0"]
Done = subprocess.CompletedProcess[str]

pytestmark = pytest.mark.usefixtures("processes")


def benchmark(*options: object, path: str | None = None, files: int | None = None) -> Done:
    """Run it; with this PATH, and with this limit of open files."""
    environment = os.environ | ({} if path is None else {"PATH": path})
    limit = None if files is None else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    return subprocess.run(
        [*BENCHMARKS, *map(str, options)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        preexec_fn=limit,
    )


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip().startswith(start)]


# A run.


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """A short run of the whole command, where no Go can be found; and its file."""
    output = tmp_path_factory.mktemp("run") / "deeper" / "run.json"
    opponents = ("--opponents", "ours", "bare", "go-default")
    short = ("--callers", 1, 5, "--duration", 0.1, "--warmup", 0, "--repeat", 2)
    return benchmark(*opponents, "--cases", "bytes", *short, "--output", output, path=""), output


def test_a_run(finished: tuple[Done, Path]) -> None:
    done, output = finished
    assert (done.returncode, done.stderr) == (0, "")
    run = run_of(read(output))
    assert run.complete
    assert run.failures == []
    assert run.settings == {"rounds": 2, "seconds": 0.1, "warmup": 0.0, "seed": 1, "pinned": False}
    assert run.command == f"python -m benchmarks {' '.join(done.args[3:])}"
    assert list(run.systems) == ["ours", "bare"]
    assert run.systems["bare"].versions.startswith("uvloop ")
    assert {"cores", "processor", "system", "python"} == set(run.machine)
    assert (run.memory, run.imports) == ([], {})
    assert [(one.case, one.load.callers) for one in run.calls] == [("bytes", 1), ("bytes", 5)]
    for one in run.calls:
        assert list(one.systems) == ["ours", "bare"]
        for system in one.systems.values():
            assert len(system.rounds) == 2
            assert system.errors == 0
            assert system.rate > 0
            assert 0 < system.latency["p50"] <= system.latency["p99"] <= system.latency["max"] < 1
            assert system.curve


def test_what_is_printed(finished: tuple[Done, Path]) -> None:
    done, output = finished
    assert lines(done.stdout, "arpc (ours) (ours): arpc ")
    assert lines(done.stdout, "left out:") == ["  left out: go-default: go is not installed"]
    assert len(lines(done.stdout, "bytes echo, 581 bytes;")) == 2
    assert len(lines(done.stdout, "bare uvloop loop  ")) == 2
    written = [Path(line.removeprefix("wrote ")) for line in lines(done.stdout, "wrote ")]
    assert written[:2] == [output, output.with_suffix(".md")]
    assert set(written) == set(output.parent.iterdir())


def test_the_report_of_a_run(finished: tuple[Done, Path]) -> None:
    _, output = finished
    report = output.with_suffix(".md").read_text()
    assert report.startswith("# Benchmark results")
    assert "go is not installed" in report
    pictures = [output.parent / name for name in re.findall(r"!\[.*\]\((.*)\)", report)]
    assert sorted(pictures) == sorted(output.parent.glob("*.svg"))
    if importlib.util.find_spec("matplotlib"):
        assert pictures
    for picture in pictures:
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")


def test_report_again(finished: tuple[Done, Path], capsys: pytest.CaptureFixture[str]) -> None:
    require_package("matplotlib")
    _, output = finished
    before = {path: path.read_bytes() for path in output.parent.iterdir()}
    output.with_suffix(".md").unlink()
    assert main(["report", str(output)]) == 0
    assert {path: path.read_bytes() for path in output.parent.iterdir()} == before
    assert capsys.readouterr().out.splitlines()[0] == str(output.with_suffix(".md"))


def test_compare_with_itself(finished: tuple[Done, Path]) -> None:
    _, output = finished
    done = benchmark("compare", output, output)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 fell below" in done.stdout


def test_subcommands_without_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = str(tmp_path / "nothing.json")
    assert main(["compare", nothing, nothing]) == 2
    assert main(["report", nothing]) == 2
    assert capsys.readouterr().err.count(f"{nothing}: No such file") == 2


def test_nothing_can_be_measured(tmp_path: Path) -> None:
    done = benchmark("--opponents", "go-default", "--output", tmp_path / "run.json", path="")
    assert done.returncode == 1
    assert "go is not installed" in done.stdout
    assert "No system can be measured here." in done.stdout


# Systems that fail.

WRONG = """
import asyncio
from contextlib import asynccontextmanager

from benchmarks.opponents.python import PythonOpponent


class Wrong(PythonOpponent):
    name = "wrong"
    title = "answers wrongly"

    @asynccontextmanager
    async def serve(self, setup):
        yield "nowhere"

    @asynccontextmanager
    async def connect(self, address, setup):
        async def call(body):
            await asyncio.sleep(0)
            return b"wrong" if body.endswith(b"1") else body
        yield {"bytes": call}
"""
FAILING = """
from contextlib import asynccontextmanager

from benchmarks.opponents.bare import Bare


class Failing(Bare):
    name = "failing"
    title = "fails"

    def connect(self, address, setup):
        raise SystemExit(1)


class Dying(Bare):
    name = "dying"
    title = "dies"

    def serve(self, setup):
        raise SystemExit(1)
"""


def test_a_system_that_answers_wrongly(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(WRONG)
    output = tmp_path / "run.json"
    done = benchmark(*BARE, "--add", tmp_path / "own.py", "--callers", 2, "--repeat", 1, "--output", output)
    assert (done.returncode, done.stderr.count("wrong answers, 0 failed calls")) == (1, 1)
    run = run_of(read(output))
    assert run.complete
    assert run.failures == []
    bare, wrong = run.calls[0].systems["bare"], run.calls[0].systems["wrong"]
    assert bare.errors == 0
    assert wrong.errors == sum(one.errors for one in wrong.rounds) > 0
    assert wrong.rate > 0
    (said,) = lines(done.stdout, "answers wrongly: ")
    assert said == f"answers wrongly: {wrong.errors:,} calls failed or were answered wrongly."


def test_systems_that_fail(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FAILING)
    output = tmp_path / "run.json"
    done = benchmark(*BARE, "--add", tmp_path / "own.py", "--callers", 2, "--repeat", 2, "--output", output)
    assert done.returncode == 1
    run = run_of(read(output))
    assert run.complete
    dies, fails = run.failures
    assert dies == "dies: the server ended before it had an address"
    assert fails.startswith("fails: the load client failed (CalledProcessError): Load(")
    assert lines(done.stdout, "FAILED:") == [f"FAILED: {dies}", f"FAILED: {fails}"]
    assert {name: len(one.rounds) for name, one in run.calls[0].systems.items()} == {"bare": 2}
    assert "2 measurements failed" in output.with_suffix(".md").read_text()


# Interrupted.


@pytest.mark.skipif(sys.platform == "win32", reason="has no process groups")
async def test_an_interrupted_run(tmp_path: Path, processes: Callable[[], dict[int, str]]) -> None:
    output = tmp_path / "run.json"
    options = [*BARE, "--duration", "0.5", "--callers", *map(str, range(1, 40)), "--output", str(output)]
    with start(*BENCHMARKS, *options, "--repeat", "1") as run:
        await eventually(output.exists, within=20, why="the first load is saved")
        await eventually(
            lambda: any(" drive " in line for line in processes().values()), why="a load client is at work"
        )
        os.killpg(run.pid, signal.SIGINT)  # as the terminal does it
        out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130
    assert "KeyboardInterrupt" not in err
    data: Run = run_of(read(output))
    assert not data.complete
    assert data.failures == []
    assert 1 <= sum(1 for one in data.calls if one.systems) < 39
    assert data.calls[0].systems["bare"].rate > 0
    assert "Interrupted: what was measured is kept." in out
    assert "ended before it was complete" in output.with_suffix(".md").read_text()
    await eventually(lambda: not processes(), why="nothing is left")


# Options.


def wrong_options(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="2"):
        options.parse(argv)
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--opponents", "nothing"], "argument --opponents: invalid choice: 'nothing' (choose from"),
        (["--opponents"], "argument --opponents: expected at least one argument"),
        (["--cases", "nothing"], "argument --cases: invalid choice: 'nothing' (choose from"),
        (["--callers", "0"], "argument --callers: 0 is no whole number above 0"),
        (["--callers", "1", "many"], "argument --callers: many is no whole number above 0"),
        (["--callers", "-5"], "argument --callers: -5 is no whole number above 0"),
        (["--delays", "-1"], "argument --delays: -1 is no number of seconds from 0 to 3600"),
        (["--delays", "long"], "argument --delays: long is no number of seconds from 0 to 3600"),
        (["--duration", "0"], "--duration must be above 0"),
        (["--duration", "nan"], "argument --duration: nan is no number of seconds from 0 to 3600"),
        (["--warmup", "3600"], "argument --warmup: 3600 is no number of seconds from 0 to 3600"),
        (["--repeat", "0"], "argument --repeat: 0 is no whole number above 0"),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["--add", "nothing.py"], "nothing.py: there is no such file"),
        (["--add", "nothing"], "nothing: not the name of a Python file"),
        (["--novel"], "unrecognized arguments: --novel"),
        (["novel"], "unrecognized arguments: novel"),
    ],
)
def test_wrong_options(argv: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"python -m benchmarks: error: {text}" in wrong_options(argv, capsys)


def test_wrong_options_of_the_command() -> None:
    done = benchmark("--opponents", "ours", "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert "invalid choice: 'nothing'" in done.stderr
    assert all(kind.name in done.stderr for kind in registry.ALL)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned here")
def test_two_servers_are_not_pinned_to_one_core() -> None:
    given = options.parse(["--pinned", "--opponents", "ours", "ours-2", "--cases", "bytes"])
    left_out: dict[str, str] = {}
    plan = options.planned(given, [kind() for kind in given.kinds], left_out)
    assert [one.name for one in plan.opponents] == ["ours"]
    assert "share the one core" in left_out["ours-2"]


def test_options_that_are_not_given() -> None:
    full, quick = options.parse([]), options.parse(["--quick"])
    assert full.kinds == list(registry.ALL)
    assert quick.kinds == list(registry.QUICK)
    assert {"bytes", "busy", "streams", "fan-in", "extras"} < set(full.cases)
    assert {"idle", "idle-streams", "after-load", "imports"} < set(full.cases)
    assert quick.cases == ["bytes", "json"]
    assert (list(full.callers), list(quick.callers)) == ([1, 100, 500, 1000, 2000, 5000], [1, 100, 1000])
    assert (full.output, quick.output) == (FOLDER / "last" / "full.json", FOLDER / "last" / "quick.json")
    given = options.parse(["--quick", "--callers", "7", "--cases", "say", "--opponents", "bare", "--output", "x.json"])
    assert (given.callers, given.cases, given.output) == ([7], ["say"], Path("x.json").resolve())
    assert [kind.name for kind in given.kinds] == ["bare"]


def test_too_few_file_descriptors(tmp_path: Path) -> None:
    output = tmp_path / "run.json"
    done = benchmark("--opponents", "bare", "--cases", "idle", "--output", output, files=400)
    assert "Traceback" not in done.stderr
    assert run_of(read(output)).complete
    assert not re.search(r" (0|-\d+) connections", done.stdout)
