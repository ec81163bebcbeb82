"""What tests of a real service share."""

from __future__ import annotations

import socket

import httpx
import pytest

MARKS = [
    pytest.mark.xdist_group("ray"),
    # Ray's and Serve's own; they leave sockets and log pipes to the interpreter's end
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def problem_of(response: httpx.Response, status: int, code: str) -> dict:
    """The problem document that an answer must be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert (said["status"], said["code"]) == (status, code)
    assert said["instance"] == response.request.url.path
    return said
