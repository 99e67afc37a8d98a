/* SPDX-License-Identifier: Apache-2.0
 *
 * MTVM_WRITE and MTVM_READ: the only requests that touch the arena, and only inside a tensor of the model's table.
 */
#include "mtvm_request.h"

#include <string.h>

static uint16_t input_position(const struct mtvm_model *model, uint32_t index)
{
    uint16_t i = 0;

    while (i < model->n_inputs && model->inputs[i] != index)
        i++;
    return i;
}

static int lies_within(const struct mtvm_tensor *tensor, uint32_t offset, size_t bytes)
{
    return bytes != 0 && offset < tensor->size && bytes <= tensor->size - offset;
}

int mtvm_write_input(struct mtvm_server *server, struct mtvm_request *request, int repeated)
{
    const struct mtvm_model *model = server->model;
    uint32_t index = mtvm_take_number(request);
    uint32_t offset = mtvm_take_number(request);
    const struct mtvm_tensor *tensor;
    uint32_t *written;
    uint16_t position;

    if (request->malformed)
        return MTVM_ERR_LENGTH;
    if (index >= model->n_tensors)
        return MTVM_ERR_INDEX;
    position = input_position(model, index);
    if (position == model->n_inputs)
        return MTVM_ERR_NOT_INPUT;
    tensor = &model->tensors[index];
    if (!lies_within(tensor, offset, request->left))
        return MTVM_ERR_RANGE;
    if (repeated)
        return MTVM_OK;
    /* Other tensors may lie where the inputs do: whatever an earlier inference has left is gone. */
    server->step = 0;
    memcpy(server->arena + tensor->offset + offset, request->at, request->left);
    written = &server->written[position];
    if (*written == MTVM_OVERWRITTEN)
        *written = 0;
    if (*written < tensor->size)
        *written += (uint32_t)request->left;
    return MTVM_OK;
}

int mtvm_read_tensor(struct mtvm_server *server, struct mtvm_request *request, struct mtvm_answer *answer)
{
    const struct mtvm_model *model = server->model;
    uint32_t index = mtvm_take_number(request);
    uint32_t offset = mtvm_take_number(request);
    uint32_t bytes = mtvm_take_number(request);
    const struct mtvm_tensor *tensor;
    uint16_t position;

    if (!mtvm_ends_here(request))
        return MTVM_ERR_LENGTH;
    if (index >= model->n_tensors)
        return MTVM_ERR_INDEX;
    tensor = &model->tensors[index];
    if (bytes > MTVM_READ_BYTES || !lies_within(tensor, offset, (size_t)bytes))
        return MTVM_ERR_RANGE;
    answer->detail = server->step;
    if (server->step < tensor->live_from)
        return MTVM_ERR_NOT_YET;
    if (server->step > tensor->live_to)
        return MTVM_ERR_GONE;
    answer->detail = index;
    position = input_position(model, index);
    if (position != model->n_inputs) {
        if (server->written[position] == MTVM_OVERWRITTEN)
            return MTVM_ERR_INPUT_OVERWRITTEN;
        if (server->written[position] < tensor->size)
            return MTVM_ERR_INPUT_MISSING;
    }
    answer->tail = server->arena + tensor->offset + offset;
    answer->tail_bytes = (size_t)bytes;
    return MTVM_OK;
}
