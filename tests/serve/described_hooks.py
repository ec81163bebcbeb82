"""What schemathesis must be told of our description: see test_described.py."""

from __future__ import annotations

import io
from http import HTTPStatus

import numpy as np
import schemathesis
from hypothesis import strategies as st

from serve.frames import NPY


@st.composite
def npy_files(draw) -> bytes:
    """Frames as they may be sent."""
    height, width = draw(st.integers(16, 40)), draw(st.integers(16, 40))
    shape = (draw(st.integers(1, 3)), height, width, *draw(st.sampled_from([(), (3,)])))
    file = io.BytesIO()
    np.save(file, np.full(shape, draw(st.integers(0, 255)), np.uint8))
    return file.getvalue()


schemathesis.openapi.media_type(NPY, npy_files())


@schemathesis.check
def what_fits_the_description_is_not_invalid(_, response, case) -> None:
    """In place of `positive_data_acceptance`.

    No description can say that a host has a public address, or that a detector has a setting: such
    are refused with a code of their own. `invalid_request` means that the description is wrong.
    """
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive and response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        assert response.json()["code"] != "invalid_request", response.json()["detail"]
