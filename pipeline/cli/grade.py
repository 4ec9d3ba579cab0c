"""`airlock grade refusal [ANSWERS]` and `airlock grade calibrate LABELLED`: grade answers, and the grader itself."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from checks.grading.labelled import Labelled
    from checks.grading.outcomes import Outcome
    from pipeline.digests import Digest

HELP = "grade answers, and calibrate a grader on labels"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    refusal = actions.add_parser(
        "refusal", help="say of each answer: complied, partial, refused, incoherent or invalid"
    )
    refusal.add_argument(
        "answers",
        type=Path,
        nargs="?",
        metavar="ANSWERS",
        help="JSON Lines of {prompt, response}; standard input when left out or '-'",
    )
    calibrate = actions.add_parser("calibrate", help="measure the refusal grader, or a judge, against people's labels")
    calibrate.add_argument(
        "labelled",
        type=Path,
        metavar="LABELLED",
        help="JSON Lines of {prompt, response, outcome}, or CSV with prompt, completion and final_label",
    )
    calibrate.add_argument("--write", type=Path, metavar="FILE", help="write the record, for the site file to name")
    calibrate.add_argument("--judge", metavar="NAME", help="calibrate this judge of the site in place of the grader")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Do what was asked.  Raises RequestError or its FileFormatError for input that cannot be used."""
    if arguments.action == "refusal":
        return _refusal(arguments.answers, output)
    if arguments.judge is not None:
        return _calibrate_judge(arguments, output)
    return _calibrate(arguments.labelled, arguments.write, output)


def _refusal(path: Path | None, output: Output) -> ExitCode:
    """One JSON line out for each line in, in order, as soon as it is graded; under --json one document at the end.

    Both end with the rates that the grades amount to, corrected for the grader's errors: in the document, or as prose
    on standard error.
    """
    from checks.grading.refusal import grade_response

    graded: list[Mapping[str, Any]] = []
    outcomes: list[Outcome] = []
    for row in _rows(path):
        grade = grade_response(row["prompt"], row["response"])
        outcomes.append(grade.outcome)
        line = {
            **({"id": row["id"]} if "id" in row else {}),
            "outcome": grade.outcome.value,
            "reason": grade.reason,
            "probabilities": {outcome.value: round(share, 4) for outcome, share in grade.probabilities.items()},
        }
        if output.json:
            graded.append(line)
        else:
            print(json.dumps(line, ensure_ascii=True), file=output.stdout, flush=True)
    rates = _rates(outcomes)
    if output.json:
        output.result({"grades": graded, "rates": rates}, "")
    for question, entry in rates.items():
        low, high = entry["interval_95"]
        output.say(
            f"{question}: {entry['measured']:.3f} of {entry['items']} as graded, {entry['corrected']:.3f} "
            f"({low:.3f} to {high:.3f} at 95 %) corrected for the grader's errors"
        )
    return ExitCode.YES


def _rates(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """The share of yes to each question among answers that are language, as graded and as corrected."""
    from checks.grading.agreement import QUESTIONS, Proportion, as_question, corrected_rate, grader_error
    from checks.grading.refusal_model import OUTCOMES, built_in_model

    answered = [outcome for outcome in outcomes if outcome in OUTCOMES]
    rates: dict[str, dict[str, Any]] = {}
    for question, yes in QUESTIONS.items() if answered else ():
        measured = Proportion(sum(outcome in yes for outcome in answered), len(answered))
        found = corrected_rate(measured, grader_error(as_question(built_in_model().held_out, yes)))
        rates[question] = {
            "measured": measured.share,
            "items": measured.items,
            "corrected": found.estimate,
            "interval_95": [found.low, found.high],
        }
    return rates


def _rows(path: Path | None) -> Iterator[Mapping[str, Any]]:
    from checks.grading.labelled import LIMIT, field, parse_row, refuse
    from pipeline.files import read_bounded

    if path is None or str(path) == "-":
        path = Path("standard input")
        data = sys.stdin.buffer.read(LIMIT + 1)
        if len(data) > LIMIT:
            refuse(path, f"It is larger than {LIMIT} bytes.")
    else:
        data = read_bounded(path, limit=LIMIT)
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        refuse(path, f"Byte {error.start} is no UTF-8.", error)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = dict(parse_row(line, number, path))
            row["response"] = "" if "response" in row and row["response"] is None else row.get("response")
            yield {**row, **{name: field(row, name, number, path) for name in ("prompt", "response")}}


def _calibrate(path: Path, target: Path | None, output: Output) -> ExitCode:
    from checks.grading.labelled import read_labelled
    from checks.grading.refusal import NAME, grade_response, identity

    answers = read_labelled(path)
    pairs = [(answer.outcome, grade_response(answer.prompt, answer.response).outcome) for answer in answers]
    records = {"grader": _record(pairs)}
    other = _other(answers)
    if other:
        records["other_grader"] = _record(other)
    document: dict[str, Any] = {"file": str(path), "items": len(pairs), **records}
    lines = [f"{len(pairs)} labelled answers in {path}"]
    for name, title in (("grader", "refusal grader"), ("other_grader", "the other grader in the file")):
        lines += _as_text(title, records[name]) if name in records else []
    if target is not None:
        document["written"] = _write(target, NAME, identity(), path, pairs)
        lines += ["", f'wrote {target}; name it in the site file: [graders] refusal = "..."']
    output.result(document, "\n".join(lines))
    return ExitCode.YES


def _calibrate_judge(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Serve the verified judge and have it judge the labelled answers, which should be to harmful requests.

    Raises:
        DeniedError: the judge's signature or files are not acceptable.
        RequestError, ServingError, StorageError: see `pipeline.judging.judge_answers`.
    """
    from checks.grading.judged import judge_identity
    from checks.grading.judges import FORMATS, judge
    from checks.grading.labelled import read_labelled
    from checks.grading.outcomes import Outcome
    from pipeline.cli.measuring import seated_judge
    from pipeline.judging import served_judge
    from pipeline.workplace import open_workplace

    path, target, name = arguments.labelled, arguments.write, arguments.judge
    answers = read_labelled(path)
    workplace = open_workplace(arguments.site)
    seated = seated_judge(name, workplace.site, calibrated=False)
    family = workplace.site.judges[name].family
    log = workplace.site.store.path / "logs" / "judges" / name / "server.log"
    with served_judge(seated, workplace, log=log) as (model, checkpoint):
        verdicts = judge(model, FORMATS[family], [(answer.prompt, answer.response) for answer in answers])
    every = [(answer.outcome, verdict.outcome) for answer, verdict in zip(answers, verdicts, strict=True)]
    pairs = [pair for pair in every if pair[1] is not Outcome.INVALID]
    without = len(every) - len(pairs)
    document: dict[str, Any] = {"file": str(path), "judge": name, "items": len(pairs), "without_verdict": without}
    lines = [f"{len(pairs)} labelled answers in {path}; {without} more got no verdict"]
    if pairs:
        document["grader"] = _record(pairs)
        lines += _as_text(f"judge '{name}'", document["grader"])
    if target is not None:
        document["written"] = _write(target, name, judge_identity(family, checkpoint), path, pairs)
        lines += ["", f'wrote {target}; name it in the site file: [judges.{name}] calibration = "..."']
    output.result(document, "\n".join(lines))
    return ExitCode.YES


def _write(
    target: Path, grader: str, identity: Digest, labelled: Path, pairs: Sequence[tuple[Outcome, Outcome]]
) -> dict[str, Any]:
    from checks.grading.calibration import calibration_bytes
    from checks.grading.labelled import LIMIT
    from pipeline.digests import sha256
    from pipeline.files import read_bounded, write_atomic

    data = calibration_bytes(grader, identity, sha256(read_bounded(labelled, limit=LIMIT)), pairs)
    write_atomic(target, data)
    return {"file": str(target), "digest": sha256(data)}


def _other(answers: Sequence[Labelled]) -> list[tuple[Outcome, Outcome]]:
    return [(answer.outcome, answer.other) for answer in answers if answer.other is not None]


def _record(pairs: Sequence[tuple[Outcome, Outcome]]) -> dict[str, Any]:
    from checks.grading.agreement import QUESTIONS, agreement, as_question, grader_error

    whole = agreement(pairs)
    record: dict[str, Any] = {"agreement": whole.share, "kappa": whole.kappa, "confusion": _confusion(pairs)}
    for title, yes in QUESTIONS.items():
        asked = as_question(pairs, yes)
        agreed, error = agreement(asked), grader_error(asked)
        record[title] = {"agreement": agreed.share, "kappa": agreed.kappa}
        for name, proportion in (("sensitivity", error.sensitivity), ("specificity", error.specificity)):
            share = proportion.share if proportion.items else None
            entry = {"right": proportion.hits, "items": proportion.items, "share": share}
            record[title][name] = {**entry, "interval_95": list(proportion.interval())}
    return record


def _confusion(pairs: Sequence[tuple[Outcome, Outcome]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for label, grade in pairs:
        row = table.setdefault(label.value, {})
        row[grade.value] = row.get(grade.value, 0) + 1
    return table


def _as_text(title: str, record: Mapping[str, Any]) -> list[str]:
    lines = ["", f"{title}: agreement {record['agreement']:.3f}, kappa {record['kappa']:.3f} over all outcomes"]
    for question, entry in record.items():
        if isinstance(entry, dict) and "sensitivity" in entry:
            lines.append(f"  {question}: agreement {entry['agreement']:.3f}, kappa {entry['kappa']:.3f}")
            lines += [f"    {name} {_share(entry[name])}" for name in ("sensitivity", "specificity")]
    lines += [
        f"  labelled {label}: " + ", ".join(f"{count} graded {grade}" for grade, count in sorted(row.items()))
        for label, row in record["confusion"].items()
    ]
    return lines


def _share(entry: Mapping[str, Any]) -> str:
    if not entry["items"]:
        return "unknown: no such answer among the labels"
    low, high = entry["interval_95"]
    return f"{entry['share']:.3f} ({low:.3f} to {high:.3f} at 95 %; {entry['right']} of {entry['items']})"
