"""Connect to Ray: the machine's own, a cluster that is running, or none where Ray is not installed.

Separate from what is run there: pairs and evaluation use the same connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from realmaster.config import Settings
from realmaster.errors import ClusterError
from realmaster.optional import require


class RaySettings(Settings):
    """How to reach Ray."""

    address: str | None = Field(
        None, description='"auto" for the running cluster, "ray://host:10001" for one elsewhere; null starts one here'
    )
    num_cpus: int | None = Field(None, ge=1, description="cores of a cluster started here; null takes all")
    environment: dict[str, str] = Field({}, description="variables for the workers, such as HF_HOME")


@contextmanager
def connected(settings: RaySettings | None = None) -> Iterator[Any]:
    """Give the module `ray`, connected; leave the cluster at the end, or end it where it was started here.

    A connection that was there before is used and left alone.

    Raises:
        MissingExtraError: Ray is not installed. ClusterError: no cluster answers at the address.
    """
    settings = settings if settings is not None else RaySettings()
    ray = require("ray", extra="ray")
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if settings.address is None:
        options |= {"num_cpus": settings.num_cpus, "include_dashboard": False}
    else:
        options["address"] = settings.address
    if settings.environment:
        options["runtime_env"] = {"env_vars": dict(settings.environment)}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"expected a Ray cluster at {settings.address or 'this machine'}, none answers "
            f"({str(error).splitlines()[0]}): start one with `ray start --head`, or leave the address out"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
