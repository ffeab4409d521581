"""What the guide and the examples say is done, and what they print is printed.

A page's `sh` and `python` blocks run in order against one server. A `text` block after one of them is what it prints,
with `...` for what differs from time to time. A `toml` block is a configuration; with a `text` block after it, one with
a mistake. `console` blocks are for a person's terminal: only the commands that they name are looked up."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import msgspec
import pytest

from midstream.app.cli import main
from midstream.app.cli_options import provider_kinds
from midstream.app.config import Config, ConfigError, ProviderConfig, load
from midstream.app.config_environ import VARIABLES
from midstream.app.keyfiles import ADMIN_FILE, SECRET_FILE
from midstream.core.errors import MidstreamError
from midstream.core.http import Timeouts
from midstream.wire import anthropic_messages, gemini, openai_chat

from .serving import START, Serving, free_port
from .upstream import Asked, Said, Upstream, whole

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TOML = """
[providers.anthropic]
base_url = "{url}"
api_key = "sk-ant-1"
[models.fast]
targets = ["anthropic/claude-sonnet-4-5", "midstream/rehearsal"]
"""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def named(path: Path) -> str:
    return path.stem


def blocks(path: Path, *languages: str) -> list[tuple[str, str, str | None]]:
    """(language, text, what it prints)"""
    found = [match.groups() for match in _BLOCK.finditer(path.read_text())]
    return [block for block in found if block[0] in languages]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "midstream-data").symlink_to(folder / "data")
    command = folder / "bin" / "midstream"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{START}" "$@"\n')
    command.chmod(0o755)
    with (
        Upstream(answer) as upstream,
        Serving(folder, TOML.format(url=upstream.url), MIDSTREAM_ADMIN_KEY="") as running,
    ):
        yield running


def answer(asked: Asked) -> Said:
    return whole({
        "id": "msg_1", "type": "message", "role": "assistant", "model": asked.json["model"],
        "content": [{"type": "text", "text": "Hello!"}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    })  # fmt: skip


def surroundings(serving: Serving) -> Mapping[str, str]:
    key = (serving.data / "admin.key").read_text().strip()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MIDSTREAM_", "OPENAI_"))}
    return {
        **kept, "PATH": f"{serving.folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "KEY": key,
        "MIDSTREAM_PORT": str(serving.port), "NO_PROXY": "*", "MIDSTREAM_URL": serving.url,
    }  # fmt: skip


def printed(serving: Serving, command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=serving.folder, env=surroundings(serving), timeout=60, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def agrees(shown: str, said: str) -> bool:
    """shown: with `...` for anything. Line ends and blanks are only layout."""
    pieces = ["".join(piece.split()) for piece in shown.split("...")]
    pattern = ".*".join(re.escape(piece) for piece in pieces)
    return re.fullmatch(pattern, "".join(said.split()), re.DOTALL) is not None


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_a_page_does_works_and_prints_what_it_shows(serving: Serving, page: Path):
    for language, text, shown in blocks(page, "sh", "python"):
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{serving.port}")
        interpreter = ["sh", "-ec"] if language == "sh" else [sys.executable, "-c"]
        said = printed(serving, [*interpreter, text])
        assert shown is None or agrees(shown, said), f"{text}\nprinted\n{said}"


@pytest.mark.parametrize("example", EXAMPLES, ids=named)
def test_an_example_prints_what_its_last_lines_say(serving: Serving, example: Path):
    shown = example.read_text().rpartition("# It prints:\n")[2].replace("# ", "")
    said = printed(serving, [sys.executable, str(example)])
    assert agrees(shown, said), said


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_configurations_of_a_page_are_good_or_have_the_mistake_that_is_shown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for _, text, mistake in blocks(page, "toml"):
        Path("midstream.toml").write_text(text)
        if mistake is None:
            load(None, {"OPENAI_API_KEY": "sk-1", "WIKI_TOKEN": "t-1", "SERPER_API_KEY": "s-1"}, provider_kinds())
            continue
        with pytest.raises(ConfigError) as refusal:
            load(None, {}, provider_kinds())
        assert str(refusal.value) == mistake.strip()


def test_the_guide_tells_every_key_of_the_configuration():
    text = (ROOT / "docs" / "guide" / "configuration.md").read_text()
    config = Config()
    for table in msgspec.structs.fields(Config):
        assert table.name in text
    for part in (config.server, config.egress):
        for field in msgspec.structs.fields(part):
            assert re.search(rf"\b{field.name}\b", text), field.name


def test_the_guide_tells_every_variable_of_the_configuration():
    text = (ROOT / "docs" / "guide" / "configuration.md").read_text()
    assert {name for name in VARIABLES if f"`{name}`" not in text} == set()


def test_a_backup_has_every_key_that_the_server_makes():
    text = (ROOT / "docs" / "guide" / "conversations-and-storage.md").read_text()
    section = re.search(r"^## Backups\n(.*)", text, re.DOTALL | re.MULTILINE)
    assert section is not None
    for file in (ADMIN_FILE, SECRET_FILE):
        assert f"midstream-data/{file}" in section[1]


def test_the_unit_of_systemd_and_the_commands_beside_it_mean_one_server(tmp_path: Path):
    """Without systemd: what it would start is started, with the variables of its file and no others."""
    text = (ROOT / "docs" / "guide" / "operations.md").read_text()
    section = text[text.index("## systemd") : text.index("## More than one server")]
    for here, there in (("/opt/midstream/.venv/bin/midstream", "midstream"), ("/etc/", f"{tmp_path}/etc/"),
                        ("/var/lib/", f"{tmp_path}/var/lib/"), ("sudo -u midstream ", "")):  # fmt: skip
        section = section.replace(here, there)
    unit, file = (re.search(rf"^```ini\n({first}.*?)^```", section, re.DOTALL | re.MULTILINE) for first in ("\\[", "M"))
    making, asking = re.findall(r"^```console\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert unit is not None
    assert file is not None
    command = tmp_path / "bin" / "midstream"
    for folder in ("bin", "etc", "var/lib/midstream", "opt"):
        (tmp_path / folder).mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{START}" "$@"\n')
    command.chmod(0o755)
    port = free_port()
    [variables] = re.findall(r"^EnvironmentFile=(.*)$", unit[1], re.MULTILINE)
    Path(variables).write_text(f"{file[1]}MIDSTREAM_PORT={port}\n")
    bare = {"PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    [touch] = [line for line in making.splitlines() if line.startswith("touch")]
    subprocess.run(["sh", "-c", touch], check=True)
    [start] = re.findall(r"^ExecStart=(.*)$", unit[1], re.MULTILINE)
    said = dict(line.split("=", 1) for line in Path(variables).read_text().splitlines())
    with subprocess.Popen(start.split(), cwd=tmp_path / "opt", env={**bare, **said}, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert b"midstream is ready" in server.stdout.readline()
        done = subprocess.run(
            ["sh", "-ec", asking], cwd=tmp_path / "opt", env=bare, capture_output=True, text=True, check=False
        )
        request = Request(f"http://127.0.0.1:{port}/v1/models", headers={"x-api-key": done.stdout.strip()})
        with urlopen(request, timeout=10) as reply:
            assert reply.status == 200, done
        server.terminate()
        server.send_signal(signal.SIGINT)
    assert done.stderr == ""
    assert [*tmp_path.rglob("midstream.db")] == [tmp_path / "var" / "lib" / "midstream" / "midstream.db"]


def test_the_guide_shows_the_defaults_of_the_server_table():
    text, _ = next((text, shown) for _, text, shown in blocks(ROOT / "docs" / "guide" / "configuration.md", "toml"))
    shown: dict[str, Any] = tomllib.loads(text)["server"]
    for name, value in shown.items():
        default = getattr(Config().server, name)
        assert (default.reveal() if hasattr(default, "reveal") else default) == (
            tuple(value) if isinstance(value, list) else value
        ), name


def test_the_guide_shows_the_defaults_of_a_provider():
    text, _ = next((text, shown) for _, text, shown in blocks(ROOT / "docs" / "guide" / "configuration.md", "toml"))
    shown = tomllib.loads(text)["providers"]["local"]
    assert shown["timeouts"] == msgspec.structs.asdict(Timeouts())
    assert shown["max_tokens_default"] == ProviderConfig().max_tokens_default


def error_rows() -> list[list[str]]:
    text = (ROOT / "docs" / "guide" / "errors.md").read_text()
    rows = [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return [row for row in rows if len(row) == 6 and row[0].isdecimal()]


@pytest.mark.parametrize("row", error_rows(), ids=lambda row: f"{row[0]} {row[1]}")
def test_the_table_of_errors_is_what_the_faces_write(row: list[str]):
    status, codes, *words, _ = row
    for code in codes.split(", "):
        error = MidstreamError("m", status=int(status), code=code)
        said = [msgspec.json.decode(face.write_error(error, "")) for face in (openai_chat, anthropic_messages, gemini)]
        openai, anthropic, google = (one["error"] for one in said)
        assert [openai["type"], anthropic["type"], google["status"]] == words
        assert openai["code"] == code
        assert google["details"][0]["reason"] == code.upper()


#: What nobody is told: kinds of errors that are never raised themselves, and words between two of our own rooms.
_NOT_TOLD = frozenset({"error", "unavailable", "upstream_timeout", "mcp_session_ended"})


def test_every_code_that_anybody_is_told_is_explained():
    text = (ROOT / "docs" / "guide" / "errors.md").read_text()
    sources = [file.read_text() for file in (ROOT / "midstream").rglob("*.py")]
    codes = {code for source in sources for code in re.findall(r'\bcode ?= ?"(\w+)"', source)}
    assert len(codes) > 60
    told = codes - _NOT_TOLD - {"invalid_prompt"}  # a provider's own word
    assert {code for code in told if f"`{code}`" not in text} == set()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_commands_that_are_named_exist(page: Path):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    consoles = "\n".join(text for _, text, _ in blocks(page, "console"))
    for target in re.findall(r"(?:`|^)make ([\w-]+)", text + consoles, re.MULTILINE):
        assert target in targets
    for command in re.findall(r"(?:`|^)midstream ([\w-]+)", text + consoles, re.MULTILINE):
        assert command in main.commands, command


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=named)
def test_a_page_says_where_the_command_is_when_it_first_names_it(page: Path):
    text = page.read_text()
    first = re.search(rf"(?:^|[`(])midstream ({'|'.join(main.commands)})\b", text, re.MULTILINE)
    if first is not None:
        assert ".venv/bin/midstream" in text[: text.index("\n", first.end())]


def test_the_packages_that_programs_import_are_named_where_they_begin():
    packages = {"openai": "openai", "anthropic": "anthropic", "google": "google-genai", "websockets": "websockets"}

    def needed(texts: Iterable[str]) -> set[str]:
        found = re.findall(r"^(?:import|from) (\w+)", "\n".join(texts), re.MULTILINE)
        return {packages.get(name, name) for name in found if name not in sys.stdlib_module_names}

    pages = [*PAGES, ROOT / "README.md"]
    wanted = {page: needed(text for _, text, _ in blocks(page, "python")) for page in pages}
    beginnings = {
        ROOT / "README.md": wanted[ROOT / "README.md"],
        ROOT / "docs" / "guide" / "quickstart.md": wanted[ROOT / "docs" / "guide" / "quickstart.md"],
        ROOT / "docs" / "README.md": set().union(*(wanted[page] for page in PAGES)),
        ROOT / "examples" / "README.md": needed(example.read_text() for example in EXAMPLES),
    }
    for page, names in beginnings.items():
        told = re.findall(r"pip install ([\w -]+)", page.read_text())
        assert names <= {name for line in told for name in line.split()}, page


def test_the_server_key_has_one_name_everywhere():
    pages = [*PAGES, *EXAMPLES, ROOT / "README.md", ROOT / "examples" / "README.md"]
    assert [page.name for page in pages if "MIDSTREAM_KEY" in page.read_text()] == []


def test_every_link_leads_somewhere():
    pages = [*PAGES, ROOT / "README.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            goal = (page.parent / path).resolve() if path else page
            assert goal.exists() or goal.name == "reliability.md", f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", goal.read_text(), re.MULTILINE)
                assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, target
