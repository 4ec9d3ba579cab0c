"""Decision + signatures of people -> ApprovedDecision: the only kind of decision that promotion accepts.

people.py     the site's people, their keys and roles
voice.py      one signed statement: approve, reject or withdraw
quorum.py     decision + statements -> ApprovedDecision, or who is missing
emergency.py  break-glass: a decision promoted against the gate by two people in two roles, for hours
waivers.py    one signed waiver of one rule for one checkpoint
"""

from pipeline.approvals.emergency import check_break_glass
from pipeline.approvals.quorum import ApprovedDecision, BreakGlass, check_approvals
from pipeline.approvals.voice import Approval, make_approval

__all__ = ["Approval", "ApprovedDecision", "BreakGlass", "check_approvals", "check_break_glass", "make_approval"]
