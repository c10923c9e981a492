"""What a Deployment may hold that makes a second copy of its pods unsafe; each finding is a sentence with its remedy.

Two kinds: hazards, which are refused, and side effects, which only the owner can judge and may accept by annotation.
What cannot be seen in a manifest (a queue that pods consume from) is not looked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.api.kube_read import Raw
from trimtab.domain.names import ANNOTATION_SIDE_EFFECTS_OK

SINGLE_ATTACH = (
    "awsElasticBlockStore",
    "azureDisk",
    "cinder",
    "fc",
    "gcePersistentDisk",
    "iscsi",
    "rbd",
    "vsphereVolume",
)
ACCEPT = f"annotate the Deployment with {ANNOTATION_SIDE_EFFECTS_OK}"


def hazards_of(deployment: Raw) -> tuple[str, ...]:
    """Every reason that forbids running arms beside the target."""
    spec = deployment["spec"]
    return (*_rollout(spec), *_pod(spec["template"]["spec"]))


def side_effects_of(deployment: Raw) -> tuple[str, ...]:
    """Everything that arms would do once more."""
    return tuple(_side_effects(deployment["spec"]["template"]["spec"]))


def _rollout(spec: Raw) -> Iterator[str]:
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        yield (
            "spec.strategy.type Recreate says that two versions must not run at once, and arms run beside the target; "
            "use RollingUpdate if they may"
        )


def _pod(pod: Raw) -> Iterator[str]:
    if pod.get("resources"):
        yield (
            "spec.template.spec.resources (pod-level resources) share one budget between containers, so a container's "
            "own cannot be tuned; set resources per container"
        )
    if pod.get("hostNetwork"):
        yield "spec.template.spec.hostNetwork makes arms compete for the node's ports; remove it"
    for container in (*pod["containers"], *(pod.get("initContainers") or ())):
        for port in container.get("ports") or ():
            if port.get("hostPort") and not pod.get("hostNetwork"):
                yield f"container {container['name']} takes hostPort {port['hostPort']} of its node; use a Service"
    for volume in pod.get("volumes") or ():
        for kind in SINGLE_ATTACH:
            if kind in volume and not (volume[kind] or {}).get("readOnly"):
                yield f"volume {volume['name']} ({kind}) attaches to one node only; mount it readOnly or move the data"


def _side_effects(pod: Raw) -> Iterator[str]:
    for volume in pod.get("volumes") or ():
        claim = volume.get("persistentVolumeClaim")
        if claim and not claim.get("readOnly"):
            yield (
                f"volume {volume['name']} is the claim {claim.get('claimName', '')}, which arms would write to, and "
                f"which one node alone can mount unless it is ReadWriteMany; mount it readOnly, or, if both are "
                f"harmless, {ACCEPT}"
            )
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a hostPath that arms would share; if that is harmless, {ACCEPT}"
    once = [c["name"] for c in pod.get("initContainers") or () if c.get("restartPolicy") != "Always"]
    if once:
        names = ", ".join(once)
        yield (
            f"init containers ({names}) run in every arm and could migrate data; if running them at any time is "
            f"harmless, {ACCEPT}"
        )
