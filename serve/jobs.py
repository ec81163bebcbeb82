"""Works on accepted inspections, one after the other or several at once, and posts webhooks.

Several processes may do so for one store. Calls of the store are made in threads: a database that
is away must not keep a replica from saying that it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import Any

import httpx

from pipeline import webhooks
from pipeline.scratch import scratch, sweep
from pipeline.settings import Settings
from serve import traces
from serve.config import Config
from serve.guard import RECEIVERS, fetch, public_address, refuse_lists
from serve.isolated import Isolated
from serve.problems import ProblemError
from serve.store import LEASE, Claimed, Message, Store

log = logging.getLogger("ray.serve.vidette")
_IDLE = 0.5  # seconds between looks for work
_CROWDED = 5.0  # seconds after no process could be had
_POSTED = 15.0  # seconds that a receiver has; less than a message is a runner's own
_SWEEP_EVERY = 600.0  # seconds
_LEFT_OVER = 3600.0  # seconds after which an upload is nobody's


class Jobs:
    """The runner. Made inside a running event loop.

    Args:
        config: of the service.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.store = Store(config.data, config.database)
        self.reports = config.data / "reports"
        self.uploads = config.data / "uploads"
        self._work_folder = config.data / "work"
        for folder in (self.reports, self.uploads, self._work_folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._seconds = 10.0  # that an inspection took of late
        self._isolated = Isolated()
        self._isolated.warm()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(config.jobs_at_once)]
        self._tasks.append(asyncio.create_task(self._post()))
        self._tasks.append(asyncio.create_task(self._tidy()))

    async def _tidy(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._sweep)
            except Exception:  # of the database: it is asked again
                log.exception("what is not wanted any more could not be removed")
            await asyncio.sleep(_SWEEP_EVERY)

    def _sweep(self) -> None:
        """Remove what has been kept long enough, and what nobody wants.

        That is uploads of requests that died, or of what nobody works on, and what runners that
        were killed had in work.
        """
        sweep(self._work_folder)
        wanted, now = self.store.uploads(), time.time()
        while names := self.store.prune(now - self.config.keep_days * 86_400.0):
            for name in names:
                (self.reports / f"{name}.html").unlink(missing_ok=True)
        for path in self.uploads.iterdir():
            with contextlib.suppress(FileNotFoundError):  # other runners sweep too
                if str(path) not in wanted and now - path.stat().st_mtime > _LEFT_OVER:
                    path.unlink()

    def cancel(self, name: str) -> bool:
        """Cancel what is not finished, and remove its upload; whether there is such a one."""
        known = self.store.cancel(name)
        upload = self.store.upload(name) if self._is_over(name) else None
        if upload is not None:
            Path(upload).unlink(missing_ok=True)
        return known

    async def backlog(self) -> float:
        """Seconds until what waits has begun, were this the only runner.

        What is in work counts as a runner's due each: it should not be stopped.
        """
        counts = await asyncio.to_thread(self.store.counts)
        due = self.config.runner_backlog_seconds
        waiting, working = counts.get("queued", 0), counts.get("running", 0)
        return (waiting * self._seconds + working * due) / self.config.jobs_at_once

    async def close(self) -> None:
        """Stop; what is in work is begun again by whoever comes next."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._isolated.close()
        self.store.close()

    async def _work(self) -> None:
        while True:
            try:
                claimed = await self._claimed()
                if claimed is None:
                    await asyncio.sleep(_IDLE)
                elif not await self._one(claimed):
                    await asyncio.sleep(_CROWDED)
            except asyncio.CancelledError:
                raise
            except Exception:  # one inspection must not end the work on the others
                log.exception("an inspection failed")
                await asyncio.sleep(_IDLE)

    async def _claimed(self) -> Claimed | None:
        """The next inspection; given back where this runner ends while it is being claimed."""
        claim = asyncio.create_task(asyncio.to_thread(self.store.claim))
        try:
            return await asyncio.shield(claim)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):  # of the database: then its lease runs out
                if (claimed := await claim) is not None:
                    self.store.release(claimed)
            raise

    async def _one(self, claimed: Claimed) -> bool:
        """Work on one; false where no process was to be had for it."""
        name = claimed.name
        began = time.monotonic()
        far: dict[str, Any] = {"position": 0.0, "duration": None}
        work = asyncio.create_task(self._traced(claimed, far))
        store, given_back = self.store, False
        try:
            while not work.done():
                told = far["position"], far["duration"]
                if not await asyncio.to_thread(store.renew, claimed, *told):
                    work.cancel()  # it was cancelled, or is somebody else's
                await asyncio.wait([work], timeout=min(1.0, LEASE / 4))
            if work.cancelled():
                return True
            try:
                result = work.result()
            except ProblemError as problem:
                if problem.code == "no_worker":  # nobody has tried it
                    log.warning("inspection %s waits: %s", name, problem.detail)
                    given_back = True
                    await asyncio.shield(asyncio.to_thread(store.release, claimed))
                    return False
                if problem.retry_after is not None:  # ours, not of the asset
                    log.warning("inspection %s is tried again: %s", name, problem.detail)
                    return True  # its lease runs out, and it is claimed again, so many times
                said = {"code": problem.code, "detail": problem.detail}
                await asyncio.to_thread(store.finish, claimed, problem=said)
            except Exception as error:
                log.exception("inspection %s failed", name)
                detail = type(error).__name__
                said = {"code": "internal_error", "detail": detail}
                await asyncio.to_thread(store.finish, claimed, problem=said)
            else:
                await asyncio.to_thread(store.finish, claimed, result=result)
            self._seconds += 0.2 * (time.monotonic() - began - self._seconds)
            return True
        except asyncio.CancelledError:  # this runner ends
            if not given_back:  # a second time might take it from whoever has it next
                store.release(claimed)
            raise
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await work
            if claimed.wanted.upload is not None and self._is_over(name):
                Path(claimed.wanted.upload).unlink(missing_ok=True)

    def _is_over(self, name: str) -> bool:
        known = self.store.result(name)
        return known is None or known[0] not in ("queued", "running")

    async def _traced(self, claimed: Claimed, far: dict[str, Any]) -> str:
        with traces.of_job(claimed.wanted.trace, claimed.name, claimed.attempt):
            return await self._inspected(claimed, far)

    async def _inspected(self, claimed: Claimed, far: dict[str, Any]) -> str:
        """The result of one inspection, as JSON; `far` says how far it is."""
        name, wanted = claimed.name, claimed.wanted
        await self._isolated.ready()  # before gigabytes are fetched for it
        with scratch(self._work_folder) as folder:
            if wanted.upload is not None:
                path = Path(wanted.upload)
                refuse_lists(path)
            else:
                path = folder / "asset"
                private = self.config.private_addresses
                most = self.config.max_fetch_bytes
                with traces.span("fetch"):
                    seconds = self.config.fetch_seconds
                    await fetch(wanted.uri or "", path, most, seconds, private=private)

            def told(position: float, duration: float | None) -> None:
                far.update(position=position, duration=duration)

            report = folder / "report.html"
            settings = Settings.model_validate(wanted.settings)
            result = await self._isolated.inspect(
                path, wanted.name, settings, self.config.job, report=report, told=told
            )
            if report.is_file():
                part = self.reports / f"{name}.part"
                part.write_bytes(report.read_bytes())
                part.replace(self.reports / f"{name}.html")
            return result.model_dump_json(by_alias=True)

    async def _post(self) -> None:
        """Send messages until they arrive, or for about eight hours."""
        while True:
            try:
                due = await asyncio.to_thread(self.store.due)
                await asyncio.gather(*(self._deliver(message) for message in due))
            except Exception:  # of the database: it is asked again
                log.exception("messages could not be sent")
            await asyncio.sleep(_IDLE)

    async def _deliver(self, message: Message) -> None:
        arrived = await self._sent(message.id, message.url, message.body)
        wait = None if arrived else webhooks.next_try(message.attempts)
        if wait is None:
            await asyncio.to_thread(self.store.delivered, message.id)
        else:
            await asyncio.to_thread(self.store.put_off, message.id, wait)

    async def _sent(self, name: str, url: str, body: str) -> bool:
        headers = webhooks.headers(name, body, self.config.webhook_secret)
        try:
            to = httpx.URL(url)
            port = to.port or (443 if to.scheme == "https" else 80)
            headers["Host"] = to.netloc.decode("ascii")
            async with asyncio.timeout(_POSTED):
                address = await public_address(
                    to.host, port, private=self.config.private_addresses, threads=RECEIVERS
                )
                async with (
                    httpx.AsyncClient(timeout=_POSTED, trust_env=False) as client,
                    # what a receiver answers is not read: it may be without end
                    client.stream(
                        "POST", to.copy_with(host=address), content=body, headers=headers,
                        extensions={"sni_hostname": to.host},
                    ) as response,
                ):  # fmt: skip
                    return response.is_success
        except Exception as error:  # whatever an address does, the others get their messages
            log.warning("webhook %s: %s: %s", name, type(error).__name__, error)
            return False
