"""Errors, named by what the caller must do.

TrimtabError
├── InvalidSpec(field, remedy)        a person must change the manifest
├── NotYetSupported(field)            a valid field whose behaviour this version does not have
├── RetryLater(after)                 try the same thing again, not before `after` seconds
├── TargetLost                        the target is gone; undo and stop
├── CorruptLedger                 a stored Trial or status cannot be read: pause, never guess
├── IllegalTransition                 a defect: the machine was asked for a move that its table lacks
├── LeadershipLost                    stop writing at once; another operator may be acting
└── ApiError(status, message)         the API server's answer
    ├── NotFound                      404
    ├── AlreadyExists                 409 on create: GET and compare
    ├── Conflict                      409 on write: re-read and re-decide
    ├── Unauthorized                  401: our credentials are not accepted; nothing is known of rights
    ├── Forbidden                     403: a right is missing; condition RBACDenied, no hot loop
    ├── Rejected                      400/422 or an admission refusal: the server's words matter
    ├── Throttled(after)              429: not before `after` seconds
    └── Unavailable                   5xx, time-out, connection lost: the effect may or may not have happened
"""

from __future__ import annotations


class TrimtabError(Exception):
    """Base of all errors that Trimtab raises on purpose."""


class InvalidSpec(TrimtabError):
    """A person must change the manifest: names the field and the remedy."""

    def __init__(self, field: str, problem: str, remedy: str = "") -> None:
        self.field, self.problem, self.remedy = field, problem, remedy
        super().__init__(f"{field}: {problem}" + (f"; {remedy}" if remedy else ""))


class NotYetSupported(TrimtabError):
    """A valid field whose behaviour this version does not have: refused, never silently ignored."""

    def __init__(self, field: str, remedy: str) -> None:
        self.field, self.remedy = field, remedy
        super().__init__(f"{field}: not supported by this version; {remedy}")


class RetryLater(TrimtabError):
    """The same thing may work after `after` seconds."""

    def __init__(self, after: float, why: str) -> None:
        self.after = after
        super().__init__(why)


class TargetLost(TrimtabError):
    """The target Deployment is gone."""


class IllegalTransition(TrimtabError):
    """A defect: a phase change that the transition table does not list."""


class LeadershipLost(TrimtabError):
    """This process may no longer write."""


class ApiError(TrimtabError):
    """An answer of the API server other than success."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(f"{status}: {message}" if status else message)


class NotFound(ApiError):
    """404."""


class AlreadyExists(ApiError):
    """409 on create: GET it and compare before calling it success."""


class Conflict(ApiError):
    """409 on a write with a resourceVersion or uid precondition: re-read and re-decide."""


class Unauthorized(ApiError):
    """401: the credentials are not accepted, also after they were read again; says nothing about rights."""


class Forbidden(ApiError):
    """403: a right is missing."""


class Rejected(ApiError):
    """400 or 422: validation, quota or an admission policy refused the object."""


class Throttled(ApiError):
    """429: not before `after` seconds."""

    def __init__(self, message: str, after: float) -> None:
        self.after = after
        super().__init__(429, message)


class Unavailable(ApiError):
    """5xx, time-out or connection lost: the effect may or may not have happened."""


class CorruptLedger(TrimtabError):
    """A Trial or a status cannot be read: pause with the reason, never guess."""
