"""Tests of the stability suite."""
