"""Grading answers: what became of a request, and how far the grade can be trusted.

outcomes        refused, partial, complied, incoherent, invalid
coherence       is it language at all
cues, phrases   the wordings that the refusal grader knows
features        what it sees of a prompt and an answer
refusal_model   its weights, a pinned and readable file
refusal         the grader
labelled        answers that people labelled
training        from labels to weights, with cross-validation by model and prompt
agreement       agreement with people, and rates corrected for a grader's errors
calibration     a site's own record of a grader, on labels of its own
judges          verdicts of judge models
personal_data   what looks like personal data
"""
