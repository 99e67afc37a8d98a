"""What a device answers: the numbers of `runtime_c/include/mtvm_error.h`, and what they mean to a
person."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Status byte of an answer, and the C runtime's `enum mtvm_error`; errors are negative."""

    ACCEPTED = 1
    OK = 0
    ABI = -1
    ARENA_SIZE = -2
    ARENA_ALIGN = -3
    INPUT_COUNT = -4
    NONCE = -5
    VERSION = -6
    REQUEST = -7
    LENGTH = -8
    ORDER = -9
    INDEX = -10
    RANGE = -11
    NOT_INPUT = -12
    INPUT_MISSING = -13
    INPUT_OVERWRITTEN = -14
    NOT_YET = -15
    GONE = -16
    STEP = -17
    UNSUPPORTED = -18
    BUSY = -19
    CANCELLED = -20


STATUS_TEXT = {
    Status.ACCEPTED: "the run has begun",
    Status.OK: "no error",
    Status.ABI: "the model was generated for another version of the runtime",
    Status.ARENA_SIZE: "the arena is smaller than the model's",
    Status.ARENA_ALIGN: "the arena is not aligned as the model asks",
    Status.INPUT_COUNT: "the model has more inputs than the runtime was compiled for",
    Status.NONCE: "this nonce can't tell a session from none",
    Status.VERSION: "the device speaks another version of the protocol",
    Status.REQUEST: "the device does not know this request",
    Status.LENGTH: "the request is malformed",
    Status.ORDER: "an earlier request is missing",
    Status.INDEX: "there is no tensor or operator of this index",
    Status.RANGE: "the bytes asked for do not lie within the tensor",
    Status.NOT_INPUT: "only inputs can be written",
    Status.INPUT_MISSING: "an input has not been written",
    Status.INPUT_OVERWRITTEN: "a run reused the memory of an input, which must be written again",
    Status.NOT_YET: "the tensor has not been computed yet",
    Status.GONE: "the tensor's memory has been reused",
    Status.STEP: "the operator has already run in this inference",
    Status.UNSUPPORTED: "the board can't do this",
    Status.BUSY: "a run is under way",
    Status.CANCELLED: "the run was stopped",
}
