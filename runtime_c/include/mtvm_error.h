/* SPDX-License-Identifier: Apache-2.0
 *
 * Every error of the runtime. The numbers go over the wire as one signed byte, so they never change their
 * meaning; `microtvm/device/status.py` has the same list.
 */
#ifndef MTVM_ERROR_H
#define MTVM_ERROR_H

enum mtvm_error {
    MTVM_OK = 0,                     /* no error */
    MTVM_ERR_ABI = -1,               /* the model was generated for another MTVM_MODEL_ABI */
    MTVM_ERR_ARENA_SIZE = -2,        /* the arena is smaller than the model's */
    MTVM_ERR_ARENA_ALIGN = -3,       /* the arena's address is not aligned as the model asks */
    MTVM_ERR_INPUT_COUNT = -4,       /* the model has more inputs than MTVM_MAX_INPUTS */
    MTVM_ERR_NONCE = -5,             /* this nonce can't tell a session from none */
    MTVM_ERR_VERSION = -6,           /* the host speaks another version of the protocol */
    MTVM_ERR_REQUEST = -7,           /* unknown request */
    MTVM_ERR_LENGTH = -8,            /* a request is too short or too long, or a number in it is malformed */
    MTVM_ERR_ORDER = -9,             /* an earlier request is missing, or the number was used by another */
    MTVM_ERR_INDEX = -10,            /* no tensor, operator or list entry of this index */
    MTVM_ERR_RANGE = -11,            /* offset and length do not lie within the tensor */
    MTVM_ERR_NOT_INPUT = -12,        /* only inputs can be written */
    MTVM_ERR_INPUT_MISSING = -13,    /* an input has not been written to its end */
    MTVM_ERR_INPUT_OVERWRITTEN = -14, /* a run reused the memory of an input: write it again */
    MTVM_ERR_NOT_YET = -15,          /* the tensor has not been computed at this step */
    MTVM_ERR_GONE = -16,             /* the tensor's memory has been reused at this step */
    MTVM_ERR_STEP = -17,             /* the operator has already run in this inference */
    MTVM_ERR_UNSUPPORTED = -18,      /* the board's port can't do this */
    MTVM_ERR_BUSY = -19,             /* a run is under way */
    MTVM_ERR_CANCELLED = -20         /* the run was stopped as it was asked to */
};

#endif
