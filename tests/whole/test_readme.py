"""What the README tells a newcomer to do works when it is done."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from midstream.app.config import load

from .serving import Serving

TEXT = (Path(__file__).resolve().parents[2] / "README.md").read_text()
SAID = "You said (2 words): Hello there"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "midstream-data").symlink_to(folder / "data")
    with Serving(folder, MIDSTREAM_ADMIN_KEY="") as running:
        yield running


def done(serving: Serving, *command: str, text: str) -> str:
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{serving.port}")
    return subprocess.run([*command, text], cwd=serving.folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_first_request_with_curl_is_answered(serving: Serving) -> None:
    [request] = [block for block in blocks("sh") if block.startswith("curl")]
    assert SAID in done(serving, "sh", "-ec", text=request)


@pytest.mark.parametrize("program", blocks("python"), ids=["openai", "anthropic"])
def test_the_first_request_with_an_sdk_is_answered(serving: Serving, program: str) -> None:
    assert SAID in done(serving, sys.executable, "-c", text=program)


def test_the_commands_are_targets_of_the_makefile() -> None:
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make (\w+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_configuration_is_one(tmp_path: Path) -> None:
    [text] = blocks("toml")
    file = tmp_path / "midstream.toml"
    file.write_text(text)
    kinds = {name: _Kind() for name in ("openai", "openai_compatible")}
    config = load(str(file), {"OPENAI_API_KEY": "sk-1"}, kinds)
    assert list(config.providers) == ["openai", "local"]
    assert config.models["fast"].targets == ("local/llama-3.3-70b", "openai/gpt-4o-mini")


class _Kind:
    base_url = "https://api.example/v1"
    key_env = url_env = ""
    keyless = builtin = False
