"""Tests of the HTTP service."""

import warnings

with warnings.catch_warnings():  # Ray declares its settings as an older Pydantic had them
    warnings.simplefilter("ignore")
    import ray.serve  # noqa: F401
