"""Wall time and peak memory of ``refimpl reproduce synthetic``, and its cosines for several seeds.

Each run is a process of its own. Run as ``python tests/benchmarks/reproduce.py [runs]``; the aims
are 10 s and 500 MB. Peak memory is the largest of the children so far, as the system counts it.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 3


def main() -> None:
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(RUNS):
            command = [sys.executable, "-m", "refimpl", "reproduce", "synthetic"]
            start = time.perf_counter()
            subprocess.run(
                [*command, "--seed", str(seed), "--out", folder],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            seconds.append(time.perf_counter() - start)
            summary = json.loads((Path(folder) / "summary.json").read_text())
            own = summary["two_class"]["cosine_own"]
            diagonal = summary["ten_class"]["cosine_diagonal"]
            print(
                f"seed {seed}: {seconds[-1]:.1f} s, cosines of averaging {own['min']:.3f} to "
                f"{own['max']:.3f}, of decoupling {diagonal['min']:.3f} to {diagonal['max']:.3f}"
            )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"median {statistics.median(seconds):.1f} s, peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
