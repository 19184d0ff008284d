"""Make, list and end tokens that open the gateway.

ai-how token create ada --model 'site-*' --days 30 --requests-per-minute 60
ai-how token create course --owner "Course 7" --tokens-per-minute 20000 --tokens-per-day 500000
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
    from ai_how.site.tokens import Held


_LEAVE_OUT = "At least 1; without the option there is no limit."
#: Options that count, the least that each takes, and what else there is.
_COUNTS = (
    ("requests-per-minute", 0, "At least 1, or 0 for no limit."),
    ("tokens-per-minute", 1, _LEAVE_OUT),
    ("tokens-per-day", 1, _LEAVE_OUT),
    ("tokens-in-all", 1, _LEAVE_OUT),
)
#: Options that are text, by the field that each becomes, and what they take.
_TEXTS = {
    "owner": ("--owner", "At most 128 characters, on one line."),
    "models": ("--model", "The name of a model, or a part of it with * for any letters: --model 'site-*'."),
}


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
    create.add_argument(
        "--days", type=float, help="days until it expires; 0: never (default: security.tokens.lifetime_days)"
    )
    create.add_argument(
        "--requests-per-minute",
        type=int,
        help="how often it may ask; 0: no limit (default: security.tokens.requests_per_minute)",
    )
    create.add_argument("--tokens-per-minute", type=int, help="tokens of text a minute, read and written")
    create.add_argument("--tokens-per-day", type=int, help="a budget of tokens of text for each day, UTC")
    create.add_argument("--tokens-in-all", type=int, help="a budget of tokens of text for all of its life")
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
            _list(tokens.held(site), as_json=args.json)
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
    if args.days is not None and not 0 <= args.days < 1e6:
        raise UsageError("--days is a number of days, or 0 for a token that never expires")
    _refuse_too_few(args)
    expires, requests = tokens.defaults(site, args.days, args.requests_per_minute)
    try:
        grant = Grant(
            owner=args.owner,
            models=tuple(args.model),
            expires=expires,
            requests_per_minute=requests,
            tokens_per_minute=args.tokens_per_minute,
            tokens_per_day=args.tokens_per_day,
            tokens_in_all=args.tokens_in_all,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option, todo = _TEXTS[str(first["loc"][0])]
        raise UsageError(f"{option} {first['input']!r} cannot be taken", todo=todo) from error
    token, entry = tokens.create(site, args.name, grant, replace=args.replace)
    if args.json:
        print_json({**entry.as_json(), "token": token})
        return 0
    err.print(f"[dim]{entry.name} opens {_models(entry)} {_until(entry)}; it is not shown again:[/]")
    print(token)
    return 0


def _refuse_too_few(args: argparse.Namespace) -> None:
    from ai_how.errors import UsageError

    for option, least, otherwise in _COUNTS:
        value = getattr(args, option.replace("-", "_"))
        if value is not None and value < least:
            raise UsageError(f"--{option} {value}: that is too few", todo=otherwise)


def _list(found: tuple[Held, ...], *, as_json: bool) -> None:
    from rich.table import Table

    if as_json:
        print_json({"tokens": [one.as_json() for one in found]})
        return
    if not found:
        out.print("There is the owner's token alone. `ai-how token create NAME` makes another.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("token", "owner", "models", "valid", "a minute", "budget"):
        table.add_column(name, overflow="fold")
    for one in found:
        entry = one.entry
        table.add_row(entry.name, entry.owner, _models(entry), _until(entry), _rate(entry), _budget(one))
    out.print(table, soft_wrap=False)


def _rate(entry: TokenEntry) -> str:
    limits = ((entry.requests_per_minute, "requests"), (entry.tokens_per_minute, "tokens"))
    return ", ".join(f"{most:,} {what}" for most, what in limits if most is not None) or "no limit"


def _budget(held: Held) -> str:
    entry, said = held.entry, []
    if entry.tokens_per_day is not None:
        said.append(f"{held.today:,} of {entry.tokens_per_day:,} today")
    if entry.tokens_in_all is not None:
        said.append(f"{held.in_all:,} of {entry.tokens_in_all:,} in all")
    return ", ".join(said) or "no limit"


def _models(entry: TokenEntry) -> str:
    return ", ".join(entry.models) or "every model"


def _until(entry: TokenEntry) -> str:
    if entry.expires is None:
        return "for ever"
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.expires))
    return f"until {day}" if not entry.expired(time.time()) else f"expired {day}"
