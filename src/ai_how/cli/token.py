"""Make, list and end tokens that open the gateway.

ai-how token create ada --model 'site-*' --days 30 --requests-per-minute 60
ai-how token list
ai-how token revoke ada
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from ai_how.cli.output import err, json_argument, out, print_json, site_arguments, site_of

if TYPE_CHECKING:
    from ai_how.security import TokenEntry

DAY = 86400.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="create|list|revoke")
    create = verbs.add_parser("create", help="make a token; it is shown this once")
    create.add_argument("name", help="the token's name: it stands in the gateway's log")
    create.add_argument("--owner", default="", help="who has it: a person, a group, a purpose")
    create.add_argument(
        "--model",
        action="append",
        default=[],
        help="a model that it opens, * for any letters; may be repeated",
    )
    create.add_argument("--days", type=float, help="days until it expires (default: never)")
    create.add_argument("--requests-per-minute", type=int, help="how often it may ask (default: no limit)")
    create.add_argument("--replace", action="store_true", help="end the token that has the name now")
    revoke = verbs.add_parser("revoke", help="end a token: it opens nothing from now on")
    revoke.add_argument("name", help="the token's name")
    for verb in (create, verbs.add_parser("list", help="what each token opens"), revoke):
        site_arguments(verb)
        json_argument(verb)


def run(args: argparse.Namespace) -> int:
    from ai_how.site import tokens

    site = site_of(args)
    match args.verb:
        case "create":
            return _create(args)
        case "list":
            _list(tokens.everyone(site), as_json=args.json)
        case "revoke":
            gone = tokens.revoke(site, args.name)
            print_json({"revoked": gone.name}) if args.json else out.print(
                f"{gone.name} opens nothing any more"
            )
    return 0


def _create(args: argparse.Namespace) -> int:
    from pydantic import ValidationError

    from ai_how.errors import UsageError
    from ai_how.security import Grant
    from ai_how.site import tokens

    site = site_of(args)
    if args.days is not None and not 0 < args.days < 1e6:
        raise UsageError("--days is a number above 0")
    try:
        grant = Grant(
            owner=args.owner,
            models=tuple(args.model),
            expires=site.clock.now() + args.days * DAY if args.days is not None else None,
            requests_per_minute=args.requests_per_minute,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = {"models": "--model", "owner": "--owner"}.get(str(first["loc"][0]), "--requests-per-minute")
        raise UsageError(
            f"{option}: {first['msg']}", todo="`ai-how token create --help` tells more."
        ) from error
    token, entry = tokens.create(site, args.name, grant, replace=args.replace)
    if args.json:
        print_json({**entry.as_json(), "token": token})
        return 0
    err.print(f"[dim]{entry.name} opens {_models(entry)} {_until(entry)}; it is not shown again:[/]")
    print(token)
    return 0


def _list(entries: tuple[TokenEntry, ...], *, as_json: bool) -> None:
    from rich.table import Table

    if as_json:
        print_json({"tokens": [one.as_json() for one in entries]})
        return
    if not entries:
        out.print("There is the owner's token alone. `ai-how token create NAME` makes another.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("token", "owner", "models", "valid", "requests a minute"):
        table.add_column(name, overflow="fold")
    for one in entries:
        rate = str(one.requests_per_minute or "no limit")
        table.add_row(one.name, one.owner, _models(one), _until(one), rate)
    out.print(table, soft_wrap=False)


def _models(entry: TokenEntry) -> str:
    return ", ".join(entry.models) or "every model"


def _until(entry: TokenEntry) -> str:
    if entry.expires is None:
        return "for ever"
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.expires))
    return f"until {day}" if not entry.expired(time.time()) else f"expired {day}"
