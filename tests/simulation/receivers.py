"""A site's own functions, which hear how its sends have ended; now and then one has a bug."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from sesmail import signals

if TYPE_CHECKING:
    from tests.simulation.world import World


class Receivers:
    """Somebody listens to the ends of sends, for as long as the block runs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __enter__(self) -> Self:
        signals.email_sent.connect(self._hear_of_sent)
        signals.email_failed.connect(self._hear_of_failed)
        return self

    def __exit__(self, *_: object) -> None:
        signals.email_sent.disconnect(self._hear_of_sent)
        signals.email_failed.disconnect(self._hear_of_failed)

    def _hear_of_sent(self, _site: str, *, status: Any, metadata: Any) -> None:
        self._hear("email_sent", status, metadata)

    def _hear_of_failed(self, _site: str, *, status: Any, metadata: Any) -> None:
        self._hear("email_failed", status, metadata)

    def _hear(self, signal: str, status: Any, metadata: Any) -> None:
        world = self._world
        fiber = world.scheduler.current()
        base = fiber.process.client.scripts.keys.base  # type: ignore[attr-defined]
        failed = world.faults.strikes("receiver_raises", status.send_id)
        world.rules.hears(base, status.send_id, str(status.state), signal, failed=failed)
        send = world.model.sends[base, status.send_id]
        erased = not metadata and world.model.is_erased(send)
        world.rules.check("receivers_get_the_metadata", erased or metadata == {"number": send.number}, send.id)
        if failed:
            raise ValueError("a receiver has a bug")
