"""A whole world in virtual time: a cluster that runs, a service under load, a metrics store, and operators that live
and die in it.

    async def main():
        world = await World.build(Setting(workload=load_workload(path)), Options(seed=1))
        world.admin.apply(experiment, world.namespace)
        world.start()
        await world.until(world.ended("web"), days=3)

    trimtab.simulate.loop.run(main())

Everything between the ports is the operator's real code. The same seed tells the same story, byte for byte.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trimtab.adapters.executor import InlineDesigner
from trimtab.adapters.series_store import SeriesStore
from trimtab.domain import kinds
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.names import FINALIZER
from trimtab.domain.state import ExperimentPhase
from trimtab.ports import Designer
from trimtab.simulate.admin import Admin
from trimtab.simulate.admission import admit_own, admit_routes, all_of
from trimtab.simulate.alerting import Alerts
from trimtab.simulate.clock import EPOCH, SimulatedClock
from trimtab.simulate.cluster import InMemoryCluster
from trimtab.simulate.controllers.autoscaler import Autoscaler
from trimtab.simulate.controllers.expiry import Expiry
from trimtab.simulate.controllers.kubelet import Kubelet
from trimtab.simulate.controllers.limits import Limits
from trimtab.simulate.controllers.routes import Routes
from trimtab.simulate.controllers.scheduler import Scheduler, make_nodes
from trimtab.simulate.controllers.services import Services
from trimtab.simulate.controllers.workloads import Workloads
from trimtab.simulate.fleet import Fleet
from trimtab.simulate.history import RECORDED, Change, History
from trimtab.simulate.kubestate import KubeState
from trimtab.simulate.life import LEASE_NAME, LEASE_NAMESPACE, Life, LifeOptions, begin_life, task_factory
from trimtab.simulate.manifests import manifests_for
from trimtab.simulate.objects import BY_NAME, OPTIONAL, SERVED
from trimtab.simulate.prometheus import SimulatedPrometheus
from trimtab.simulate.traffic import Scraping, Traffic
from trimtab.workload import WorkloadSpec

SETTLE_SECONDS = 120.0
COLLECTOR_SECONDS = 0.1  # the garbage collector's delay
DAY = 86400.0
ENDED = frozenset(p.value for p in ExperimentPhase if p.terminal)


@dataclass(frozen=True)
class Setting:
    """A service that is there before anybody tunes it. `manifests` default to those that fit the workload; `fleet` are
    its pods and the autoscaler that has always decided how many there are."""

    workload: WorkloadSpec
    manifests: tuple[Mapping[str, Any], ...] = ()
    namespace: str = "shop"
    fleet: Fleet | None = None

    @property
    def objects(self) -> tuple[Mapping[str, Any], ...]:
        """What is created at the beginning."""
        return self.manifests or manifests_for(self.workload)


@dataclass(frozen=True)
class Options:
    """How the world is made. `served`: kinds that the cluster has; `history`: how many changes are remembered, None for
    all; `beside`: further namespaces of the install, without a service."""

    seed: int = 0
    epoch: float = EPOCH
    nodes: int = 6
    node_cores: float = 32.0
    node_memory_gib: float = 128.0
    scraping: Scraping = field(default_factory=Scraping)
    served: frozenset[Kind] = SERVED
    history: int | None = None
    beside: tuple[str, ...] = ()


class Unsettled(RuntimeError):
    """The service does not become ready by itself: too large for the nodes, or broken from the beginning."""


class World:
    """Make it with `build`, in a running `VirtualLoop`."""

    def __init__(self, settings: Sequence[Setting], options: Options, designer: Designer | None = None) -> None:
        self.options, self.settings = options, tuple(settings)
        self._loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()  # of nobody's life, whoever causes a callback
        self.looking = self.context.copy()  # of callbacks that ask whether something is true yet, and else do nothing
        self.found = 0  # how often it was
        self._loop.set_task_factory(task_factory)
        self._loop.set_exception_handler(self._defective)
        self.clock = SimulatedClock(options.epoch)
        self.operator_clock = SimulatedClock(options.epoch)  # its skew is what operators see of a clock that is set
        spaces = dict.fromkeys((LEASE_NAMESPACE, *(s.namespace for s in settings), *options.beside))
        self.cluster = InMemoryCluster(self.clock, seed=options.seed, namespaces=spaces, served=_served(self))
        self.cluster.objects.defer = self._collect_later
        services = [(s.namespace, s.workload) for s in settings]
        self.traffic = Traffic(self.clock, services, options.scraping, seed=options.seed)
        state = KubeState(self.cluster, self.clock, self.traffic, options.scraping.interval)
        self.alerts = Alerts(self.clock, state)
        self.prometheus = SimulatedPrometheus(self.alerts)
        self.store: SeriesStore = self.prometheus  # what operators ask; faults may stand in between
        self.designer = designer or InlineDesigner()
        self.admin = Admin(self.cluster)
        self.history = History(self.clock, options.history)
        self.lives: list[Life] = []
        self.defects: list[str] = []
        self._asked: list[Callable[[], None]] = []
        self._controllers()

    def _controllers(self) -> None:
        seed, cluster = self.options.seed, self.cluster
        nodes = make_nodes(self.options.nodes, self.options.node_cores, self.options.node_memory_gib)
        self.scheduler = Scheduler(cluster, nodes)
        workloads = tuple(dict.fromkeys(s.workload for s in self.settings))
        self.kubelet = Kubelet(cluster, self.scheduler, self.traffic, self.clock, workloads, seed=seed)
        self.limits = Limits(cluster)
        self.autoscaler = Autoscaler(cluster, self.traffic, self.clock)
        cluster.admit = all_of(admit_own, admit_routes, self.limits.admit)
        controllers = (
            Workloads(cluster, seed=seed),
            self.scheduler,
            self.kubelet,
            Services(cluster, self.traffic, seed=seed),
            Routes(cluster, self.traffic),
            self.autoscaler,
            self.limits,
            Expiry(cluster, self.clock),
        )
        cluster.subscribe(self.history.record, RECORDED)
        for each in controllers:
            cluster.subscribe(each.changed, each.watches)

    def _collect_later(self, collect: Callable[[], None]) -> None:
        self._loop.call_later(COLLECTOR_SECONDS, collect, context=self.context)

    @classmethod
    async def build(
        cls, settings: Setting | Sequence[Setting], options: Options | None = None, designer: Designer | None = None
    ) -> World:
        """A world whose services are ready and have always been there.

        Raises:
            Unsettled: one does not become ready.
        """
        several = (settings,) if isinstance(settings, Setting) else tuple(settings)
        world = cls(several, options or Options(), designer)
        await world._settle()
        return world

    @property
    def namespace(self) -> str:
        """The namespace of the (first) service."""
        return self.settings[0].namespace

    @property
    def installed(self) -> tuple[str, ...]:
        """The namespaces for which operators are installed; () for the whole cluster."""
        return (self.namespace, *self.options.beside) if self.options.beside else ()

    async def _settle(self) -> None:
        for setting in self.settings:
            for manifest in setting.objects:
                made = self.admin.apply(manifest, setting.namespace)
                if made["kind"] == "Deployment" and made["metadata"]["name"] == setting.workload.target.deployment:
                    key = (setting.namespace, setting.workload.target.service)
                    self.traffic.founding[key] = (int(made["spec"].get("replicas", 1)), setting.fleet)
        if not await self.until(self._settled, seconds=SETTLE_SECONDS):
            missing = [s.workload.target.deployment for s in self.settings if not self._is_settled(s)]
            raise Unsettled(f"Deployment {', '.join(missing)} did not become ready; give it more nodes or less to ask")
        self.traffic.founding.clear()

    def _settled(self) -> bool:
        return all(self._is_settled(s) for s in self.settings)

    def _is_settled(self, setting: Setting) -> bool:
        target = setting.workload.target
        deployment = self.admin.find(kinds.DEPLOYMENTS, setting.namespace, target.deployment)
        if deployment is None:
            return True  # no target at all is a setting, too
        ready = (deployment.get("status") or {}).get("availableReplicas", 0)
        share = self.traffic.shares[setting.namespace, target.service]
        return bool(ready == deployment["spec"].get("replicas", 1) and len(share.endpoints) >= ready)

    # Operators

    def start(self, options: LifeOptions | None = None) -> Life:
        """Start an operator; it becomes the leader when the Lease is free."""
        chosen = options or LifeOptions(identity=f"operator-{len(self.lives)}", seed=self.options.seed)
        life = begin_life(self.cluster, self.store, self.designer, self.operator_clock, chosen)
        life.on_end = self.poke
        self.lives.append(life)
        return life

    def poke(self) -> None:
        """Ask again whoever waits for something."""
        for ask in tuple(self._asked):
            ask()

    @property
    def life(self) -> Life:
        """The operator that was started last."""
        return self.lives[-1]

    def expire_lease(self) -> None:
        """Nobody leads, from now on: saves the wait for a killed leader's Lease where that is not the question."""
        lease = self.admin.find(kinds.LEASES, LEASE_NAMESPACE, LEASE_NAME)
        if lease is not None:
            spec = {**lease["spec"], "holderIdentity": ""}
            self.cluster.put(kinds.LEASES, LEASE_NAMESPACE, LEASE_NAME, {**lease, "spec": spec})

    async def close(self) -> None:
        """End every operator without any effect."""
        for life in self.lives:
            life.kill()
        for life in self.lives:
            await life.gone()

    # Waiting

    async def until(self, condition: Callable[[], bool], *, seconds: float = 0.0, days: float = 0.0) -> bool:
        """Let the world run until the condition holds, which is asked after each change of an object and at each end of
        an operator; False when time is up.

        Raises:
            AssertionError: something in the world itself failed.
        """
        reached = self._loop.create_future()
        planned = False

        def ask() -> None:
            nonlocal planned
            planned = False
            if not reached.done() and condition():
                self.found += 1
                reached.set_result(True)

        def soon() -> None:
            nonlocal planned
            if not planned:
                planned = True
                self._loop.call_soon(ask, context=self.looking)

        unsubscribe = self.cluster.subscribe(lambda _: soon())
        self._asked.append(soon)
        ask()
        try:
            async with asyncio.timeout(seconds + days * DAY):
                await reached
        except TimeoutError:
            return condition()
        finally:
            unsubscribe()
            self._asked.remove(soon)
            self.check()
        return True

    async def run(self, seconds: float) -> None:
        """Let the world run for so long."""
        await asyncio.sleep(seconds)
        self.check()

    def check(self) -> None:
        """Nothing in the world itself, and no operator, has failed in a way that its code does not know.

        Raises:
            AssertionError: says what did.
        """
        failed = [f"{life.options.identity}: {life.defect!r}" for life in self.lives if life.defect is not None]
        if self.defects or failed:
            raise AssertionError("; ".join([*self.defects, *failed]))

    def _defective(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.defects.append(f"{context['message']}: {error!r}")
        if error is not None and error.__traceback__ is not None:
            frame = error.__traceback__
            while frame.tb_next is not None:
                frame = frame.tb_next
            self.defects.append(f"at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}")

    # Conditions

    def experiment(self, name: str, namespace: str = "") -> Manifest | None:
        """An Experiment, None when it is gone."""
        return self.admin.find(kinds.EXPERIMENTS, namespace or self.namespace, name)

    def trials(self, name: str, namespace: str = "") -> list[Manifest]:
        """The Trials of an Experiment, by index."""
        found = self.admin.list(kinds.TRIALS, namespace or self.namespace)
        mine = [t for t in found if t["spec"]["experiment"]["name"] == name]
        return sorted(mine, key=lambda t: int(t["spec"]["index"]))

    def ended(self, name: str, namespace: str = "") -> Callable[[], bool]:
        """The Experiment has ended, and nothing is left to undo or to unlock."""
        where = namespace or self.namespace

        def condition() -> bool:
            found = self.experiment(name, where)
            if found is None:
                return True
            if (found.get("status") or {}).get("phase") not in ENDED:
                return False
            if FINALIZER in found["metadata"].get("finalizers", ()):
                return False
            locks = self.admin.list(kinds.LEASES, where)
            return not any(lock["spec"].get("holderIdentity") == found["metadata"]["uid"] for lock in locks)

        return condition


def _served(world: World) -> frozenset[Kind]:
    """What was chosen, and what the service's own manifests need."""
    objects = (o for setting in world.settings for o in setting.objects)
    named = ((str(o.get("apiVersion")), str(o.get("kind"))) for o in objects)
    return world.options.served | (OPTIONAL & {BY_NAME[name] for name in named if name in BY_NAME})


__all__ = ["Change", "Options", "Setting", "Unsettled", "World"]
