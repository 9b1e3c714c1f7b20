"""Reads the imports of the three packages and says where they break the floors (test_architecture.py asks)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SOURCES = {"arpc": "arpc", "arpc_codecs": "codecs/arpc_codecs", "arpc_middleware": "middleware/arpc_middleware"}
"""Each package and where it lies in the repository."""

MAX_LINES = 400

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"codes", "cutter", "frame", "hello", "options", "errors", "stats"}),
    frozenset({"answers", "coded", "flow", "handshake", "hooks", "items", "output", "session", "trailer"}),
    frozenset(
        "bodies codecs coders context deadlines handler identity metadata middleware outgoing registered router routes"
        " service stepping streaming transport".split()
    ),
    frozenset(
        "acceptor answering caller chains connection endpoint gate inbox keepalive layered opener opening outlet peer"
        " receiving runner sending stalls stream threads wheel".split()
    ),
    frozenset({"broadcast", "client", "server", "pool", "reconnect", "drain", "transports", "loops"}),
    frozenset({"pubsub", "registry", "sync", "cli", "testing", "__main__"}),
)
"""The modules and subpackages of arpc, lowest floor first. What a module may import lies on its floor or below."""

FACE = len(FLOORS)
"""The floor of arpc/__init__.py: above all others, nothing inside imports it."""

CONTRACTS = 2
"""The floor of the contracts, which arpc_codecs and arpc_middleware implement."""

HANDED_ON = {"arpc_codecs": ("arpc.codecs", "arpc.coders"), "arpc_middleware": ("arpc.middleware",)}
"""The only modules that may reach up to a package of implementations, and only inside a function: lazily."""

DOES_IO = frozenset(
    "asyncio concurrent fcntl ftplib http imaplib io logging mmap multiprocessing os pathlib poplib pty select"
    " selectors shutil signal smtplib socket socketserver sqlite3 ssl subprocess tempfile termios threading tty"
    " urllib".split()
)
"""Modules of the standard library that the floors below the contracts do without: they are bytes in, bytes out."""


@dataclass(frozen=True)
class Import:
    """One import statement's target: a module, as precisely as the known modules tell."""

    target: str
    line: int
    lazy: bool
    """Inside a function: runs at the first call, not at import."""


@dataclass(frozen=True)
class Module:
    """A source file under its import name."""

    name: str
    path: Path
    imports: list[Import] = field(default_factory=list)

    def at(self, line: int) -> str:
        return f"{self.path.name}:{line} ({self.name})"


class _Reader(ast.NodeVisitor):
    """Collects the imports of a file, without those that only type checkers see."""

    def __init__(self, package: str, known: frozenset[str]) -> None:
        self.package = package
        self.known = known
        self.depth = 0
        self.imports: list[Import] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            above = self.package.split(".")[: -(node.level - 1) or None]
            base = ".".join([*above, base] if base else above)
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            self._add(submodule if submodule in self.known else base, node.lineno)

    def visit_If(self, node: ast.If) -> None:
        names = {part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)}
        names |= {part.attr for part in ast.walk(node.test) if isinstance(part, ast.Attribute)}
        for statement in node.orelse if "TYPE_CHECKING" in names else [*node.body, *node.orelse]:
            self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef
    visit_Lambda = visit_FunctionDef

    def _add(self, target: str, line: int) -> None:
        self.imports.append(Import(target, line, lazy=self.depth > 0))


def read(root: Path) -> dict[str, Module]:
    """All modules of the three packages below ``root`` by name, with their imports."""
    files: dict[str, Path] = {}
    for package, folder in SOURCES.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            files[".".join([package, *parts]).removesuffix(".__init__")] = path
    known = frozenset(files)
    modules = {}
    for name, path in files.items():
        reader = _Reader(name if path.name == "__init__.py" else name.rpartition(".")[0], known)
        reader.visit(ast.parse(path.read_text(encoding="utf-8"), str(path)))
        modules[name] = Module(name, path, reader.imports)
    return modules


def floor_of(name: str) -> int | None:
    """The floor of a module of arpc by its full name; None if it is listed on none."""
    if name == "arpc":
        return FACE
    part = name.split(".")[1]
    return next((number for number, floor in enumerate(FLOORS) if part in floor), None)


def unlisted(modules: dict[str, Module]) -> Iterator[str]:
    """Modules of arpc that no floor lists."""
    for module in modules.values():
        if package_of(module.name) == "arpc" and floor_of(module.name) is None:
            part = module.name.split(".")[1]
            yield (
                f"{module.name} is on no floor: add {part!r} to FLOORS in tests/architecture.py, on the lowest floor"
                " that is not below anything it imports"
            )


def upward(modules: dict[str, Module]) -> Iterator[str]:
    """Imports from a higher floor, or from a package of implementations other than by its own contract, lazily."""
    for module in modules.values():
        if package_of(module.name) != "arpc" or (own := floor_of(module.name)) is None:
            continue
        for found in module.imports:
            package = package_of(found.target)
            if contracts := HANDED_ON.get(package):
                if not (found.lazy and module.name in contracts):
                    allowed = " and ".join(contracts)
                    yield f"{module.at(found.line)} imports {found.target}: only {allowed} may, in a function"
            elif package == "arpc" and module.name != "arpc":
                floor = floor_of(found.target)
                if floor is not None and floor > own:
                    yield f"{module.at(found.line)} is on floor {own} and imports {found.target}, {_named(floor)}"


def contract_breaches(modules: dict[str, Module]) -> Iterator[str]:
    """Imports of arpc_codecs and arpc_middleware from anything of ours but the lowest floor and the contracts."""
    for module in modules.values():
        own = package_of(module.name)
        if own == "arpc":
            continue
        for found in module.imports:
            package = package_of(found.target)
            if package not in SOURCES or package == own:
                continue
            if package != "arpc" or floor_of(found.target) not in (0, CONTRACTS):
                allowed = f"{own} may use floors 0 and {CONTRACTS} of arpc only"
                yield f"{module.at(found.line)} imports {found.target}: {allowed}"


def impurities(modules: dict[str, Module]) -> Iterator[str]:
    """Imports of the floors below the contracts that are not the standard library, or that do I/O."""
    for module in modules.values():
        floor = floor_of(module.name) if package_of(module.name) == "arpc" else None
        if floor is None or floor >= CONTRACTS:
            continue
        for found in module.imports:
            top = package_of(found.target)
            if top in SOURCES:
                continue  # floors and contracts judge these
            if top not in sys.stdlib_module_names:
                yield f"{module.at(found.line)} imports {found.target}: floor {floor} uses the standard library only"
            elif top in DOES_IO:
                yield f"{module.at(found.line)} imports {found.target}: floor {floor} does no I/O"


def cycles(modules: dict[str, Module]) -> Iterator[str]:
    """A cycle of imports that run when a module is imported, if there is one."""
    graph = {
        module.name: {
            i.target for i in module.imports if not i.lazy and i.target in modules and i.target != module.name
        }
        for module in modules.values()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "import cycle: " + " <- ".join(error.args[1])


def long_files(modules: dict[str, Module]) -> Iterator[str]:
    """Files of over MAX_LINES lines."""
    for module in modules.values():
        lines = len(module.path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES:
            yield f"{module.name} has {lines} lines, over {MAX_LINES}: one file, one concept"


def package_of(name: str) -> str:
    return name.partition(".")[0]


def _named(floor: int) -> str:
    return "the face" if floor == FACE else f"on floor {floor}"
