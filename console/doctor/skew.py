"""How far this machine's clock and a server's lie apart, as far as the server's ``Date`` header tells, and what that does.

The header counts whole seconds and cuts the rest off, and it was written some time between our asking and the answer; the skew
is what remains after the benefit of every doubt.
"""

from console.doctor.finding import Finding, Topic
from services.coordination.lease import DURATION, RENEW_EVERY

NOTICEABLE = RENEW_EVERY
"""Seconds: from here on ages on the screen are visibly wrong."""
HARMFUL = DURATION - RENEW_EVERY
"""Seconds: from here on a lease that was just renewed looks as if nobody held it, or a dead one as if it were alive."""


def skew(server_time: float, asked: float, answered: float) -> float:
    """Seconds by which the server is ahead of us, negative where it is behind; 0 where the two can't be told apart."""
    least, most = server_time - answered, server_time + 1 - asked
    return least if least > 0 else min(most, 0.0)


def judge(topic: Topic, server_time: float | None, asked: float, answered: float, *, leases: bool) -> Finding:
    """``leases``: whether this server's machines keep the leases, so that a wrong clock does harm and not just confuse."""
    if server_time is None:
        return topic.unknown("it does not say its time (no Date header)", f"less than {NOTICEABLE:g} s apart")
    apart = skew(server_time, asked, answered)
    direction = "ahead of" if apart > 0 else "behind"
    if abs(apart) < NOTICEABLE:
        return topic.ok(f"{abs(apart):.1f} s apart" if apart else "the same time")
    found = f"{abs(apart):.1f} s {direction} this machine"
    action = "Set this machine's clock by NTP (timedatectl); if it is right, the server's."
    if leases and abs(apart) >= HARMFUL:
        needed = (
            f"less than {HARMFUL:g} s apart: leases last {DURATION} s, so that a living driver looks dead and a dead one alive"
        )
        return topic.problem(found, needed, action)
    return topic.warning(found, f"less than {NOTICEABLE:g} s apart: ages and stamps are wrong", action)
