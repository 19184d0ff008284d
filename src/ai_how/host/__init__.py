"""What this machine has and may do: the toolbox, runtime environments, the inventory, the doctor."""

from ai_how.host.environments import Environments
from ai_how.host.folders import Folders
from ai_how.host.model import Distribution, Found, Program, Progress, silent
from ai_how.host.toolbox import Toolbox

__all__ = ["Distribution", "Environments", "Folders", "Found", "Program", "Progress", "Toolbox", "silent"]
