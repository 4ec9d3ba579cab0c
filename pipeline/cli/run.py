"""`airlock run RELEASE --policy P`: verify, inspect, serve, evaluate and gate."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.output import ExitCode, Output


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("release", type=Path, metavar="RELEASE", help="release.yaml: what is proposed")
    add_policy_argument(parser)
    add_stage_argument(parser)
    parser.add_argument("--run", type=Path, metavar="DIR", help="the run's folder; an existing one is gone on with")
    add_measuring_arguments(parser)


def add_policy_argument(parser: argparse.ArgumentParser) -> None:
    """The policy, for every command that judges."""
    text = "a policy file, or the name of a built-in policy"
    parser.add_argument("--policy", type=Path, required=True, metavar="P", help=text)


def add_stage_argument(parser: argparse.ArgumentParser) -> None:
    """The stage, for every command that judges."""
    text = "judge for this stage of the registry only; without it, the rules for every stage count"
    parser.add_argument("--stage", metavar="S", help=text)


def add_measuring_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say how to measure, shared with `evaluate`."""
    parser.add_argument("--endpoint", metavar="URL", help="measure this running server instead of starting one")
    parser.add_argument("--also", action="append", default=[], metavar="CHECK", help="run this optional check too")
    parser.add_argument("--seed", type=int, default=0, help="decides every random choice of the checks (default 0)")


def default_run(release_name: str) -> Path:
    """The folder of a run when none is named."""
    return Path("runs") / release_name


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Run the release and print each candidate's verdict."""
    from pipeline.cli import verdicts
    from pipeline.cli.measuring import open_laboratory, requests_by_candidate, said_of_requests
    from pipeline.flow import run_release
    from pipeline.policy.authority import authorised_policy
    from pipeline.release import load_release
    from pipeline.run_directory import RunDirectory
    from pipeline.workplace import open_workplace

    laboratory = open_laboratory(open_workplace(arguments.site), arguments, output)
    release = load_release(arguments.release)
    policy = authorised_policy(arguments.policy, laboratory.workplace.site)
    folder = RunDirectory(arguments.run or default_run(release.name))
    judged = run_release(release, policy, laboratory, folder, stage=arguments.stage)
    verdict = verdicts.on_release(policy, judged)
    early = requests_by_candidate(judged, laboratory.workplace)
    document = {"release": release.name, "run": str(folder.root), "verdict": verdict, "stopped_early": early}
    text = "\n".join([verdicts.to_text(judged), *(said_of_requests(*entry) for entry in early.items())])
    output.result({**document, "candidates": verdicts.to_json(judged)}, text)
    return verdicts.exit_code(verdict)
