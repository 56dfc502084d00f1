"""Who registers a pair of anybody's scans: a finished run, or a method that needs no training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from regbench.api import Method, Pair, Protocol, Shape, Trainable
from regbench.engine.evaluation.evaluate import Register
from regbench.engine.evaluation.refinement import refining
from regbench.engine.plan import Chosen
from regbench.engine.proof.given import FIELDS
from regbench.engine.proof.reopening import chosen_by, refuse_unfinished, trained_network
from regbench.errors import BadValueError
from regbench.registration.pair import OwnScans, Preparation
from regbench.registration.placing import numbers_in
from regbench.registry import Registry, configuration, configure
from regbench.results import RunFolder, RunRecord


@dataclass(frozen=True)
class Registrar:
    """A method that is ready to register.

    Attributes:
        name: as a summary prints it.
        method: configured.
        preparation: what it is shown.
        register: a pair in, its field out, not refined.
        run_id: of the run whose weights it has, or None.
        refine: steps of refinement that its run had.
        version: the method's distribution and its version.
        said: the configuration as JSON data.
    """

    name: str
    method: Method
    preparation: Preparation
    register: Register
    run_id: str | None = None
    refine: int = 0
    version: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def looks_at_masks(self) -> bool:
        """Whether it cannot do without masks of both scans."""
        return self.method.masks == "always"

    def on_grid(self, shape: Shape) -> "Registrar":
        """The same on a grid of another number of voxels.

        Raises:
            BadValueError: where no protocol says which field of view they share out.
        """
        if self.preparation.grid is None:
            raise BadValueError("A grid can only be set where a protocol says over which box; name a task with --task.")
        return replace(self, preparation=replace(self.preparation, grid=self.preparation.grid.at(shape)))

    def shown(self, scans: OwnScans) -> OwnScans:
        """The scans with masks only if the method looks at them."""
        return scans if self.looks_at_masks else replace(scans, fixed_mask=None, moving_mask=None)

    def registering(self, refine: int | None = None) -> Register:
        """A pair in, its field out, refined.

        Args:
            refine: how many steps; None: as many as its run had.

        Raises:
            BadValueError: for a pair that is out of the method's scope.
        """
        refined = refining(self.register, self.refine if refine is None else refine)

        def register(pair: Pair) -> Any:
            reason = self.method.skip(pair)
            if reason is not None:
                raise BadValueError(f"{self.name} cannot register this pair: {reason.rstrip('.')}.")
            return refined(pair)

        return register


def registrar_of_run(folder: RunFolder, record: RunRecord, registry: Registry, device: torch.device) -> Registrar:
    """A finished run's method with its weights, shown what the run's protocol shows.

    Raises:
        BadValueError: for a run that is not done, or whose fields were made elsewhere.
        PluginError: where the method is not installed, or another distribution brings it.
        WeightsError: when it registers, where the weights are gone or do not fit the grid.
    """
    refuse_unfinished(record)
    if record.method.distribution == FIELDS:
        raise BadValueError(f"The fields of run {record.run_id} were made elsewhere; it registers nothing.")
    chosen: Chosen[Method] = chosen_by(registry, "method", record.method, folder, record)
    method, plugin = chosen.instance, chosen.plugin
    register = method.register
    if isinstance(method, Trainable):
        register = partial(_with_weights, method, folder, record, device)
    return Registrar(
        name=record.row,
        method=method,
        preparation=_preparation(record.protocol, masked=record.masks is not None),
        register=register,
        run_id=record.run_id,
        refine=record.refine,
        version=f"{plugin.distribution} {plugin.version}",
        said=configuration(method),
    )


def _with_weights(method: Trainable, folder: RunFolder, record: RunRecord, device: torch.device, pair: Pair) -> Any:
    return method.predict(trained_network(method, pair.setting, device, folder, record), pair)


def registrar_of_method(
    registry: Registry,
    name: str,
    settings: Mapping[str, str],
    protocol: Protocol | None = None,
    mask_labels: Sequence[int] = (),
) -> Registrar:
    """A method that needs no training of regbench's, shown what a protocol shows, or the whole scan.

    Args:
        registry: of what is installed.
        name: the method's.
        settings: its fields.
        protocol: whose intensities, grid and labels; None: percentiles, and the fixed scan's own field of view.
        mask_labels: the labels that the masks hold, where no protocol says so.

    Raises:
        UnknownNameError: for a method or a field that nobody knows.
        BadValueError: for a method whose network has no weights.
    """
    plugin = registry.plugin("method", name)
    make: Callable[..., Method] = configure
    method = make(plugin.load(), settings)
    said = configuration(method)
    if isinstance(method, Trainable) and said.get("weights") is None:
        weights = "; or name a file of weights with --set weights=FILE" if "weights" in said else ""
        raise BadValueError(
            f"The method '{name}' has to be trained first: 'regbench run --task TASK --method {name}' gives a run, "
            f"whose id --method takes{weights}."
        )
    preparation = Preparation(labels=tuple(mask_labels)) if protocol is None else _preparation(protocol, masked=True)
    return Registrar(
        name=name,
        method=method,
        preparation=preparation,
        register=method.register,
        version=f"{plugin.distribution} {plugin.version}",
        said=said,
    )


def _preparation(protocol: Protocol, *, masked: bool) -> Preparation:
    return Preparation(protocol.intensity, protocol.grid, tuple(sorted(protocol.labels)) if masked else ())


def mask_labels_of(scans: OwnScans) -> list[int]:
    """The labels that are in the masks."""
    masks = [mask for mask in (scans.fixed_mask, scans.moving_mask) if mask is not None]
    return sorted({label for mask in masks for label in numbers_in(mask)})
