"""Media in, defects out: source, decode, measure, detect, events, inspect, report.

The core of this package imports neither Ray nor FastAPI (tests/test_imports.py holds it to that).
"""
