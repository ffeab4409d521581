"""Packages of npm for a test: installed once into the user's cache, never into the checkout."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest


def node() -> str:
    """The interpreter's path; skips the test without one."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    return found


def installed(*packages: str) -> Path:
    """The folder that has these packages in its node_modules. packages: name@version. Skips the test when npm or the
    network is absent."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "midstream-tests"
    folder = cache / hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    if (folder / "installed").exists():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", *packages]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not finish in five minutes")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {' '.join(packages)}: {done.stderr.strip()[-300:]}")
    (folder / "installed").touch()
    return folder


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of the developer's own settings, keys and proxies."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE") if name in os.environ}
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "NO_PROXY": "*", **more}
