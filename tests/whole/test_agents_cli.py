"""Agents for the terminal, as their vendors ship them, do a piece of work through a real server: the model asks for a
tool, the agent runs it, the model sees the result and says the last word."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .dialect_upstream import DialectUpstream
from .npm import clean_environment, installed, node
from .serving import ADMIN_KEY, Serving
from .upstream import Upstream

pytestmark = pytest.mark.long

PROVIDERS = """
[providers.claude]
kind = "anthropic"
base_url = "{url}/anthropic"
api_key = "sk-claude"
[providers.flash]
kind = "gemini"
base_url = "{url}/gemini"
api_key = "sk-flash"
[providers.gpt]
kind = "openai"
base_url = "{url}/openai/v1"
api_key = "sk-gpt"
[models]
claude-sonnet-4-5 = {{ targets = ["{target}/m-1"] }}
claude-haiku-4-5 = {{ targets = ["{target}/m-1"] }}
"gemini-2.5-pro" = {{ targets = ["{target}/m-1"] }}
"gemini-2.5-flash" = {{ targets = ["{target}/m-1"] }}
"gemini-2.5-flash-lite" = {{ targets = ["{target}/m-1"] }}
"""


@pytest.fixture(scope="module")
def dialects() -> DialectUpstream:
    return DialectUpstream(agent=True)


@pytest.fixture(scope="module")
def upstream(dialects: DialectUpstream) -> Iterator[Upstream]:
    with Upstream(dialects.answer) as running:
        yield running


@pytest.fixture(params=["claude", "flash", "gpt"])
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serving(upstream: Upstream, tmp_path: Path, target: str) -> Iterator[Serving]:
    folder = tmp_path / "serving"
    folder.mkdir()
    with Serving(folder, PROVIDERS.format(url=upstream.url, target=target)) as running:
        yield running


def run(command: list[str], work: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=work,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def told(dialects: DialectUpstream) -> list[str]:
    return [result for heard in dialects.heard for _, _, result in heard.results]


def test_claude_code_runs_a_command(serving: Serving, dialects: DialectUpstream, tmp_path: Path):
    folder = installed("@anthropic-ai/claude-code@2.1.332")
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    dialects.heard.clear()
    dialects.refused.clear()
    dialects.arguments["Bash"] = {"command": "echo made-by-the-tool | tee made.txt", "description": "Make a file"}
    environ = clean_environment(
        home,
        ANTHROPIC_BASE_URL=serving.url,
        ANTHROPIC_API_KEY=ADMIN_KEY,
        ANTHROPIC_MODEL="claude-sonnet-4-5",
        ANTHROPIC_SMALL_FAST_MODEL="claude-haiku-4-5",
        CLAUDE_CONFIG_DIR=str(home / ".claude"),
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        DISABLE_TELEMETRY="1",
        DISABLE_AUTOUPDATER="1",
        DISABLE_ERROR_REPORTING="1",
    )
    wrapper = folder / "node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs"
    command = [node(), str(wrapper), "-p", "please use Bash", "--allowedTools", "Bash", "--output-format", "text"]
    said = run(command, work, environ)
    assert (work / "made.txt").read_text() == "made-by-the-tool\n"
    assert said.startswith("The tools said: made-by-the-tool")  # and what the agent adds to a result for its model
    assert any(result.startswith("made-by-the-tool") for result in told(dialects))
    assert dialects.refused == []


def test_gemini_cli_writes_a_file(serving: Serving, dialects: DialectUpstream, tmp_path: Path):
    folder = installed("@google/gemini-cli@0.61.0")
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    dialects.heard.clear()
    dialects.refused.clear()
    (home / ".gemini").mkdir()
    # Without it the base URL alone makes this version choose a way to sign in that it does not know itself.
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False}}
    (home / ".gemini/settings.json").write_text(json.dumps(settings))
    dialects.arguments["write_file"] = {"file_path": str(work / "made.txt"), "content": "made-by-the-tool\n"}
    environ = clean_environment(
        home,
        GOOGLE_GEMINI_BASE_URL=serving.url,
        GEMINI_API_KEY=ADMIN_KEY,
        GEMINI_TELEMETRY_ENABLED="false",
        GEMINI_CLI_TRUST_WORKSPACE="true",
        GEMINI_CLI_HOME=str(home),
    )
    bundle = next((folder / "node_modules/@google/gemini-cli").glob("*/gemini.js"))
    command = [node(), str(bundle), "-p", "please use write_file", "-m", "gemini-2.5-flash", "--approval-mode", "yolo"]
    said = run(command, work, environ)
    assert (work / "made.txt").read_text() == "made-by-the-tool\n"
    assert "The tools said: " in said
    assert any("made.txt" in result for result in told(dialects))
    assert dialects.refused == []
