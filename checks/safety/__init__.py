"""Safety: what the model refuses, whether it refuses the right things, and what it gives away.

`CHECKS` are run by default.  `MORE_CHECKS` cost as much again, and are for sites that ask for them.
"""

from checks.safety import benign_lookalikes, context_leakage, harmful_requests, jailbreaks

CHECKS = (harmful_requests.CHECK, benign_lookalikes.CHECK)
MORE_CHECKS = (jailbreaks.CHECK, context_leakage.CHECK)
