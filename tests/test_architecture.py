"""The floors hold, files stay small, and nothing of the place where this is written gets into it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import architecture
from tests.architecture import MAX_LINES, Module, read
from tests.tools import require_tool

ROOT = Path(__file__).parent.parent
Rule = Callable[[dict[str, Module]], Iterator[str]]

RULES: tuple[Rule, ...] = (
    architecture.unlisted,
    architecture.upward,
    architecture.contract_breaches,
    architecture.impurities,
    architecture.cycles,
    architecture.long_files,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_packages_keep(rule: Rule) -> None:
    modules = read(ROOT)
    assert "arpc.frame" in modules
    problems = list(rule(modules))
    assert not problems, "\n".join(problems)


# The rules themselves, on small trees.

BROKEN: dict[str, tuple[Rule, dict[str, str], str]] = {
    "a module without a floor": (
        architecture.unlisted,
        {"arpc/novel.py": ""},
        "arpc.novel is on no floor: add 'novel'",
    ),
    "a package without a floor": (architecture.unlisted, {"arpc/novel/x.py": ""}, "add 'novel' to FLOORS"),
    "upward": (
        architecture.upward,
        {"arpc/session.py": "import arpc.peer"},
        "floor 1 and imports arpc.peer, on floor 3",
    ),
    "upward, relative": (architecture.upward, {"arpc/router.py": "\nfrom .peer import Peer"}, "router.py:2"),
    "upward, a module by name": (
        architecture.upward,
        {"arpc/frame.py": "from . import session"},
        "imports arpc.session",
    ),
    "upward, from a subpackage": (
        architecture.upward,
        {"arpc/transports/tcp.py": "from ..testing import x", "arpc/testing.py": ""},
        "floor 4 and imports arpc.testing, on floor 5",
    ),
    "upward, inside a function": (architecture.upward, {"arpc/peer.py": "def f():\n import arpc.client"}, "peer.py:2"),
    "upward, beside a typing import": (
        architecture.upward,
        {"arpc/peer.py": "if TYPE_CHECKING:\n import arpc.client\nelse:\n import arpc.server"},
        "imports arpc.server",
    ),
    "upward, the face": (architecture.upward, {"arpc/peer.py": "from arpc import connect"}, "imports arpc, the face"),
    "implementations at import": (
        architecture.upward,
        {"arpc/codecs.py": "from arpc_codecs import JsonCodec"},
        "only arpc.codecs and arpc.coders may, in a function",
    ),
    "implementations from elsewhere": (
        architecture.upward,
        {"arpc/server.py": "def f():\n from arpc_codecs.json import JsonCodec"},
        "imports arpc_codecs.json: only arpc.codecs and arpc.coders may",
    ),
    "a codec that uses the peer": (
        architecture.contract_breaches,
        {"codecs/arpc_codecs/json.py": "from arpc.peer import Peer"},
        "arpc_codecs may use floors 0 and 2",
    ),
    "a codec that uses the face": (
        architecture.contract_breaches,
        {"codecs/arpc_codecs/json.py": "import arpc"},
        "imports arpc:",
    ),
    "a middleware that uses a codec": (
        architecture.contract_breaches,
        {"middleware/arpc_middleware/x.py": "import arpc_codecs"},
        "arpc_middleware may use",
    ),
    "a package at the bottom": (
        architecture.impurities,
        {"arpc/options.py": "import msgspec"},
        "standard library only",
    ),
    "asyncio in the session": (architecture.impurities, {"arpc/session.py": "import asyncio.events"}, "does no I/O"),
    "socket in a function": (architecture.impurities, {"arpc/session.py": "def f():\n import socket"}, "session.py:2"),
    "a cycle": (
        architecture.cycles,
        {"arpc/peer.py": "from .connection import Link", "arpc/connection.py": "from . import peer"},
        "import cycle: arpc.",
    ),
    "a cycle through a package": (
        architecture.cycles,
        {"arpc/transports/__init__.py": "from . import tcp", "arpc/transports/tcp.py": "from . import Listener"},
        "import cycle: arpc.transports",
    ),
    "a long file": (architecture.long_files, {"arpc/peer.py": "\n" * (MAX_LINES + 1)}, "arpc.peer has 401 lines"),
}

SOUND = {
    "arpc/__init__.py": "from .client import connect",
    "arpc/frame.py": "import struct\nfrom .errors import ArpcError",
    "arpc/errors.py": "from __future__ import annotations",
    "arpc/session.py": "from . import frame\nimport time",
    "arpc/codecs.py": "def __getattr__(name):\n import arpc_codecs",
    "arpc/context.py": "if typing.TYPE_CHECKING:\n from .peer import Peer",
    "arpc/peer.py": "from . import session\ndef f():\n from .connection import Link",
    "arpc/connection.py": "from .peer import Peer\nimport uvloop",
    "arpc/client.py": "from .transports.tcp import dial\nfrom .codecs import Codec",
    "arpc/transports/__init__.py": "",
    "arpc/transports/tcp.py": "import asyncio\nfrom ..transport import Transport",
    "arpc/transport.py": "\n" * MAX_LINES,
    "codecs/arpc_codecs/__init__.py": "from .json import JsonCodec",
    "codecs/arpc_codecs/json.py": "import orjson\nfrom arpc.codecs import Codec\nfrom arpc.errors import DecodeError",
}


def tree(root: Path, files: dict[str, str]) -> dict[str, Module]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read(root)


@pytest.mark.parametrize(("rule", "files", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_rule_sees(rule: Rule, files: dict[str, str], problem: str, tmp_path: Path) -> None:
    found = list(rule(tree(tmp_path, SOUND | files)))
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_accepts_a_sound_tree(rule: Rule, tmp_path: Path) -> None:
    assert not list(rule(tree(tmp_path, SOUND)))


# What belongs to the place where this is written and not into it. Taken apart, so that this file does not find itself.

FOREIGN = [
    "cla" + "ude",
    "anth" + "ropic",
    "open" + "ai",
    "chat" + "gpt",
    "co" + "pilot",
    r"\bl" + r"lms?\b",
    "language" + " model",
    "issues" + " show",
    r"\.\./sh" + "ared/",
    r"(?<![\w.])/wo" + "rk/",
    r"(?<![\w.])/ro" + "ot/",
    r"(?<![\w.])/ho" + r"me/\w",
    r"(?<![\w.])/Us" + r"ers/\w",
    r"(?<![\w.])/t" + "mp/",
    "py" + "pi.org",
    "python" + "hosted.org",
    r"(proxy|sum|index)\.golang" + r"\.org",
    r"npm" + r"js\.(org|com)",
    r"deb\.deb" + r"ian\.org",
]


def foreign_lines(text: str) -> Iterator[str]:
    pattern = re.compile("|".join(FOREIGN), re.IGNORECASE)
    for number, line in enumerate(text.splitlines()):
        if found := pattern.search(line):
            yield f"line {number}: {found[0]!r}"


def test_nothing_foreign_in_the_repository() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    # Those not added yet, too; and a checkout that another user owns is no reason to refuse.
    command = [require_tool("git"), "-c", "safe.directory=*", "ls-files", "-z", "-c", "-o", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    problems = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        problems += [f"{name}, {line}" for line in foreign_lines(f"{name}\n{text}")]  # line 0 is its name
    assert not problems, "\n".join(problems)


def test_what_is_foreign() -> None:
    foreign = ["see /" + "tmp/x", "Cla" + "ude", "`/wo" + "rk/main`", "https://py" + "pi.org/simple", "an L" + "LM"]
    assert all(list(foreign_lines(text)) for text in foreign)
    fine = "framework/x tmp_path a/tmpfile unix:///run/arpc.sock ./home/ falling models"
    assert not list(foreign_lines(fine))
