"""The documentation as a site: it builds without a warning, and asks nobody else for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytest.importorskip("material", reason="mkdocs-material is not installed")


def test_the_site_builds_and_needs_nothing_else(tmp_path: Path) -> None:
    """Strict: a link that leads nowhere, a missing anchor, a page that is not in the navigation fail."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    documents = {path.stem for path in (ROOT / "docs").glob("*.md")}
    pages = {path.stem: path.read_text() for path in tmp_path.glob("*.html")}
    assert documents <= pages.keys()
    for page in pages.values():
        fetched = re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="([^"]+)"', page)
        fetched += re.findall(r'<link[^>]*rel="(?:stylesheet|icon|preconnect)"[^>]*href="([^"]+)"', page)
        assert fetched
        assert not [each for each in fetched if "//" in each]
