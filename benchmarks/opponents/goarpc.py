"""Go arpc, server and load client in Go (benchmarks/go), with its default and with its best settings."""

from __future__ import annotations

import re
import shutil
import subprocess

from benchmarks.opponents.base import ROOT, Failed, Opponent, Unavailable

SOURCES = ROOT / "benchmarks" / "go"
BUILD = ROOT / "benchmarks" / ".build"
BEST_SEND_BUFFER = "65536"


class GoArpcDefault(Opponent):
    """As it comes: no write batching, one goroutine a request."""

    name = "go-default"
    title = "Go arpc, default"

    def prepare(self) -> str:
        go = shutil.which("go")
        if go is None:
            raise Unavailable("go is not installed")
        BUILD.mkdir(exist_ok=True)
        for program in ("server", "client"):
            command = [go, "build", "-o", str(BUILD / f"goarpc-{program}"), f"./{program}"]
            built = subprocess.run(command, cwd=SOURCES, stderr=subprocess.PIPE, text=True, check=False)
            if built.returncode:
                raise Failed(f"{self.title}: go build failed:\n{built.stderr}")
        version = subprocess.run([go, "env", "GOVERSION"], cwd=SOURCES, stdout=subprocess.PIPE, text=True, check=True)
        module = re.search(r"lesismal/(arpc v\S+)", (SOURCES / "go.mod").read_text())
        return f"{module[1] if module else 'arpc'}, {version.stdout.strip()}"

    def server_command(self) -> list[str]:
        return [str(BUILD / "goarpc-server")]

    def client_command(self) -> list[str]:
        return [str(BUILD / "goarpc-client")]


class GoArpcBest(GoArpcDefault):
    """64 KiB of write batching on both sides and handlers that run in the connection's reading goroutine."""

    name = "go-best"
    title = "Go arpc, best"

    def server_command(self) -> list[str]:
        return [*super().server_command(), "--send-buffer", BEST_SEND_BUFFER, "--inline"]

    def client_command(self) -> list[str]:
        return [*super().client_command(), "--send-buffer", BEST_SEND_BUFFER]
