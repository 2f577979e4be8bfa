"""Who drives a service: lease, epoch, checkpoint and record (the second, narrow door)."""

from services.coordination.coordination import Coordination
from services.coordination.lease import Held, Hold
from services.coordination.records import records

__all__ = ["Coordination", "Held", "Hold", "records"]
