"""Frames recorded from Go arpc (golden.json), and from ours (golden_extensions.json), scene by scene."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arpc.frame import CANCEL, CREDIT, GOAWAY, HEADER_SIZE, RESET, Frame, Splitter, known_commands

CLIENT: Final = "c2s"
SERVER: Final = "s2c"


@dataclass(frozen=True)
class Recorded:
    """One frame as it was seen on the wire: who sent it, and its bytes."""

    scene: str
    sender: str
    data: bytes

    @property
    def reserved(self) -> int:
        return self.data[4]

    @property
    def frame(self) -> Frame:
        splitter = Splitter(0xFFFF_FFFF)
        splitter.commands = known_commands((CANCEL, RESET, CREDIT, GOAWAY))
        [frame] = splitter.feed(self.data)
        assert splitter.error is None
        assert splitter.unfinished == 0
        return frame

    def __str__(self) -> str:
        return f"{self.scene}-{self.sender}-{self.data[HEADER_SIZE:].decode('utf-8', 'replace')[:20]!r}"


def load(name: str) -> dict[str, list[Recorded]]:
    """The frames of each scene of a file beside this one."""
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    return {
        scene["name"]: [Recorded(scene["name"], frame["dir"], bytes.fromhex(frame["hex"])) for frame in scene["frames"]]
        for scene in json.loads(text)["scenes"]
    }


SCENES: Final = load("golden.json")
EVERY: Final = [frame for scene in SCENES.values() for frame in scene]
OURS_TO_SEND: Final = [frame for frame in EVERY if not frame.scene.startswith(("stream_", "coder_"))]
"""Calls, notifies, answers, pings and pongs. Streams and coders are read so far, not written."""


def bytes_of(scene: str, sender: str) -> bytes:
    """All that one side sent in a scene."""
    return b"".join(frame.data for frame in SCENES[scene] if frame.sender == sender)


def renumbered(data: bytes, seq: int) -> bytes:
    """The frame with another sequence number: ours come from a counter of the process, Go's begin at 1."""
    return data[:8] + seq.to_bytes(8, "little") + data[HEADER_SIZE:]
