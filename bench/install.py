"""Puts what a run needs into bench/work/: the two C programs, a private CA, every peer in its own environment.
What cannot be had is said in a word and left out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from targets import HERE, WORK, midstream_program, nginx_program

LITELLM = "litellm[proxy]==1.106.2"
PORTKEY = {
    "name": "bench-portkey",
    "version": "1.0.0",
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    # with a newer one its streams answer 500 on Node 20
    "overrides": {"@hono/node-server": "1.13.8"},
}
LANGGRAPH = (
    "langgraph==1.2.24", "langgraph-checkpoint-sqlite==3.1.2", "langchain-openai==1.7.4",
    "fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0",
)  # fmt: skip
COMPILE = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror"]


class Missing(Exception):
    """It could not be installed; the text says why."""


def _call(command: list[str], minutes: float = 15, folder: Path = WORK) -> None:
    """Raises Missing with the last words of a command that failed."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=minutes * 60, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Missing(f"{command[0]}: {e}") from e
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"{Path(command[0]).name} failed: {said[-1][:200] if said else done.returncode}")


def _from_debian(*packages: str) -> None:
    if os.geteuid() or not shutil.which("apt-get"):
        raise Missing(f"needs {' '.join(packages)} (not root, or no apt-get)")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    _call(["apt-get", "update", "-q"])
    _call(["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages])


def tools() -> None:
    """The fake upstream, the load client and the upstream's certificate. Raises Missing: nothing runs without them."""
    WORK.mkdir(exist_ok=True)
    native = HERE / "native"
    sources = sorted(native.iterdir())
    if not (shutil.which("gcc") and Path("/usr/include/openssl/ssl.h").exists() and shutil.which("openssl")):
        _from_debian("gcc", "libc6-dev", "libssl-dev", "openssl")
    newest = max(s.stat().st_mtime for s in sources)
    for program, parts, libraries in (
        ("bench-upstream", ["mockllm.c", "answers.c"], ["-lssl", "-lcrypto"]),
        ("ldgen", ["ldgen.c"], []),
    ):
        out = WORK / program
        if not out.exists() or out.stat().st_mtime < newest:
            _call([*COMPILE, "-o", str(out), *(str(native / p) for p in parts), *libraries])
    certificate()


def certificate() -> None:
    folder = WORK / "tls"
    if (folder / "server.pem").exists():
        return
    folder.mkdir(exist_ok=True)
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca = ["-x509", "-days", "3650", "-subj", "/CN=Midstream bench CA", "-keyout", "ca.key", "-out", "ca.pem"]
    _call(["openssl", "req", *key, *ca], folder=folder)
    _call(
        ["openssl", "req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"], folder=folder
    )
    sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3650", "-extfile", "names"]
    _call(["openssl", "x509", "-req", "-in", "server.csr", *sign, "-out", "server.pem"], folder=folder)


def nginx() -> None:
    if not Path(nginx_program()).exists():
        _from_debian("nginx-light")
    (WORK / "nginx").mkdir(exist_ok=True)


def _environment(name: str, *packages: str) -> None:
    """A Python environment that holds exactly these, made once."""
    home, wanted = WORK / name, "\n".join(packages)
    mark = home / "installed"
    if mark.exists() and mark.read_text() == wanted:
        return
    _call([sys.executable, "-m", "venv", "--clear", str(home)])
    _call([str(home / "bin/pip"), "install", "-q", "--disable-pip-version-check", *packages])
    mark.write_text(wanted)


def litellm() -> None:
    _environment("v-lite", LITELLM)


def langgraph() -> None:
    _environment("v-graph", *LANGGRAPH)


def portkey() -> None:
    home = WORK / "npm"
    if not shutil.which("npm"):
        raise Missing("needs Node and npm")
    if (home / "installed").exists():
        return
    home.mkdir(exist_ok=True)
    (home / "package.json").write_text(json.dumps(PORTKEY, indent=2))
    _call(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], folder=home)
    (home / "installed").write_text(json.dumps(PORTKEY["dependencies"]))


def midstream() -> None:
    program = midstream_program()
    if not (Path(program).exists() or shutil.which(program)):
        raise Missing(f"{program} is not there")


def postgres_programs() -> Path:
    """The folder of initdb and postgres. Raises Missing."""
    for folder in (
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
        Path("/usr/local/bin"),
        Path("/usr/bin"),
    ):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise Missing("no PostgreSQL binaries")


def prepare(name: str) -> None:
    """What this target needs. Raises Missing."""
    steps = {"nginx": nginx, "litellm": litellm, "portkey": portkey, "midstream": midstream, "langgraph": langgraph}
    if name == "midstream-pg":
        midstream()
        postgres_programs()
    elif name in steps:
        steps[name]()
