"""`airlock policy lint|test|show|sign`: check a policy before any model is judged by it, or show what it demands."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from pipeline.policy.lint import Declared


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    lint = actions.add_parser(
        "lint", help="say what in a policy is wrong, or cannot decide on the items that there are"
    )
    test = actions.add_parser("test", help="run the cases in the file NAME.test.yaml beside a policy")
    show = actions.add_parser("show", help="print a policy with everything it extends, or what changed between two")
    for parser_of_action in (lint, test, show):
        parser_of_action.add_argument(
            "policy", type=Path, metavar="P", nargs="?", help="a policy file, or the name of a built-in policy"
        )
    sign = actions.add_parser("sign", help="sign a policy with everything it extends, into the file P.sig")
    sign.add_argument("policy", type=Path, metavar="P", help="a policy file")
    sign.add_argument("--key", type=Path, required=True, metavar="K", help="a private key that the site trusts for it")
    show.add_argument("--diff", nargs=2, type=Path, metavar=("OLD", "NEW"), help="say what became stricter or looser")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Do what `action` says."""
    if arguments.action == "show" and arguments.diff:
        return _diff(arguments.diff[0], arguments.diff[1], output)
    if arguments.policy is None:
        from pipeline.errors import RequestError

        raise RequestError("no policy was named", why="P is missing.", remedy="Give a file, or a name such as 'demo'.")
    if arguments.action == "sign":
        return _sign(arguments.policy, arguments.key, output)
    if arguments.action == "lint":
        return _lint(arguments.policy, arguments.site, output)
    actions = {"test": _test, "show": _show}
    return actions[arguments.action](arguments.policy, output)


def _lint(path: Path, site: Path, output: Output) -> ExitCode:
    from pipeline.policy.document import load_policy
    from pipeline.policy.lint import lint

    policy = load_policy(path)
    problems = lint(policy, _declared(site), _stages(site))
    document = {
        "policy": policy.name,
        "digest": policy.digest,
        "problems": [{"level": p.level, "rule": p.rule, "message": p.sentence} for p in problems],
    }
    lines = [f"{p.level:8} {p.rule or policy.name}: {p.sentence}" for p in problems]
    errors = sum(problem.level == "error" for problem in problems)
    lines.append(f"policy '{policy.name}': {len(policy.rules)} rules, {errors} errors")
    output.result(document, "\n".join(lines))
    return ExitCode.DENIED if errors else ExitCode.YES


def _stages(site: Path) -> tuple[str, ...] | None:
    """The stages of the site's registry, where there is a site."""
    from pipeline.site import load_site

    return load_site(site).registry.stages if site.exists() else None


def _declared(site: Path) -> Mapping[str, Declared]:
    """What can be measured: by the built-in and optional checks, and on the site's own data where there is a site."""
    from checks import known_checks, optional_checks
    from pipeline.cli.measuring import as_calibrated, judged_metrics
    from pipeline.policy.runs import full_name
    from pipeline.site import load_site

    known = load_site(site) if site.exists() else None
    checks = (*known_checks(known.data.roots if known is not None else ()), *optional_checks())
    if known is None:
        return {full_name(check.name, metric.name): metric for check in checks for metric in check.metrics}
    checks = as_calibrated(checks, known)
    own = {full_name(check.name, metric.name): metric for check in checks for metric in check.metrics}
    return {**own, **judged_metrics(checks, known)}


def _test(path: Path, output: Output) -> ExitCode:
    from pipeline.policy.document import load_policy, locate
    from pipeline.policy.trial import run_trials, trial_path

    results = run_trials(load_policy(path), trial_path(locate(path)))
    lines = []
    for result in results:
        lines.append(f"{'FAIL' if result.problems else 'pass'}  {result.name}: {result.decision.verdict}")
        lines += [f"      {problem}" for problem in result.problems]
    failed = sum(bool(result.problems) for result in results)
    lines.append(f"{len(results) - failed} of {len(results)} cases pass")
    cases = [{"name": r.name, "verdict": r.decision.verdict, "problems": list(r.problems)} for r in results]
    output.result({"cases": cases, "failed": failed}, "\n".join(lines))
    return ExitCode.DENIED if failed else ExitCode.YES


def _show(path: Path, output: Output) -> ExitCode:
    from pipeline.policy.describe import describe_policy
    from pipeline.policy.document import load_policy

    policy = load_policy(path)
    output.result({"digest": policy.digest, **json.loads(policy.canonical)}, describe_policy(policy))
    return ExitCode.YES


def _sign(path: Path, key: Path, output: Output) -> ExitCode:
    from pipeline.files import write_atomic
    from pipeline.keys import load_signing_key
    from pipeline.policy.authority import seal_policy, signature_path
    from pipeline.policy.document import load_policy

    policy = load_policy(path)
    target = signature_path(path)
    write_atomic(target, seal_policy(policy, load_signing_key(key)))
    output.result({"policy": policy.digest, "signature": str(target)}, f"signed {policy.digest} into {target}")
    return ExitCode.YES


def _diff(old: Path, new: Path, output: Output) -> ExitCode:
    from pipeline.policy.compare import compare_policies
    from pipeline.policy.document import load_policy

    before, after = load_policy(old), load_policy(new)
    changes = compare_policies(before.file, after.file)
    document = {
        "old": before.digest,
        "new": after.digest,
        "changes": [{"direction": change.direction, "sentence": change.sentence} for change in changes],
    }
    lines = [f"{change.direction:9} {change.sentence}" for change in changes]
    output.result(document, "\n".join(lines) or "The two policies demand the same.")
    return ExitCode.YES
