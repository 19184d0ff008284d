"""The ``local`` provider: every machine of the site is a process on this one, under the site's own supervisord."""

from ai_how.providers.local.control import LocalProvider

__all__ = ["LocalProvider"]
