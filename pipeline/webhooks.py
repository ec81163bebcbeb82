"""Webhooks as Standard Webhooks has them: what goes with a message, and when it is sent again."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

from standardwebhooks import Webhook

# seconds from one try to the next, after Standard Webhooks
RETRIES = (5.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0)


def headers(name: str, body: str, secret: str | None) -> dict[str, str]:
    """Headers of a message.

    Args:
        name: its ID, the same at every try.
        body: as it is sent.
        secret: whsec_..., to sign it with; None: unsigned.
    """
    now = int(time.time())
    made = {
        "Content-Type": "application/json", "webhook-id": name, "webhook-timestamp": str(now)
    }  # fmt: skip
    if secret is not None:
        moment = datetime.fromtimestamp(now, UTC)
        made["webhook-signature"] = Webhook(secret).sign(name, moment, body)
    return made


def next_try(attempts: int) -> float | None:
    """Seconds until a message is sent again, with jitter; None: it is given up.

    Args:
        attempts: that failed before the one that has just failed.
    """
    if attempts >= len(RETRIES):
        return None
    return RETRIES[attempts] * (1 + secrets.randbelow(100) / 500)
