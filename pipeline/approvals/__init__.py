"""Decision + signatures of people -> ApprovedDecision: the only kind of decision that promotion accepts.

people.py     the site's people, their keys and roles
voice.py      one signed statement: approve, reject or withdraw
quorum.py     decision + statements -> ApprovedDecision, or who is missing
"""

from pipeline.approvals.quorum import ApprovedDecision, check_approvals
from pipeline.approvals.voice import Approval, make_approval

__all__ = ["Approval", "ApprovedDecision", "check_approvals", "make_approval"]
