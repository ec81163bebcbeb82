"""How the service is set up: the arguments of the application in `serve/config.yaml`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from serve.isolated import Bounds


class Config(BaseModel):
    """All of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Field(description="folder of accepted work, uploads and reports; kept")
    keys: Path | None = Field(
        default=None, description="file of bearer keys; None: nobody is asked for one"
    )
    max_upload_bytes: int = Field(default=64 * 2**20, gt=0, description="413 above that")
    max_fetch_bytes: int = Field(default=4 * 2**30, gt=0, description="of what a URI names")
    score: Bounds = Field(default=Bounds(), description="of an inspection that is waited for")
    job: Bounds = Field(
        default=Bounds(seconds=4 * 3600, cpu_seconds=16 * 3600),
        description="of one that is not",
    )
    scores_at_once: int = Field(default=2, gt=0, description="in one replica")
    scores_together: bool = Field(
        default=False,
        description="scores of a replica share one process, so that nets take what several ask at "
        "once as a batch, and decodes on the GPU where `gpus` gives it one; a decoder that is "
        "taken over then reaches other requests. False: each has a process of its own, on the CPU",
    )
    together_memory_bytes: int = Field(
        default=8 * 2**30,
        gt=0,
        description="of that process; what is done again without it may take `score.memory_bytes` "
        "each",
    )
    scores_waiting: int = Field(default=8, ge=0, description="of one replica; 429 above that")
    scores_of_one_key: int = Field(
        default=8,
        gt=0,
        description="that one key has waiting or in work in one replica; 429 above that. Where no "
        "keys are asked for there is no such limit",
    )
    submits_at_once: int = Field(
        default=32,
        gt=0,
        description="requests for inspections that one replica reads at a time, uploads with them; "
        "429 above that",
    )
    submits_of_one_key: int = Field(
        default=8,
        gt=0,
        description="likewise, with one key; without keys there is no such limit",
    )
    samples_waiting: int = Field(
        default=2**26,
        gt=0,
        description="of luma, padded, in frames sent as tensors, of one replica: 413 where one "
        "request has more, 429 where all have",
    )
    frames_together: int = Field(
        default=16,
        ge=1,
        description="requests of frames that the net is given at once; 1: each alone",
    )
    frames_seconds: float = Field(
        default=120.0,
        gt=0,
        description="until frames are scored; 503 after that, and a replica whose net is not done "
        "by then is replaced",
    )
    database: str | None = Field(
        default=None,
        description="URL of the database that keeps what was accepted and what is watched, see "
        "pipeline.database; None: SQLite files in `data`",
    )
    fetch_seconds: float = Field(
        default=600.0, gt=0, description="that fetching what a URI names may take"
    )
    jobs_at_once: int = Field(default=1, gt=0, description="inspections of one runner")
    max_runners: int = Field(
        default=1,
        ge=1,
        description="processes that work on accepted inspections; more of them on several nodes "
        "want `database`, as SQLite is for one",
    )
    runner_backlog_seconds: float = Field(
        default=60.0, gt=0, description="of inspections that wait: more of it adds runners"
    )
    jobs_of_one_key: int = Field(default=100, gt=0, description="unfinished; 429 above that")
    keep_days: float = Field(
        default=30.0,
        gt=0,
        description="that a finished inspection and its report are kept; 404 after that",
    )
    backlog_seconds: float = Field(
        default=4.0, gt=0, description="of scores, before each replica: more of it adds replicas"
    )
    grow_after: float = Field(default=5.0, ge=0, description="seconds of such a backlog")
    shrink_after: float = Field(default=120.0, ge=0, description="seconds without it")
    listeners: int = Field(
        default=500, gt=0, description="to events, of one replica; 429 above that"
    )
    listeners_of_one_key: int = Field(
        default=200, gt=0, description="likewise, with one key; without keys there is no such limit"
    )
    listener_bytes: int = Field(
        default=16 * 2**20,
        gt=0,
        description="that one is told before it has to come again, which browsers and our client "
        "do by themselves: whatever it does not read is kept for it",
    )
    monitors: int = Field(default=10_000, ge=0, description="live streams; 429 above that")
    monitors_of_one_key: int = Field(
        default=10_000, gt=0, description="that one key has added; 429 above that"
    )
    monitor_workers: int = Field(
        default=0, ge=0, description="processes that watch; 0: as many as the cluster has room for"
    )
    monitor_standby: int = Field(
        default=1, ge=0, description="processes that take over from one that dies"
    )
    monitor_cpus: float = Field(default=1.0, gt=0, description="of one of them, as Ray counts")
    monitor_gpus: float = Field(default=0.0, ge=0)
    monitor_webhooks: tuple[str, ...] = Field(
        default=(), description="addresses that get every event of a live stream"
    )
    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=2, ge=1)
    cpus: float = Field(default=1.0, ge=0, description="of a replica, as Ray counts them")
    gpus: float = Field(default=0.0, ge=0)
    private_addresses: bool = Field(
        default=False, description="fetch from and post to addresses that are not public too"
    )
    webhook_secret: str | None = Field(
        default=None, description="whsec_...: signs what is posted to webhooks"
    )
