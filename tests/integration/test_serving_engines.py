"""Another engine than llama.cpp on a real site: a stand-in for Ollama behind the guard, its model of a shared store."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ollama
import openai
from live_site import LiveSite

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from programs import fake_place, write_ollama_store


def test_a_model_of_a_shared_store_answers_through_guard_and_gateway(site: LiveSite, tmp_path: Path) -> None:
    write_ollama_store(tmp_path / "theirs")
    place = fake_place(tmp_path / "place", "ollama")
    stores = {"AI_HOW_MODEL_STORES": str(tmp_path / "theirs")}
    words = ("serve", "ollama:tiny", "--runtime", f"path:{place.at}", "--time", "30", "--json")
    facts = json.loads(site.run(*words, env=stores).stdout)
    try:
        assert facts["engine"] == "ollama"
        token = site.shell("printenv", "OPENAI_API_KEY").strip()
        client = openai.OpenAI(base_url=facts["base_url"], api_key=token, max_retries=0)
        assert "tiny:latest" in {card.id for card in client.models.list()}
        asked = {"model": "tiny:latest", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
        assert client.chat.completions.create(**asked).choices[0].message.content == "How are you?"
        pieces = list(client.chat.completions.create(**asked, stream=True))
        assert [one.choices[0].finish_reason for one in pieces if one.choices][-1] == "length"
        theirs = ollama.Client(
            facts["base_url"].removesuffix("/v1"), headers={"authorization": f"Bearer {token}"}
        )
        assert theirs.chat("tiny:latest", asked["messages"]).message.content == "How are you?"
    finally:
        site.run("stop", "tiny:latest")
