"""Speed and memory, always as ratios within one run: see docs/benchmarks.md."""
