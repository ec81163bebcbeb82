"""Clients that keep a service busy while something happens to it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import httpx


class Load:
    """Clients that ask one thing after the other until they are stopped."""

    def __init__(self, url, clip, scorers, askers, key=None):
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.answers = Counter()
        self._url, self._clip = url, clip
        self._stop = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._all(scorers, askers)])

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    async def _all(self, scorers, askers):
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=60.0
        ) as http:
            tasks = [self._score(http) for _ in range(scorers)]
            await asyncio.gather(*tasks, *(self._ask(http) for _ in range(askers)))

    async def _score(self, http):
        form = {"request": '{"only": ["black"]}'}
        while not self._stop.is_set():
            answer = await http.post("/v1/score", files={"file": self._clip}, data=form)
            self.answers[answer.status_code] += 1
            if answer.status_code == 429:
                await asyncio.sleep(float(answer.headers["retry-after"]))

    async def _ask(self, http):
        while not self._stop.is_set():
            answer = await http.get("/v1/detectors")
            self.answers[answer.status_code] += 1
            await asyncio.sleep(0.05)
