"""From a recipe to the bytes that are sent and to what reads the answers. Pure."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from ai_how.bench.exchange import ChatExchange, Exchange
from ai_how.bench.prompts import prompt
from ai_how.bench.work import Address, Work
from ai_how.spec.bench import BenchRecipe, Prompts


def address_of(url: str) -> Address:
    """Host and port of ``http://HOST:PORT``."""
    parts = urlsplit(url)
    return Address(parts.hostname or "127.0.0.1", parts.port or 80)


def work_of(recipe: BenchRecipe, address: Address, token: str | None) -> Work:
    """What is asked of that address. The token stays in the bytes that are sent."""
    target, load = recipe.target, recipe.load
    connections = load.clients if load.arrivals == "closed" else load.connections
    if target.api == "http":
        request = http_request(target.method, target.path, address, target.body.encode(), token, "text/plain")
        return Work(address, lambda _: request, Exchange, connections, recipe.timeout, beforehand=connections)
    model, prompts = target.model or "", recipe.prompts

    def ask(index: int) -> bytes:
        body = chat_body(model, prompts, index)
        return http_request("POST", "/v1/chat/completions", address, body, token, "application/json")

    # Engines give a thread to each connection, to an idle one too: those opened beforehand could hold all of them.
    return Work(address, ask, ChatExchange, connections, recipe.timeout, beforehand=1)


def chat_body(model: str, prompts: Prompts, index: int) -> bytes:
    """Chat request ``index``: streamed, and asked to say at its end how many tokens it took."""
    facts = {
        "model": model,
        "messages": [{"role": "user", "content": prompt(prompts, index)}],
        "max_tokens": prompts.max_tokens,
        "temperature": prompts.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(facts).encode()


def http_request(
    method: str, path: str, address: Address, body: bytes, token: str | None, kind: str
) -> bytes:
    """One request, whole."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {address}", "user-agent: ai-how", "accept: */*"]
    if token:
        lines.append(f"authorization: Bearer {token}")
    if body or method != "GET":
        lines += [f"content-type: {kind}", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
