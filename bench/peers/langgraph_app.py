"""The peer of Midstream's agents: LangGraph behind FastAPI, as somebody would write it who wants it quick.

POST /turn/{agent} {"message", "conversation"} -> {"text", "conversation"}; agents: plain, two (tools), slow (five).
Graphs, model and HTTP clients are made once; conversations are kept by LangGraph's own checkpointer.
FAKE: port of the model and the tools. KEPT: the SQLite file of conversations; empty: they are kept in memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import httpx
from fastapi import FastAPI
from langchain_core.tools import BaseTool, StructuredTool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import BaseModel

FAKE = f"http://127.0.0.1:{os.environ['FAKE']}"
AGENTS = {"plain": [], "two": ["/tool", "/tool"], "slow": ["/slow"] * 5}
LIMITS = httpx.Limits(max_connections=200, max_keepalive_connections=200)

graphs: dict[str, Any] = {}


class Asked(BaseModel):
    message: str
    conversation: str | None = None


class Answered(BaseModel):
    text: str
    conversation: str


def tool(client: httpx.AsyncClient, name: str, path: str) -> BaseTool:
    async def look(city: str) -> str:
        reply = await client.post(path, json={"city": city})
        reply.raise_for_status()
        return reply.text

    return StructuredTool.from_function(coroutine=look, name=name, description="looks")


def graph(model: ChatOpenAI, tools: list[BaseTool], saver: BaseCheckpointSaver[Any]) -> Any:
    """The model, its tools (all of a round at once), the model again, until it asks for none."""
    bound = model.bind_tools(tools) if tools else model

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    built = StateGraph(MessagesState)
    built.add_node("ask", ask)
    built.add_edge(START, "ask")
    if tools:
        built.add_node("tools", ToolNode(tools))
        built.add_conditional_edges("ask", tools_condition)
        built.add_edge("tools", "ask")
    return built.compile(checkpointer=saver)


@asynccontextmanager
async def conversations() -> AsyncIterator[BaseCheckpointSaver[Any]]:
    if not os.environ.get("KEPT"):
        yield InMemorySaver()
        return
    async with aiosqlite.connect(os.environ["KEPT"]) as connection:
        await connection.execute("PRAGMA synchronous = NORMAL")  # as Midstream's: survives the death of the process
        saver = AsyncSqliteSaver(connection)
        await saver.setup()
        yield saver


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with (
        conversations() as saver,
        httpx.AsyncClient(base_url=FAKE, limits=LIMITS, timeout=60, trust_env=False) as tools,
        httpx.AsyncClient(limits=LIMITS, timeout=60, trust_env=False) as models,
    ):
        model = ChatOpenAI(model="x", base_url=f"{FAKE}/v1", api_key="sk-up", http_async_client=models, max_retries=0)
        for agent, paths in AGENTS.items():
            offered = [tool(tools, f"{agent}_{place}", path) for place, path in enumerate(paths)]
            graphs[agent] = graph(model, offered, saver)
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/turn/{agent}")
async def turn(agent: str, asked: Asked) -> Answered:
    conversation = asked.conversation or uuid.uuid4().hex
    said = {"messages": [("user", asked.message)]}
    state = await graphs[agent].ainvoke(said, {"configurable": {"thread_id": conversation}})
    return Answered(text=state["messages"][-1].text, conversation=conversation)
