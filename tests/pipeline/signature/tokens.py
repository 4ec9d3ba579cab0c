"""A token of SoftHSM with keys on it, as a person or a publisher has one."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PIN = "1234"
PLACES = ("/usr/lib/softhsm", "/usr/lib64/pkcs11", "/usr/lib64/softhsm", "/opt/homebrew/lib/softhsm")
MODULE = next((f"{place}/libsofthsm2.so" for place in PLACES if Path(place, "libsofthsm2.so").exists()), "")
CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}


@dataclass(frozen=True)
class Token:
    """A SoftHSM token with a key on each curve, and an RSA key."""

    directory: Path
    keys: dict[str, ec.EllipticCurvePrivateKey]

    def uri(self, label: str, **changes: str) -> str:
        """The URI of the key called `label`."""
        parts = {"token": "airlock", "module": MODULE, "pin": f"file:{self.directory / 'pin'}"} | changes
        return f"pkcs11:token={parts['token']};object={label}?module-path={parts['module']}&pin-source={parts['pin']}"


@contextlib.contextmanager
def made_token(directory: Path) -> Iterator[Token]:
    """A new token in `directory`; SoftHSM finds it by an environment variable."""
    assert MODULE, f"SoftHSM is not installed (Debian's package softhsm2): no libsofthsm2.so in {PLACES}"
    (directory / "tokens").mkdir()
    (directory / "softhsm2.conf").write_text(f"directories.tokendir = {directory / 'tokens'}\nlog.level = ERROR\n")
    (directory / "pin").write_text(f"{PIN}\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOFTHSM2_CONF", str(directory / "softhsm2.conf"))
        softhsm("--init-token", "--free", "--label", "airlock", "--pin", PIN, "--so-pin", PIN)
        keys = {name: ec.generate_private_key(curve) for name, curve in CURVES.items()}
        for number, (name, key) in enumerate((keys | {"rsa": rsa.generate_private_key(65537, 2048)}).items()):
            path = directory / f"{name}.pem"
            pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
            path.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
            softhsm("--import", str(path), "--token", "airlock", "--label", name, "--id", f"0{number}", "--pin", PIN)
            path.unlink()
        yield Token(directory, keys)


def softhsm(*arguments: str) -> None:
    """Run SoftHSM's tool."""
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True)
