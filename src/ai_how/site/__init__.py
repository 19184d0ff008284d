"""The site: the only room that composes the others. Observe, plan, apply, status, down, destroy."""

from ai_how.site.control import Site, open_site

__all__ = ["Site", "open_site"]
