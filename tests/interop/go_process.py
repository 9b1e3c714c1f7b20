"""The Go program of the interop tests as a process that speaks JSON lines."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds that anything here may take; far more than it needs, so that only a hang exceeds it."""


class GoProcess:
    """Runs ``arpcinterop`` with the given arguments.

    Its stdin stays open for as long as this process lives: the Go program ends when it is closed.
    """

    def __init__(self, binary: Path, *arguments: str) -> None:
        command = [str(binary), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    async def line(self, within: float = PATIENCE) -> dict[str, Any]:
        """The next line of output, decoded; TimeoutError after ``within`` seconds, EOFError when Go has ended."""
        line = await self.line_or_end(within)
        if line is None:
            raise EOFError(f"the Go program ended with {await self.ended()}; its stderr says why")
        return line

    async def line_or_end(self, within: float = PATIENCE) -> dict[str, Any] | None:
        """The same, and None when Go has ended."""
        assert self.process.stdout is not None
        text = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), within)
        return json.loads(text) if text else None

    async def ended(self, within: float = PATIENCE) -> int:
        """The exit code, waited for; subprocess.TimeoutExpired after ``within`` seconds."""
        return await asyncio.to_thread(self.process.wait, within)

    def close(self) -> None:
        """Kill it if it still runs, and wait for its end."""
        self.process.kill()
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
