"""Benchmark data that a site supplies: named, pinned, found under its data roots, never fetched.

definitions  the benchmarks that are known, and the lm-eval task that asks each
layouts      the shapes in which they are published
site_files   a site's set files (YAML): files, digests, licence, source
reading      verified bytes to rows
own          sets of the site's own
asking       a set asked through lm-eval and measured
comparing    a set measured against another one, such as CMMLU against MMLU
instructions what lm-eval's grader of IFEval needs, from pinned files
site_checks  all of it: what is there, and the checks it makes
"""
