"""Tests of pipeline/ranges/."""
