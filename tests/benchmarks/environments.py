"""Makes virtual environments for libraries that benchmarks compare with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def environment(home: Path, requirements: Sequence[str]) -> Path:
    """Python of the environment in `home`, made where there is none; it has `requirements`, without
    their dependencies, and sees the packages of this Python.
    """
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
        site, parent = (
            subprocess.run([each, "-c", where], check=True, capture_output=True, text=True).stdout
            for each in (str(python), sys.executable)
        )
        (Path(site.strip()) / "parent.pth").write_text(parent)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *requirements]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    return python
