"""Which channels of a node's tensors exist together or not at all, by what the operator does.

A channel is an index of the last axis. Channels that exist together have one number, their bundle:
channel c of both operands and of the result of an addition, say, or all that a flattened image
makes of one of its channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from microtvm.ops.base import NodeContext
from microtvm.ops.interval import channel_count
from microtvm.ops.registry import find
from microtvm.util import Array


@dataclass(frozen=True)
class Links:
    """Bundles of a node's channels, counted from 0."""

    bundles: int
    inputs: Mapping[int, Array]
    """Input position to the bundle of each channel there; all channels of other inputs are
    needed."""
    output: Array | None = None
    """Bundle of each output channel; None where they are free of the input's (of products)."""
    columns: Array | None = None
    """Of products: the bundle that each column of the weights multiplies."""


def find_links(ctx: NodeContext) -> Links | None:
    """The links of a node; None where the operator needs and makes all channels."""
    if len(ctx.outputs) != 1:
        return None
    if find(ctx.node.op).elementwise:
        return _elementwise(ctx)
    rule = RULES.get(ctx.node.op)
    return None if rule is None else rule(ctx)


def _elementwise(ctx: NodeContext) -> Links:
    channels = channel_count(ctx.out.shape)
    same = np.arange(channels)
    # An operand with a last axis of 1 is read by every channel.
    linked = {
        i: same for i, t in enumerate(ctx.inputs) if t.shape and channel_count(t.shape) == channels
    }
    return Links(channels, linked, same)


def _channel_by_channel(ctx: NodeContext) -> Links:
    same = np.arange(channel_count(ctx.out.shape))
    return Links(len(same), {0: same}, same)


def _mean(ctx: NodeContext) -> Links | None:
    last = len(ctx.inputs[0].shape) - 1
    return None if last in ctx.attr_ints("axes") else _channel_by_channel(ctx)


def _concat(ctx: NodeContext) -> Links:
    channels = channel_count(ctx.out.shape)
    same = np.arange(channels)
    if ctx.attr_int("axis") != len(ctx.out.shape) - 1:
        return Links(channels, dict.fromkeys(range(len(ctx.inputs)), same), same)
    ends = np.cumsum([t.shape[-1] for t in ctx.inputs])
    return Links(channels, dict(enumerate(np.split(same, ends[:-1]))), same)


def _pad(ctx: NodeContext) -> Links:
    channels, before = channel_count(ctx.out.shape), ctx.attr_ints("before")[-1]
    same = np.arange(channels)
    return Links(channels, {0: same[before : before + ctx.inputs[0].shape[-1]]}, same)


def _reshape(ctx: NodeContext) -> Links | None:
    """Elements keep their order, so those with one index modulo both last axes can go at once."""
    count, made = (channel_count(t.shape) for t in (ctx.inputs[0], ctx.out))
    if not ctx.out.shape or not ctx.inputs[0].shape:
        return None
    period = math.gcd(count, made)
    return Links(period, {0: np.arange(count) % period}, np.arange(made) % period)


def _dense(ctx: NodeContext) -> Links | None:
    """A reshape to rows as long as those of the weights, then products."""
    count, depth = channel_count(ctx.inputs[0].shape), ctx.inputs[1].shape[1]
    if not ctx.inputs[0].shape:
        return None
    period = math.gcd(count, depth)
    columns = np.arange(depth) % period
    return Links(period, {0: np.arange(count) % period}, columns=columns)


def _conv2d(ctx: NodeContext) -> Links:
    groups = ctx.attr_int("groups")
    channels, depth = ctx.inputs[1].shape[0], ctx.inputs[1].shape[3]
    if groups == 1:
        return Links(depth, {0: np.arange(depth)}, columns=np.arange(depth))
    inputs, outputs = np.arange(depth * groups) // depth, np.arange(channels) * groups // channels
    return Links(groups, {0: inputs}, outputs)


def _depthwise_conv2d(ctx: NodeContext) -> Links:
    channels = ctx.inputs[0].shape[3]
    same = np.arange(channels)
    return Links(channels, {0: same}, np.repeat(same, ctx.attr_int("multiplier")))


RULES: Mapping[str, Callable[[NodeContext], Links | None]] = {
    "avg_pool2d": _channel_by_channel,
    "concat": _concat,
    "conv2d": _conv2d,
    "dense": _dense,
    "depthwise_conv2d": _depthwise_conv2d,
    "max_pool2d": _channel_by_channel,
    "mean": _mean,
    "pad": _pad,
    "reshape": _reshape,
}
"""Beside element-wise operators, whose channels are linked one to one."""
