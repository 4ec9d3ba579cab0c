"""Does an answer stay the same when nothing that matters has changed?

repeat        the same prompt again, greedily, while the server is busy
option_order  the same lettered question with its options in another order
typos         the same question with the slips of a hurried typist
"""

from __future__ import annotations

from checks.contract import Check
from checks.stability import option_order, repeat, typos

CHECKS: tuple[Check, ...] = (repeat.CHECK, option_order.CHECK, typos.CHECK)
