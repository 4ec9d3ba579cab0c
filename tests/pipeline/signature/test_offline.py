"""Verification opens no connection, by any method: proved with sockets that fail, and without any network at all."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from pipeline.keys import SigningKey
from pipeline.signature import manifest_of, sign_with_certificate, verify_candidate
from pipeline.signature.statement import encode_statement
from pipeline.site import CertificateSigner, KeylessSigner, KeySigner, Signer
from tests.pipeline.signature import authority, private_sigstore
from tests.pipeline.signature.parts import Workplace

METHODS = ("key", "certificate", "keyless-1", "keyless-2")

WITHOUT_NETWORK = """
import socket, sys
from pathlib import Path
from pipeline.release import Candidate, SignatureReference
from pipeline.signature import verify_candidate
from pipeline.site import Site
interfaces = [name for _, name in socket.if_nameindex()]
if sys.argv[4] == "apart" and interfaces != ["lo"]:
    sys.exit(f"there is a network: {interfaces}")
reference = SignatureReference(bundle=Path(sys.argv[2]), signer="publisher")
candidate = Candidate(name="tiny", checkpoint=Path(sys.argv[1]), signature=reference)
print(verify_candidate(candidate, Site.model_validate_json(sys.argv[3])).manifest.digest)
"""


def refuse(*_arguments: object, **_options: object) -> NoReturn:
    """In place of everything that could open a connection or resolve a name."""
    raise AssertionError("verification used the network")


@pytest.fixture(params=METHODS)
def signer(request: pytest.FixtureRequest, workplace: Workplace) -> Signer:
    """The checkpoint signed by each method, and the signer who did it."""
    method, _, version = request.param.partition("-")
    if method == "key":
        return KeySigner(method="key", public_key=workplace.root / "publisher.pub")
    if method == "certificate":
        root, key = authority.root_authority(), authority.new_key()
        sign_with_certificate(workplace.checkpoint, SigningKey(key), [root.issue(key)], workplace.bundle)
        path = root.write(workplace.root / "root.pem")
        return CertificateSigner(method="certificate", roots=(path,), identity=authority.IDENTITY)
    instance = private_sigstore.PrivateSigstore(workplace.root / "timestamps")
    payload = encode_statement(manifest_of(workplace.checkpoint), name="model", left_out=())
    workplace.bundle.write_text(json.dumps(instance.sign(payload, version=int(version))))
    trust = workplace.root / "trust.json"
    trust.write_text(json.dumps(instance.client_trust_config()))
    return KeylessSigner(
        method="keyless",
        trust_config=trust,
        trust_config_sha256=hashlib.sha256(trust.read_bytes()).hexdigest(),
        identity=private_sigstore.IDENTITY,
        issuer=private_sigstore.ISSUER,
    )


def test_no_socket_is_opened(workplace: Workplace, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("connect", "connect_ex", "sendto", "sendmsg", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    assert verify_candidate(workplace.candidate(), workplace.site(signer)).manifest.files


def test_it_works_where_there_is_no_network(workplace: Workplace, signer: Signer) -> None:
    site = workplace.site(signer).model_dump_json()
    apart = ["unshare", "--net", "--map-root-user"]
    allowed = subprocess.run([*apart, "true"], capture_output=True, check=False).returncode == 0
    command = [sys.executable, "-c", WITHOUT_NETWORK, str(workplace.checkpoint), str(workplace.bundle), site]
    command = [*apart, *command, "apart"] if allowed else [*command, "not allowed here"]
    environment = os.environ | {"HOME": str(workplace.root), "PYTHONPATH": str(Path(__file__).parents[3])}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.stdout.strip() == manifest_of(workplace.checkpoint).digest, result.stderr
