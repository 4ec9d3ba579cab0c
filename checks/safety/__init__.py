"""Safety: what the model refuses, and whether it refuses the right things."""

from checks.safety import benign_lookalikes, harmful_requests

CHECKS = (harmful_requests.CHECK, benign_lookalikes.CHECK)
