"""Hints at optional packages name extras that there are."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_extra_that_a_hint_names_is_in_setup_cfg():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"].keys()
    sources = [path.read_text() for path in sorted((ROOT / "refimpl").rglob("*.py"))]
    named = {name for source in sources for name in re.findall(r"install\('(\w+)'\)", source)}
    assert {"plot", "check", "fetch", "dask"} <= named <= extras
    assert not [source for source in sources if "pip install 'refimpl[" in source]
