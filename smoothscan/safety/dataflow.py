"""Follows the image through an exported graph, and finds where it is compared instead of computed with.

Every value is told to depend on the image or not. A *hard step* is an operation on such a value whose outcome has no
gradient: a comparison, a rounding, an index of the largest. What an outcome is used for decides: alone it says nothing,
and within an activation function (`activation.py`) it is ordinary. Any other that reaches the answer is a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from smoothscan.safety.activation import Trials
from smoothscan.safety.exported import MalformedError, Node, dictionary, items, names, node_of
from smoothscan.safety.functions import JUMPING
from smoothscan.safety.operations import (
    ARRANGED,
    CUTS,
    OF_SHAPE,
    TO_PYTHON,
    VIEWS,
    WHOLE,
    guarded_softmax,
    step_of,
)
from smoothscan.safety.values import HardStep, Scope, Value, joined

MAX_NODES = 500_000
"""Operations that are followed, those of loops counted as often as they are gone through."""
MAX_STEPS = 1_000
"""Hard steps that are told apart; what comes later counts as the last."""
MAX_NESTING = 16
"""Depth of graphs within graphs."""


class Walk:
    """One pass through a graph, and the hard steps that it met."""

    def __init__(self) -> None:
        self.steps: list[HardStep] = []
        self._met: dict[tuple[str, ...], int] = {}
        self._nodes = 0
        self._trials = Trials()

    def among(self, mask: int) -> list[HardStep]:
        """Return the hard steps of a set."""
        return [step for bit, step in enumerate(self.steps) if mask >> bit & 1]

    def outputs(self, graph: Any, inputs: Sequence[Value], place: tuple[str, ...] = ()) -> list[Value]:
        """Return what a graph gives for its inputs.

        Args:
            graph: the serialised graph.
            inputs: one value for each of its inputs.
            place: names of the operations that this graph is part of.

        Raises:
            MalformedError: it cannot be followed.
        """
        graph = dictionary(graph)
        given = [name for each in items(graph, "inputs") for name in names(each)]
        if len(place) > MAX_NESTING or len(given) != len(inputs):
            raise MalformedError
        scope = Scope(dict(zip(given, inputs, strict=True)), dictionary(graph.get("tensor_values")))
        for position, raw in enumerate(items(graph, "nodes")):
            self._nodes += 1
            if self._nodes > MAX_NODES:
                raise MalformedError
            node, here = node_of(raw), (*place, str(position))
            if node.higher:
                self._follow(node, scope, here)
            else:
                self._compute(node, scope, here)
        return [scope.value(name) for each in items(graph, "outputs") for name in names(each)]

    def _compute(self, node: Node, scope: Scope, place: tuple[str, ...]) -> None:
        arguments = [(name, scope.value(value)) for name, value in node.tensors]
        first = node.tensors[0][1] if node.tensors else None
        for name in node.outputs:
            value = self._value(node, arguments, place, dtype=scope.dtype(name))
            scope.define(name, value, first if node.in_place or node.base in VIEWS else None)
            if node.in_place and first is not None:
                scope.written(first, value)
                scope.values[name] = value

    def _value(
        self, node: Node, arguments: Sequence[tuple[str, Value]], place: tuple[str, ...], *, dtype: int
    ) -> Value:
        """Return what an operation gives."""
        of = [value for _, value in arguments if value.image]
        if node.base in OF_SHAPE and not any(value.image for _, value in arguments[1:]):
            of = []
        soft, arranged = dtype not in WHOLE, node.base in ARRANGED
        step = step_of(node, [(name, value.step) for name, value in arguments], of_image=bool(of), dtype=dtype)
        if not of:
            return Value(step, soft=soft)
        if (guarded := guarded_softmax(step)) is not None:
            return next(value for _, value in arguments if value.step.serial == guarded)
        pixels = arranged and all(value.pixels for value in of)
        pending, spent, roots = 0, 0, of[0].roots if step.depth else frozenset[int]()
        for value in of:
            pending, spent, roots = pending | value.pending, spent | value.spent, roots & value.roots
        if not roots:
            step = replace(step, depth=0)
            if soft:  # computed with other values or with its neighbours: no function of one number
                pending, spent = 0, spent | pending
        hardened = not soft and any(value.soft or (value.pixels and not arranged) for value in of)
        if hardened or (soft and step.operation in JUMPING) or node.base in CUTS or node.base in TO_PYTHON:
            kind: Literal["branch", "gate"] = "branch" if node.base in TO_PYTHON else "gate"
            met = self._meet(place, kind, node, [value for _, value in arguments], pending)
            pending = met if kind == "branch" else pending | met
        if soft and pending and roots and self._trials.is_continuous(step, max(roots)):
            pending = 0
        own = frozenset({step.serial}) if not pending else frozenset[int]()
        return Value(step, True, pixels, soft, pending, spent, roots | own)

    def _follow(self, node: Node, scope: Scope, place: tuple[str, ...]) -> None:
        """Go into the graphs that an operation has as arguments."""
        graphs = node.graphs()
        given = [scope.value(value) for _, value in node.tensors]
        spent = 0
        if node.base == "cond":
            if not given or not list(names(node.arguments[0][1])):
                raise MalformedError
            spent = self._chosen(node, given[0], place)
            ways = [self.outputs(graph, given[1:], (*place, str(n))) for n, graph in enumerate(graphs)]
            if len({len(way) for way in ways}) != 1:
                raise MalformedError
            results = [joined(values, soft=values[0].soft) for values in zip(*ways, strict=True)]
        elif node.base == "while_loop" and len(graphs) == 2:
            results, given = self._repeated(graphs[1], given, place)
            for value in self.outputs(graphs[0], given, (*place, "test")):
                spent |= self._chosen(node, value, place)
        elif len(graphs) == 1:
            repeats = node.base in ("scan", "associative_scan")
            results = self._repeated(graphs[0], given, place)[0] if repeats else self.outputs(graphs[0], given, place)
            if node.base == "wrap_with_set_grad_enabled" and dictionary(node.arguments[0][1]).get("as_bool") is False:
                spent = self._meet(place, "gate", node, given, 0) if any(value.image for value in given) else 0
        else:
            raise MalformedError
        if len(results) != len(node.outputs):
            raise MalformedError
        for name, value in zip(node.outputs, results, strict=True):
            scope.define(name, replace(value, image=value.image or bool(spent), spent=value.spent | spent), None)

    def _repeated(self, graph: Any, given: list[Value], place: tuple[str, ...]) -> tuple[list[Value], list[Value]]:
        """Return what a graph gives that is fed with what it gave, and what it was fed with in the end."""
        while True:
            results = self.outputs(graph, given, place)
            both = zip(given, results, strict=False)
            fed = [*(joined(pair, soft=pair[0].soft) for pair in both), *given[len(results) :]]
            if [(v.image, v.pending, v.spent) for v in fed] == [(v.image, v.pending, v.spent) for v in given]:
                return results, given
            given = fed

    def _chosen(self, node: Node, predicate: Value, place: tuple[str, ...]) -> int:
        """Return the hard steps behind what is chosen by a truth."""
        if not predicate.image:
            return 0
        return predicate.spent | self._meet(place, "branch", node, [predicate], predicate.pending)

    def _meet(
        self, place: tuple[str, ...], kind: Literal["branch", "gate"], node: Node, of: Sequence[Value], behind: int
    ) -> int:
        """Return a hard step as a set of one; a graph that is gone through again meets the same."""
        if place not in self._met:
            if len(self.steps) < MAX_STEPS:
                self.steps.append(HardStep(kind, node, tuple(of), behind))
            self._met[place] = len(self.steps) - 1
        return 1 << self._met[place]
