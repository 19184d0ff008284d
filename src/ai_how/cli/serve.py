"""Serve a model by Slurm jobs behind the gateway; returns when it answers.

The model is a registered one (NAME, NAME:VERSION, NAME@ALIAS), a Hugging Face folder, a GGUF file, one of the
Hugging Face hub (hf:ORG/NAME@REVISION), or one of Ollama's library (ollama:NAME:TAG). It is kept served from then on:
what fails is started anew, and before a time limit another replica takes over. Said again, it changes the
numbers; with --upgrade or --canary it brings another version. With --dry-run nothing is started: it shows what memory
the model needs, and the smallest GPU or slice of the cluster that has it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ai_how.cli.output import broken, err, json_argument, out, print_json, site_arguments, site_of

if TYPE_CHECKING:
    from ai_how.serving.fit import Fit
    from ai_how.site.resolve import Asked
    from ai_how.site.serving import Facts, Numbers


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        help="NAME, NAME:VERSION, NAME@ALIAS, a Hugging Face folder, a GGUF file, hf:ORG/NAME, ollama:NAME:TAG",
    )
    parser.add_argument("--name", help="the name that clients ask for (default: the model's own)")
    parser.add_argument("--engine", help="llama.cpp, ollama, transformers or vllm (default: by the model)")
    parser.add_argument(
        "--runtime",
        help="where the engine is: venv:NAME, image:FILE.sif, podman:IMAGE, path:FOLDER, modules:ONE,TWO",
    )
    parser.add_argument("--context", type=int, help="context of each request, in tokens (default: 2048)")
    parser.add_argument("--slots", type=int, help="requests that a replica answers at once (default: 2)")
    _numbers(parser)
    _resources(parser)
    change = parser.add_mutually_exclusive_group()
    change.add_argument(
        "--upgrade", action="store_true", help="this version takes the place of the one served"
    )
    change.add_argument(
        "--canary", type=int, metavar="PERCENT", help="this version gets so many of 100 requests"
    )
    change.add_argument(
        "--rollback", action="store_true", help="MODEL, as clients call it: back to the version before, once"
    )
    parser.add_argument("--timeout", type=float, default=600, help="seconds to wait until it answers")
    parser.add_argument("--dry-run", action="store_true", help="show what it needs and where it fits")
    site_arguments(parser)
    json_argument(parser)


def _numbers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replicas", type=int, help="how many replicas, always")
    parser.add_argument("--min", type=int, help="never fewer; 0 lets it sleep while nobody asks")
    parser.add_argument("--max", type=int, help="never more")
    parser.add_argument("--idle", metavar="TIME", help="sleep after so long without a request, such as 15m")
    parser.add_argument("--no-wake", action="store_true", help="requests do not wake it")
    parser.add_argument(
        "--queue", type=int, help="requests that may wait for each replica before there is one more"
    )
    parser.add_argument(
        "--tokens", type=int, help="tokens in flight on each replica before there is one more"
    )


def _resources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cpus", type=int, help="CPUs of a replica (default: 1)")
    parser.add_argument("--memory", help="memory of a replica, such as 8G (default: what the model needs)")
    parser.add_argument(
        "--gres",
        help="GPUs of a replica, such as gpu:a100:1 (default: the smallest that holds it, if the engine uses any)",
    )
    parser.add_argument(
        "--time", help="time limit of a replica's job, in Slurm's notation (default: 08:00:00)"
    )
    parser.add_argument("--partition", help="partition")
    parser.add_argument("--account", help="account that the jobs are charged to")
    parser.add_argument("--qos", help="QOS of the jobs")


def run(args: argparse.Namespace) -> int:
    from ai_how.site import serving

    site = site_of(args)
    if args.dry_run:
        from ai_how.site.fit import fit

        asked = _asked(args)
        found = fit(
            site, asked.reference, name=asked.name, context=asked.context or 2048, slots=asked.slots or 2,
            engine=asked.engine, partition=asked.partition, gres=asked.gres,
            account=asked.account, qos=asked.qos,
        )  # fmt: skip
        print_json(found.as_json()) if args.json else _show(found)
        return 0 if found.chosen else 1

    def progress(text: str) -> None:
        err.print(f"[dim]{text}[/]")

    if args.rollback:
        served = serving.rollback(site, args.model, progress, timeout=args.timeout)
    else:
        served = serving.serve(
            site, _asked(args), progress,
            numbers=_numbers_of(args),
            change="upgrade" if args.upgrade else "canary" if args.canary is not None else "none",
            weight=args.canary or 0,
            timeout=args.timeout,
        )  # fmt: skip
    return _told(args, served, f"{site.gateway_url}/v1")


def _asked(args: argparse.Namespace) -> Asked:
    from ai_how.errors import UsageError
    from ai_how.site.resolve import Asked
    from ai_how.spec.runtime import parse_runtime

    for word in ("context", "slots", "cpus"):
        value = getattr(args, word)
        if value is not None and value < 1:
            raise UsageError(f"--{word} {value}: that is too few")
    return Asked(
        reference=args.model, name=args.name, engine=args.engine,
        runtime=parse_runtime(args.runtime) if args.runtime else None, context=args.context, slots=args.slots,
        cpus=args.cpus, memory=args.memory, time_limit=args.time, gres=args.gres, partition=args.partition,
        account=args.account, qos=args.qos,
    )  # fmt: skip


def _numbers_of(args: argparse.Namespace) -> Numbers:
    from ai_how.errors import UsageError
    from ai_how.site.serving import Numbers
    from ai_how.spec.serving import seconds

    if args.replicas is not None and (args.min is not None or args.max is not None):
        raise UsageError("--replicas says how many always; --min and --max say from where to where")
    if args.canary is not None and not 1 <= args.canary <= 99:
        raise UsageError(f"a canary gets 1 to 99 of 100 requests, not {args.canary}")
    for word in ("replicas", "min", "max", "queue", "tokens"):
        value = getattr(args, word)
        if value is not None and value < (0 if word in ("min", "queue") else 1):
            raise UsageError(f"--{word} {value}: that is too few")
    try:
        idle = seconds(args.idle) if args.idle else None
    except ValueError as error:
        raise UsageError(f"--idle: {error}") from error
    return Numbers(
        minimum=args.min if args.replicas is None else args.replicas,
        maximum=args.max if args.replicas is None else args.replicas,
        idle=idle,
        wakes=False if args.no_wake else None,
        queue=args.queue,
        tokens=args.tokens,
    )


def _told(args: argparse.Namespace, served: Facts, base_url: str) -> int:
    name, replica = served["model"], served["answering"]
    if args.json:
        print_json(
            {**replica, **{key: served[key] for key in served if key != "answering"}, "base_url": base_url}
        )
        return 0
    count = sum(one["phase"] == "ready" and not one["draining"] for one in served["replicas"])
    more = f", {count} replicas" if count > 1 else ""
    out.print(f"[bold green]{name}[/] answers (job {replica['job_id']} on {replica['node']}{more})")
    if served["canary"]:
        out.print(f"  {served['canary']['weight']} of 100 requests go to {served['canary']['source']}")
    out.print(f"  ai-how chat {name} 'a question'")
    out.print(broken(f"  OPENAI_BASE_URL={base_url}  (`ai-how shell` sets it, and the key)", out, "  "))
    return 0


def _show(found: Fit) -> None:
    from rich.table import Table

    from ai_how.serving.fit.plan import gigabytes

    layers = len(found.shape.cache)
    words = f"{layers} layer{'s' if layers != 1 else ''}"
    out.print(f"[bold]{found.model}[/]  {found.shape.architecture}, {words}")
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
