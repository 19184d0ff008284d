"""The site's daemons, one module each: configuration (pure), command, health.

:func:`catalogue` lists what a site consists of. Whoever adds a service writes one module with a ``define``
function and names it there.
"""

from ai_how.services.catalogue import catalogue
from ai_how.services.layout import Layout
from ai_how.services.model import File, Initialisation, Service, Setting

__all__ = ["File", "Initialisation", "Layout", "Service", "Setting", "catalogue"]
