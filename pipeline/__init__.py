"""Airlock: from a proposed release to a proved decision.  The flow in order, one line a step:

    release       release.yaml                        -> Release             what is proposed
    signature     Candidate + the site's trust        -> VerifiedCandidate   signed by whom we trust, every byte
    checkpoint    VerifiedCandidate                   -> Checkpoint          safe to load, and what it is
    planning      Checkpoint                          -> ServingPlan         how to serve it here
    serving       Checkpoint + ServingPlan            -> ServedModel         a server that outlives nothing
    evaluation    Checkpoint x checks                 -> MeasurementEvidence measured, signed, never twice
    imported      another tool's report               -> MeasurementEvidence marked so, for a policy that counts it
    evidence      signed statements                   -> Evidence            all that is known of a checkpoint
    policy        Policy + Evidence                   -> Decision            judged, by a pure function
    approvals     Decision + people's signatures      -> ApprovedDecision    signed off
    registry      ApprovedDecision + checkpoint       -> Promotion           atomic, bound to digests
    card          Decision + Evidence + Promotion     -> Card                every number proved

`flow` joins them, `cli` gives them commands, `audit` logs and `replay` recomputes.  Values that pass between the steps
live in modules of their own (`manifest`, `measurement`, `digests`, ...) and know nothing of any step.
"""
