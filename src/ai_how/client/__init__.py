"""The Python client of a site's gateway."""

from ai_how.client.control import ChatAnswer, SiteClient

__all__ = ["ChatAnswer", "SiteClient"]
