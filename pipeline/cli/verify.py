"""`airlock verify CHECKPOINT --bundle B --signer S`: is this what the signer signed?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from pipeline.errors import DeniedError
    from pipeline.signature import VerifiedCandidate

HELP = "verify a checkpoint's signature and files"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the checkpoint's directory")
    parser.add_argument("--bundle", type=Path, required=True, metavar="FILE", help="the signature bundle")
    parser.add_argument("--name", default="checkpoint", help="the candidate's name, for signers who may sign some only")
    parser.add_argument("--signer", required=True, metavar="NAME", help="a signer that the site file names")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Run the command.  A denial is this command's answer, so it is printed as a result and not raised."""
    from pipeline.documents import validate
    from pipeline.errors import DeniedError
    from pipeline.release import Candidate, SignatureReference
    from pipeline.signature import verify_candidate
    from pipeline.site import load_site

    site = load_site(arguments.site)
    site.signer(arguments.signer)  # an unknown name is refused before it could be taken for a malformed one
    reference = SignatureReference(bundle=arguments.bundle.absolute(), signer=arguments.signer)
    asked = {"name": arguments.name, "checkpoint": arguments.checkpoint.absolute(), "signature": reference}
    candidate = validate(Candidate, asked, Path("the command line"))
    try:
        verified = verify_candidate(candidate, site)
    except DeniedError as error:
        _print_denial(error, arguments.signer, output)
        return ExitCode.DENIED
    _print_success(verified, output)
    return ExitCode.YES


def _print_success(verified: VerifiedCandidate, output: Output) -> None:
    signer, manifest = verified.signer, verified.manifest
    for warning in verified.warnings:
        output.say(f"warning: {warning}")
    output.result(
        {
            "verified": True,
            "digest": manifest.digest,
            "signer": {
                "name": signer.name,
                "method": signer.method,
                "key": signer.key_digest,
                "identity": signer.identity,
                "issuer": signer.issuer,
            },
            "files": [{"path": file.path, "size": file.size, "digest": file.digest} for file in manifest.files],
            "problems": [],
            "warnings": list(verified.warnings),
            "stored": str(verified.root),
        },
        f"verified: {len(manifest.files)} files ({manifest.size / 1e6:.1f} MB), signed by {signer.name}\n"
        f"digest:   {manifest.digest}\nstored:   {verified.root}",
    )


def _print_denial(error: DeniedError, signer: str, output: Output) -> None:
    problems = list(error.problems) or [f"{error.what}: {error.why}"]
    listed = "".join(f"\n          - {problem}" for problem in error.problems)
    output.result(
        {
            "verified": False,
            "digest": error.subject,
            "signer": {"name": signer},
            "files": [],
            "problems": problems,
            "what": error.what,
            "why": error.why,
            "remedy": error.remedy,
        },
        f"DENIED:   {error.what}\nwhy:      {error.why}{listed}\nremedy:   {error.remedy}\n"
        f"digest:   {error.subject or 'unknown, because not all files could be read'}",
    )
