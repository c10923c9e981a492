"""The binaries of the local control plane: where each comes from, how it is built, how it tells its version.

Every tool family has a Go module of its own below `modules/`, because their dependencies do not agree with each other.
The version of a tool is read from the `require` line of that go.mod, so it is written down once.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).resolve().parent / "modules"


@dataclass(frozen=True)
class Tool:
    """One binary.

    Attributes:
        name: file name of the binary.
        module: folder below `modules/` with its go.mod.
        package: Go package of its main function.
        versioned: the Go module in that go.mod whose version is the version of the tool.
        stamps: variables set by the linker; `{version}`, `{major}`, `{minor}` are filled in.
        tags: Go build tags.
        version_args: arguments that make it print its version.
        shift: prefix of the Go version that the tool itself spells differently, as (from, to).
        minutes: a rough cold build time on two cores, for the progress line only.
    """

    name: str
    module: str
    package: str
    versioned: str
    stamps: tuple[str, ...] = ()
    tags: str = ""
    version_args: tuple[str, ...] = ("--version",)
    shift: tuple[str, str] = ("", "")
    minutes: float = 1.0

    @property
    def go_mod(self) -> Path:
        """The go.mod that fixes every version this binary is made of."""
        return MODULES / self.module / "go.mod"

    @property
    def version(self) -> str:
        """The version as the tool reports it, for example v1.36.3."""
        pattern = rf"^\s*(?:require )?{re.escape(self.versioned)} (v\S+)"
        found = re.search(pattern, self.go_mod.read_text(), re.MULTILINE)
        if found is None:
            raise ValueError(f"{self.go_mod} does not require {self.versioned}")
        old, new = self.shift
        version = found[1]
        return new + version[len(old) :] if old and version.startswith(old) else version

    def flags(self) -> list[str]:
        """The flags of `go build`, without the output and the package."""
        major, minor, _ = self.version.removeprefix("v").split(".", 2)
        fill = {"version": self.version, "bare": self.version.removeprefix("v"), "major": major, "minor": minor}
        stamps = "".join(f" -X {stamp.format(**fill)}" for stamp in self.stamps)
        tags = ["-tags", self.tags] if self.tags else []
        return ["-trimpath", *tags, "-ldflags", f"-s -w{stamps}"]

    def key(self, platform: str) -> str:
        """Names everything that decides what the binary is: another key is another binary in the cache."""
        parts = "\n".join([self.go_mod.read_text(), self.package, *self.flags(), platform])
        return hashlib.sha256(parts.encode()).hexdigest()[:12]


_KUBERNETES_STAMPS = (
    "k8s.io/component-base/version.gitVersion={version}",
    "k8s.io/component-base/version.gitMajor={major}",
    "k8s.io/component-base/version.gitMinor={minor}",
    "k8s.io/component-base/version.gitTreeState=clean",
    "k8s.io/client-go/pkg/version.gitVersion={version}",
)
_PROMETHEUS_STAMPS = ("github.com/prometheus/common/version.Version={bare}",)
_PROMETHEUS_TAGS = "netgo,remove_all_sd,enable_kubernetes_sd"


def _kubernetes(name: str, minutes: float, *version_args: str) -> Tool:
    return Tool(
        name,
        "kubernetes",
        f"k8s.io/kubernetes/cmd/{name}",
        "k8s.io/kubernetes",
        stamps=_KUBERNETES_STAMPS,
        version_args=version_args or ("--version",),
        minutes=minutes,
    )


def _prometheus(name: str, minutes: float) -> Tool:
    return Tool(
        name,
        "prometheus",
        f"github.com/prometheus/prometheus/cmd/{name}",
        "github.com/prometheus/prometheus",
        stamps=_PROMETHEUS_STAMPS,
        tags=_PROMETHEUS_TAGS,
        shift=("v0.3", "v3."),
        minutes=minutes,
    )


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        _kubernetes("kube-apiserver", 3.2),
        _kubernetes("kube-controller-manager", 0.8),
        _kubernetes("kube-scheduler", 0.2),
        _kubernetes("kubectl", 0.4, "version", "--client"),
        Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", minutes=0.5),
        _prometheus("prometheus", 2.0),
        _prometheus("promtool", 0.3),
        Tool(
            "helm",
            "helm",
            "helm.sh/helm/v4/cmd/helm",
            "helm.sh/helm/v4",
            stamps=("helm.sh/helm/v4/internal/version.version={version}",),
            version_args=("version", "--short"),
            minutes=1.0,
        ),
    )
}

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
MONITORING = ("prometheus", "promtool")
EVERYTHING = tuple(TOOLS)
