"""Bias: whether the model treats groups of people differently where only the group differs."""

from checks.bias import counterfactual_pairs

CHECKS = (counterfactual_pairs.CHECK,)
