"""The folder of one run: which release was judged by which policy, and what each candidate came to.

    RUN/
      run.json                 the release, its digest, the policy, when
      CANDIDATE/state.json     the subject, its statements, the decision and the promotion, all by digest
      CANDIDATE/approvals/     signed approvals, one file each
      CANDIDATE/server.log     what the model server printed
      CANDIDATE/card.json|md|html

Everything that counts lies signed in the evidence store; this folder holds pointers, and files for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AwareDatetime

from pipeline.digests import Digest, canonical_json
from pipeline.documents import Document, validate
from pipeline.errors import FileFormatError, RequestError
from pipeline.files import read_bounded, write_atomic

_DocumentT = TypeVar("_DocumentT", bound=Document)


class RunFile(Document):
    """The schema of run.json."""

    release: str
    release_path: Path
    release_digest: Digest
    policy: str
    policy_digest: Digest
    created: AwareDatetime


class PromotionState(Document):
    """What is kept of a promotion: its stage, how consumers pull the model, and the digest of the signed record.

    `emergency` says who promoted it against the gate or without its approvals, and why.
    """

    stage: str
    reference: str
    digest: Digest
    promoted: AwareDatetime
    emergency: str | None = None


class CandidateState(Document):
    """The schema of state.json: what is known of a candidate so far.

    `statements` are those of the last run; `imported` are the results of other tools, which stay when it is run again.
    """

    subject: Digest
    statements: tuple[Digest, ...] = ()
    imported: tuple[Digest, ...] = ()
    decision: Digest | None = None
    promotion: PromotionState | None = None

    @property
    def known(self) -> tuple[Digest, ...]:
        """Every statement that the gate judges from."""
        return (*self.statements, *self.imported)


class RunDirectory:
    """Reads and writes the folder of one run."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.root / "run.json").exists()

    def begin(self, run: RunFile) -> None:
        """Begin a run, or go on with it.

        Raises:
            RequestError: the folder holds a run of another release.
        """
        if self.exists():
            earlier = self.run()
            if earlier.release != run.release:
                raise RequestError(
                    f"{self.root} holds another run",
                    why=f"It was begun for the release '{earlier.release}', not '{run.release}'.",
                    remedy="Name another folder with --run.",
                )
        self._write(self.root / "run.json", run)

    def run(self) -> RunFile:
        """What this run is of.  Raises RequestError when there is none here, FileFormatError when it is damaged."""
        return self._read(RunFile, self.root / "run.json", "a run")

    def candidates(self) -> tuple[str, ...]:
        """The names of the candidates with a state, sorted."""
        return tuple(sorted(path.parent.name for path in self.root.glob("*/state.json")))

    def candidate(self, name: str) -> CandidateState:
        """The state of a candidate.  Raises RequestError when it has none."""
        return self._read(CandidateState, self.folder(name) / "state.json", f"the candidate '{name}'")

    def save(self, name: str, state: CandidateState) -> None:
        """Store the state of a candidate."""
        self._write(self.folder(name) / "state.json", state)

    def folder(self, name: str) -> Path:
        """The candidate's own folder."""
        return self.root / name

    def approvals(self, name: str) -> tuple[bytes, ...]:
        """The candidate's approvals, as signed, in the order of their file names."""
        return tuple(read_bounded(path) for path in sorted((self.folder(name) / "approvals").glob("*.json")))

    def add_approval(self, name: str, label: str, envelope: bytes) -> Path:
        """Store a signed approval under `label`."""
        path = self.folder(name) / "approvals" / f"{label}.json"
        write_atomic(path, envelope)
        return path

    def _write(self, path: Path, document: Document) -> None:
        value: Mapping[str, Any] = document.model_dump(mode="json")
        write_atomic(path, canonical_json(value) + b"\n")

    def _read(self, model: type[_DocumentT], path: Path, what: str) -> _DocumentT:
        if not path.exists():
            raise RequestError(
                f"{self.root} does not hold {what}",
                why=f"There is no {path}.",
                remedy="Name the folder that 'airlock run' wrote with --run.",
            )
        try:
            value = json.loads(read_bounded(path))
        except ValueError as error:
            raise FileFormatError(
                f"cannot read {path}",
                why="It is not valid JSON.",
                remedy="Run 'airlock run' with the same folder again; it restores the file from stored evidence.",
            ) from error
        return validate(model, value, path)
