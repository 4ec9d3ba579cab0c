"""Candidate + site -> VerifiedCandidate: the signature, then the files, in one pass that ends in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.digests import Digest, sha256
from pipeline.errors import DeniedError, ManifestError
from pipeline.files import read_bounded
from pipeline.manifest import FileEntry, Manifest
from pipeline.release import Candidate
from pipeline.signature.bundle import BUNDLE_LIMIT, parse_bundle
from pipeline.signature.ingest import Observed, Pass, Watch
from pipeline.signature.paths import is_at_or_below
from pipeline.signature.signers import authenticate
from pipeline.signature.statement import SignedFiles, parse_statement
from pipeline.signature.store import CheckpointStore
from pipeline.signature.tree import ListedFile, Listing, list_tree, opened_directory
from pipeline.signature.trust import trust_in
from pipeline.signature.verified import VerifiedCandidate
from pipeline.site import Site

ProgressCallback = Callable[[int], None]
"""Told how many more bytes were read, by one thread at a time."""


def checkpoint_store(site: Site) -> CheckpointStore:
    """The site's store of verified checkpoints."""
    return CheckpointStore(site.store.path / "checkpoints")


def verify_candidate(
    candidate: Candidate, site: Site, *, progress: ProgressCallback | None = None, watch: Watch | None = None
) -> VerifiedCandidate:
    """Check the signature of `candidate` and every one of its files, and keep a read-only copy of what was checked.

    Each byte of the checkpoint is read once: hashed and copied from the same buffer.  If the store already has this
    very checkpoint, the submitted files are only hashed, and the stored copy is confirmed: its names, inodes, sizes,
    modes and times must be those recorded when it was last hashed in this boot of the machine, else it is hashed
    again too.  Nothing here uses the network.

    The bundle itself, when it lies inside the checkpoint, and what the signer left out with the site's leave
    (`allow_ignored`) are not copied, so that nothing unsigned is ever served.  `watch` says who sees the bytes
    of a file in the pass that hashes it.

    Raises:
        SignatureError: the bundle or its signer is not acceptable.
        ManifestError: the files are not those that were signed; `problems` has one line a file.
            Both carry as `subject` the digest of the files as they are, when every one of them could be hashed.
        RequestError: the site knows no such signer, or the checkpoint or the bundle cannot be read.
        KeyFileError: a key or a certificate of the site cannot be used.
        StorageError: the copy could not be made, or an earlier one was changed.
    """
    name = candidate.signature.signer
    signer, trust = site.signer(name), trust_in(site, name, datetime.now(UTC))
    raw = read_bounded(candidate.signature.bundle, limit=BUNDLE_LIMIT)
    with opened_directory(candidate.checkpoint) as root:
        listing = _without(list_tree(root), candidate.signature.bundle)
        submission = _Submission(candidate, root, listing, progress, watch)
        try:
            trust.require_candidate(candidate.name)
            bundle = parse_bundle(raw)
            authenticated = authenticate(bundle, signer, trust)
            signed = parse_statement(bundle.payload)
        except DeniedError as error:
            error.subject = submission.digest()
            raise
        submission = submission.without_permitted(signed, signer.allow_ignored)
        manifest, place = _check_and_store(submission, signed, name, checkpoint_store(site))
    return VerifiedCandidate(
        candidate=candidate,
        manifest=manifest,
        signer=authenticated.signer,
        bundle_digest=sha256(raw),
        root=place.absolute(),
        warnings=authenticated.warnings,
    )


@dataclass(frozen=True)
class _Submission:
    """The files as they were submitted: an open directory and what is listed below it."""

    candidate: Candidate
    root: int
    listing: Listing
    progress: ProgressCallback | None
    watch: Watch | None

    def without_permitted(self, signed: SignedFiles, allowed: tuple[str, ...]) -> _Submission:
        """The submission without the files that the signer left out and that the site lets signers leave out."""
        files = tuple(file for file in self.listing.files if not _is_permitted(file.path, signed, allowed))
        return replace(self, listing=Listing(files, self.listing.problems))

    def digest(self) -> Digest | None:
        """The digest of the files as they are, or None if they cannot all be hashed."""
        return self.identify(Pass(self.root, progress=self.progress).run(self.listing.files))

    def read(self, copy: int | None, expected: Mapping[str, Digest]) -> Observed:
        """Hash every file, in the sight of who watches; `copy` is the directory that receives them, if any does."""
        return Pass(self.root, copy, expected, self.progress, self.watch).run(self.listing.files)

    def identify(self, observed: Observed) -> Digest | None:
        """The digest of what was observed, or None if something there could not be."""
        if self.listing.problems or observed.problems or not observed.files:
            return None
        return Manifest(observed.files).digest


def _without(listing: Listing, bundle: Path) -> Listing:
    """`listing` without the bundle, which cannot have signed itself."""
    try:
        status = bundle.stat()
    except OSError:  # gone since it was read: there is nothing to leave out
        return listing
    files = tuple(file for file in listing.files if (file.device, file.inode) != (status.st_dev, status.st_ino))
    return Listing(files, listing.problems)


def _is_permitted(path: str, signed: SignedFiles, allowed: tuple[str, ...]) -> bool:
    return (
        path not in signed.digests
        and any(is_at_or_below(path, left_out) for left_out in signed.left_out)
        and any(is_at_or_below(path, permitted) for permitted in allowed)
    )


def _check_and_store(
    submission: _Submission, signed: SignedFiles, signer: str, store: CheckpointStore
) -> tuple[Manifest, Path]:
    """Hash the submission, copy it if that is of use, and compare it with what was signed."""
    files = submission.listing.files
    early = (*submission.listing.problems, *_coverage_problems(files, signed))
    covered = (file for file in files if file.path in signed.digests)
    claimed = Manifest(tuple(FileEntry(file.path, file.size, signed.digests[file.path]) for file in covered))
    if early or store.has(claimed.digest):
        manifest = _require_signed(submission, submission.read(None, {}), signed, signer, early)
        return manifest, store.confirm(manifest)
    with store.incoming() as incoming:
        copied = submission.read(incoming.descriptor, signed.digests)
        manifest = _require_signed(submission, copied, signed, signer, early)
        return manifest, store.commit(incoming, manifest)


def _coverage_problems(files: tuple[ListedFile, ...], signed: SignedFiles) -> tuple[str, ...]:
    present = {file.path for file in files}
    extra = [
        f"{path}: the signer left it out, and the site does not allow that"
        if any(is_at_or_below(path, left_out) for left_out in signed.left_out)
        else f"{path}: is not signed"
        for path in sorted(present - set(signed.digests))
    ]
    return (*extra, *(f"{path}: is signed but missing" for path in sorted(set(signed.digests) - present)))


def _require_signed(
    submission: _Submission, observed: Observed, signed: SignedFiles, signer: str, early: tuple[str, ...]
) -> Manifest:
    changed = [
        f"{entry.path}: was changed after it was signed"
        for entry in observed.files
        if signed.digests.get(entry.path, entry.digest) != entry.digest
    ]
    problems = tuple(sorted({*early, *observed.problems, *changed}))
    if not problems:
        return Manifest(observed.files)
    raise ManifestError(
        f"checkpoint '{submission.candidate.name}' is not what signer '{signer}' signed",
        why=f"{len(problems)} of its files or names are wrong: {problems[0]}{'; ...' if problems[1:] else ''}.",
        remedy="Get the checkpoint again from the supplier, whole and unchanged; a file that may stay unsigned must "
        "be left out by the signer and listed in the signer's 'allow_ignored'.",
        subject=submission.identify(observed),
        problems=problems,
    )
