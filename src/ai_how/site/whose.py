"""Whose a site's folder is: what is somebody else's is neither filled nor taken away."""

from __future__ import annotations

from pathlib import Path

from ai_how.errors import UsageError
from ai_how.site.state import SiteState
from ai_how.spec import SiteFile

_SHOWN = 3


def refuse_strange(state: SiteState) -> None:
    """Refuse a folder that holds something and was never a site's, such as a home. Raises :class:`UsageError`."""
    strange = state.strange()
    if strange:
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        raise UsageError(
            f"the folder holds something that is no site's: {', '.join(strange[:_SHOWN])}{more}",
            where=str(state.folder),
            cause="`ai-how destroy` takes a site's folder away with all that is in it",
            todo="Choose a folder of its own with --root.",
        )


def refuse_other(state: SiteState, file: SiteFile, path: Path) -> None:
    """Refuse a folder that the site of another file has. Raises :class:`UsageError`."""
    owner = state.identity() if state.exists else {}
    if owner and Path(owner["file"]) != path and Path(owner["file"]).exists():
        raise UsageError(
            f"there is another site of the name '{owner['name']}'",
            where=file.where("metadata", "name"),
            cause=f"its folder {state.folder} belongs to {owner['file']}",
            todo="Give this one another name, or another folder with --root.",
        )
