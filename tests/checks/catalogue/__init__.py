"""Tests of the data catalogue."""
