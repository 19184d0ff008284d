"""The ``existing`` provider: a Slurm cluster of somebody else's, on this login node or behind SSH.

Nothing runs there but jobs under the user's own account; nothing is made there but one folder.
"""

from ai_how.providers.existing.control import ExistingProvider, Together
from ai_how.providers.existing.environments import FarEnvironments
from ai_how.providers.existing.reach import Reach, reach, reach_of_site

__all__ = ["ExistingProvider", "FarEnvironments", "Reach", "Together", "reach", "reach_of_site"]
