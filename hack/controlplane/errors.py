"""What can go wrong in the harness, by what the caller can do about it.

ControlPlaneError
├── BuildError      a binary is missing and could not be made; the message names the remedy
└── StartError      a component did not come up; the message names its log and quotes its last lines
"""

from __future__ import annotations


class ControlPlaneError(RuntimeError):
    """Base of the errors of this package."""


class BuildError(ControlPlaneError):
    """A binary is missing and could not be made."""


class StartError(ControlPlaneError):
    """A component did not come up, or died."""
