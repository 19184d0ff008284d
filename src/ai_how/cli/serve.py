"""Serve a model as a Slurm job behind the gateway; returns when it answers.

The model is a registered one (NAME, NAME:VERSION, NAME@ALIAS), a Hugging Face folder, or a GGUF file. With --dry-run
nothing is started: it shows what memory the model needs, and the smallest GPU or slice of the cluster that has it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ai_how.cli.output import err, json_argument, out, print_json, site_arguments, site_of

if TYPE_CHECKING:
    from ai_how.serving.fit import Fit


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME, NAME:VERSION, NAME@ALIAS, a Hugging Face folder or a GGUF file")
    parser.add_argument("--name", help="the name that clients ask for (default: the model's own)")
    parser.add_argument("--context", type=int, default=2048, help="context of each request, in tokens")
    parser.add_argument("--slots", type=int, default=2, help="requests answered at once")
    parser.add_argument("--cpus", type=int, default=1, help="CPUs of the replica")
    parser.add_argument("--gres", help="GPUs of the replica, such as gpu:a100:1")
    parser.add_argument("--time", default="08:00:00", help="time limit, in Slurm's notation")
    parser.add_argument("--partition", help="partition")
    parser.add_argument("--timeout", type=float, default=600, help="seconds to wait until it answers")
    parser.add_argument("--dry-run", action="store_true", help="show what it needs and where it fits")
    site_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ai_how.serving.replicas import ReplicaResources
    from ai_how.site import work

    site = site_of(args)
    if args.dry_run:
        from ai_how.site.fit import fit

        found = fit(site, args.model, name=args.name, context=args.context, slots=args.slots)
        print_json(found.as_json()) if args.json else _show(found)
        return 0 if found.chosen else 1
    resources = ReplicaResources(
        cpus=args.cpus, time_limit=args.time, partition=args.partition, gres=args.gres
    )
    served = work.serve(
        site, args.model, resources, lambda text: err.print(f"[dim]{text}[/]"),
        name=args.name, context=args.context, slots=args.slots, timeout=args.timeout,
    )  # fmt: skip
    if args.json:
        print_json({**served.as_json(), "base_url": f"{site.gateway_url}/v1"})
        return 0
    name = served.wanted.model
    out.print(f"[bold green]{name}[/] answers (job {served.wanted.job_id} on {served.node})")
    out.print(f"  ai-how chat {name} 'a question'")
    out.print(f"  OPENAI_BASE_URL={site.gateway_url}/v1  (`ai-how shell` sets it, and the key)")
    return 0


def _show(found: Fit) -> None:
    from rich.table import Table

    from ai_how.serving.fit.plan import gigabytes

    out.print(f"[bold]{found.model}[/]  {found.shape.architecture}, {len(found.shape.cache)} layers")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 2))
    table.add_column()
    table.add_column(justify="right")
    tokens = f"{found.slots} x {found.context} tokens"
    for what, size in (
        ("weights", found.need.weights),
        (f"cache for {tokens}", found.need.cache),
        ("working memory", found.need.compute),
        ("the engine itself", found.need.runtime),
        ("in all", found.need.total),
    ):
        table.add_row(what, gigabytes(size))
    out.print(table, soft_wrap=False)
    for one in found.considered:
        out.print(f"  [green]✓[/] {one.why}" if one.holds else f"  [red]✗[/] {one.why}")
    for remark in found.remarks:
        out.print(f"  {remark}")
    if found.chosen is None:
        out.print("Nothing in the cluster holds it. A smaller context, fewer slots or a smaller file may.")
    elif found.chosen.gres:
        out.print(f"The smallest that holds it: --gres {found.chosen.gres}")
    else:
        out.print(f"The smallest that holds it: a node with {gigabytes(found.chosen.memory)}")
