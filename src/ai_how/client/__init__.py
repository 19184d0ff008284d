"""The Python client of a site's gateway."""

from ai_how.client.asynchronous import AsyncSiteClient
from ai_how.client.control import SiteClient
from ai_how.client.conversation import AsyncConversation, Conversation
from ai_how.client.model import (
    ChatAnswer,
    Embeddings,
    Messages,
    NoAnswer,
    Piece,
    Refused,
    ToolCall,
    ToolCallPart,
    Usage,
)
from ai_how.client.plan import Patience

__all__ = [
    "AsyncConversation",
    "AsyncSiteClient",
    "ChatAnswer",
    "Conversation",
    "Embeddings",
    "Messages",
    "NoAnswer",
    "Patience",
    "Piece",
    "Refused",
    "SiteClient",
    "ToolCall",
    "ToolCallPart",
    "Usage",
]
