"""A proxy in front of the API server that makes requests fail by a seeded plan, as networks and busy servers do.

Loopback only. It shows the API server's own certificate, so a client needs another address and nothing else. `asked`
says what a request is, `plan` what happens to it, `proxy` does it.
"""

from faultproxy.asked import Asked, asked_of
from faultproxy.plan import Fault, Plan, WatchFault
from faultproxy.proxy import FaultProxy

__all__ = ["Asked", "Fault", "FaultProxy", "Plan", "WatchFault", "asked_of"]
