"""What time it is, as far as a decision may rest on it: never before what the signed log has seen.

With a clock that was set back, expired evidence, waivers and approvals would count again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pipeline.audit import Entry
from pipeline.errors import DeniedError, RequestError

_TOLERANCE = timedelta(minutes=5)  # how far a clock may be corrected without anybody looking at it


def present(entries: Sequence[Entry]) -> datetime:
    """The present moment: the clock's time, or that of the newest log entry where a small correction put it behind.

    `entries` are those of the audit log, as `AuditLog.entries` checked them.

    Raises:
        DeniedError: the clock stands well before the newest of them.
    """
    now = datetime.now(UTC)
    newest = max((entry.time for entry in entries), default=now)  # not the last: small steps back must not add up
    if now < newest - _TOLERANCE:
        raise DeniedError(
            "the clock was set back",
            why=f"It says {now:%Y-%m-%d %H:%M} UTC, and the audit log has an entry of {newest:%Y-%m-%d %H:%M} UTC; "
            "what has expired since would count again.",
            remedy="Set the clock right, then run the same command again; nothing was decided, signed or promoted.",
        )
    return max(now, newest)


def foreseen(moment: datetime, entries: Sequence[Entry]) -> datetime:
    """`moment`, for a look at what will be stale or expired by then.

    Raises:
        RequestError: it lies in the past: before now, or before the newest entry of the log.
        DeniedError: as `present`.
    """
    now = present(entries)
    if moment < now:
        raise RequestError(
            f"cannot judge as of {moment:%Y-%m-%d %H:%M} UTC",
            why=f"It is {now:%Y-%m-%d %H:%M} UTC, and --at only looks forward: "
            "looking back, what has expired would count again.",
            remedy="Name a moment that is yet to come, or leave --at out; 'airlock audit replay' recomputes the past.",
        )
    return moment.astimezone(UTC)
