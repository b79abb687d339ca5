"""The connection to Ray: the cluster that the environment names, else a local one for this process alone."""

import contextlib
import logging
import os
import socket
import sys
from typing import Any

from csgen.errors import CsgenError

log = logging.getLogger(__name__)

# Shards are read and written by the tasks themselves: the object store holds the lexicon and notes of a few hundred
# bytes a shard. Ray's own default, 30 % of the memory, would take it from the workers and from other programs.
OBJECT_STORE_BYTES = 1 << 30
OBJECT_STORE_SHARE = 0.2  # of the memory at most
ANSWER_WITHIN_S = 10.0


def connect(workers: int | None) -> None:
    """Connect this process to RAY_ADDRESS (`ray job submit` sets it), or to a local Ray of `workers` CPUs (None: all).

    A process that is connected already stays so. Ray's own messages are kept in its log files; CSGEN_DEBUG puts them
    on standard error too.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        # Ray would write a token into the home folder; a local cluster listens on this machine alone, for minutes.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    else:
        _refuse_silent(address)
    import ray

    debug = bool(os.environ.get("CSGEN_DEBUG"))
    if not ray.is_initialized():
        log.info("connecting to Ray at %s" if address else "starting Ray on this machine", *[address] * bool(address))
        options: dict[str, Any] = {} if address else _local_options(workers)
        level = logging.INFO if debug else logging.ERROR
        try:
            with contextlib.redirect_stdout(sys.stderr):
                ray.init(address=address or "local", log_to_driver=debug, logging_level=level, **options)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            remedy = "start the cluster or unset RAY_ADDRESS" if address else "see its logs in /tmp/ray"
            raise CsgenError(f"cannot connect to Ray at {address or 'this machine'}: {reason}; {remedy}") from error
    _quieten_ray_data(debug)


def _refuse_silent(address: str) -> None:
    """Raise CsgenError where nothing listens at HOST:PORT; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():  # such as "auto"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_WITHIN_S).close()
    except OSError as error:
        reason = f"RAY_ADDRESS is {address}, where nothing answers: {error.strerror or error}"
        raise CsgenError(f"{reason}; start the cluster or unset RAY_ADDRESS") from error


def _local_options(workers: int | None) -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    store = min(OBJECT_STORE_BYTES, int(OBJECT_STORE_SHARE * memory))
    return {"num_cpus": workers, "include_dashboard": False, "object_store_memory": store}


def _quieten_ray_data(debug: bool) -> None:
    """Ray Data tells of each execution on the console; its log file keeps all of it."""
    import ray.data  # noqa: F401  sets its handlers up

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler) and not debug:
            handler.setLevel(logging.CRITICAL + 1)
