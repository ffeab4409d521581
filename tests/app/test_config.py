# ruff: noqa: E501 (the tables below are read by the line)
"""The configuration: every key of the manual, one line for every mistake, no secret in sight."""

from __future__ import annotations

import string
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import certifi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from midstream.app.config import Config, ConfigError, load
from midstream.app.config_providers import full_url
from midstream.core.http import Timeouts


class Kind(Struct, frozen=True):
    base_url: str = ""
    key_env: str = ""
    url_env: str = ""
    keyless: bool = False
    builtin: bool = False
    models: tuple[str, ...] = ()


KINDS = {
    "anthropic": Kind("https://a.example", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "groq": Kind("https://g.example/v1", "GROQ_API_KEY"),
    "house": Kind(builtin=True, models=("tour",)),
    "ollama": Kind("http://127.0.0.1:11434/v1", "", "OLLAMA_HOST", keyless=True),
    "openai": Kind("https://o.example/v1", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "openai_compatible": Kind(keyless=True),
}

WHOLE = """\
[server]
public_url = "https://ai.example.org"
cors_origins = ["https://app.example.org"]
store = "all"
[providers.openai]
api_key = "${OPENAI_API_KEY}"
[providers.local]
kind = "openai_compatible"
base_url = "http://127.0.0.1:8000/v1"
models = ["*"]
prices = { "*" = { input = "0.10", output = 0.40, cached = "0.02" } }
timeouts = { connect = 5, first_token = 120, between = 60.5, total = 600 }
[models.fast]
targets = ["groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini"]
[limits]
agent_points = 100
thread_points = 20
window_seconds = 60
[egress]
allow = ["127.0.0.1:9000"]
[mcp.servers.wiki]
url = "https://mcp.example.org/mcp"
headers = { authorization = "Bearer ${WIKI_TOKEN}" }
[search]
serper_api_key = "${SERPER_API_KEY}"
searxng_url = "http://127.0.0.1:8888"
[tools]
max_depth = 8
timeout_seconds = 45
[sandbox]
backend = "monty"
[telemetry]
otlp_endpoint = "http://127.0.0.1:4317"
[auth.issuers.keycloak]
issuer = "https://id.example.org/realms/x"
audience = "midstream"
algorithms = ["RS256"]
"""
SECRETS = {"OPENAI_API_KEY": "sk-hidden", "WIKI_TOKEN": "wiki-hidden", "SERPER_API_KEY": "serper-hidden"}


pytestmark = pytest.mark.usefixtures("in_an_empty_directory")


def loaded(text: str, environ: Mapping[str, str] | None = None, **options: object) -> Config:
    Path("midstream.toml").write_text(text)
    return load("midstream.toml", environ or {}, KINDS, options)


def refusal(text: str, environ: Mapping[str, str] | None = None, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(text, environ, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def warned(text: str) -> tuple[Config, list[str]]:
    warnings: list[str] = []
    Path("midstream.toml").write_text(text)
    return load("midstream.toml", {}, KINDS, warn=warnings.append), warnings


def test_every_section_of_the_manual_is_read() -> None:
    config = loaded(WHOLE, SECRETS)
    assert config.server.cors_origins == ("https://app.example.org",)
    assert config.providers["openai"].api_key[0].reveal() == "sk-hidden"
    local = config.providers["local"]
    assert (local.kind, local.base_url, local.models) == ("openai_compatible", "http://127.0.0.1:8000/v1", ("*",))
    assert local.prices == {"*": {"input": Decimal("0.10"), "output": Decimal("0.40"), "cached": Decimal("0.02")}}
    assert local.timeouts == Timeouts(connect=5, first_token=120, between=60.5, total=600)
    assert config.models["fast"].targets == ("groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini")
    assert (config.limits.agent_points, config.limits.thread_points, config.limits.window_seconds) == (100, 20, 60)
    assert config.egress.allow == ("127.0.0.1:9000",)
    assert config.mcp.servers["wiki"].headers == {"authorization": "Bearer wiki-hidden"}
    assert config.search.serper_api_key.reveal() == "serper-hidden"
    assert (config.tools.max_depth, config.tools.timeout_seconds) == (8, 45)
    assert config.sandbox.backend == "monty"
    assert config.telemetry.otlp_endpoint == "http://127.0.0.1:4317"
    assert config.auth.issuers["keycloak"].audience == ("midstream",)


def test_no_secret_is_in_a_representation() -> None:
    config = loaded(WHOLE, {**SECRETS, "MIDSTREAM_DATABASE_URL": "postgresql://u:pw-hidden@h/d"})
    assert "hidden" not in f"{config!r} {config} {config.providers['openai'].api_key}"


def test_a_file_that_notepad_has_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "midstream.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 81\r\n")
    assert load(str(file), {}, KINDS).server.port == 81


def test_nothing_at_all_is_a_configuration() -> None:
    config = load(None, {}, KINDS)
    assert config == Config()
    assert (config.server.host, config.server.port, config.server.data) == ("127.0.0.1", 8080, "midstream-data")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[providers.openai]\napi_key = 'x'\ntimeout = 3", "3: providers.openai.timeout: unknown key (did you mean timeouts?)"),
        ("[provider.openai]\napi_key = 'x'", "1: provider: unknown key (did you mean providers?)"),
        ("\n[tools]\nmax_depth = 'x'", '3: tools.max_depth: expected a whole number, found the text "x"'),
        ("[tools]\nmax_depth = true", "2: tools.max_depth: expected a whole number, found true"),
        ("[tools]\nmax_depth = 0", "2: tools.max_depth: expected a number of at least 1, found 0"),
        ("[tools]\ntimeout_seconds = nan", "2: tools.timeout_seconds: expected a number of at least 0, found nan"),
        ("[server]\nport = 70000", "2: server.port: expected a number of at most 65535, found 70000"),
        ("[server]\nstore = 'nmed'", '2: server.store: expected one of all, named, none, found the text "nmed" (did you mean named?)'),
        ("server = 3", "1: server: expected a table, found the number 3"),
        ("[server]\ncors_origins = 3", "2: server.cors_origins: expected a text or a list, found the number 3"),
        ("[server]\ndatabase_url = 'mysql://x'", "2: server.database_url: expected an address that begins with postgresql:// or postgres:// or sqlite://"),
        ("[server]\ncors_origins = ['https://a.b', 3]", "2: server.cors_origins[1]: expected a text, found the number 3"),
        ("[server]\ncors_origins = [\n 'https://a.b',\n 'https://a.b/x',\n]", "4: server.cors_origins[1]: an origin is scheme, host and port, without a path"),
        ("[server]\ncors_origins = ['https://b\u00fccher.example']", "2: server.cors_origins[0]: browsers say an origin in ASCII: write the host's xn-- form"),
        ("[models.x]", "1: models.x: targets is missing"),
        ("[providers.openai_compatible]\nbase_url = 0", "2: providers.openai_compatible.base_url: expected a text, found the number 0"),
        ("[providers.openai]\nbase_url = false", "2: providers.openai.base_url: expected a text, found false"),
        ("[providers.openai_compatible]\nbase_url = ''", "1: providers.openai_compatible: base_url is missing"),
        ("[models.x]\ntargets = []", "2: models.x.targets: is empty"),
        ("[mcp.servers.a]\nenabled = true", "1: mcp.servers.a: needs either url or command"),
        ("[mcp.servers.a]\nurl = 'http://h'\nheaders = {'a b' = 'c'}", '3: mcp.servers.a.headers."a b": is not a header\'s name'),
        ('[mcp.servers.a]\nurl = "http://h"\nheaders = {a = "b\\nc"}', "3: mcp.servers.a.headers.a: a header's value is one line of ASCII text"),
        ("[search]\nserper_api_key = 'a b'", "2: search.serper_api_key: a key is ASCII text without blanks"),
        ('[server]\ndata = "a\\u0000b"', "2: server.data: a text here has no NUL"),
        ('[server]\nhost = "\\u0000"', "2: server.host: a text here has no NUL"),
        ('[server]\ndatabase_url = "sqlite://\\u0000"', "2: server.database_url: a text here has no NUL"),
        ("[limits]\nwindow_seconds = 1e300", "2: limits.window_seconds: expected a number of at most 31536000, found 1e+300"),
        ("[sandbox]\nbackend = 'sandboxfusion'", "2: sandbox.backend: sandboxfusion needs its address: url"),
        ("[auth.issuers.a]\nissuer='x'\nalgorithms=['none']", '3: auth.issuers.a.algorithms[0]: expected one of RS256, ES256, HS256, found the text "none"'),
        ("[auth.issuers.a]\nissuer='x'\nalgorithms=['HS256']", "1: auth.issuers.a: HS256 needs secret, and secret is for HS256 only"),
        ("[server]\nworkers = 2", "2: server.workers: this version runs one process that does all: leave it at 1"),
        ("[server]\nrole = 'api'", "2: server.role: this version runs one process that does all: leave it at all"),
        ("[server]\nadmin_key = 'schlüssel'", "2: server.admin_key: a key is ASCII text without blanks"),
        ("[egress]\nallow = ['10.0.0.0/8', 'http://10.0.0.5:9000']", '2: egress.allow[1]: \'http://10.0.0.5:9000\' is not "host", "host:port" or a network'),
        ("a = [1,", "1: is not valid TOML: invalid value"),
        ("a = 1\nb == 2", "2: is not valid TOML: invalid value"),
        ("a = 1e99999999999999999999", "1: is not valid TOML: a number or a nesting beyond all bounds"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place_its_key_and_the_cure(text: str, line: str) -> None:
    assert refusal(text) == f"midstream.toml:{line}"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("base_url = 'ftp://x'", "base_url: expected an address that begins with http:// or https://"),
        ("base_url = 'http://'", "base_url: expected an address that begins with http:// or https://"),
        ("base_url = 'http://u:p@x'", "base_url: an address here has no credentials, query or fragment"),
        ("base_url = 'http://x/v1 '", "base_url: it holds a space, a backslash or a control character"),
        ('base_url = "http://x/v1\\n"', "base_url: it holds a space, a backslash or a control character"),
        ("base_url = 'http://a,b/v1'", "base_url: its host name cannot be read"),
        ("api_key = ''", "api_key: is empty"),
        ("api_key = 5550123", "api_key: expected a text or a list, found a number"),
        ("headers = { 'a b' = 'x' }", 'headers."a b": is not a header\'s name'),
        ('headers = { a = "x\\r\\ny" }', "headers.a: a header's value is one line of ASCII text"),
        ("headers = { Content-Length = '5' }", "headers.Content-Length: the server itself writes this header"),
        ("api_key = 'sk 1'", "api_key: a key is ASCII text without blanks"),
        ("timeouts = { connect = 0 }", "timeouts.connect: expected a number above 0, found 0"),
        ("timeouts = { conect = 1 }", "timeouts.conect: unknown key (did you mean connect?)"),
        ("prices = { '*' = { inputs = '1' } }", 'prices."*".inputs: unknown key (did you mean input?)'),
        ("prices = { m = { input = 'a' } }", 'prices.m.input: expected a price (USD, such as "0.15"), found the text "a"'),
        ("prices = { m = { input = -1 } }", 'prices.m.input: expected a price (USD, such as "0.15"), found the number -1'),
        ("kind = 'openay'", "kind: expected one of anthropic, groq, ollama, openai, openai_compatible (did you mean openai?)"),
    ],
)  # fmt: skip
def test_a_providers_mistakes_are_named(table: str, said: str) -> None:
    key = "" if "api_key" in table else "api_key = 'k'"
    text = f"[providers.openai]\n{key}\n{table}\n"
    assert refusal(text) == f"midstream.toml:3: providers.openai.{said}"


def test_a_secret_of_a_wrong_type_is_not_repeated() -> None:
    assert refusal("[search]\nserper_api_key = 123456").endswith("expected a text, found a number")
    assert "hunter2" not in refusal("[server]\nport = '${P}'", {"P": "hunter2"})
    assert "hunter2" not in refusal("", {"MIDSTREAM_DATABASE_URL": "mysql://u:hunter2@h"})


@pytest.mark.parametrize("text", ["abc", "ab" * 31, "é" * 32])
def test_a_secret_key_that_is_none_is_named_by_its_place_and_not_repeated(text: str) -> None:
    expected = "server.secret_key: expected 32 bytes as 64 hexadecimal digits or as base64"
    assert refusal(f"[server]\nsecret_key = '{text}'") == f"midstream.toml:2: {expected}"
    assert refusal("", {"MIDSTREAM_SECRET_KEY": text}) == f"MIDSTREAM_SECRET_KEY: {expected}"


def test_a_variable_that_is_not_set_is_named() -> None:
    said = refusal("[providers.openai]\n\napi_key = '${MY_KEY}'")
    assert said == "midstream.toml:3: providers.openai.api_key: the environment variable MY_KEY is not set"


def test_a_provider_without_its_key_is_told_which_variable_to_set() -> None:
    said = refusal("[providers.openai]\nmodels = ['x']")
    expected = "no key: write it here, or set the environment variable OPENAI_API_KEY"
    assert said == f"midstream.toml:1: providers.openai.api_key: {expected}"


LOCAL = "[providers.local]\nkind='openai_compatible'\nbase_url='http://h/v1'\nmodels=['llama-*', 'exact', 'qwen/*']\n"
ANY = "[providers.any]\nkind='openai_compatible'\nbase_url='http://h/v1'\n"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("lokal/llama-3", "no provider is called lokal (did you mean local?)"),
        ("opnai/gpt-4o", "no provider is called opnai (did you mean openai?)"),
        ("local/exakt", "the provider local does not serve exakt (did you mean exact?)"),
        ("local/gpt-4o", "the provider local does not serve gpt-4o: its models are llama-*, exact, qwen/*"),
        ("house/tuor", "the provider house does not serve tuor (did you mean tour?)"),
    ],
)
def test_a_target_that_is_misspelt_is_refused_by_its_line(target: str, said: str) -> None:
    text = f"{LOCAL}[models.fast]\ntargets = [\n 'local/llama-3',\n '{target}',\n]"
    assert refusal(text) == f"midstream.toml:8: models.fast.targets[1]: {said}"
    if target.startswith(("lokal", "opnai")):
        assert refusal(ANY + text).endswith(said)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("openai/gpt-4o", "no provider openai is configured: set OPENAI_API_KEY, or add [providers.openai]"),
        ("ollama/qwen3", "no provider ollama is configured: set OLLAMA_HOST, or add [providers.ollama]"),
        ("openai_compatible/x", "no provider openai_compatible is configured: add [providers.openai_compatible]"),
        ("off/x", "the provider off is not enabled"),
        ("gpt-4o", "no provider serves gpt-4o"),
        ("acme/x", "no provider serves acme/x"),
        ("mistralai/x", "no provider serves mistralai/x"),
    ],
)
def test_a_target_that_only_waits_for_its_provider_is_warned_of_by_its_line(target: str, said: str) -> None:
    off = ANY.replace("providers.any", "providers.off") + "enabled = false\n"
    mistral = LOCAL.replace("providers.local", "providers.mistral")
    config, warnings = warned(f"{off}{mistral}[models.fast]\ntargets = ['mistral/llama-3', '{target}']")
    assert config.models["fast"].targets == ("mistral/llama-3", target)
    assert warnings == [f"midstream.toml:10: models.fast.targets[1]: {said}; it is left out"]


@pytest.mark.parametrize(
    "target", ["any/x", "x", "acme/x", "local/llama-3", "llama-3", "qwen/qwen3", "local/qwen/qwen3", "house/tour"]
)
def test_a_target_that_somebody_serves_is_not_warned_of(target: str) -> None:
    assert warned(f"{LOCAL}{ANY}[models.fast]\ntargets = '{target}'")[1] == []


def test_the_name_of_a_provider_that_is_not_there_is_not_given_to_another_without_a_word() -> None:
    said = "no provider openai is configured: set OPENAI_API_KEY, or add [providers.openai]"
    meanwhile = "; until then another one is asked for openai/gpt-4o"
    assert warned(f"{ANY}[models.fast]\ntargets = ['openai/gpt-4o']")[1] == [
        f"midstream.toml:5: models.fast.targets[0]: {said}{meanwhile}"
    ]


@pytest.mark.parametrize(
    ("kind", "path", "said"),
    [
        ("anthropic", "/v1", "ends in /v1, which every call puts behind it again: leave that out"),
        ("anthropic", "/v1beta/", "ends in /v1beta, which every call puts behind it again: leave that out"),
        ("anthropic", "/v1/messages", "ends in /messages, which every call puts behind it again: leave that out"),
        ("anthropic", "/team", ""),
        ("anthropic", "", ""),
        ("openai_compatible", "/v1/chat/completions",
         "ends in /chat/completions, which every call puts behind it again: leave that out"),
        ("openai_compatible", "/v1", ""),
        ("openai_compatible", "", ""),
        ("openai", "/", "has no path, and no call adds one: /v1 is usual"),
        ("openai", "/openai", ""),
    ],
)  # fmt: skip
def test_an_address_that_leads_nowhere_by_the_look_of_it_is_warned_of(kind: str, path: str, said: str) -> None:
    text = f"[providers.x]\nkind = '{kind}'\napi_key = 'sk-1'\nbase_url = 'https://x.example{path}'"
    assert warned(text)[1] == ([f"midstream.toml:4: providers.x.base_url: {said}"] if said else [])


def test_an_address_of_the_environment_is_warned_of_by_its_variable() -> None:
    warnings: list[str] = []
    environ = {"ANTHROPIC_API_KEY": "sk-1", "ANTHROPIC_BASE_URL": "https://x.example/v1"}
    load(None, environ, KINDS, warn=warnings.append)
    assert [warning.partition(" ends in ")[0] for warning in warnings] == [
        "ANTHROPIC_BASE_URL: providers.anthropic.base_url:"
    ]


def test_variables_have_defaults_and_their_signs_can_be_written() -> None:
    text = "[server]\nhost = '${H:-0.0.0.0}'\nport = '${P:-81}'\ndata = '$${x}${E:-}$'"
    config = loaded(text, {"H": ""})
    assert (config.server.host, config.server.port, config.server.data) == ("0.0.0.0", 81, "${x}$")


@pytest.mark.parametrize("text", ["${", "${1}", "${A:-${B}}", "${A B}", "${}"])
def test_a_malformed_variable_is_refused_not_kept(text: str) -> None:
    assert "begins no variable" in refusal(f"[server]\ndata = '{text}'", {"A": "x", "B": "y"})


def test_command_line_over_environment_over_file_over_default() -> None:
    text = "[server]\nport = 1\nhost = 'file'\nlog = 'debug'"
    environ = {"MIDSTREAM_PORT": "2", "MIDSTREAM_HOST": "environ"}
    server = loaded(text, environ, port=3).server
    assert (server.port, server.host, server.log, server.workers) == (3, "environ", "debug", 1)


def test_a_value_of_the_environment_is_taken_without_the_end_of_its_line() -> None:
    environ = {"MIDSTREAM_ADMIN_KEY": "k-1\n", "OPENAI_API_KEY": " sk-1\r\n", "MIDSTREAM_PORT": "9000 "}
    config = loaded("[providers.groq]\napi_key = '${GROQ}'", {**environ, "GROQ": "g\n"})
    keys = [config.providers[name].api_key[0].reveal() for name in ("openai", "groq")]
    assert (config.server.admin_key.reveal(), config.server.port, keys) == ("k-1", 9000, ["sk-1", "g"])


def test_proxies_and_authorities_that_cannot_be_used_are_named_by_their_variable() -> None:
    socks = refusal("", {"ALL_PROXY": "socks5://127.0.0.1:1080"})
    assert socks == "ALL_PROXY is not an http:// or https:// proxy address"
    assert refusal("", {"SSL_CERT_FILE": "/nope.pem"}) == "SSL_CERT_FILE: there is no file /nope.pem"
    Path("ca.pem").write_text("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n")
    Path("key.pem").write_text("no certificate")
    for file in ("ca.pem", "key.pem"):
        said = f"SSL_CERT_FILE: {file} cannot be used: it holds no certificates in PEM"
        assert refusal("", {"SSL_CERT_FILE": file}) == said
    assert load(None, {"SSL_CERT_FILE": certifi.where()}, KINDS) == Config()


def test_an_empty_variable_counts_as_unset() -> None:
    assert loaded("[server]\nport = 1", {"MIDSTREAM_PORT": ""}).server.port == 1


def test_a_mistake_in_the_environment_names_the_variable() -> None:
    assert refusal("", {"MIDSTREAM_PORT": "x"}).startswith("MIDSTREAM_PORT: server.port: expected a whole number")
    said = refusal("[server]\nrole = 'api'", {"MIDSTREAM_ROLE": "boss"})
    assert said.startswith("MIDSTREAM_ROLE: server.role: expected one of all, api, worker")


def test_the_file_is_found_by_argument_variable_and_place() -> None:
    Path("midstream.toml").write_text("[server]\nport = 1")
    Path("other.toml").write_text("[server]\nport = 2")
    assert load(None, {}, KINDS).server.port == 1
    assert load(None, {"MIDSTREAM_CONFIG": "other.toml"}, KINDS).server.port == 2
    assert load("midstream.toml", {"MIDSTREAM_CONFIG": "other.toml"}, KINDS).server.port == 1
    with pytest.raises(ConfigError, match=r"^none.toml: cannot be read: No such file"):
        load("none.toml", {}, KINDS)


def test_a_file_that_is_not_utf8_is_refused_by_line() -> None:
    Path("x.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigError, match=r"^x.toml:2: is not UTF-8 text$"):
        load("x.toml", {}, KINDS)


def test_keys_in_the_environment_switch_their_providers_on() -> None:
    environ = {"OPENAI_API_KEY": "k1", "GROQ_API_KEY": "k2", "ANTHROPIC_API_KEY": ""}
    providers = load(None, environ, KINDS).providers
    assert {name: one.api_key[0].reveal() for name, one in providers.items()} == {"openai": "k1", "groq": "k2"}


def test_an_address_in_the_environment_is_completed_by_the_usual_one() -> None:
    environ = {"OLLAMA_HOST": "10.0.0.1", "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://proxy:9/v1"}
    providers = load(None, environ, KINDS).providers
    assert providers["ollama"].base_url == "http://10.0.0.1:11434/v1"
    assert providers["openai"].base_url == "http://proxy:9/v1"


@pytest.mark.parametrize("url", ["foo", "proxy:9/v1", "ftp://proxy", "http://:9", "http://u:p@proxy"])
def test_an_address_in_the_environment_that_is_none_is_named_by_its_variable(url: str) -> None:
    kinds = {**KINDS, "vllm": Kind(url_env="VLLM_BASE_URL", keyless=True)}
    for name, variable in (("openai", "OPENAI_BASE_URL"), ("vllm", "VLLM_BASE_URL")):
        with pytest.raises(ConfigError) as caught:
            load(None, {"OPENAI_API_KEY": "k", variable: url}, kinds)
        said = str(caught.value)
        assert said.startswith(f"{variable}: providers.{name}.base_url: ")
        assert url not in said
    text = "[providers.openai]\nmodels = ['gpt-*']"
    assert refusal(text, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": url}).startswith("OPENAI_BASE_URL: ")
    assert loaded(f"{text}\nbase_url = 'http://h/v1'", {"OPENAI_BASE_URL": url}).providers["openai"].base_url


@pytest.mark.parametrize(
    ("given_url", "full"),
    [
        ("h", "http://h:11434/v1"),
        ("h:1", "http://h:1/v1"),
        ("[::1]", "http://[::1]:11434/v1"),
        ("[::1]:2", "http://[::1]:2/v1"),
        ("https://h", "https://h/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("http://h/api/", "http://h/api"),
    ],
)
def test_addresses_are_completed(given_url: str, full: str) -> None:
    assert full_url(given_url, "http://127.0.0.1:11434/v1") == full


def test_a_key_of_the_environment_goes_to_the_services_own_address_only() -> None:
    text = "[providers.openai]\nbase_url = 'http://elsewhere'"
    assert loaded(text, {"OPENAI_API_KEY": "k"}).providers["openai"].api_key == ()


def test_a_provider_of_the_file_takes_its_key_from_the_environment() -> None:
    provider = loaded("[providers.openai]\nmodels = 'gpt-*'", {"OPENAI_API_KEY": "k"}).providers["openai"]
    assert (provider.api_key[0].reveal(), provider.models) == ("k", ("gpt-*",))


def test_a_builtin_provider_is_not_configured() -> None:
    said = refusal("[providers.house]\nkind = 'openai'\napi_key = 'k'")
    assert said.endswith(
        ":1: providers.house: is the name of the built-in provider: choose another one, and say its kind"
    )
    assert "house" not in loaded("").providers


def test_several_keys_are_kept_in_order() -> None:
    provider = loaded("[providers.groq]\napi_key = ['a', '${B}']", {"B": "b"}).providers["groq"]
    assert [key.reveal() for key in provider.api_key] == ["a", "b"]


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["${A}", "${"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = ["server", "providers", "models", "limits", "egress", "mcp", "search", "tools", "sandbox", "auth", "s3", "x"]


def toml(value: object) -> str:
    """A value as inline TOML; null, which TOML has not, as an empty list."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(sign):08x}" for sign in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{toml(key)} = {toml(item)}' for key, item in value.items())}}}"
    return "[]" if value is None else str(value)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(SECTIONS), JSONISH, max_size=4))
def test_any_tables_are_read_or_refused_in_one_line(tables: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {toml(value)}" for key, value in tables.items())
    try:
        loaded(text)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=string.printable, max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        loaded(text)
    except ConfigError as error:
        assert str(error).startswith("midstream.toml")  # noqa: PT017
