"""Every benchmark there is, one after the other: speed against Go and the bare loop, memory, import time."""

from __future__ import annotations

import subprocess
import sys


def main() -> int:
    codes = [subprocess.call([sys.executable, "-m", f"benchmarks.{name}"]) for name in ("quick", "memory", "imports")]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
