"""Built-in tool "python": runs a program in the configured sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..core.agents import Tool
from ..core.http import Send
from ..core.toolbox import ToolAnswer, ToolScope
from ._answers import failed
from ._sandbox_bubblewrap import BubblewrapSandbox
from ._sandbox_fusion import FusionSandbox
from ._sandboxes import MAX_CODE, SECONDS, Sandbox

TOOL = Tool(
    id="builtin_python",
    name="python",
    description=(
        "Runs a Python program and gives what it prints and, where the sandbox has it, the value of its last "
        "expression. There is no network, no file of the host and no package beyond the standard library."
    ),
    kind="builtin",
    parameters={
        "type": "object",
        "properties": {"code": {"type": "string", "description": "the whole program"}},
        "required": ["code"],
        "additionalProperties": False,
    },
    target={"name": "python"},
    effect="pure",
)


class Python:
    """make: the sandbox, made at the first call (a server without such a call need not load it)."""

    def __init__(self, make: Callable[[], Sandbox]) -> None:
        self._make = make
        self._sandbox: Sandbox | None = None

    async def run(
        self, tool: Tool, arguments: dict[str, Any], scope: ToolScope, key: str, note: Callable[[str], None]
    ) -> ToolAnswer:
        code = str(arguments.get("code", ""))
        if len(code) > MAX_CODE:
            return failed(f"the program is longer than {MAX_CODE} characters", "code_too_long")
        if self._sandbox is None:
            try:
                self._sandbox = self._make()
            except ValueError as error:
                return failed(str(error), "no_sandbox")
        ran = await self._sandbox.run(code, min(SECONDS, tool.timeout_seconds or SECONDS))
        parts = [ran.output] if ran.output else []
        value = _shown(ran.value)
        if ran.value is not None:
            parts.append(value if isinstance(value, str) else msgspec.json.encode(value).decode())
        if ran.error:
            return failed("\n".join([*parts, ran.error]), "python_error", "timeout" if ran.timed_out else "failed")
        data = {"output": ran.output, "value": value}
        return ToolAnswer("ok", "\n".join(parts) or "done, nothing was printed", value=data)

    async def close(self) -> None:
        if self._sandbox is not None:
            await self._sandbox.close()


def sandbox_of(backend: str, url: str, send: Send) -> Sandbox:
    """Raises ValueError when this machine does not have it."""
    if backend == "bubblewrap":
        return BubblewrapSandbox()
    if backend == "sandboxfusion":
        if not url:
            raise ValueError("the sandbox sandboxfusion needs [sandbox] url")
        return FusionSandbox(send, url)
    from ._sandbox_monty import MontySandbox

    return MontySandbox()


def _shown(value: object) -> Any:
    """A value as JSON has it, or as Python writes it."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError):
        return repr(value)[:10_000]
