"""``quarterdeck config init|check|schema``: a first configuration, everything that is wrong with one, and what there is to say.

Needs no cluster. Queries that the configuration holds are tried by the metrics server, where it can be asked, and so is
the source of alerts; each sink of the journal is asked whether it would take an entry.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.model.errors import ExitCode, Rejected

if TYPE_CHECKING:
    from services.redaction import Redactor
    from services.settings import Problem, Settings
    from services.settings.secrets import SecretRef
    from services.settings.starter import KnownContext


def add(subparsers: "argparse._SubParsersAction[Any]", parents: list[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "config",
        parents=parents,
        help="make or check a configuration",
        description="Write a first configuration, name everything that is wrong with one, or print its schema. No cluster.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    making = actions.add_parser("init", parents=parents, help="write a commented starting configuration")
    making.add_argument("path", metavar="PATH", nargs="?", help="where to (else --config, else where it is looked for)")
    making.add_argument("--force", action="store_true", help="replace a file that is there")
    making.add_argument("--example", action="store_true", help="write example environments where no context can be read")
    checking = actions.add_parser("check", parents=parents, help="report every problem, with its line")
    checking.add_argument("path", metavar="PATH", nargs="?", help="the file (else --config, else where it is looked for)")
    checking.add_argument("--offline", action="store_true", help="don't ask the metrics server, the alerts and the sinks")
    actions.add_parser("schema", parents=parents, help="print the JSON schema of the configuration, for editors")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit 0; 2 where the configuration has problems, a file would be replaced without ``--force``, or the kubeconfig that a
    first one is to be made from can't be read."""
    from services.settings import find

    if args.action == "schema":
        return _schema(args)
    path = find(args.path or args.config, os.environ)
    return _init(args, path) if args.action == "init" else _check(args, path)


def _init(args: argparse.Namespace, path: Path) -> int:
    from console import output
    from services.redaction import Redactor
    from services.settings import current_login, parse, starter

    known = _known_contexts(args)
    if not known:
        output.note("The environments are an example to correct: no context of a kubeconfig was read.")
    text = starter.starting(known, current_login())
    settings = parse(text, file=str(path), base=path.parent, redactor=Redactor())
    try:
        starter.write(path, text, force=args.force)
    except FileExistsError:
        raise Rejected("path", str(path), "is there already", "another path, or --force to replace it") from None
    except OSError as error:
        raise Rejected("path", str(path), f"can't be written ({error.strerror or error})", "a path you may write to") from error
    if args.output == "json":
        output.document({"ok": True, "file": str(path), "problems": []})
    else:
        output.text(f"Wrote {path}")
        for name, place in settings.environments.items() if known else ():
            output.text(f"  {name}: context {place.context}, namespaces {', '.join(place.namespaces)}")
        output.text("Read it through, then: quarterdeck config check, and: quarterdeck doctor")
    return ExitCode.DONE


def _known_contexts(args: argparse.Namespace) -> "tuple[KnownContext, ...]":
    """The contexts of the kubeconfig. Guessed environments are nobody's wish who names one that can't be read: raises
    ``Rejected``, unless an example is asked for. Without any kubeconfig there is nothing but an example to begin with."""
    from services.settings import starter

    if args.example:
        return ()
    paths = starter.kubeconfig_paths(os.environ)
    where, accepted = ", ".join(str(each) for each in paths), "a kubeconfig with contexts, or --example for an example to correct"
    try:
        known = starter.contexts(paths)
    except (OSError, ValueError) as error:
        raise Rejected("KUBECONFIG", where, f"can't be read ({error}). Nothing was written", accepted) from error
    if not known and os.environ.get("KUBECONFIG"):
        raise Rejected("KUBECONFIG", where, "has no context. Nothing was written", accepted)
    return known


def _check(args: argparse.Namespace, path: Path) -> int:
    from console import output
    from services.redaction import Redactor
    from services.settings import ConfigurationError, load

    redactor = Redactor()
    try:
        settings = load(path, redactor=redactor)
        error = None
        problems = (*_open_secrets(settings, path), *_missing(settings, path))
        if not args.offline:
            problems += _refused_queries(settings, path, redactor)
            problems += _refused_alerts(settings, path, redactor)
            problems += _refusing_sinks(settings, path, redactor)
    except ConfigurationError as caught:
        error, problems = caught, caught.problems
    ok = error is None and not problems
    if args.output == "json":
        listed = [_row(problem) for problem in problems]
        if error is not None and not listed:
            listed = [{"file": str(path), "line": 0, "key": "", "problem": error.title, "accepted": error.hint, "suggestion": ""}]
        output.document({"ok": ok, "file": str(path), "problems": listed})
    elif ok:
        output.text(f"ok: {path}: environments {', '.join(settings.environments)}")
    else:
        for problem in problems:
            output.text(str(problem))
        if error is not None and not problems:
            for line in str(error).splitlines():
                output.text(line)
    return ExitCode.DONE if ok else ExitCode.REJECTED


def _schema(args: argparse.Namespace) -> int:
    from console import output
    from services.settings import jsonschema

    made = jsonschema.schema()
    if args.output == "json":
        output.document(made)
    else:
        for line in json.dumps(made, indent=2, ensure_ascii=False).splitlines():
            output.text(line)
    return ExitCode.DONE


def _open_secrets(settings: "Settings", path: Path) -> "tuple[Problem, ...]":
    """Files of secrets that are there and that others could read. Those that are not there may be elsewhere in production."""
    from services.settings import Problem

    return tuple(
        Problem(file=str(path), line=settings.line(key), key=key, problem=f"the file {rule}", accepted="a file of mode 600")
        for key, secret in _secrets(settings).items()
        if (rule := secret.problem())
    )


def _secrets(settings: "Settings") -> "dict[str, SecretRef]":
    """Every reference to a secret, by its key."""
    from services.settings.secrets import SecretRef

    found = {"tickets.token": settings.tickets.token} if settings.tickets is not None else {}
    if settings.alerts is not None:
        given = {"token": settings.alerts.token, "password": settings.alerts.password}
        found |= {f"alerts.{key}": secret for key, secret in given.items() if secret is not None}
    if (server := settings.metrics.prometheus) is not None:
        given = {"token": server.token, "password": server.password}
        found |= {f"metrics.prometheus.{key}": secret for key, secret in given.items() if secret is not None}
    if (account := settings.metrics.datadog) is not None:
        found["metrics.datadog.api_key"] = account.api_key
        found["metrics.datadog.application_key"] = account.application_key
    for index, sink in enumerate(settings.journal.sinks):
        for name, value in dict(sink).items():
            values = {f"{name}.{part}": each for part, each in value.items()} if isinstance(value, dict) else {name: value}
            found |= {f"journal.sinks[{index}].{key}": each for key, each in values.items() if isinstance(each, SecretRef)}
    return found


def _missing(settings: "Settings", path: Path) -> "tuple[Problem, ...]":
    """Files that the configuration names and that are not there, and contexts that its own kubeconfig does not have. What is
    taken from the environment (KUBECONFIG, ``env:`` secrets) may be another where the configuration is used."""
    from services.cluster.credentials import context_names
    from services.model.errors import Rejected
    from services.settings import Problem

    found: list[Problem] = []

    def add(key: str, problem: str, accepted: str) -> None:
        found.append(Problem(file=str(path), line=settings.line(key), key=key, problem=problem, accepted=accepted))

    for key, secret in _secrets(settings).items():
        if secret.kind == "file" and not Path(secret.place).exists():
            add(key, "the file is not there", f"a file of mode 600 that holds the {key.rpartition('.')[2].replace('_', ' ')}")
    for index, sink in enumerate(settings.journal.sinks):
        for name, value in dict(sink).items():
            if isinstance(value, Path) and not value.exists():
                add(f"journal.sinks[{index}].{name}", "the file is not there", "a PEM file")
    server = settings.metrics.prometheus
    if server is not None and server.ca_file is not None and not server.ca_file.exists():
        add("metrics.prometheus.ca_file", "the file is not there", "a PEM file with an authority")
    if settings.alerts is not None and settings.alerts.ca_file is not None and not settings.alerts.ca_file.exists():
        add("alerts.ca_file", "the file is not there", "a PEM file with an authority")
    if settings.kubeconfig is not None:
        try:
            known = context_names((settings.kubeconfig,))
        except Rejected as error:
            add("kubeconfig", error.rule, error.accepted)
            return tuple(found)
        for name, environment in settings.environments.items():
            if environment.context not in known:
                key = f"environments.{name}.context"
                add(key, f"{environment.context} is not in the kubeconfig", ", ".join(known) or "none: it has no contexts")
    return tuple(found)


def _refused_queries(settings: "Settings", path: Path, redactor: "Redactor") -> "tuple[Problem, ...]":
    """Queries that the metrics server says are wrong, in its own words. One that can't be asked is not the file's fault."""
    if settings.metrics.source == "pods":
        return ()
    from console import output
    from services.analysis.sources.checking import check, example
    from services.settings import Problem

    namespace = next(iter(settings.environments.values())).namespaces[0]
    found = asyncio.run(check(settings.metrics, example(namespace), clock=settings.clock(), register=redactor))
    if found.unasked:
        output.note(f"Not all queries could be tried: {redactor.text(found.unasked)}")
    for key, said in found.unmatched.items():
        output.note(f"{settings.where(key)}: {key} {said}")
    accepted = "a query that the metrics server takes (--offline: don't ask it)"
    return tuple(
        Problem(file=str(path), line=settings.line(key), key=key, problem=f"is refused: {redactor.text(said)}", accepted=accepted)
        for key, said in found.refused.items()
    )


def _refused_alerts(settings: "Settings", path: Path, redactor: "Redactor") -> "tuple[Problem, ...]":
    """What the source of alerts refuses. One that can't be asked is not the file's fault."""
    from console import output
    from services.integrations.alerts import AlertsRefused, AlertsUnavailable, open_alerts
    from services.model.alerts import AlertSubject
    from services.settings import Problem

    source = open_alerts(settings, redactor=redactor, clock=settings.clock())
    if source is None:
        return ()
    name, environment = next(iter(settings.environments.items()))
    anyone = AlertSubject(service="checkout", namespace=environment.namespaces[0], environment=name, workloads=("checkout",))

    async def asked() -> None:
        try:
            await source.firing(anyone)
        finally:
            await source.close()

    try:
        asyncio.run(asked())
    except AlertsRefused as error:
        problem, accepted = redactor.text(error.detail), "a source of alerts that answers (--offline: don't ask it)"
        return (Problem(file=str(path), line=settings.line("alerts"), key="alerts", problem=problem, accepted=accepted),)
    except AlertsUnavailable as error:
        output.note(f"The source of alerts could not be asked: {redactor.text(error.detail or error.title)}")
    return ()


def _refusing_sinks(settings: "Settings", path: Path, redactor: "Redactor") -> "tuple[Problem, ...]":
    """Sinks that would not take an entry, with the reason: address, certificate, credentials or index."""
    from services.audit.sinks.probing import probe_all
    from services.settings import Problem

    if not settings.journal.sinks:
        return ()
    answers = asyncio.run(probe_all(settings.journal.sinks, secrets=redactor, clock=settings.clock()))
    found = []
    for index, (sink, answer) in enumerate(zip(settings.journal.sinks, answers, strict=True)):
        if not answer.ok:
            key = f"journal.sinks[{index}]"
            problem = redactor.text(f"{sink.label} would take no entry: {answer.detail}")
            accepted = f"{answer.hint.rstrip('.') or 'a sink that answers'} (--offline: don't ask it)"
            found.append(Problem(file=str(path), line=settings.line(key), key=key, problem=problem, accepted=accepted))
    return tuple(found)


def _row(problem: "Problem") -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "key": problem.key,
        "problem": problem.problem,
        "accepted": problem.accepted,
        "suggestion": problem.suggestion,
    }
