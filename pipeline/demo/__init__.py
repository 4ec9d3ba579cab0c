"""The demonstration: a release of three candidates of one real model, made here, that come to three different ends.

`checkpoints` makes them, `site` the keys and files around them, `story` takes the release through the pipeline.
"""
