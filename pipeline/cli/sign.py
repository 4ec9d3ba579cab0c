"""`airlock sign CHECKPOINT --key K`: an OpenSSF Model Signing bundle for a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.output import ExitCode, Output

HELP = "sign a checkpoint"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the checkpoint's directory")
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="the private key (EC, PEM)")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="the bundle to write; default: CHECKPOINT.sig")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Run the command."""
    from pipeline.keys import load_signing_key
    from pipeline.signature import sign_checkpoint

    directory: Path = arguments.checkpoint
    bundle: Path = arguments.bundle or directory.absolute().with_name(f"{directory.absolute().name}.sig")
    key = load_signing_key(arguments.key)
    manifest = sign_checkpoint(directory, key, bundle)
    output.result(
        {
            "bundle": str(bundle),
            "digest": manifest.digest,
            "files": len(manifest.files),
            "bytes": manifest.size,
            "key": key.verifying_key.digest,
        },
        f"signed {len(manifest.files)} files ({manifest.size / 1e6:.1f} MB)\n"
        f"checkpoint: {manifest.digest}\nbundle:     {bundle}",
    )
    return ExitCode.YES
