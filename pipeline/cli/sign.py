"""`airlock sign CHECKPOINT --key K`: an OpenSSF Model Signing bundle for a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.opened_key import opened_key
from pipeline.cli.output import ExitCode, Output

HELP = "sign a checkpoint"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the checkpoint's directory")
    parser.add_argument("--key", required=True, metavar="KEY", help="a private key (EC, PEM), or a pkcs11: URI")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="the bundle to write; default: CHECKPOINT.sig")
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="sign by certificate: the key's certificate, then those above it, in PEM",
    )


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Run the command."""
    from pipeline.signature import sign_checkpoint, sign_with_certificate

    directory: Path = arguments.checkpoint
    bundle: Path = arguments.bundle or directory.absolute().with_name(f"{directory.absolute().name}.sig")
    with opened_key(arguments.key) as key:
        if arguments.certificate is None:
            manifest = sign_checkpoint(directory, key, bundle)
        else:
            from pipeline.signature.certificate import load_certificates

            manifest = sign_with_certificate(directory, key, load_certificates(arguments.certificate), bundle)
        digest = key.verifying_key.digest
    output.result(
        {
            "bundle": str(bundle),
            "digest": manifest.digest,
            "files": len(manifest.files),
            "bytes": manifest.size,
            "key": digest,
        },
        f"signed {len(manifest.files)} files ({manifest.size / 1e6:.1f} MB)\n"
        f"checkpoint: {manifest.digest}\nbundle:     {bundle}",
    )
    return ExitCode.YES
