"""Other optimizers behind the contract; importing this needs their packages (`make bench-peers`).

Native track: as the documentation has it used. The cost is a black box that is measured without noise, each bound a
constraint c = log(value / bound) <= 0, the box is whole, and the cheapest point that measured within every bound is
the answer. Equal track: `peer.Equal`; BoTorch and SCBO then get the known cost, the others have no place for one
(Optuna and scikit-optimize model a single objective and take no function for it): a black box there too.
"""

from __future__ import annotations

from benchmarks.optimizer.contract import Entry
from benchmarks.optimizer.peer import entries
from benchmarks.optimizer.peers.botorch_peers import KnownCost, LogNei
from benchmarks.optimizer.peers.optuna_peers import gp, tpe
from benchmarks.optimizer.peers.scbo import Scbo, scbo_known_cost
from benchmarks.optimizer.peers.skopt_peer import GpMinimize

ENTRIES: tuple[Entry, ...] = (
    *entries("optuna-gp", gp, gp),
    *entries("optuna-tpe", tpe, tpe),
    *entries("botorch-qlognei", LogNei, KnownCost),
    *entries("scbo", Scbo, scbo_known_cost),
    *entries("skopt-gp", GpMinimize, GpMinimize),
)

__all__ = ["ENTRIES"]
